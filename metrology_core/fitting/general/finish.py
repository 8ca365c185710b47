"""From checked arguments to the result of a criterion that the compiled paths do not solve."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.fitting.canonical import pose_of
from metrology_core.fitting.general import models
from metrology_core.fitting.general.absolute import least_absolute
from metrology_core.fitting.general.base import Problem, Request, base_of, free_mask, needed_points
from metrology_core.fitting.general.constrained import one_sided_least_squares
from metrology_core.fitting.general.least import conditioning, least_squares, weighted
from metrology_core.fitting.general.models import FeatureModel, rescaled
from metrology_core.fitting.general.result import GeneralFit
from metrology_core.fitting.general.rows import feature_rows
from metrology_core.fitting.general.solution import Solution
from metrology_core.fitting.problem import off_plane
from metrology_core.fitting.result import Evidence, Fit
from metrology_core.fitting.table import CRITERIA, Row
from metrology_core.fitting.zone.criteria import PARALLEL_PLANES, SHAPE
from metrology_core.kernels import layout

ONE_SIDED = ("least_squares_outside", "least_squares_inside")
NEED_MATERIAL = (*ONE_SIDED, "minimum_zone_outside", "minimum_zone_inside")
STABLE_GAP = 20.0
ILL_CONDITIONED = 1e3


def solve_request(request: Request) -> Fit:
    """The fit; bad data give a status."""
    row = request.row
    xyz = request.given.array
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.all():
        request.notes.append("non_finite_points")
    used = finite & (request.weights > 0.0) if request.weights.size else finite
    m = int(used.sum())
    needed = needed_points(row, request.held)
    if m < needed:
        return failed(request, m, "insufficient", f"{m} usable points, {needed} needed")
    points = np.ascontiguousarray(xyz[used])
    weights = np.ascontiguousarray(request.weights[used]) if request.weights.size else None
    labels = request.labels[used] if request.labels is not None else None
    base = base_of(request, points, weights, labels)
    if isinstance(base, str):
        status, _, reason = base.partition(": ")
        return failed(request, m, status, reason)
    base.used = None if used.all() else used
    if request.covariances is not None:
        base.covariances = request.covariances[used]
    return finish(request, base)


def failed(request: Request, m: int, status: str, reason: str) -> Fit:
    """A result without a feature."""
    row = request.row
    p = sum(row.free)
    nan = math.nan
    return Fit(
        feature=None, associated=None, criterion=request.criterion, unit=request.given.unit, status=status,
        flags=_flags.merge([*request.notes, status]), n_points=len(request.given.array), n_used=m,
        dof=max(0, m * row.rows_per_point - p), rms=nan, sigma=nan, form=nan, form_kind=form_words(request),
        covariance=np.full((p, p), nan), optimality={"reason": reason}, settings=request.settings, extent=None,
        reach=nan, kind=row.name,
    )  # fmt: skip


def form_words(request: Request) -> str:
    """What the form of this fit is."""
    row, criterion = request.row, request.criterion
    if criterion == "minimum_zone" and not request.held:
        if row.name == "parallel_planes":
            return "width of the two equal zones, parallel and a common distance apart"
        return "width of the minimum zone (ISO 1101 form)"
    held = " with fixed parameters" if request.held else ""
    if row.name == "line" and row.dimension == 3:
        return f"diameter of the enclosing cylinder about the {CRITERIA[criterion][1]} line{held}"
    return f"peak to valley of the normal distances about the {CRITERIA[criterion][1]} {row.name}{held}"


def finish(request: Request, problem: Problem) -> Fit:
    """Solve the criterion from the least-squares feature and make the result."""
    from metrology_core.fitting.general.zones import zone_request

    criterion = request.criterion
    if criterion == "least_squares":
        if problem.covariances is not None:
            from metrology_core.fitting.general.mahalanobis import fit_covariances

            return fit_covariances(request, problem)
        model = problem.model()
        solution = least_squares(model, model.start)
    elif criterion in ONE_SIDED:
        model = problem.model()
        solution = _one_sided(request, problem, model)
    elif criterion == "least_absolute":
        model = problem.model()
        solution = least_absolute(model, model.start)
    else:
        return zone_request(request, problem)
    return result(request, problem, model, solution)


def side_of(criterion: str, material: str | None) -> float:
    """Sign of the distances that a one-sided feature leaves to the points: outside a shaft none is positive."""
    outside = criterion.endswith("_outside")
    return -1.0 if outside == (material == "inside") else 1.0


def _one_sided(request: Request, problem: Problem, model: FeatureModel) -> Solution:
    side = side_of(request.criterion, request.material)
    solution = one_sided_least_squares(model, model.start, side)
    if solution.status != "degenerate" and models.flipped(solution.state):
        # the sign rule turns the feature, and with it what lies inside of it
        solution = one_sided_least_squares(model, _turned(solution.state), side)
    return solution


def _turned(feature: Any) -> Any:
    if feature.kind == "plane":
        return replace(feature, normal=-feature.normal)
    return replace(feature, direction=-feature.direction)


def declared_noise(request: Request, problem: Problem) -> tuple[np.ndarray | None, float, str]:
    """((m,) declared standard deviations or None, one number, words)."""
    declared = getattr(request.given.source, "noise", None)
    if declared is None:
        return None, problem.sigma, "residual standard deviation of the least-squares element"
    if np.ndim(declared) == 0:
        return None, float(declared), "declared"
    values = np.asarray(declared) if problem.used is None else np.asarray(declared)[problem.used]
    return values, float(values.max()), "declared"


def result(request: Request, problem: Problem, model: FeatureModel, solution: Solution) -> Fit:
    """The `GeneralFit` of a solution by a smooth or one-sided criterion."""
    if solution.status == "degenerate":
        return failed(request, len(problem.points), "degenerate", solution.reason)
    row, scale = problem.row, problem.scale
    state = models.canonical(solution.state)
    if row.kind == PARALLEL_PLANES and float(state.normal @ solution.state.normal) < 0.0:
        assert problem.sides is not None
        problem.sides = model.sides = -problem.sides
    lengths = ~model.angles
    unit = np.where(lengths, 1.0 / scale, 1.0)
    c, j = weighted(model, state)
    b = model.basis(state)
    condition, _ = conditioning(j)
    q = model.size
    response, contact, words = _responses(request, problem, model, solution, state, j)
    # scaled: response carries (chart / length); in the data's unit lengths come out as they are, angles times scale
    response_full = b @ response @ b.T
    contact_full = b @ contact
    weights = np.ones(len(problem.points)) if problem.weights is None else problem.weights
    covariance, kind = _covariance(request, problem, model, solution, state, response, contact, j, weights)
    covariance = (b @ covariance @ b.T) * np.outer(unit, unit)
    settings, notes = request.settings, request.notes
    settings["noise"] = words
    if kind:
        settings["covariance_kind"] = kind
    status = solution.status
    if status == "exact":
        status = "converged"
    if status == "not_converged":
        notes.append("not_converged")
    dof = len(c) - q
    if dof <= 0:
        notes.append("zero_redundancy")
        if status == "converged" and not row.exact_is_unique:
            status = "non_unique"
            notes.append("non_unique")
    if status == "converged" and not solution.unique:
        status = "non_unique"
        notes.append("non_unique")
    if condition > ILL_CONDITIONED:
        notes.append("ill_conditioned")
    associated = rescaled(state, problem.centre, scale, back=True)
    if request.held:
        associated = _exactly(row, associated, request.held)
    if row.name in ("sphere", "cylinder", "circle") and covariance[-1, -1] > (0.5 * associated.radius) ** 2:
        notes.append("curvature_not_significant")
    if request.material is not None:
        associated = associated.with_material(request.material)
    from metrology_core.fitting.entry import _compensate

    feature, covariance = _compensate(row, request.given.source, associated, covariance, notes, settings)
    covariance.setflags(write=False)
    return build(
        request, problem, associated, feature, status, dof, covariance, _proof(problem, solution, condition),
        {
            "response": response_full * np.outer(unit, unit) * scale * scale,
            "contact_response": contact_full * (unit * scale)[:, None],
            "contacts": original(problem)[solution.active],
            "noise": problem.sigma if words != "declared" else declared_noise(request, problem)[1],
        },
    )  # fmt: skip


def _exactly(row: Row, feature: Any, held: dict[str, Any]) -> Any:
    """Held sizes as they were given, not as rounding left them."""
    values = {k: v for k, v in held.items() if k != "axis_ratio" and k != row.axis}
    return replace(feature, **values) if values else feature


def original(problem: Problem) -> np.ndarray:
    """Rows of the points as given."""
    return np.arange(len(problem.points)) if problem.used is None else np.flatnonzero(problem.used)


def build(
    request: Request, problem: Problem, associated: Any, feature: Any, status: str, dof: int, covariance: np.ndarray,
    optimality: dict[str, Any], extra: dict[str, Any], kind: type[Fit] = GeneralFit,
) -> Fit:  # fmt: skip
    """Assemble a result: residual summaries are about the associated feature."""
    row, given = problem.row, request.given
    points = problem.points
    rows = feature_rows(associated, points, problem.sides)
    first = rows.c[0]
    if row.name == "line" and row.dimension == 3:
        first = np.sqrt(np.einsum("kn,kn->n", rows.c, rows.c))
        form = 2.0 * float(first.max())
    else:
        form = float(np.ptp(first))
    if request.criterion in ("least_squares", "least_absolute", *ONE_SIDED):
        rms = math.sqrt(float(np.sum(rows.c**2)) / len(points))
    else:
        rms = math.sqrt(float(np.mean(first**2)))
    place = getattr(associated, "point", None)
    place = associated.center if place is None else place
    extent = None
    if row.name in ("line", "cylinder", "cone"):
        along = (points - place) @ (associated.direction if row.name == "line" else associated.axis)
        extent = (float(along.min()), float(along.max()))
    reach = float(np.sqrt(np.max(np.sum((points - place) ** 2, axis=1))))
    notes = request.notes
    if off_plane(math.sqrt(float(np.sum(rows.c**2)) / len(points)), form, reach):
        notes = [*notes, "points_not_in_plane"]
    xyz = given.array
    if row.dimension == 2:
        xyz = np.zeros((len(given.array), 3))
        xyz[:, :2] = given.array
    pose = pose_of(row, associated, problem.centre, problem.scale) if row.compiled else np.zeros(layout.POSE)
    free = free_mask(row, associated, request.held)
    columns = [i for i, is_free in enumerate(row.free) if is_free]
    fixed = tuple(columns[i] for i in np.flatnonzero(~free))
    sides = None
    if problem.sides is not None:
        sides = np.zeros(len(xyz))
        sides[original(problem)] = problem.sides
    evidence_weights = request.weights
    return kind(
        feature=feature, associated=associated, criterion=request.criterion, unit=given.unit, status=status,
        flags=_flags.merge(notes), n_points=len(xyz), n_used=len(points), dof=dof, rms=rms,
        sigma=problem.sigma, form=form, form_kind=form_words(request), covariance=covariance, optimality=optimality,
        settings=request.settings, extent=extent,
        reach=reach, kind=row.name,
        _evidence=Evidence(row, xyz, evidence_weights, problem.used, pose, problem.centre, problem.scale, fixed, sides),
        **extra,
    )  # fmt: skip


def _responses(
    request: Request, problem: Problem, model: FeatureModel, solution: Solution, state: Any, j: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str]:
    """P (q, q) and R (q, a): chart change = -P J'W (residual changes) + R (distance changes of the contacts)."""
    q = model.size
    words = declared_noise(request, problem)[2]
    if request.criterion == "least_squares":
        return np.linalg.pinv(j.T @ j), np.empty((q, 0)), words
    rows = model.rows(state)
    a = rows.j[:, solution.active].reshape(-1, q)
    if request.criterion == "least_absolute":
        if not len(a):
            return np.zeros((q, q)), np.empty((q, 0)), words
        hess = solution.hessian if len(a) < q else np.zeros((q, q))
        hess = hess / max(float(np.abs(hess).max(initial=0.0)), 1.0)  # the contacts' rows must not drown in it
        matrix = np.zeros((q + len(a), q + len(a)))
        matrix[:q, :q], matrix[:q, q:], matrix[q:, :q] = hess, a.T, a
        return np.zeros((q, q)), -np.linalg.pinv(matrix)[:q, q:], words
    a = rows.j[0, solution.active]
    k = len(a)
    matrix = np.zeros((q + k, q + k))
    matrix[:q, :q], matrix[:q, q:], matrix[q:, :q] = j.T @ j, a.T, a
    inverse = np.linalg.pinv(matrix)
    return inverse[:q, :q], -inverse[:q, q:], words


def _covariance(
    request: Request, problem: Problem, model: FeatureModel, solution: Solution, state: Any, p: np.ndarray,
    r: np.ndarray, j: np.ndarray, weights: np.ndarray,
) -> tuple[np.ndarray, str]:  # fmt: skip
    """Covariance of the free coordinates in scaled units, and its kind in words."""
    each, sigma, words = declared_noise(request, problem)
    q = model.size
    if solution.status == "exact" or not math.isfinite(sigma):
        return np.full((q, q), math.nan), ""
    scaled = sigma * problem.scale
    rows = model.rows(state)
    if request.criterion == "least_absolute":
        if words == "declared" and solution.gap / problem.scale >= STABLE_GAP * sigma and len(solution.active):
            variance = np.full(r.shape[1], scaled**2)
            if each is not None:
                variance = np.tile((each[solution.active] * problem.scale) ** 2, len(rows.c))
            return (r * variance) @ r.T, "contacts held"
        return _asymptotic(model, rows, weights, solution, q), "asymptotic (density of the residuals at zero)"
    if each is None:
        a = rows.j[0, solution.active]
        lever = p @ a.T
        cov = p @ (j.T @ j) @ p - lever @ r.T - r @ lever.T
        if r.shape[1]:
            cov = cov + (r / weights[solution.active]) @ r.T
        return cov * scaled**2, "contacts held" if request.criterion in ONE_SIDED else ""
    full = rows.j.reshape(-1, q)
    s = -p @ (full * np.tile(weights, len(rows.c))[:, None]).T
    s[:, solution.active] += r
    variance = np.tile((each * problem.scale) ** 2, len(rows.c))
    return (s * variance) @ s.T, "contacts held" if request.criterion in ONE_SIDED else ""


def _asymptotic(model: FeatureModel, rows: Any, weights: np.ndarray, solution: Solution, q: int) -> np.ndarray:
    """Of the median: (J'J)^-1 / (4 f^2), f the density of residuals at zero by a difference quotient of quantiles
    (bandwidth of P. Hall and S. Sheather, J. R. Stat. Soc. B 50 (1988) 381). Curves in space: of the sum of lengths,
    from its own Hessian and gradients (sandwich)."""
    n = rows.c.shape[1]
    root = np.sqrt(weights) / float(np.sqrt(weights).max())
    if len(rows.c) > 1:
        length = np.sqrt(np.einsum("kn,kn->n", rows.c, rows.c))
        unit = np.where(length > 0.0, rows.c / np.where(length > 0.0, length, 1.0), 0.0) * root
        gradient = np.einsum("kn,knq->nq", unit, rows.j)
        inverse = np.linalg.pinv(solution.hessian)
        return np.asarray(inverse @ (gradient.T @ gradient) @ inverse * (n / max(1, n - q)))
    keep = np.ones(n, bool)
    keep[solution.active] = False
    residuals = np.sort((rows.c[0] * root)[keep])
    if len(residuals) < 4:
        return np.full((q, q), math.nan)
    # 0.62035 = (1.5 phi(0)^2)^(1/3) of a standard normal density, 1.5664 = 1.96^(2/3)
    width = min(0.4, 0.62035 * 1.5664 * n ** (-1.0 / 3.0))
    high, low = np.quantile(residuals, 0.5 + width), np.quantile(residuals, 0.5 - width)
    # the fitted points have residual zero: the others are the sample, but the curve is that of all
    density = 2.0 * width / max(float(high - low), 1e-300) * (len(residuals) / n)
    j = rows.j[0] * root[:, None]
    return np.asarray(np.linalg.pinv(j.T @ j) / (4.0 * density**2))


def _proof(problem: Problem, solution: Solution, condition: float) -> dict[str, Any]:
    proof: dict[str, Any] = {
        "residual": solution.residual,
        "step": solution.step,
        "condition": condition,
        "iterations": solution.iterations,
    }
    if len(solution.active):
        proof["contacts"] = original(problem)[solution.active].tolist()
        proof["signs"] = [int(s) for s in solution.signs]
        lam = solution.multipliers
        proof["multipliers"] = (lam[0] if lam.ndim == 2 and len(lam) == 1 else lam).tolist()
        proof["n_contacts"] = len(solution.active)
        proof["unique"] = bool(solution.unique)
        proof["gap"] = solution.gap / problem.scale
    if solution.reason:
        proof["reason"] = solution.reason
    if solution.status == "exact":
        proof["reason"] = "all points lie on the feature to rounding: every condition holds trivially"
    return proof


def check(row: Row, criterion: str, material: str | None, held: dict[str, Any]) -> None:
    """Typed errors for what a criterion of this engine needs."""
    if criterion in NEED_MATERIAL and material is None:
        raise ParameterError(
            f"{CRITERIA[criterion][1]} needs to know where the material is",
            expected="material='inside' (shaft, behind a plane's normal) or 'outside' (bore)",
        )
    if criterion in ("maximum_inscribed", "minimum_circumscribed") and row.kind in SHAPE:
        name = SHAPE[row.kind]
        if name not in held:
            raise CriterionError(
                f"a {criterion.replace('_', ' ')} {row.name} exists only with a known shape",
                expected=f"fixed={{{name!r}: value}}",
            )
        sizes = {"minor_radius", "radius", "semi_major", "semi_minor"} & held.keys()
        if sizes:
            raise CriterionError(
                f"the {sorted(sizes)[0]} of a {criterion.replace('_', ' ')} {row.name} is its result",
                expected=f"fixed with {name!r}, without sizes",
            )
    if criterion in ("maximum_inscribed", "minimum_circumscribed") and "width" in held:
        raise CriterionError(
            f"the width of {criterion.replace('_', ' ')} parallel planes is its result",
            expected="fixed without 'width'",
        )
