"""B-splines through points and near points: interpolation, section curves, least-squares curves and surfaces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.freeform.splines import BSplineCurve, BSplineCurve2D, BSplineSurface

_ROUNDS = 60
_ENOUGH = 1e-3  # relative fall of the rms distance in one round


@dataclass(frozen=True, eq=False)
class ShapeFit:
    """A B-spline fitted to points. status: converged | not_converged | degenerate | insufficient; rms and largest of
    the orthogonal distances; rounds of Gauss-Newton; change: relative fall of the rms in the last one."""

    feature: Any
    status: str
    rms: float
    largest: float
    rounds: int
    change: float


def clamped_knots(n: int, degree: int) -> np.ndarray:
    """Uniform knots on 0..1 of n control points, full at both ends."""
    inner = np.linspace(0.0, 1.0, n - degree + 1)
    return np.concatenate((np.zeros(degree), inner, np.ones(degree)))


def _points(points: Any, sizes: tuple[int, ...] = (2, 3)) -> np.ndarray:
    array = np.ascontiguousarray(np.asarray(points, dtype=np.float64))
    if array.ndim != 2 or array.shape[1] not in sizes:
        raise ParameterError("not an array of points", expected=f"(n, d), d in {sizes}", got=str(array.shape))
    if not np.isfinite(array).all():
        raise ParameterError("a curve or surface needs finite points", remedy="leave out points that are not finite")
    return array


def _curve(control: np.ndarray, knots: np.ndarray, degree: int, closed: bool) -> Any:
    made = BSplineCurve2D if control.shape[1] == 2 else BSplineCurve
    return made(control, knots, degree, closed=closed)


def order_points(points: Any, *, closed: bool = True) -> np.ndarray:
    """(n,) order of scattered section points along their curve: from one to its nearest neighbour that is left.

    Right where neighbours along the curve are nearer than the other side of a thin part. Open: starts at the point
    farthest from the mean.
    """
    array = _points(points)
    from scipy.spatial import cKDTree

    n = len(array)
    at = 0 if closed else int(np.argmax(np.sum((array - array.mean(axis=0)) ** 2, axis=1)))
    tree = cKDTree(array)
    left = np.ones(n, bool)
    order = [at]
    left[at] = False
    for _ in range(n - 1):
        k = 8
        while True:
            _, near = tree.query(array[at], min(k, n))
            free = [int(i) for i in np.atleast_1d(near) if left[int(i)]]
            if free:
                break
            k *= 4
        at = free[0]
        left[at] = False
        order.append(at)
    return np.array(order)


def interpolate(points: Any, *, closed: bool = False, degree: int = 3) -> Any:
    """The B-spline curve through ordered points (n, 2 or 3), over accumulated chord length.

    Open: knots by averaging (de Boor), clamped; closed: periodic, C(degree - 1), knots at the points (odd degrees).
    Raises `ParameterError` for too few points or equal neighbours.
    """
    array = _points(points)
    if closed and len(array) > 1 and np.array_equal(array[0], array[-1]):
        array = array[:-1]
    n = len(array)
    if n < degree + 1 or (closed and degree % 2 == 0):
        raise ParameterError("too few points, or an even degree", expected=f"at least {degree + 1}", got=str(n))
    ring = np.vstack((array, array[:1])) if closed else array
    chord = np.linalg.norm(np.diff(ring, axis=0), axis=1)
    if not (chord > 0.0).all():
        raise ParameterError("two neighbouring points are equal", remedy="leave one out")
    t = np.concatenate(([0.0], np.cumsum(chord)))
    if closed:
        knots = np.concatenate((t[:-1][n - degree :] - t[-1], t, t[1 : degree + 1] + t[-1]))
        sites, count = t[:-1], n
    else:
        inner = [float(np.mean(t[k + 1 : k + degree + 1])) for k in range(n - degree - 1)]
        knots = np.concatenate((np.full(degree + 1, t[0]), inner, np.full(degree + 1, t[-1])))
        sites, count = t, n
    matrix = collocation(knots, degree, sites, n + degree if closed else n, count)
    from scipy.sparse.linalg import splu

    control = splu(matrix.tocsc()).solve(array)
    if closed:
        control = np.vstack((control, control[:degree]))
    return _curve(control, knots, degree, closed)


def collocation(knots: np.ndarray, degree: int, t: np.ndarray, n: int, columns: int) -> Any:
    """Sparse (m, columns) values of the n basis functions at t; indices wrap where columns < n (closed curves)."""
    from scipy.sparse import csr_matrix

    s = np.clip(np.searchsorted(knots, t, side="right") - 1, degree, n - 1)
    while (knots[s + 1] <= knots[s]).any():
        s = np.where(knots[s + 1] <= knots[s], s - 1, s)
    values = np.zeros((len(t), degree + 1))
    values[:, 0] = 1.0
    for j in range(1, degree + 1):
        saved = np.zeros(len(t))
        for r in range(j):
            right, left = knots[s + r + 1], knots[s + 1 - j + r]
            share = values[:, r] / (right - left)
            values[:, r] = saved + (right - t) * share
            saved = (t - left) * share
        values[:, j] = saved
    index = (s[:, None] - degree + np.arange(degree + 1)) % columns
    rows = np.repeat(np.arange(len(t)), degree + 1)
    return csr_matrix((values.ravel(), (rows, index.ravel())), shape=(len(t), columns))


def _differences(n: int, wrap: bool) -> Any:
    from scipy.sparse import csr_matrix

    m = n if wrap else n - 2
    rows, columns = np.repeat(np.arange(m), 3), (np.arange(m)[:, None] + np.arange(3)) % n
    d = csr_matrix((np.tile((1.0, -2.0, 1.0), m), (rows, columns.ravel())), shape=(m, n))
    return (d.T @ d).tocsc()


def fit_curve(
    points: Any, n_control: int, *, degree: int = 3, closed: bool = False, smoothing: float = 0.0
) -> ShapeFit:
    """Least-squares B-spline curve of orthogonal distances to ordered points (n, 2 or 3).

    Start: parameters by chord length, uniform knots, linear least squares; then Gauss-Newton on the distances with the
    closest points found anew in each round, until the rms distance falls by less than 1e-3 of itself in one round.
    That is what `converged` means here: not a certified stationary point, since the parametrisation may go on sliding
    along the shape for long, for little. `change` tells how much the last round still gained.
    smoothing: weight of second differences of the control points, relative to the data (0: none but what holds control
    points without data). Scattered points: `order_points` first.
    """
    array = _points(points)
    if closed and len(array) > 1 and np.array_equal(array[0], array[-1]):
        array = array[:-1]
    if n_control < degree + 1:
        raise ParameterError("too few control points", expected=f"at least {degree + 1}", got=str(n_control))
    if len(array) < n_control:
        return ShapeFit(None, "insufficient", math.nan, math.nan, 0, math.nan)
    ring = np.vstack((array, array[:1])) if closed else array
    t = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(ring, axis=0), axis=1))))
    if not t[-1] > 0.0:
        return ShapeFit(None, "degenerate", math.nan, math.nan, 0, math.nan)
    t = t[: len(array)] / t[-1]
    if closed:
        knots = np.arange(-degree, n_control + degree + 1) / n_control
    else:
        knots = clamped_knots(n_control, degree)
    total = n_control + degree if closed else n_control
    penalty = _differences(n_control, closed) * (1.0 + smoothing * 1e11)

    def basis(t: np.ndarray) -> Any:
        return collocation(knots, degree, t, total, n_control)

    def build(control: np.ndarray) -> Any:
        return _curve(np.vstack((control, control[:degree])) if closed else control, knots, degree, closed)

    return _orthogonal(basis, build, penalty, t, array)


def fit_surface(
    points: Any, shape: tuple[int, int], *, degrees: tuple[int, int] = (3, 3), smoothing: float = 0.0,
    start: BSplineSurface | None = None,
) -> ShapeFit:  # fmt: skip
    """Least-squares B-spline surface of orthogonal distances to scattered points (n, 3) with shape (n, m) control
    points.

    Start: parameters by projection on the least-squares plane (the points must lie over it like a height map), or
    closest points on `start`; then as `fit_curve`. smoothing as there.
    """
    from scipy.sparse import csr_matrix, identity, kron

    array = _points(points, (3,))
    n, m = shape
    if n < degrees[0] + 1 or m < degrees[1] + 1:
        raise ParameterError("too few control points", expected=f"at least {degrees} + 1", got=str(shape))
    if len(array) < n * m:
        return ShapeFit(None, "insufficient", math.nan, math.nan, 0, math.nan)
    ku, kv = clamped_knots(n, degrees[0]), clamped_knots(m, degrees[1])
    if start is not None:
        uv = start.feet(array).parameter
        (u0, u1), (v0, v1) = start.domain
        uv = (uv - (u0, v0)) / (u1 - u0, v1 - v0)
    else:
        centred = array - array.mean(axis=0)
        _, values, axes = np.linalg.svd(centred, full_matrices=False)
        if not values[1] > 1e-9 * values[0]:
            return ShapeFit(None, "degenerate", math.nan, math.nan, 0, math.nan)
        flat = centred @ axes[:2].T
        uv = (flat - flat.min(axis=0)) / np.ptp(flat, axis=0)
    penalty = kron(_differences(n, False), identity(m)) + kron(identity(n), _differences(m, False))
    penalty = penalty.tocsc() * (1.0 + smoothing * 1e11)

    def basis(uv: np.ndarray) -> Any:
        a, b = collocation(ku, degrees[0], uv[:, 0], n, n), collocation(kv, degrees[1], uv[:, 1], m, m)
        p, q = degrees[0] + 1, degrees[1] + 1
        columns = (a.indices.reshape(-1, p, 1) * m + b.indices.reshape(-1, 1, q)).reshape(len(uv), -1)
        values = (a.data.reshape(-1, p, 1) * b.data.reshape(-1, 1, q)).reshape(len(uv), -1)
        rows = np.repeat(np.arange(len(uv)), p * q)
        return csr_matrix((values.ravel(), (rows, columns.ravel())), shape=(len(uv), n * m))

    def build(control: np.ndarray) -> Any:
        return BSplineSurface(control.reshape(n, m, 3), ku, kv, *degrees)

    return _orthogonal(basis, build, penalty, uv, array)


def _orthogonal(basis: Any, build: Any, penalty: Any, parameters: np.ndarray, array: np.ndarray) -> ShapeFit:
    """Gauss-Newton on the orthogonal distances: rows along the normals count fully, sliding along the curve or surface
    only a little (it changes distances to second order, and some of it not at all). The fixed point is that of the
    distances alone."""
    from scipy.sparse import identity, kron
    from scipy.sparse.linalg import splu

    d = array.shape[1]
    a = basis(parameters)
    normal = (a.T @ a).tocsc()
    scale = 1e-11 * float(normal.diagonal().max())
    control = np.asarray(splu(normal + scale * penalty).solve(a.T @ array))
    feature = build(control)
    feet = feature.feet(array)
    off = array - feet.point
    rms = math.sqrt(float(np.mean(np.sum(off * off, axis=1))))
    slide, change, status, rounds = 1e-2, math.inf, "not_converged", 0
    floor = 4e-15 * float(np.abs(array).max())
    held = kron(penalty, identity(d)).tocsc()
    while rounds < _ROUNDS:
        rounds += 1
        if rms <= floor:
            status = "converged"
            break
        across = np.einsum("ni,nj->nij", feet.normal, feet.normal)
        if feature.dimension == 3 and not hasattr(feature, "knots_u"):
            along = feature.evaluate(feet.parameter)[1]
            along = along / np.linalg.norm(along, axis=1)[:, None]
            across = np.eye(d) - np.einsum("ni,nj->nij", along, along)
        across[feet.at_edge] = np.eye(d)  # an open end moves along itself too
        metric = across + slide * (np.eye(d) - across)
        a = basis(feet.parameter)
        system = _weighted(a, metric)
        right = a.T @ off
        smooth = right.ravel() - scale * (held @ control.ravel())
        step = splu((system + scale * held).tocsc()).solve(smooth).reshape(control.shape)
        share = 1.0
        for _ in range(12):
            trial = build(control + share * step)
            near = trial.feet(array)
            gap = array - near.point
            new = math.sqrt(float(np.mean(np.sum(gap * gap, axis=1))))
            if new < rms:
                break
            share *= 0.25
        if not new < rms:
            status = "converged" if change <= _ENOUGH or rms <= 1e3 * floor else status
            break
        change = (rms - new) / max(new, 1e-300)
        control, feature, feet, off, rms = control + share * step, trial, near, gap, new
        slide = max(1e-6, 0.3 * slide) if share == 1.0 else min(1.0, 10.0 * slide)
        if change <= _ENOUGH:
            status = "converged"
            break
    distance = np.linalg.norm(off, axis=1)
    return ShapeFit(feature, status, rms, float(distance.max()), rounds, change)


def _weighted(a: Any, metric: np.ndarray) -> Any:
    """Sum of (a_i' a_i) kron metric_i: the normal matrix of rows that a metric weights."""
    from scipy.sparse import bmat, diags

    d = metric.shape[1]
    blocks = [[(a.T @ diags(metric[:, i, j]) @ a) for j in range(d)] for i in range(d)]
    whole = bmat(blocks).tocsc()
    n = a.shape[1]
    order = np.arange(n * d).reshape(d, n).T.ravel()  # from coordinate by coordinate to point by point
    return whole[order][:, order]
