"""Zone criteria of features that the kernels do not know: parallel planes, slots, and inscribed or circumscribed
cones, tori and ellipses of a fixed shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.fitting.general import models
from metrology_core.fitting.general.base import Problem, Request
from metrology_core.fitting.general.finish import (
    STABLE_GAP,
    build,
    declared_noise,
    failed,
    original,
    side_of,
)
from metrology_core.fitting.general.minimax import ZoneModel, solve
from metrology_core.fitting.general.models import rescaled
from metrology_core.fitting.general.rows import feature_rows
from metrology_core.fitting.general.solution import EPS, Solution
from metrology_core.fitting.result import Fit
from metrology_core.fitting.zone.criteria import PARALLEL_PLANES, SHAPE
from metrology_core.fitting.zone.result import ZoneFit

_SIZE = {"cone": "radius", "torus": "minor_radius", "ellipse": "scale", "parallel_planes": "width"}


def zone_request(request: Request, problem: Problem) -> Fit:
    """The fit by a zone criterion."""
    row, criterion = request.row, request.criterion
    radial = criterion in ("maximum_inscribed", "minimum_circumscribed")
    free = problem.free.copy()
    chart = list(problem.base.chart)
    in_plane = row.dimension == 3 and row.name in ("circle", "ellipse", "slot")
    if in_plane:  # the plane is that of the least-squares element: a zone must not choose its section
        for name in ("shift_w", "tilt_u", "tilt_v"):
            free[chart.index(name)] = False
    size = _SIZE[row.name] if radial else None
    if size == "scale":
        free[[chart.index("semi_major"), chart.index("semi_minor")]] = False
    elif size is not None:
        free[chart.index(size)] = False
    model = problem.model(
        free=free, first_only=True, weights=None, ratio=problem.ratio and not radial, keep_radius=radial,
    )  # fmt: skip
    plus, minus = criterion != "maximum_inscribed", criterion != "minimum_circumscribed"
    zone = ZoneModel(model, plus, minus, size)
    found = solve(zone, model.start, several=criterion == "maximum_inscribed" or _thick(zone, row))
    if radial:
        found = _settle(zone, found, str(size))
    if found.status == "degenerate":
        return failed(request, len(problem.points), "degenerate", found.reason)
    state = models.canonical(found.state)
    if row.kind == PARALLEL_PLANES and float(state.normal @ found.state.normal) < 0.0:
        assert problem.sides is not None
        problem.sides = model.sides = -problem.sides
    found.state = state
    return _result(request, problem, zone, found)


def _thick(zone: ZoneModel, row: Any) -> bool:
    """Whether the points scatter so much that several minima must be expected: over 4 % of the size."""
    state: Any = zone.start
    spread = float(np.ptp(zone.rows(state).c[0]))
    sizes = {"cone": "radius", "torus": "minor_radius", "ellipse": "semi_minor", "slot": "width"}
    name = sizes.get(row.name)
    size = 0.5 if name is None else max(abs(float(getattr(state, name))), 1e-3)
    return spread > 0.04 * size


def _settle(zone: ZoneModel, found: Solution, size: str) -> Solution:
    """Take the size into the state and solve again until it no longer changes: distances of ellipses bend with it."""
    before = math.inf
    for _ in range(12):
        if found.status not in ("converged", "exact"):
            return found
        amount = found.h if zone.plus else -found.h
        try:
            state = zone.model.grown(found.state, size, amount)
        except ParameterError:
            found.status, found.reason = "degenerate", "no such feature has all points on this side"
            return found
        if size != "scale" or abs(amount) <= 4.0 * EPS:
            found.state = state
            found.h = 0.0
            return found
        if abs(amount) > 0.5 * before:
            break
        before = abs(amount)
        again = solve(zone, state, several=False, trust=min(0.3, 10.0 * abs(amount)))
        again.starts, again.ties, again.alternatives = found.starts, found.ties, found.alternatives
        found = again
    found.status, found.reason = "not_converged", "the size did not settle"
    return found


def response_of(zone: ZoneModel, found: Solution) -> np.ndarray:
    """(q + 1, k, d) change of the free coordinates and of h (last) per displacement of the contacts, scaled."""
    q, ids = zone.size, found.active
    signs, lam = found.signs, found.multipliers
    k = len(ids)
    rows = zone.part(found.state, ids)
    d = rows.d.shape[2]
    matrix = np.zeros((q + k + 1, q + k + 1))
    a = signs[:, None] * rows.j[0]
    held = q > 0 and int((np.linalg.svd(a, compute_uv=False) > 1e-6).sum()) == q
    if q:
        from metrology_core.fitting.general.minimax import _hessian

        matrix[:q, :q] = _hessian(zone, found.state, ids, signs * lam)
    matrix[:q, q : q + k], matrix[q : q + k, :q] = a.T, a
    matrix[q : q + k, -1] = matrix[-1, q : q + k] = -1.0
    right = np.zeros((q + k + 1, d * k))
    for i in range(k):
        right[q + i, d * i : d * (i + 1)] = signs[i] * rows.d[0, i]
    if q and not held:
        for i in range(k):
            for axis in range(d):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = zone.model.nudged(int(ids[i]), axis, step)
                    other = ZoneModel(moved, zone.plus, zone.minus, zone.size_name)
                    ends.append(other.part(found.state, np.zeros(1, np.int64)).j[0, 0])
                right[:q, d * i + axis] = lam[i] * signs[i] * (ends[0] - ends[1]) / 2e-6
    solved = -np.linalg.pinv(matrix) @ right
    return np.asarray(np.concatenate((solved[:q], solved[-1:])).reshape(q + 1, k, d))


def _result(request: Request, problem: Problem, zone: ZoneModel, found: Solution) -> Fit:
    row, scale, criterion = request.row, problem.scale, request.criterion
    state, ids = found.state, found.active
    radial = zone.size_name is not None
    chart = list(state.chart)
    p, d, k = len(chart), problem.points.shape[1], len(ids)
    if k:
        response = response_of(zone, found)
    else:
        response = np.zeros((zone.size + 1, 0, d))
    full = np.einsum("pq,qkd->pkd", zone.model.basis(state), response[:-1])
    change = response[-1] * (1.0 if zone.plus else -1.0)
    if radial:
        if zone.size_name == "scale":
            full[chart.index("semi_major")] += change
            full[chart.index("semi_minor")] += change * (state.semi_minor / state.semi_major)
        else:
            full[chart.index(str(zone.size_name))] += change
    middle = state
    sign = 0.0
    if criterion in ("minimum_zone_outside", "minimum_zone_inside"):
        sign = -side_of(criterion, request.material)
        middle = state.offset(sign * found.h)
        for name in ("width", "length"):
            if name in chart:
                full[chart.index(name)] += 2.0 * sign * response[-1]
    unit = np.where(zone.model.angles, scale, 1.0)
    contact_response = full * unit[:, None, None]
    each, noise, words = declared_noise(request, problem)
    request.settings["noise"] = words
    variance = np.full(k, noise**2) if each is None else each[ids] ** 2
    covariance = np.einsum("pkd,k,qkd->pq", contact_response, variance, contact_response)
    if found.status == "exact" or not math.isfinite(noise):
        covariance = np.full((p, p), math.nan)
    covariance = _with_plane(request, problem, covariance)
    notes = request.notes
    status = found.status
    if status == "exact":
        status = "converged"
    elif status == "converged":
        if not found.gap / scale >= STABLE_GAP * noise:
            notes.append("contacts_unstable")
        if found.ties or not found.unique:
            status = "non_unique"
            notes.append("non_unique")
    else:
        notes.append(status)
    dof = len(problem.points) * row.rows_per_point - int(problem.free.sum())
    if dof <= 0:
        notes.append("zero_redundancy")
        if status == "converged" and not row.exact_is_unique and not radial:
            status = "non_unique"
            notes.append("non_unique")
    associated = rescaled(middle, problem.centre, scale, back=True)
    held = {key: value for key, value in request.held.items() if key not in ("axis_ratio", row.axis)}
    if held and not (radial and row.kind in SHAPE and row.name == "ellipse") and not sign:
        from dataclasses import replace

        associated = replace(associated, **held)
    if request.material is not None:
        associated = associated.with_material(request.material)
    form_points, form_response = _form(problem, zone, found, full)
    from metrology_core.fitting.entry import _compensate

    feature, covariance = _compensate(row, request.given.source, associated, covariance, notes, request.settings)
    covariance.setflags(write=False)
    rows_of = original(problem)
    optimality: dict[str, Any] = {
        "residual": found.residual,
        "contacts": rows_of[ids].tolist(),
        "signs": [int(s) for s in found.signs],
        "multipliers": found.multipliers.tolist(),
        "n_contacts": k,
        "unique": bool(found.unique and not found.ties),
        "gap": found.gap / scale,
        "starts": found.starts,
        "ties": found.ties,
        "iterations": found.iterations,
    }
    if found.alternatives:
        optimality["alternatives"] = [
            {name: np.asarray(value).tolist() for name, value in rescaled(
                models.canonical(other), problem.centre, scale, back=True
            ).parameters.items()}
            for other in found.alternatives
        ]  # fmt: skip
    if found.reason:
        optimality["reason"] = found.reason
    return build(
        request, problem, associated, feature, status, dof, covariance, optimality,
        {
            "contacts": rows_of[ids],
            "contact_sensitivities": contact_response,
            "form_points": rows_of[form_points],
            "form_sensitivities": form_response,
            "noise": noise,
        },
        ZoneFit,
    )  # fmt: skip


def _with_plane(request: Request, problem: Problem, covariance: np.ndarray) -> np.ndarray:
    """Curves in space: the plane is the least-squares one and brings its own covariance."""
    row = request.row
    if row.dimension == 2 or row.name not in ("ellipse", "slot"):
        return covariance
    from metrology_core.fitting.general.least import weighted

    model = problem.model()
    _, j = weighted(model, problem.base)
    b = model.basis(problem.base)
    unit = np.where(model.angles, 1.0, 1.0 / problem.scale)
    own = (b @ np.linalg.pinv(j.T @ j) @ b.T) * np.outer(unit, unit) * (problem.sigma * problem.scale) ** 2
    index = [list(problem.base.chart).index(name) for name in ("shift_w", "tilt_u", "tilt_v")]
    plane = np.ix_(index, index)
    covariance = covariance.copy()
    covariance[plane] = own[plane]
    return covariance


def _form(problem: Problem, zone: ZoneModel, found: Solution, full: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that the form depends on and (m, d) its derivative with respect to each."""
    ids, d = found.active, problem.points.shape[1]
    rows = feature_rows(found.state, problem.local, problem.sides)
    if not len(ids):
        return ids, np.zeros((0, d))
    if zone.size_name is None:
        return ids, 2.0 * (found.multipliers * found.signs)[:, None] * rows.d[0, ids]
    sign = 1.0 if zone.minus else -1.0
    other = int(np.argmax(sign * rows.c[0]))
    lever = sign * np.einsum("p,pkd->kd", rows.j[0, other], full)
    if other in ids.tolist():
        return ids, lever
    return np.append(ids, other), np.concatenate((lever, sign * rows.d[0, other : other + 1]))
