"""Several features on one frame: a rigid nominal pattern is moved, and its sizes changed, to fit all points at once.

Coaxial cylinders, hole patterns, a bore square to a face: what the nominal features share stays exactly as nominal,
since only one rigid motion and the sizes are free. Directions of motion that the pattern does not feel (turning
coaxial cylinders) stay where the start has them and are reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data.frames import Rigid
from metrology_core.errors import CriterionError, FitError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.general.finish import STABLE_GAP
from metrology_core.fitting.general.models import rescaled
from metrology_core.fitting.general.pattern import MOTIONS, PatternModel, Pose, compose, free_sizes, with_one_value
from metrology_core.fitting.general.solution import Solution

_TURNS = 100
_BLIND = 1e-9  # singular value of J with unit columns, relative, below which a motion changes nothing
_ROUGH = 0.01  # residuals over the extent that no workpiece has: without a start, another minimum is likely
CRITERIA = ("least_squares", "minimum_zone")


@dataclass(frozen=True, eq=False)
class PatternFit:
    """Features of a pattern fitted together. `covariance` (q, q) in `chart`: shift_x, shift_y, shift_z, turn_x,
    turn_y, turn_z (rad, about `origin`, the centroid of all points), then one entry ``name.size`` per free size, tied
    ones joined by ``=``.
    `free_motions`: how many motions the pattern does not feel; they have no share in `covariance`, which is that of the
    motions it feels. A member without usable points makes the fit ``insufficient``; `other_minima`: residuals that no
    workpiece has, without a `start`. `forms`: peak to valley of each member about its
    feature. `zone`: width of the zone that holds every member, twice the largest distance. `optimality`: least
    squares: ``gradient``, ``step``, ``condition``, ``passes``; minimum zone: ``residual``, ``contacts`` (member ->
    rows of its points as given), ``signs``, ``multipliers``, ``gap``, ``unique``.
    """

    features: dict[str, Feature]
    motion: Rigid
    status: str
    flags: tuple[str, ...]
    chart: tuple[str, ...]
    covariance: np.ndarray
    origin: np.ndarray
    sigma: float
    dof: int
    free_motions: int
    residuals: dict[str, np.ndarray]
    forms: dict[str, float]
    optimality: dict[str, Any]
    criterion: str = "least_squares"
    zone: float = math.nan

    def require(self) -> PatternFit:
        """This fit if it converged, else `FitError`."""
        if self.status == "converged":
            return self
        raise FitError(f"the fit of the pattern is {self.status}", got=", ".join(self.flags))


def fit_pattern(
    points: Mapping[str, Any],
    nominal: Mapping[str, Feature],
    *,
    criterion: str = "least_squares",
    sizes: str = "free",
    tied: Sequence[Sequence[str]] = (),
    start: Rigid | None = None,
) -> PatternFit:
    """Fit of a rigid pattern of 3-D features to their points.

    points: (n, 3) per member; nominal: the feature of each member, in the nominal frame; criterion:
    ``"least_squares"``, or ``"minimum_zone"``, the least largest distance over all members (one zone of one width
    about the whole pattern, as simultaneous requirements ask; members are surfaces, not curves); sizes: ``"free"``
    (every radius and length is fitted) or ``"nominal"``; tied: groups of sizes that have one value, such as
    ``[("left.radius", "right.radius")]``, fitted also where the others are nominal; start: rough motion from the
    nominal frame to that of the points (default: none). Raises `ParameterError` for wrong use, `CriterionError` for a
    criterion or a member that it does not apply to; points that are not finite are left out and flagged.
    """
    if set(points) != set(nominal) or not nominal:
        raise ParameterError("points and nominal name different members", expected="the same names, at least one")
    if sizes not in ("free", "nominal"):
        raise ParameterError("unknown treatment of sizes", expected="'free' or 'nominal'", got=repr(sizes))
    if criterion not in CRITERIA:
        raise CriterionError("patterns take no such criterion", expected=" or ".join(CRITERIA), got=repr(criterion))
    data, finite, notes = _checked(points, nominal, criterion)
    motion = Rigid.identity() if start is None else start
    everything = np.concatenate(list(data.values()))
    origin = everything.mean(axis=0) if len(everything) else np.zeros(3)
    free = free_sizes(nominal, sizes == "free", tied)
    words = ("=".join(f"{name}.{size}" for name, size in owners) for owners in free)
    chart = (*MOTIONS, *words)
    state = with_one_value({name: feature.transform(motion) for name, feature in nominal.items()}, free)
    empty = [name for name, part in data.items() if not len(part)]
    if empty:  # nothing would tell the size of such a member, nor that it is there
        return _none(state, motion, chart, origin, notes, criterion, f"no usable points of {', '.join(empty)}")
    reach = max(float(np.abs(everything - origin).max()), 1e-300)
    model = PatternModel(
        (everything - origin) / reach,
        np.repeat(np.arange(len(data)), [len(part) for part in data.values()]),
        list(data),
        free,
        Pose.of([rescaled(feature, origin, 1.0 / reach) for feature in state.values()], Rigid.identity()),
    )
    pose, length, count = _least_squares(model)
    c, j = model.stacked(pose)
    norms = np.linalg.norm(j, axis=0)
    safe = np.where(norms > 0.0, norms, 1.0)
    _, values, vectors = np.linalg.svd(j / safe, full_matrices=False)
    seen = values > _BLIND * values[0]
    dof = len(c) - int(seen.sum())
    sigma = math.sqrt(float(c @ c) / dof) if dof > 0 else math.nan
    half = (vectors[seen] / values[seen, None]) / safe
    status = "converged" if length < 1e-9 else "not_converged"
    proof: dict[str, Any] = {
        "gradient": float((np.abs(j.T @ c) / safe).max()) / max(float(np.linalg.norm(c)), 1e-300),
        "step": length,
        "condition": float(values[0] / values[seen][-1]),
        "passes": count,
    }
    covariance = sigma**2 * half.T @ half
    if criterion == "minimum_zone":
        model.start = pose
        model.span = np.linalg.qr((vectors[seen] / safe).T)[0]  # what the pattern feels: the rest stays
        found, covariance = _zone(model, sigma)
        pose, status = found.state, "converged" if found.status == "exact" else found.status
        if status == "converged" and not found.gap >= STABLE_GAP * sigma:
            notes.append("contacts_unstable")
        if status == "converged" and not found.unique:
            status = "non_unique"
        proof = _zone_proof(model, found, finite, reach)
    if dof <= 0:
        notes.append("zero_redundancy")
    if start is None and sigma > _ROUGH:
        notes.append("other_minima")
    if status != "converged":
        notes.append(status)
    unit = np.array([reach, reach, reach, 1.0, 1.0, 1.0, *[reach] * len(free)])
    covariance = covariance * np.outer(unit, unit)
    covariance.setflags(write=False)
    features = {
        name: rescaled(feature, origin, 1.0 / reach, back=True) for name, feature in zip(data, pose, strict=True)
    }
    residuals = {name: feature.distance(data[name]) for name, feature in features.items()}
    turned = pose.motion.rotation
    moved = Rigid.nearest(turned, origin + reach * pose.motion.translation - turned @ origin)
    return PatternFit(
        features, compose(moved, motion), status, _flags.merge(notes), chart, covariance, origin, sigma * reach, dof,
        len(chart) - int(seen.sum()), residuals,
        {name: float(np.ptp(d)) if len(d) else math.nan for name, d in residuals.items()}, proof, criterion,
        2.0 * max(float(np.abs(d).max(initial=0.0)) for d in residuals.values()),
    )  # fmt: skip


def _checked(
    points: Mapping[str, Any], nominal: Mapping[str, Feature], criterion: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Finite points of each member, the rows that they were given in, and flags."""
    data: dict[str, np.ndarray] = {}
    rows: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name, feature in nominal.items():
        if not isinstance(feature, Feature):
            raise ParameterError(
                f"the nominal of member {name!r} is not a feature",
                expected="for example Cylinder(point, axis, radius)",
                got=repr(feature)[:60],
            )
        array = np.asarray(points[name], dtype=np.float64)
        if feature.dimension != 3 or array.ndim != 2 or array.shape[1] != 3:
            raise ParameterError(f"member {name!r} is not a 3-D feature with points (n, 3)", got=str(array.shape))
        if criterion == "minimum_zone" and feature.kind in ("line", "circle", "ellipse", "slot"):
            raise CriterionError(
                f"member {name!r} is a curve: its points leave it in two directions, and a zone has one width",
                expected="surfaces (plane, sphere, cylinder, cone, torus, parallel planes)",
                got=feature.kind,
                remedy="criterion='least_squares'",
            )
        finite = np.isfinite(array).all(axis=1)
        if not finite.all():
            notes.append("non_finite_points")
        data[name] = array[finite]
        rows[name] = np.flatnonzero(finite)
    return data, rows, notes


def _least_squares(model: PatternModel) -> tuple[Pose, float, int]:
    """(pose, length of its last step, passes): damped Gauss-Newton, then plain steps down to rounding."""
    state: Pose = model.start
    c, j = model.stacked(state)
    cost, damping, count, length = float(c @ c), 1e-3, 0, math.inf
    best, best_length = state, math.inf
    previous = math.inf
    undamped = False
    for _ in range(_TURNS):
        count += 1
        undamped = undamped or damping < 1e-9 or length < 1e-7
        norms = np.linalg.norm(j, axis=0)
        norms[norms == 0.0] = 1.0
        left, right = j / norms, -c
        if not undamped:
            left = np.vstack((left, math.sqrt(damping) * np.eye(model.size)))
            right = np.append(right, np.zeros(model.size))
        step = np.linalg.lstsq(left, right, rcond=_BLIND)[0] / norms
        length = float(np.abs(step).max())
        if undamped:
            if length <= best_length:
                best, best_length = state, length
            if length < 1e-16 or (length < 1e-10 and length >= 0.5 * previous):
                break
            previous = length
        trial = model.move(state, step * min(1.0, 0.5 / max(length, 1e-300)))
        c_new, j_new = model.stacked(trial)
        if undamped or float(c_new @ c_new) <= cost:
            state, c, j, cost = trial, c_new, j_new, float(c_new @ c_new)
            damping *= 0.1
        else:
            damping = 4.0 * max(damping, 1e-9)
    return best, best_length, count


def _zone(model: PatternModel, sigma: float) -> tuple[Solution, np.ndarray]:
    """The minimum zone from the least-squares pose, and the covariance of the chart with its contacts held."""
    from metrology_core.fitting.general.minimax import ZoneModel, solve
    from metrology_core.fitting.general.zones import response_of

    zone = ZoneModel(model, True, True)
    found = solve(zone, model.start, several=False)
    q = len(model.span)
    if found.status != "converged" or not len(found.active) or not math.isfinite(sigma):
        return found, np.full((q, q), math.nan)
    response = np.einsum("pq,qkd->pkd", model.span, response_of(zone, found)[:-1])
    return found, sigma**2 * np.einsum("pkd,qkd->pq", response, response)


def _zone_proof(model: PatternModel, found: Solution, finite: Mapping[str, np.ndarray], reach: float) -> dict[str, Any]:
    first = np.concatenate(([0], np.cumsum([len(rows) for rows in finite.values()])))
    contacts: dict[str, list[int]] = {name: [] for name in finite}
    for i in found.active:
        member = int(model.owner[i])
        contacts[model.names[member]].append(int(finite[model.names[member]][i - first[member]]))
    proof = {
        "residual": found.residual,
        "contacts": contacts,
        "signs": [int(s) for s in found.signs],
        "multipliers": found.multipliers.tolist(),
        "unique": bool(found.unique),
        "gap": found.gap * reach,
        "iterations": found.iterations,
    }
    if found.reason:
        proof["reason"] = found.reason
    return proof


def _none(
    state: dict[str, Any],
    motion: Rigid,
    chart: tuple[str, ...],
    origin: np.ndarray,
    notes: list[str],
    criterion: str,
    reason: str,
) -> PatternFit:
    q = len(chart)
    nan = math.nan
    return PatternFit(
        dict(state), motion, "insufficient", _flags.merge([*notes, "insufficient"]), chart, np.full((q, q), nan),
        origin, nan, 0, 0, {}, {}, {"reason": reason}, criterion,
    )  # fmt: skip


__all__ = ["PatternFit", "fit_pattern"]
