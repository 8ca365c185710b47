"""Sizes and angles within bounds: every combination of bounds that can be active is solved with those sizes held.

A feature has at most two sizes, so there are at most nine combinations: the smallest objective among the answers that
keep all bounds is the optimum, whatever the criterion. The multiplier of an active bound is the derivative of the
objective with respect to it: half the sum of squares (least squares), the sum of distances (least absolute), the half
width of the zone (zones).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import Row

_NOT = ("maximum_inscribed", "minimum_circumscribed")


def read_bounds(bounds: Any, row: Row, held: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Bounds by name, or `ParameterError`."""
    allowed = [name for name in row.sizes if name]
    if not isinstance(bounds, Mapping):
        raise ParameterError(
            "bounds are given by name", expected="for example {'radius': (4.9, 5.1)}", got=type(bounds).__name__
        )
    result = {}
    for name, pair in bounds.items():
        if name not in allowed or name in held:
            raise ParameterError(
                f"{name!r} of a {row.dimension}-D {row.name} cannot be bounded"
                + (": it is fixed" if name in held else ""),
                expected="one of " + ", ".join(a for a in allowed if a not in held) or "no bounds",
            )
        try:
            low, high = pair
            low = -math.inf if low is None else float(low)
            high = math.inf if high is None else float(high)
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        top = 0.5 * math.pi if name == "half_angle" else math.inf
        if not low < high or high <= 0.0 or low >= top:
            raise ParameterError(
                f"the bounds of {name!r} leave no value",
                expected="(low, high) with low < high, of which high is positive, None for no limit",
                got=repr(pair)[:80],
            )
        result[name] = (low, high)
    return result


def bounded_fit(
    points: Any, row: Row, held: dict[str, Any], limits: dict[str, tuple[float, float]], options: dict[str, Any]
) -> Fit:
    """The best fit within the bounds."""
    from metrology_core.fitting.entry import fit

    criterion = options["criterion"]
    if criterion in _NOT:
        raise CriterionError(
            f"the size of a {criterion.replace('_', ' ')} feature is its result and cannot be bounded",
            expected="bounds with least-squares, least-absolute and minimum-zone criteria",
        )
    free = fit(points, row.name, fixed=held or None, **options)
    if free.feature is None or _inside(free, limits, ()):
        return _with_bounds(free, limits, {})
    best: tuple[float, Fit, dict[str, str]] | None = None
    names = list(limits)
    for sides in itertools.product(("", "low", "high"), repeat=len(names)):
        active = {name: side for name, side in zip(names, sides, strict=True) if side}
        values = {name: limits[name][side == "high"] for name, side in active.items()}
        if not active or not all(math.isfinite(v) and (v > 0.0 or n == "half_angle") for n, v in values.items()):
            continue
        if values.get("half_angle", 0.0) < 0.0 or values.get("half_angle", 0.0) >= 0.5 * math.pi:
            continue
        try:
            trial = fit(points, row.name, fixed={**held, **values}, **options)
        except ParameterError:
            continue  # a combination that no feature has, such as a slot wider than long
        if trial.feature is None or not _inside(trial, limits, tuple(active)):
            continue
        value = objective(trial)
        if best is None or value < best[0]:
            best = (value, trial, active)
    if best is None:
        return replace(
            free, status="not_converged", flags=_flags.merge([*free.flags, "not_converged"]),
            optimality={**free.optimality, "reason": "no fit within the bounds was found"},
        )  # fmt: skip
    return _with_bounds(best[1], limits, best[2])


def _inside(found: Fit, limits: dict[str, tuple[float, float]], active: tuple[str, ...]) -> bool:
    assert found.associated is not None
    values = found.associated.parameters
    return all(
        low <= values[name] <= high or math.isclose(values[name], low, rel_tol=1e-14)
        or math.isclose(values[name], high, rel_tol=1e-14)
        for name, (low, high) in limits.items()
        if name not in active
    )  # fmt: skip


def objective(found: Fit) -> float:
    """What the criterion minimises."""
    _, _, residuals = found.design()
    if found.criterion.startswith("least_squares"):
        return 0.5 * float(np.sum(found._row_weights(len(residuals)) * residuals**2))
    if found.criterion == "least_absolute":
        length = np.sqrt(np.sum(residuals.reshape(-1, found.n_used) ** 2, axis=0))
        return float(np.sum(np.sqrt(found._row_weights(found.n_used)) * length))
    return 0.5 * found.form


def multiplier(found: Fit, name: str) -> float:
    """Derivative of the objective with respect to a held size."""
    assert found.associated is not None
    _, jacobian, residuals = found.design()
    column = jacobian[:, list(found.associated.chart).index(name)]
    n = found.n_used
    if found.criterion.startswith("least_squares"):
        value = float(np.sum(found._row_weights(len(column)) * residuals * column))
        place = _position(found)
        lam = np.asarray(found.optimality.get("multipliers", []), dtype=np.float64)
        signs = np.asarray(found.optimality.get("signs", []), dtype=np.float64)
        return value - float(np.sum(lam * signs * column[place])) if len(place) else value
    place = _position(found)
    lam = np.asarray(found.optimality.get("multipliers", []), dtype=np.float64)
    if found.criterion == "least_absolute":
        rows = residuals.reshape(-1, n)
        length = np.sqrt(np.sum(rows**2, axis=0))
        root = np.sqrt(found._row_weights(n))
        unit = rows / np.where(length > 0.0, length, 1.0) * (root / root.max())
        unit[:, place] = lam.reshape(len(rows), -1)
        return float(np.sum(unit.reshape(-1) * column))
    signs = np.asarray(found.optimality["signs"], dtype=np.float64)
    return float(np.sum(lam * signs * column[place]))


def _position(found: Fit) -> np.ndarray:
    contacts = np.asarray(found.optimality.get("contacts", []), dtype=np.int64)
    used = found._known().used
    return contacts if used is None else (np.cumsum(used) - 1)[contacts]


def _with_bounds(found: Fit, limits: dict[str, tuple[float, float]], active: dict[str, str]) -> Fit:
    settings = {**found.settings, "bounds": {name: [*pair] for name, pair in limits.items()}}
    if not active:
        return replace(found, settings=settings)
    settings.pop("fixed", None)
    press = {name: multiplier(found, name) for name in active}
    proof = {**found.optimality, "bounds": {name: {"side": active[name], "multiplier": press[name]} for name in active}}
    status, notes = found.status, [*found.flags, "bound_active"]
    wrong = [n for n, side in active.items() if (press[n] < 0.0) == (side == "low") and press[n] != 0.0]
    if wrong and status == "converged":
        status = "not_converged"
        notes.append("not_converged")
        proof["reason"] = f"the points do not press on the bound of {wrong[0]}: another local minimum lies within"
    return replace(found, status=status, flags=_flags.merge(notes), settings=settings, optimality=proof)
