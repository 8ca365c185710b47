"""Rows of the registry and the ways to find one. A size that does not name its ISO 14405-1 operator is refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from metrology_core.errors import CharacteristicError

Needs = Literal["features", "form", "points", "image", "surface", "map"]


@dataclass(frozen=True, eq=False)
class Context:
    """What a characteristic may need beside the features, all in the unit and frame of the features.

    ``at`` is the theoretically exact position (2 or 3 numbers); ``extents`` hold, per feature, the axial range (low,
    high) of its points about its own point, or None.
    """

    at: np.ndarray | None = None
    extents: tuple[tuple[float, float] | None, ...] = ()


Function = Callable[[Sequence[Any], Context], float]


@dataclass(frozen=True)
class Characteristic:
    """One row.

    ``needs``: ``features`` (a function of fitted features), ``form`` (of a fit's residuals), ``points`` (of points
    against a nominal curve), ``image``, ``surface`` (of a scan against its nominal surface), ``map`` (of values at
    sites of a wafer). ``inputs`` lists, for each input, the kinds of features it may be. ``dimension`` is that of the
    result. ``length_of`` says which length an instrument's length error and the temperature act on: the ``value``
    itself, the ``distance`` between the features, ``none`` (form), or ``angle`` (a length error across the extent).
    ``criterion``: the association that the characteristic demands, whatever else the feature is associated by for
    other purposes; empty where the feature's own is taken.
    """

    id: str
    title: str
    standard: str
    dimension: Literal["length", "angle", "ratio"]
    needs: Needs
    inputs: tuple[tuple[str, ...], ...] = ()
    function: Function | None = None
    lower_bound: float | None = None
    words: str = ""
    uses_position: bool = False
    uses_datum_system: bool = False
    length_of: Literal["value", "distance", "none", "angle"] = "value"
    tip_factor: float = 0.0
    criterion: str = ""


_REGISTRY: dict[str, Characteristic] = {}

_UNIFORMITY = (
    "film.nonuniformity_relative_1s",
    "film.nonuniformity_biased_relative_1s",
    "film.nonuniformity_half_range",
)
_NOT_ENOUGH = {
    "diameter": ("iso14405.GG", "iso14405.GX", "iso14405.GN", "iso14405.GC"),
    "radius": ("iso14405.GG", "iso14405.GX", "iso14405.GN", "iso14405.GC"),
    "size": ("iso14405.GG", "iso14405.GX", "iso14405.GN", "iso14405.GC"),
    "width": ("iso14405.GG",),
    "flatness": ("iso1101.flatness", "form.G.peak_to_valley"),
    "roundness": ("iso1101.roundness", "form.G.peak_to_valley"),
    "circularity": ("iso1101.roundness", "form.G.peak_to_valley"),
    "cylindricity": ("iso1101.cylindricity", "form.G.peak_to_valley"),
    "straightness": ("iso1101.straightness", "form.G.peak_to_valley"),
    "position": ("iso1101.position.G",),
    "concentricity": ("iso1101.coaxiality.G",),
    "coaxiality": ("iso1101.coaxiality.G",),
    "perpendicularity": ("iso1101.perpendicularity.G",),
    "parallelism": ("iso1101.parallelism.G",),
    "angle": ("angle.between", "cone.apex_angle"),
    "distance": ("distance.point_point", "distance.point_plane", "distance.point_axis"),
    "profile": ("iso1101.line_profile",),
    "cd": ("sem.cd_line", "sem.cd_space"),
    "lwr": ("sem.lwr_unbiased_3s", "sem.lwr_unbiased_box_3s", "sem.lwr_biased_3s"),
    "ler": ("sem.ler_unbiased_3s", "sem.ler_unbiased_box_3s", "sem.ler_biased_3s"),
    "pitch": ("sem.pitch",),
    "uniformity": _UNIFORMITY,
    "nonuniformity": _UNIFORMITY,
    "thickness": ("film.mean", "film.minimum", "film.maximum", "film.site"),
}
_OPERATORS = {
    "iso14405.LP": "two-point",
    "iso14405.E": "envelope",
}


def register(row: Characteristic) -> Characteristic:
    """Add a row; a second row of one id raises `CharacteristicError` (the same object again is harmless)."""
    known = _REGISTRY.setdefault(row.id, row)
    if known is not row:
        raise CharacteristicError(f"characteristic {row.id!r} is registered twice")
    return row


def get(name: str) -> Characteristic:
    """The row of an id. Raises `CharacteristicError` for a name that is unknown or does not say enough."""
    row = _REGISTRY.get(name)
    if row is not None:
        return row
    if name in _OPERATORS:
        raise CharacteristicError(
            f"{name} ({_OPERATORS[name]} size, ISO 14405-1) is not available in this version",
            expected="iso14405.GG (least squares), GX (maximum inscribed), GN (minimum circumscribed) or GC (minimax)",
        )
    plain = name.strip().lower()
    if plain in _NOT_ENOUGH:
        raise CharacteristicError(
            f"{name!r} does not say which characteristic",
            expected=f"one of {', '.join(_NOT_ENOUGH[plain])}",
            remedy="a size names its ISO 14405-1 operator, a form its reference element",
        )
    near = difflib.get_close_matches(name, _REGISTRY, n=3, cutoff=0.6)
    raise CharacteristicError(
        f"unknown characteristic {name!r}",
        remedy=f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(sorted(_REGISTRY))}",
    )


def available() -> MappingProxyType[str, Characteristic]:
    """All rows by id, read-only."""
    return MappingProxyType(dict(sorted(_REGISTRY.items())))
