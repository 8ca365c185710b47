"""What every virtual instrument offers: named causes of error, and simulated data, trial by trial."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from metrology_core.errors import ParameterError


@dataclass(frozen=True)
class Cause:
    """One cause of error of an instrument that can be switched on alone or off.

    ``key`` is its short name (``scale``), ``id`` the beginning of the ids of its influences, ``label`` says in words
    what was assumed: it is printed in the budget.
    """

    key: str
    id: str
    label: str


@runtime_checkable
class VirtualInstrument(Protocol):
    """An instrument whose errors can be simulated.

    ``simulate(target, start=a, stop=b, seed=s, only=None)`` gives what the instrument would indicate for the true
    ``target`` in trials a to b of its random states: points (n, 3) give (b - a, n, 3); heights and images their shape
    after the trials. Trial t is always the same state of the same instrument: every random number is a function of
    (seed, id of its cause, trial), so blocks, threads and workers change no bit, two targets are measured by the same
    state, and switching a cause off changes no draw of the others. ``only`` names the causes that act.
    """

    @property
    def id(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def causes(self) -> tuple[Cause, ...]: ...

    def simulate(
        self, target: Any, *, start: int = 0, stop: int, seed: int = 0, only: Collection[str] | None = None
    ) -> np.ndarray: ...


def chosen(causes: tuple[Cause, ...], only: Collection[str] | None) -> frozenset[str]:
    """The keys of the causes that act; raises `ParameterError` for a key that is not among them."""
    known = [cause.key for cause in causes]
    if only is None:
        return frozenset(known)
    if isinstance(only, str):
        only = (only,)
    for key in only:
        if key not in known:
            raise ParameterError(f"unknown cause {key!r}", expected=", ".join(known))
    return frozenset(only)


def trial_range(start: int, stop: int) -> int:
    """Number of trials of a range; raises `ParameterError` for one that is none."""
    if not 0 <= start <= stop:
        raise ParameterError(
            "not a range of trials", expected="whole numbers 0 <= start <= stop", got=f"{start}, {stop}"
        )
    return int(stop) - int(start)
