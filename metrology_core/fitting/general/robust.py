"""The robust mode: outliers are found by iterated reweighting, dropped, reported; the answer is plain least squares.

Start: the best of seeded small subsets by the median distance of all points, and the plain fit. Then iterated
reweighting with Huber's or Tukey's weights (k = 1.345, c = 4.685 of a scale 1.4826 times the median absolute
distance). Points beyond 4.685 of the final scale are dropped: of normal errors 3 in a million. Sources: P. J. Huber
(1964); A. E. Beaton and J. W. Tukey (1974); P. J. Rousseeuw (1984) for the start.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import Row

TUNING = {"huber": 1.345, "tukey": 4.685}
CUT = 4.685
_MAD = 1.482602218505602  # median absolute value of a normal variable, inverted
_SUBSETS = 60
_TURNS = 50
_EVALUATED = 2000  # points that score a subset


def robust_fit(
    points: Any,
    row: Row,
    given: Any,
    material: str | None,
    weights: np.ndarray,
    held: dict[str, Any],
    start: Feature | None,
    robust: Any,
    labels: Any,
) -> Fit:
    """Plain least squares of the points that are no outliers."""
    from metrology_core.fitting.entry import fit

    if robust not in TUNING:
        raise ParameterError("unknown robust mode", expected="'huber' or 'tukey'", got=repr(robust)[:80])
    xyz = given.array
    n = len(xyz)
    base = weights if weights.size else np.ones(n)
    options: dict[str, Any] = {"fixed": held or None, "labels": labels}
    unit = {} if given.source is not None else {"unit": given.unit}

    def plain(w: np.ndarray, first: Any) -> Fit:
        return fit(xyz, row.name, weights=w, start=first, **options)

    whole = plain(base, start)
    if whole.feature is None:
        return fit(points, row.name, material=material, weights=base if weights.size else None, start=start,
                   **options, **unit)  # fmt: skip
    finite = np.isfinite(xyz).all(axis=1) & (base > 0.0)
    candidates = [whole.associated, *_subsets(xyz, row, finite, options)]
    rows = np.flatnonzero(finite)
    score = rows[np.linspace(0, len(rows) - 1, min(len(rows), _EVALUATED)).astype(np.int64)]
    costs = [float(np.median(_distance(c, xyz[score]))) for c in candidates]
    order = np.argsort(costs, kind="stable")
    best: tuple[float, Any, float, int] | None = None
    for i in order[:3]:
        found = _reweight(plain, candidates[i], xyz, base, finite, str(robust))
        if found is not None and (best is None or found[0] < best[0]):
            best = found
    if best is None:
        return whole
    _, feature, scale, turns = best
    distance = np.full(n, np.inf)
    distance[finite] = _distance(feature, xyz[finite]) * np.sqrt(base[finite] / base[finite].max())
    kept = base.copy()
    for _ in range(_TURNS):  # the plain fit of the kept points and the points it keeps agree at the end
        drop = finite & (distance > CUT * scale)
        new = np.where(drop, 0.0, base)
        result = fit(points, row.name, material=material, weights=new, start=feature, **options, **unit)
        if result.associated is None or (new == kept).all():
            break
        kept = new
        distance[finite] = _distance(result.associated, xyz[finite]) * np.sqrt(base[finite] / base[finite].max())
    dropped = np.flatnonzero(finite & (kept == 0.0))
    settings = {
        **result.settings,
        "robust": {"method": str(robust), "tuning": TUNING[str(robust)], "cut": CUT, "scale": scale, "turns": turns},
    }
    if not weights.size:
        settings.pop("weighted", None)
    settings["start"] = "search" if start is None else "given"
    optimality = {**result.optimality, "dropped": dropped.tolist(), "n_dropped": len(dropped)}
    notes = [*result.flags, "outliers_dropped"] if len(dropped) else list(result.flags)
    status = result.status
    if 2 * len(dropped) >= int(finite.sum()):
        status = "not_converged"
        notes.append("not_converged")
        optimality["reason"] = "half of the points or more are outliers"
    return replace(result, settings=settings, optimality=optimality, flags=_flags.merge(notes), status=status)


def _distance(feature: Any, xyz: np.ndarray) -> np.ndarray:
    d = feature.distance(xyz)
    return np.hypot(d, feature.height(xyz)) if hasattr(feature, "height") else np.abs(d)


def _subsets(xyz: np.ndarray, row: Row, finite: np.ndarray, options: dict[str, Any]) -> list[Any]:
    """Features through small seeded subsets of the points."""
    from metrology_core.fitting.entry import fit

    held = options["fixed"] or {}
    rng = np.random.default_rng(20240607)
    rows = np.flatnonzero(finite)
    size = min(len(rows), row.minimum + (0 if row.exact_is_unique else 2))
    found = []
    tries = _SUBSETS if row.compiled else _SUBSETS // 4
    for _ in range(tries):
        pick = np.sort(rng.choice(rows, size, replace=False))
        if options["labels"] is not None and len(np.unique(np.asarray(options["labels"])[pick])) < 2:
            continue
        part = {**options, "labels": None if options["labels"] is None else np.asarray(options["labels"])[pick]}
        if row.compiled and "axis_ratio" not in held:
            feature = _brief(row, xyz[pick], held)
        else:
            feature = fit(xyz[pick], row.name, **part).associated
        if feature is not None:
            found.append(feature)
    return found


def _brief(row: Row, points: np.ndarray, held: dict[str, Any]) -> Feature | None:
    """A feature near a few points: one of their local optima will do, the median of all points judges it."""
    from metrology_core.fitting.canonical import canonical_frame, feature_of
    from metrology_core.fitting.solver import least_squares

    space = np.zeros((len(points), 3))
    space[:, : row.dimension] = points
    answer = least_squares(row, space, np.empty(0), held, None, brief=True)
    if answer.outcome not in ("converged", "not_converged"):
        return None
    try:
        return feature_of(row, canonical_frame(row, answer.pose), answer.centre, answer.scale)
    except ParameterError:  # a size of zero
        return None


def _reweight(
    plain: Any, feature: Any, xyz: np.ndarray, base: np.ndarray, finite: np.ndarray, method: str
) -> tuple[float, Any, float, int] | None:
    """(final scale, feature, scale, turns) of iterated reweighting from a feature."""
    root = np.sqrt(base / base[finite].max())
    scale = 0.0
    current = feature
    for turn in range(_TURNS):
        distance = np.zeros(len(xyz))
        distance[finite] = _distance(current, xyz[finite]) * root[finite]
        scale = _MAD * float(np.median(distance[finite]))
        if not scale > 0.0:
            return scale, current, float(np.spacing(np.abs(xyz[finite]).max())) * 8.0, turn
        u = distance / scale
        if method == "huber":
            w = np.where(u <= TUNING["huber"], 1.0, TUNING["huber"] / np.maximum(u, 1e-300))
        else:
            w = np.where(u < TUNING["tukey"], (1.0 - (u / TUNING["tukey"]) ** 2) ** 2, 0.0)
        result = plain(np.where(finite, base * w, 0.0), current)
        if result.associated is None:
            return None
        moved = _distance(result.associated, xyz[finite]) * root[finite]
        change = float(np.abs(moved - distance[finite]).max())
        current = result.associated
        if change <= 1e-6 * scale:
            break
    return scale, current, scale, turn + 1
