"""The deviation map of a part: every point with its signed deviation, thinned so that the extremes stay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metrology_core.characteristics import get as get_characteristic
from metrology_core.units import convert
from pointcloud.evaluate.features import deviations
from pointcloud.evaluate.profile import profile_deviations
from pointcloud.evaluate.types import CharacteristicRequest, DeviationMap
from pointcloud.evaluate.workspace import Workspace

FloatArray = NDArray[np.float64]
_WORST = 10  # points listed as worst, over all features
_KEPT_EACH = 25  # extremes of each sign that are always kept, per feature


def deviation_map(
    space: Workspace, characteristics: Sequence[CharacteristicRequest], max_shown: int
) -> DeviationMap | None:
    """Deviations from the nominal where a characteristic gives one, else from the associated feature.

    None where no feature could be evaluated. ``tolerances`` are half the profile or form tolerance either side.
    """
    curves = {
        request.of[0]: request
        for request in characteristics
        if request.curve is not None and (space.datum_problem is None or not request.in_datum)
    }
    parts: list[tuple[FloatArray, FloatArray]] = []
    names: list[str] = []
    nominal: list[str] = []
    sigma = 0.0
    for name, feature in space.features.items():
        if name in curves and feature.points.n_points:
            values, surface, _, _ = profile_deviations(curves[name], space)
            nominal.append(name)
        elif feature.usable:
            values, surface = deviations(feature)
        else:
            continue  # no fit, or no datum system: the measurement says so, the map leaves it out
        parts.append((surface, values))
        names.append(name)
        if feature.sigma is not None:
            sigma = max(sigma, float(np.sqrt(np.mean(np.square(feature.sigma)))))
    if not parts:
        return None
    xyz = np.concatenate([surface for surface, _ in parts])
    value = np.concatenate([values for _, values in parts])
    index = np.concatenate([np.full(len(values), i, dtype=np.int16) for i, (_, values) in enumerate(parts)])
    keep = thin(value, index, max_shown)
    shown = value[keep]
    others = [name for name in names if name not in nominal]
    words = []
    if nominal:
        words.append(f"{', '.join(nominal)}: from the nominal in {space.datum_words()}")
    if others:
        words.append(f"{', '.join(others)}: from the associated least-squares feature of the same points")
    words.append("limits: half the profile or form tolerance either side")
    return DeviationMap(
        xyz[keep],
        shown,
        index[keep],
        tuple(names),
        space.points.unit,
        tuple(_limits(name, characteristics, space.points.unit) for name in names),
        sigma,
        "; ".join(words),
        len(value),
        tuple(int(i) for i in np.argsort(-np.abs(shown), kind="stable")[:_WORST]),
    )


def thin(value: FloatArray, index: NDArray[np.int16], limit: int) -> NDArray[np.int64]:
    """Indices of at most about ``limit`` points, in order: each feature's extremes, and a regular part of the rest."""
    if len(value) <= limit:
        return np.arange(len(value))
    keep = np.zeros(len(value), dtype=bool)
    for i in np.unique(index):
        of = np.flatnonzero(index == i)
        order = of[np.argsort(value[of], kind="stable")]
        keep[order[:_KEPT_EACH]] = True
        keep[order[-_KEPT_EACH:]] = True
    step = max(1, -(-len(value) // max(1, limit - int(keep.sum()))))
    keep[::step] = True
    return np.flatnonzero(keep)


def _limits(
    name: str, characteristics: Sequence[CharacteristicRequest], unit: str
) -> tuple[float | None, float | None] | None:
    for request in characteristics:
        needs = get_characteristic(request.characteristic).needs
        if request.of[0] == name and needs in ("points", "form") and request.tolerance is not None:
            upper = request.tolerance.upper
            if upper is not None:
                half = 0.5 * convert(upper, request.tolerance.unit, unit)
                return -half, half
    return None
