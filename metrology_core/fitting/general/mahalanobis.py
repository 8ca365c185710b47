"""Errors in variables with full point covariances: the feet are nearest in the metric of each point's noise.

For a point x with covariance V the nearest place f on the feature minimises (x - f)'V^-1(x - f) subject to c(f) = 0, c
the residual rows of the feature (one for surfaces, two for curves in space) with gradients N at f: f = x - V N m,
(N'V N) m = c(f) + N'(x - f), iterated. The sum of m'(N'V N) m over the points is minimised over the feature; its
gradient is 2 J'm with J taken at the feet, its Gauss-Newton matrix 2 J'(N'V N)^-1 J, whose inverse is the covariance of
the parameters. Source: P. T. Boggs, R. H. Byrd, R. B. Schnabel, SIAM J. Sci. Stat. Comput. 8 (1987) 1052.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.fitting.general import models
from metrology_core.fitting.general.base import Problem, Request
from metrology_core.fitting.general.finish import (
    ILL_CONDITIONED,
    _exactly,
    build,
    failed,
)
from metrology_core.fitting.general.least import SINGULAR, conditioning
from metrology_core.fitting.general.models import rescaled
from metrology_core.fitting.general.result import GeneralFit
from metrology_core.fitting.general.solution import EPS
from metrology_core.fitting.result import Fit

_FEET = 200
_TURNS = 100


def read_covariances(covariances: Any, n: int, dimension: int) -> np.ndarray:
    """(n, d, d) symmetric positive semi-definite matrices, or `ParameterError`."""
    array = np.asarray(covariances)
    if array.dtype.kind not in "fiu" or array.shape not in ((n, dimension, dimension), (dimension, dimension)):
        raise ParameterError(
            "covariances do not fit the points",
            expected=f"shape ({n}, {dimension}, {dimension}), or one ({dimension}, {dimension}) for all",
            got=f"{array.dtype} of shape {array.shape}",
        )
    array = np.broadcast_to(array.astype(np.float64), (n, dimension, dimension))
    if not np.isfinite(array).all():
        raise ParameterError("covariances must be finite")
    top = np.abs(array).max(axis=(1, 2), initial=0.0)
    if not (np.abs(array - array.transpose(0, 2, 1)).max(axis=(1, 2), initial=0.0) <= 1e-12 * top).all():
        raise ParameterError("covariances must be symmetric")
    values = np.linalg.eigvalsh(array)
    if not ((values[:, -1] > 0.0) & (values[:, 0] >= 1e-12 * values[:, -1])).all():
        raise ParameterError(
            "covariances must be positive definite",
            expected="eigenvalues above 1e-12 of the largest",
            remedy="give directions that are known exactly a small variance",
        )
    return np.ascontiguousarray(array)


def feet(model: Any, state: Any, v: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any, np.ndarray]:
    """(feet (n, d), m (n, k), rows at the feet, N'VN (n, k, k)) for points model.points with covariances v."""
    from metrology_core.fitting.general.rows import feature_rows

    x = model.points
    f = start.copy()
    previous = np.inf
    for turn in range(_FEET):
        rows = feature_rows(state, f, model.sides)
        normals = rows.d.transpose(1, 2, 0)  # (n, d, k)
        vn = v @ normals
        metric = normals.transpose(0, 2, 1) @ vn
        g = rows.c.T + np.einsum("ndk,nd->nk", normals, x - f)
        m = np.linalg.solve(metric, g[..., None])[..., 0]
        new = x - np.einsum("ndk,nk->nd", vn, m)
        step = float(np.abs(new - f).max(initial=0.0))
        if turn > 20 and step > 0.9 * previous:  # strongly curved against the noise: shorter steps settle
            new = 0.5 * (new + f)
        f = new
        if step <= 2.0 * EPS or (turn > 3 and step < 1e-14 and step >= previous):
            break
        previous = step
    rows = feature_rows(state, f, model.sides)
    normals = rows.d.transpose(1, 2, 0)
    metric = normals.transpose(0, 2, 1) @ (v @ normals)
    g = rows.c.T + np.einsum("ndk,nd->nk", normals, x - f)
    m = np.linalg.solve(metric, g[..., None])[..., 0]
    return f, m, rows, metric


def fit_covariances(request: Request, problem: Problem) -> Fit:
    """Least squares in the metric of the points' covariances."""
    assert problem.covariances is not None
    v = problem.covariances * problem.scale**2
    size = float(np.sqrt(np.trace(v, axis1=1, axis2=2).max()))
    v = v / size**2  # the unit of the noise: matrices of order one
    model = problem.model(weights=None)
    state = model.start
    f = model.points.copy()
    best, best_step, previous, count = state, np.inf, np.inf, 0
    q = model.size
    cost = np.inf
    for turn in range(_TURNS):
        count += 1
        f, m, rows, metric = feet(model, state, v, f)
        new = float(np.einsum("nk,nkl,nl->", m, metric, m))
        half = np.linalg.cholesky(np.linalg.inv(metric))  # (n, k, k), half half' = metric^-1
        j = np.einsum("nkl,knq->nlq", half, rows.j @ model.basis(state)).reshape(-1, q)
        r = np.einsum("nkl,nkm,nm->nl", half, metric, m).reshape(-1)
        norms = np.linalg.norm(j, axis=0)
        if not np.isfinite(new) or not (norms > 0.0).all():
            break
        step = -np.linalg.lstsq(j / norms, r, rcond=EPS)[0] / norms
        length = float(np.abs(step).max(initial=0.0))
        if length <= best_step:
            best, best_step = state, length
        if length <= 4.0 * EPS or (turn > 3 and length < 1e-12 and length >= 0.5 * previous):
            break
        damp = 1.0 if new <= cost * (1.0 + 1e-9) or length < 1e-8 else 0.5
        cost, previous = min(cost, new), length
        state = model.move(state, step * min(damp, 0.5 / max(length, 0.5)))
    state = models.canonical(best)
    if problem.sides is not None and float(state.normal @ best.normal) < 0.0:
        problem.sides = model.sides = -problem.sides
    f, m, rows, metric = feet(model, state, v, f)
    half = np.linalg.cholesky(np.linalg.inv(metric))
    b = model.basis(state)
    j = np.einsum("nkl,knq->nlq", half, rows.j @ b).reshape(-1, q)
    r = np.einsum("nkl,nkm,nm->nl", half, metric, m).reshape(-1)
    condition, least = conditioning(j)
    if least < SINGULAR:
        return failed(request, len(problem.points), "degenerate", "the points leave a parameter undetermined")
    norms = np.linalg.norm(j, axis=0)
    total = float(r @ r)
    residual = float((np.abs(j.T @ r) / norms).max()) / math.sqrt(total) if total > 0.0 else 0.0
    unit = np.where(model.angles, 1.0, 1.0 / problem.scale)
    inverse = np.linalg.pinv(j.T @ j)
    covariance = (b @ inverse @ b.T) * np.outer(unit, unit) * size**2
    notes, row = request.notes, request.row
    status = "converged" if best_step < 1e-9 else "not_converged"
    if status != "converged":
        notes.append("not_converged")
    dof = len(r) - q
    if dof <= 0:
        notes.append("zero_redundancy")
        if not row.exact_is_unique:
            status = "non_unique"
            notes.append("non_unique")
    if condition > ILL_CONDITIONED:
        notes.append("ill_conditioned")
    associated = rescaled(state, problem.centre, problem.scale, back=True)
    if request.held:
        associated = _exactly(row, associated, request.held)
    if row.name in ("sphere", "cylinder", "circle") and covariance[-1, -1] > (0.5 * associated.radius) ** 2:
        notes.append("curvature_not_significant")
    if request.material is not None:
        associated = associated.with_material(request.material)
    from metrology_core.fitting.entry import _compensate

    feature, covariance = _compensate(row, request.given.source, associated, covariance, notes, request.settings)
    covariance.setflags(write=False)
    request.settings["covariances"] = "declared: the covariance of the parameters is not scaled by the residuals"
    birge = math.sqrt(total / dof) / size if dof > 0 else math.nan
    optimality = {
        "residual": residual,
        "step": best_step,
        "condition": condition,
        "iterations": count,
        # root of the weighted sum of squares over the degrees of freedom: near 1 where the covariances tell the truth
        "birge_ratio": birge,
    }
    # per displacement along residual k of point n: -(J'M J)^-1 J_n' M_n, M the inverse metric
    push = np.einsum("knq,nkl->lnq", rows.j @ b, np.linalg.inv(metric)).reshape(-1, q)
    sensitivities = (unit * problem.scale)[:, None] * -(b @ inverse @ push.T)
    sensitivities.setflags(write=False)
    return build(
        request, problem, associated, feature, status, dof, covariance, optimality,
        {"known_sensitivities": sensitivities, "noise": problem.sigma}, GeneralFit,
    )  # fmt: skip
