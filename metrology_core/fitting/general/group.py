"""Several features on one frame: a rigid nominal pattern is moved, and its sizes changed, to fit all points at once.

Coaxial cylinders, hole patterns, a bore square to a face: what the nominal features share stays exactly as nominal,
since only one rigid motion and the sizes are free. Directions of motion that the pattern does not feel (turning
coaxial cylinders) stay where the start has them and are reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.data.frames import Rigid
from metrology_core.errors import FitError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.general.models import _LENGTHS, displaced
from metrology_core.fitting.general.rows import feature_rows

_TURNS = 100
_BLIND = 1e-9  # singular value of J with unit columns, relative, below which a motion changes nothing


@dataclass(frozen=True, eq=False)
class PatternFit:
    """Features of a pattern fitted together. `covariance` (q, q) in `chart`: shift_x, shift_y, shift_z, turn_x,
    turn_y, turn_z (rad, about `origin`, the centroid of all points), then one entry ``name.size`` per free size, tied
    ones joined by ``=``.
    `free_motions`: how many motions the pattern does not feel. `forms`: peak to valley of each member about its
    feature.
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

    def require(self) -> PatternFit:
        """This fit if it converged, else `FitError`."""
        if self.status == "converged":
            return self
        raise FitError(f"the fit of the pattern is {self.status}", got=", ".join(self.flags))


def fit_pattern(
    points: Mapping[str, Any],
    nominal: Mapping[str, Feature],
    *,
    sizes: str = "free",
    tied: Sequence[Sequence[str]] = (),
    start: Rigid | None = None,
) -> PatternFit:
    """Least-squares fit of a rigid pattern of 3-D features to their points.

    points: (n, 3) per member; nominal: the feature of each member, in the nominal frame; sizes: ``"free"`` (every
    radius and length is fitted) or ``"nominal"``; tied: groups of sizes that have one value, such as
    ``[("left.radius", "right.radius")]``, fitted also where the others are nominal; start: rough motion from the
    nominal frame to that of the points (default: none). Raises `ParameterError` for wrong use; points that are not
    finite are left out and flagged.
    """
    if set(points) != set(nominal) or not nominal:
        raise ParameterError("points and nominal name different members", expected="the same names, at least one")
    if sizes not in ("free", "nominal"):
        raise ParameterError("unknown treatment of sizes", expected="'free' or 'nominal'", got=repr(sizes))
    data: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for name, feature in nominal.items():
        array = np.asarray(points[name], dtype=np.float64)
        if feature.dimension != 3 or array.ndim != 2 or array.shape[1] != 3:
            raise ParameterError(f"member {name!r} is not a 3-D feature with points (n, 3)", got=str(array.shape))
        finite = np.isfinite(array).all(axis=1)
        if not finite.all():
            notes.append("non_finite_points")
        data[name] = array[finite]
    motion = Rigid.identity() if start is None else start
    everything = np.concatenate(list(data.values()))
    origin = everything.mean(axis=0) if len(everything) else np.zeros(3)
    state: dict[str, Any] = {name: feature.transform(motion) for name, feature in nominal.items()}
    free = _free_sizes(nominal, sizes == "free", tied)
    for owners in free:
        if len(owners) > 1:  # one value from the start on
            value = sum(float(getattr(state[name], size)) for name, size in owners) / len(owners)
            for name, size in owners:
                state[name] = replace(state[name], **{size: value})
    words = ("=".join(f"{name}.{size}" for name, size in owners) for owners in free)
    chart = ("shift_x", "shift_y", "shift_z", "turn_x", "turn_y", "turn_z", *words)
    reach = max(float(np.abs(everything - origin).max(initial=0.0)), 1e-300)
    unit = np.array([1.0, 1.0, 1.0, reach, reach, reach, *[1.0] * len(free)])

    def rows(features: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = [], []
        for name, feature in features.items():
            found = feature_rows(feature, data[name])
            y = data[name] - origin
            j = np.zeros((*found.c.shape, len(chart)))
            j[..., :3] = -found.d
            j[..., 3:6] = -np.cross(y, found.d)  # -D.(turn x y) = -turn.(y x D)
            for k, owners in enumerate(free):
                for owner, size in owners:
                    if owner == name:
                        j[..., 6 + k] += found.j[..., feature.chart.index(size)]
            values.append(found.c.reshape(-1))
            slopes.append(j.reshape(-1, len(chart)))
        return np.concatenate(values), np.concatenate(slopes) / unit

    def moved(features: dict[str, Any], step: np.ndarray) -> tuple[dict[str, Any], Rigid]:
        step = step / unit
        turn = step[3:6]
        angle = float(np.linalg.norm(turn))
        k = np.array(((0.0, -turn[2], turn[1]), (turn[2], 0.0, -turn[0]), (-turn[1], turn[0], 0.0)))
        rotation = np.eye(3)
        if angle > 0.0:
            half = math.sin(0.5 * angle) / (0.5 * angle)
            rotation = rotation + (math.sin(angle) / angle) * k + 0.5 * half * half * (k @ k)
        rigid = Rigid.nearest(rotation, origin + step[:3] - rotation @ origin)
        result = {}
        for name, feature in features.items():
            delta = np.zeros(len(feature.chart))
            for i, owners in enumerate(free):
                for owner, size in owners:
                    if owner == name:
                        delta[feature.chart.index(size)] = step[6 + i]
            result[name] = displaced(feature, delta).transform(rigid)
        return result, rigid

    c, j = rows(state)
    if len(c) == 0:
        return _none(state, motion, chart, origin, notes)
    cost, damping, count, length = float(c @ c), 1e-3, 0, math.inf
    best, best_length, best_motion = state, math.inf, motion
    previous = math.inf
    undamped = False
    for _ in range(_TURNS):
        count += 1
        undamped = undamped or damping < 1e-9 or length < 1e-7
        norms = np.linalg.norm(j, axis=0)
        norms[norms == 0.0] = 1.0
        left, right = j / norms, -c
        if not undamped:
            left = np.vstack((left, math.sqrt(damping) * np.eye(len(chart))))
            right = np.append(right, np.zeros(len(chart)))
        step = np.linalg.lstsq(left, right, rcond=_BLIND)[0] / norms
        length = float(np.abs(step).max()) / reach
        if undamped:
            if length <= best_length:
                best, best_length, best_motion = state, length, motion
            if length < 1e-16 or (length < 1e-10 and length >= 0.5 * previous):
                break
            previous = length
        trial, rigid = moved(state, step * min(1.0, 0.5 * reach / max(float(np.abs(step).max()), 1e-300)))
        c_new, j_new = rows(trial)
        if undamped or float(c_new @ c_new) <= cost:
            state, c, j, cost = trial, c_new, j_new, float(c_new @ c_new)
            motion = Rigid.nearest(
                rigid.rotation @ motion.rotation, rigid.rotation @ motion.translation + rigid.translation
            )
            damping *= 0.1
        else:
            damping = 4.0 * max(damping, 1e-9)
    state, motion = best, best_motion
    c, j = rows(state)
    norms = np.linalg.norm(j, axis=0)
    safe = np.where(norms > 0.0, norms, 1.0)
    _, values, vectors = np.linalg.svd(j / safe, full_matrices=False)
    seen = values > _BLIND * values[0]
    blind = len(chart) - int(seen.sum())
    dof = len(c) - int(seen.sum())
    sigma = math.sqrt(float(c @ c) / dof) if dof > 0 else math.nan
    half = (vectors[seen] / values[seen, None]) / (safe * unit)
    covariance = sigma**2 * half.T @ half
    covariance.setflags(write=False)
    gradient = float((np.abs(j.T @ c) / safe).max()) / max(float(np.linalg.norm(c)), 1e-300)
    status = "converged" if best_length < 1e-9 else "not_converged"
    if dof <= 0:
        notes.append("zero_redundancy")
    if status != "converged":
        notes.append("not_converged")
    residuals = {name: feature.distance(data[name]) for name, feature in state.items()}
    forms = {name: float(np.ptp(d)) if len(d) else math.nan for name, d in residuals.items()}
    proof = {
        "gradient": gradient,
        "step": best_length,
        "condition": float(values[0] / values[seen][-1]),
        "passes": count,
    }
    return PatternFit(
        dict(state), motion, status, _flags.merge(notes), chart, covariance, origin, sigma, dof, blind, residuals,
        forms, proof,
    )  # fmt: skip


def _free_sizes(
    nominal: Mapping[str, Feature], every: bool, tied: Sequence[Sequence[str]]
) -> list[tuple[tuple[str, str], ...]]:
    """Groups of (member, size) that have one free value each, in the order of the members; checked."""
    known = {f"{name}.{s}": (name, s) for name, f in nominal.items() for s in f.chart if s in _LENGTHS}
    group_of: dict[str, tuple[str, ...]] = {}
    for group in tied:
        names = (group,) if isinstance(group, str) else tuple(group)
        for word in names:
            if word not in known or word in group_of or len(set(names)) < 2:
                raise ParameterError(
                    "sizes that are tied are not named once each",
                    expected="groups of two or more of " + ", ".join(known),
                    got=repr(group)[:80],
                )
        if any(nominal[known[w][0]].kind == "cone" for w in names):
            raise ParameterError("the radius of a cone depends on its section and cannot be tied", got=repr(group)[:80])
        group_of.update(dict.fromkeys(names, names))
    result = []
    for word, owner in known.items():
        names = group_of.get(word, ())
        if names and word == min(names, key=list(known).index):
            result.append(tuple(known[w] for w in sorted(names, key=list(known).index)))
        elif not names and every:
            result.append((owner,))
    return result


def _none(
    state: dict[str, Any], motion: Rigid, chart: tuple[str, ...], origin: np.ndarray, notes: list[str]
) -> PatternFit:
    q = len(chart)
    nan = math.nan
    return PatternFit(
        dict(state), motion, "insufficient", _flags.merge([*notes, "insufficient"]), chart, np.full((q, q), nan),
        origin, nan, 0, 0, {}, {}, {},
    )  # fmt: skip


__all__ = ["PatternFit", "fit_pattern"]
