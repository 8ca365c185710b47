"""Errors that are linear in independent standard normal quantities: modes (vector fields over the points) and noise.

An instrument turns its model into `Modes` for given points once; drawing trials is then one pass of compiled code, and
the same modes give the covariance of the points, so simulation and linear propagation rest on one model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.virtual.protocol import Cause, chosen, trial_range

BLOCK = 256
"""Trials per block: draws and sums of a block stay in the second-level cache."""
EDGE = 1e-3
"""Share of its field by which a point may lie outside: the points of a map that fills the field lie on the fitted
feature, so beyond the field by their residual or by rounding. Errors are smooth there: they differ as little."""


@dataclass(frozen=True, eq=False)
class Modes:
    """The errors of an instrument at n points.

    ``causes`` in order; ``cause`` (d,) index of the cause of each mode; ``ids`` (d) influence ids; ``fields`` (d, n, 3)
    displacement of the points for one standard deviation of the mode. ``noise`` (n, 3) is the displacement for one
    standard deviation of the independent error of each point, of cause ``noise_cause``, drawn from ``noise_id``.
    """

    causes: tuple[Cause, ...]
    cause: np.ndarray
    ids: tuple[str, ...]
    fields: np.ndarray
    noise: np.ndarray
    noise_cause: int
    noise_id: str
    _flat: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.fields.shape != (len(self.ids), len(self.noise), 3) or len(self.cause) != len(self.ids):
            raise ParameterError("modes do not fit together", got=f"{self.fields.shape}, {len(self.ids)} ids")
        if not (np.isfinite(self.fields).all() and np.isfinite(self.noise).all()):
            raise ParameterError("a mode is not finite", remedy="give finite points and normals")
        flat = np.ascontiguousarray(self.fields.reshape(len(self.ids), 3 * len(self.noise)))
        object.__setattr__(self, "_flat", flat)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_points(self) -> int:
        return len(self.noise)

    def mask(self, only: Collection[str] | None) -> np.ndarray:
        """(d,) which modes act."""
        keys = chosen(self.causes, only)
        return np.array([self.causes[int(c)].key in keys for c in self.cause], dtype=bool)

    def noisy(self, only: Collection[str] | None) -> bool:
        """Whether the independent errors act (and are not zero)."""
        return self.causes[self.noise_cause].key in chosen(self.causes, only) and bool(np.any(self.noise))

    def displacements(self, start: int, stop: int, *, seed: int = 0, only: Collection[str] | None = None) -> np.ndarray:
        """(stop - start, n, 3) errors of the points in these trials."""
        from metrology_core.kernels import virtual as k
        from metrology_core.uncertainty import tables
        from metrology_core.uncertainty.sampling import stream_of

        count = trial_range(start, stop)
        if not 0 <= seed < 2**64:
            raise ParameterError("a seed is a whole number below 2^64", got=repr(seed))
        n = self.n_points
        out = np.zeros((count, 3 * n))
        act = self.mask(only)
        modes = self._flat if act.all() else np.ascontiguousarray(self._flat[act])
        streams = np.array([stream_of(i) for i, on in zip(self.ids, act, strict=True) if on], dtype=np.uint64)
        noisy = self.noisy(only)
        noise = np.ascontiguousarray(self.noise)
        own = np.uint64(stream_of(self.noise_id))
        table, key = tables.standard("normal"), np.uint64(seed)

        def work(a: int, b: int) -> None:
            for block in range(a, b):
                low, high = start + block * BLOCK, min(stop, start + (block + 1) * BLOCK)
                first = low - low % 2  # draws come in pairs of trials, the first one even
                size = high - first + (high - first) % 2
                words = np.empty(size, np.uint64)
                target = out[low - start : high - start]
                if len(streams):
                    draws = np.empty((len(streams), size))
                    k.mode_draws(key, streams, first, table, words, draws)
                    k.add_modes(draws, low - first, modes, target)
                if noisy:
                    draws = np.empty((n, size))
                    k.point_draws(key, own, first, table, words, draws)
                    k.add_noise(draws, low - first, noise, target)

        run_blocks(work, -(-count // BLOCK), serial_below=2)
        return out.reshape(count, n, 3)

    def covariance(self, only: Collection[str] | None = None) -> np.ndarray:
        """(3 n, 3 n) covariance of all coordinates, point by point: for small n, and for checks."""
        modes = self._flat[self.mask(only)]
        result = modes.T @ modes
        if self.noisy(only):
            for i, v in enumerate(self.noise):
                result[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] += np.outer(v, v)
        return np.asarray(result)

    def variance_along(self, directions: Any, only: Collection[str] | None = None) -> np.ndarray:
        """(n,) variance of each point along its direction (n, 3)."""
        along = np.asarray(directions, dtype=np.float64)
        parts = np.einsum("dnk,nk->dn", self.fields[self.mask(only)], along)
        result = np.sum(parts**2, axis=0)
        if self.noisy(only):
            result = result + np.einsum("nk,nk->n", self.noise, along) ** 2
        return np.asarray(result)


class Builder:
    """Collects the modes of an instrument, cause by cause."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.causes: list[Cause] = []
        self.cause: list[int] = []
        self.ids: list[str] = []
        self.fields: list[np.ndarray] = []
        self.noise = np.zeros((n, 3))
        self.noise_cause = 0
        self.noise_id = ""

    def add(self, cause: Cause, fields: Sequence[np.ndarray] | np.ndarray, ids: Sequence[str] | None = None) -> None:
        """Modes (m, n, 3) of one cause; without ids they are numbered below the id of the cause."""
        self.causes.append(cause)
        rows = [np.asarray(row, dtype=np.float64) for row in fields]
        self.fields += rows
        self.cause += [len(self.causes) - 1] * len(rows)
        self.ids += list(ids) if ids is not None else [f"{cause.id}/{j}" for j in range(len(rows))]

    def add_noise(self, cause: Cause, vectors: np.ndarray, scope: str) -> None:
        """Independent errors (n, 3) of one cause; ``scope`` names the points, so that other points get other noise."""
        self.causes.append(cause)
        self.noise, self.noise_cause = np.asarray(vectors, dtype=np.float64), len(self.causes) - 1
        self.noise_id = f"{cause.id}/{scope}"

    def build(self) -> Modes:
        fields = np.array(self.fields) if self.fields else np.zeros((0, self.n, 3))
        return Modes(
            tuple(self.causes), np.array(self.cause, dtype=np.int64), tuple(self.ids), fields, self.noise,
            self.noise_cause, self.noise_id,
        )  # fmt: skip


def read_points(points: Any, normals: Any, *, need_normals: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Finite points (n, 3) and unit normals (n, 3); raises `ParameterError` for anything else."""
    xyz = np.asarray(getattr(points, "xyz", points), dtype=np.float64)
    given = getattr(points, "normals", None) if normals is None else normals
    if xyz.ndim != 2 or xyz.shape[1] != 3 or not np.isfinite(xyz).all():
        raise ParameterError("not points", expected="finite numbers (n, 3)", got=str(xyz.shape))
    if given is None:
        if need_normals:
            raise ParameterError(
                "a probe touches along a normal, and there is none", expected="normals (n, 3)",
                remedy="give the normals of the surface, for example feature.normals(points)",
            )  # fmt: skip
        return xyz, np.zeros_like(xyz)
    along = np.asarray(given, dtype=np.float64)
    if along.shape != xyz.shape:
        raise ParameterError("normals do not fit the points", expected=str(xyz.shape), got=str(along.shape))
    size = np.linalg.norm(along, axis=1)
    if not (np.abs(size - 1.0) < 1e-6).all():
        raise ParameterError("normals are unit vectors", got=f"length {float(size.min(initial=1.0)):.3g}")
    return xyz, along
