"""Fits in 50 digits: optima of every criterion, re-solved from a double-precision answer near them.

Shares nothing with the product: distances are written here in mpmath, derivatives are central differences whose error
lies below 1e-30, optima are found by Newton's method on the optimality conditions of the criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

mp.dps = 60
_STEP = mpf(10) ** -18
Vector = list[Any]


def _v(values: Any) -> Vector:
    """Doubles as they are; text as the decimal number that it says."""
    return [mpf(str(x)) if isinstance(x, str) else mpf(float(x)) for x in values]


def _dot(a: Vector, b: Vector) -> Any:
    return mpmath.fsum(x * y for x, y in zip(a, b, strict=True))


def _sum(*terms: tuple[Any, Vector]) -> Vector:
    return [mpmath.fsum(f * v[i] for f, v in terms) for i in range(len(terms[0][1]))]


def _unit(a: Vector) -> Vector:
    size = mpmath.sqrt(_dot(a, a))
    return [x / size for x in a]


def _frame(w: Vector) -> tuple[Vector, Vector, Vector]:
    """Unit w and two directions across it."""
    w = _unit(w)
    k = min(range(3), key=lambda i: abs(w[i]))
    e = [mpf(int(i == k)) for i in range(3)]
    u = _unit(_sum((1, e), (-w[k], w)))
    return u, [w[1] * u[2] - w[2] * u[1], w[2] * u[0] - w[0] * u[2], w[0] * u[1] - w[1] * u[0]], w


@dataclass
class Pose:
    """A feature in mpmath: origin, frame (u, v, w), sizes."""

    kind: str
    dimension: int
    origin: Vector
    u: Vector
    v: Vector
    w: Vector
    sizes: Vector


def pose_of(feature: Any) -> Pose:
    """The exact value of a double-precision feature, its directions made unit vectors."""
    q = feature.parameters
    origin = _v(q["center"] if "center" in q else q["point"])
    sizes = [mpf(float(v)) for v in q.values() if np.ndim(v) == 0]
    main = q.get("major_axis", q.get("direction"))
    if feature.dimension == 2:
        u = _unit(_v(main)) if main is not None else _unit(_v(q["normal"])) if "normal" in q else [mpf(1), mpf(0)]
        return Pose(feature.kind, 2, origin, u, [-u[1], u[0]], u, sizes)
    w = q.get("axis", q.get("normal", q.get("direction")))
    if w is None:
        w = np.array((0.0, 0.0, 1.0))
    u, v, w = _frame(_v(w))
    if main is not None and feature.kind in ("ellipse", "slot"):
        m = _v(main)
        u = _unit(_sum((1, m), (-_dot(m, w), w)))
        v = [w[1] * u[2] - w[2] * u[1], w[2] * u[0] - w[0] * u[2], w[0] * u[1] - w[1] * u[0]]
    return Pose(feature.kind, 3, origin, u, v, w, sizes)


MOVES = {  # coordinates in which a pose is varied: shifts along u, v, w, tilts of w towards u, v, turn in the plane
    ("line", 2): ("sv", "turn"), ("circle", 2): ("su", "sv"), ("ellipse", 2): ("su", "sv", "turn"),
    ("slot", 2): ("su", "sv", "turn"), ("parallel_planes", 2): ("su", "turn"),
    ("line", 3): ("su", "sv", "tu", "tv"), ("plane", 3): ("sw", "tu", "tv"), ("sphere", 3): ("su", "sv", "sw"),
    ("circle", 3): ("su", "sv", "sw", "tu", "tv"), ("cylinder", 3): ("su", "sv", "tu", "tv"),
    ("cone", 3): ("su", "sv", "tu", "tv"), ("torus", 3): ("su", "sv", "sw", "tu", "tv"),
    ("ellipse", 3): ("su", "sv", "sw", "tu", "tv", "turn"), ("slot", 3): ("su", "sv", "sw", "tu", "tv", "turn"),
    ("parallel_planes", 3): ("sw", "tu", "tv"),
}  # fmt: skip


def names_of(pose: Pose) -> tuple[str, ...]:
    """Names of the coordinates, sizes last (s0, s1)."""
    return MOVES[pose.kind, pose.dimension] + tuple(f"s{i}" for i in range(len(pose.sizes)))


def moved(pose: Pose, names: Sequence[str], delta: Sequence[Any]) -> Pose:
    """The pose displaced by delta along these coordinates."""
    d = dict(zip(names, delta, strict=True))
    zero = mpf(0)
    terms = [(mpf(1), pose.origin), (d.get("su", zero), pose.u), (d.get("sv", zero), pose.v)]
    if pose.dimension == 3:
        terms.append((d.get("sw", zero), pose.w))
    sizes = [s + d.get(f"s{i}", zero) for i, s in enumerate(pose.sizes)]
    t = d.get("turn", zero)
    u = _unit(_sum((1, pose.u), (t, pose.v)))
    if pose.dimension == 2:
        return Pose(pose.kind, 2, _sum(*terms), u, [-u[1], u[0]], u, sizes)
    w = _unit(_sum((1, pose.w), (d.get("tu", zero), pose.u), (d.get("tv", zero), pose.v)))
    u = _unit(_sum((1, u), (-_dot(u, w), w)))
    v = [w[1] * u[2] - w[2] * u[1], w[2] * u[0] - w[0] * u[2], w[0] * u[1] - w[1] * u[0]]
    return Pose(pose.kind, 3, _sum(*terms), u, v, w, sizes)


def _ellipse_distance(x: Any, y: Any, a: Any, b: Any) -> Any:
    """Signed distance in the plane of the ellipse by Newton on the foot's angle; for points near the ellipse."""
    t = mpmath.atan2(a * y, b * x)
    for _ in range(40):
        c, s = mpmath.cos(t), mpmath.sin(t)
        slope = a * x * s - b * y * c + (b * b - a * a) * s * c
        bend = a * x * c + b * y * s + (b * b - a * a) * (c * c - s * s)
        step = slope / bend
        t -= step
        if abs(step) < mpf(10) ** -50:
            break
    c, s = mpmath.cos(t), mpmath.sin(t)
    size = mpmath.hypot(b * c, a * s)
    return ((x - a * c) * b * c + (y - b * s) * a * s) / size


def distances(pose: Pose, x: Vector) -> list[Any]:
    """Residuals of a point: one, or two (line in space: along u and v; plane curves in space: in and out of it)."""
    y = _sum((1, x), (-1, pose.origin))
    kind, s = pose.kind, pose.sizes
    if kind == "sphere":
        return [mpmath.sqrt(_dot(y, y)) - s[0]]
    a, b = _dot(y, pose.u), _dot(y, pose.v)
    g = _dot(y, pose.w) if pose.dimension == 3 else mpf(0)
    f = mpmath.hypot(a, b)
    flat = None
    if kind == "line":
        return [b] if pose.dimension == 2 else [a, b]
    if kind == "plane":
        return [g]
    if kind == "parallel_planes":
        return [abs(g if pose.dimension == 3 else a) - s[0] / 2]
    if kind == "cylinder":
        return [f - s[0]]
    if kind == "cone":
        return [(f - s[0]) * mpmath.cos(s[1]) - g * mpmath.sin(s[1])]
    if kind == "torus":
        return [mpmath.hypot(f - s[0], g) - s[1]]
    if kind == "circle":
        flat = f - s[0]
    elif kind == "ellipse":
        flat = _ellipse_distance(a, b, s[0], s[1])
    else:
        half = (s[0] - s[1]) / 2
        flat = mpmath.hypot(a - min(max(a, -half), half), b) - s[1] / 2
    return [flat] if pose.dimension == 2 else [flat, g]


def rows_of(pose: Pose, names: Sequence[str], points: list[Vector], one: bool = False) -> tuple[Vector, Any]:
    """All residuals, and their derivatives in the named coordinates. one: the first residual of each point only."""
    take = (lambda rows: rows[:1]) if one else (lambda rows: rows)
    values = [d for x in points for d in take(distances(pose, x))]
    j = mpmath.matrix(len(values), len(names))
    for k in range(len(names)):
        delta = [mpf(0)] * len(names)
        delta[k] = _STEP
        up = moved(pose, names, delta)
        delta[k] = -_STEP
        down = moved(pose, names, delta)
        row = 0
        for x in points:
            for p, m in zip(take(distances(up, x)), take(distances(down, x)), strict=True):
                j[row, k] = (p - m) / (2 * _STEP)
                row += 1
    return values, j


def _points(points: np.ndarray) -> list[Vector]:
    return [_v(row) for row in points]


def least_squares(
    feature: Any, points: np.ndarray, *, held: Sequence[str] = (), weights: np.ndarray | None = None
) -> Pose:
    """The least-squares optimum near a feature. held: coordinates (of `names_of`) that do not move."""
    pose, xs = pose_of(feature), _points(points)
    names = [n for n in names_of(pose) if n not in held]
    per = len(distances(pose, xs[0]))
    w = [mpf(1)] * (len(xs) * per) if weights is None else [mpf(float(v)) for v in weights for _ in range(per)]
    for _ in range(60):
        d, j = rows_of(pose, names, xs)
        wj = mpmath.matrix(j.rows, j.cols)
        for i in range(j.rows):
            for k in range(j.cols):
                wj[i, k] = w[i] * j[i, k]
        step = mpmath.lu_solve(j.T * wj, -(wj.T * mpmath.matrix(d)))
        pose = moved(pose, names, list(step))
        if max(abs(s) for s in step) < mpf(10) ** -32:
            return pose
    raise AssertionError("no convergence in 60 steps")


def _kkt(pose: Pose, names: list[str], xs: list[Vector], sides: list[Any], h: Any, lam: Vector, free_h: bool) -> Any:
    """Right-hand side of the optimality conditions of contacts, and their derivatives in (names, h, multipliers)."""
    d, j = rows_of(pose, names, xs, one=True)
    k, p = len(xs), len(names)
    size = p + k + int(free_h)
    system, right = mpmath.matrix(size, size), mpmath.matrix(size, 1)

    def pull(at: Pose) -> Vector:
        _, rows = rows_of(at, names, xs, one=True)
        return [mpmath.fsum(lam[i] * sides[i] * rows[i, c] for i in range(k)) for c in range(p)]

    base = pull(pose)
    if k <= p:  # held by curvature: the Hessian of the Lagrangian matters
        tiny = mpf(10) ** -12
        for c in range(p):
            delta = [mpf(0)] * p
            delta[c] = tiny
            up = pull(moved(pose, names, delta))
            delta[c] = -tiny
            down = pull(moved(pose, names, delta))
            for r in range(p):
                system[r, c] = (up[r] - down[r]) / (2 * tiny)
    for r in range(p):
        right[r] = -base[r]
        for i in range(k):
            system[r, p + int(free_h) + i] = sides[i] * j[i, r]
    for i in range(k):
        row = p + i
        for c in range(p):
            system[row, c] = sides[i] * j[i, c]
        if free_h:
            system[row, p] = mpf(-1)
        right[row] = -(sides[i] * d[i] - h)
    if free_h:
        for i in range(k):
            system[size - 1, p + 1 + i] = mpf(1)
        right[size - 1] = 1 - mpmath.fsum(lam)
    return system, right


@dataclass
class Zone:
    """A zone in 50 digits: pose, half-width (minimum zone), multipliers, and the worst point outside (<= 0: none)."""

    pose: Pose
    h: Any
    multipliers: Vector
    outside: Any


def zone(
    feature: Any,
    points: np.ndarray,
    contacts: Sequence[int],
    signs: Sequence[float],
    multipliers: Sequence[float],
    *,
    size: str | None = None,
    held: Sequence[str] = (),
) -> Zone:
    """Solve the active set of a zone criterion by Newton's method.

    size: the size that is extremal (inscribed, circumscribed) as a coordinate name: contacts then lie on the feature.
    Lines in space are not taken: their distance has no sign.
    """
    pose, xs = pose_of(feature), [_v(points[i]) for i in contacts]
    names = [n for n in names_of(pose) if n not in held and n != size]
    sides, lam = [mpf(float(s)) for s in signs], [mpf(float(m)) for m in multipliers]
    h = mpf(0)
    if size is None:
        h = mpmath.fsum(s * distances(pose, x)[0] for s, x in zip(sides, xs, strict=True)) / len(xs)
    for _ in range(60):
        system, right = _kkt(pose, names, xs, sides, h, lam, True)
        step = list(mpmath.lu_solve(system, right))
        p = len(names)
        pose = moved(pose, names, step[:p])
        if size is None:
            h += step[p]
        else:  # the step of h is that of the distances: the size takes it
            derivative = rows_of(pose, [size], xs, one=True)[1]
            grown = mpmath.fsum(l_ * derivative[i, 0] * sides[i] for i, l_ in enumerate(lam))
            pose = moved(pose, [size], [-step[p] / grown])
        lam = [a + b for a, b in zip(lam, step[p + 1 :], strict=True)]
        if max(abs(s) for s in step[: p + 1]) < mpf(10) ** -32:
            break
    else:
        raise AssertionError("no convergence in 60 steps")
    all_sides = sorted({float(s) for s in signs}) if size is not None else [-1.0, 1.0]
    others = [i for i in range(len(points)) if i not in set(contacts)]
    over = [mpf(int(s)) * distances(pose, _v(points[i]))[0] - h for i in others for s in all_sides]
    return Zone(pose, h, lam, max(over))


def interpolating(feature: Any, points: np.ndarray, on: Sequence[int]) -> tuple[Pose, Vector]:
    """The feature through p points near a given one, and the subgradients that the signs of the others ask of them:
    an optimum of the sum of absolute distances where all are below 1 in size. One residual per point."""
    pose, xs = pose_of(feature), _points(points)
    names = list(names_of(pose))
    chosen = [xs[i] for i in on]
    for _ in range(60):
        d, j = rows_of(pose, names, chosen)
        step = list(mpmath.lu_solve(j, -mpmath.matrix(d)))
        pose = moved(pose, names, step)
        if max(abs(s) for s in step) < mpf(10) ** -32:
            break
    d, j = rows_of(pose, names, xs)
    total = mpmath.matrix(len(names), 1)
    for i in range(len(xs)):
        if i not in set(on):
            for k in range(len(names)):
                total[k] += mpmath.sign(d[i]) * j[i, k]
    active = mpmath.matrix(len(names), len(names))
    for r, i in enumerate(on):
        for k in range(len(names)):
            active[k, r] = j[i, k]
    return pose, list(mpmath.lu_solve(active, -total))


def one_sided(feature: Any, points: np.ndarray, on: Sequence[int]) -> tuple[Pose, Vector, Vector]:
    """Least squares with some points on the feature: pose, multipliers of J'd = sum mu grad d, and all distances."""
    pose, xs = pose_of(feature), _points(points)
    names = list(names_of(pose))
    p, k = len(names), len(on)
    mu: Vector = []
    for _ in range(80):
        d, j = rows_of(pose, names, xs)
        per = len(d) // len(xs)
        system, right = mpmath.matrix(p + k, p + k), mpmath.matrix(p + k, 1)
        gram, pull = j.T * j, j.T * mpmath.matrix(d)
        for r in range(p):
            right[r] = -pull[r]
            for c in range(p):
                system[r, c] = gram[r, c]
        for i, index in enumerate(on):
            for c in range(p):
                system[c, p + i] = -j[index * per, c]
                system[p + i, c] = j[index * per, c]
            right[p + i] = -d[index * per]
        step = list(mpmath.lu_solve(system, right))
        pose, mu = moved(pose, names, step[:p]), step[p:]
        if max(abs(s) for s in step[:p]) < mpf(10) ** -32:
            return pose, mu, [distances(pose, x)[0] for x in xs]
    raise AssertionError("no convergence in 80 steps")


def errors(pose: Pose, found: Any, points: np.ndarray) -> dict[str, float]:
    """Differences of a double-precision feature from a pose: position (at the foot of the centroid), direction, size,
    half-angle; formed in 50 digits."""
    other = pose_of(found)
    result: dict[str, float] = {}
    xs = _points(points)
    foot = pose.origin
    if pose.kind in ("line", "cylinder", "cone", "plane", "parallel_planes"):
        centroid = _sum(*((mpf(1) / len(xs), x) for x in xs))
        away = _sum((1, centroid), (-1, pose.origin))
        along = pose.w if pose.dimension == 3 else (pose.v if pose.kind == "parallel_planes" else pose.u)
        g = _dot(away, along)
        flat = pose.kind in ("plane",) or (pose.kind == "parallel_planes" and pose.dimension == 3)
        foot = _sum((1, centroid), (-g, along)) if flat else _sum((1, pose.origin), (g, along))
        gap = _sum((1, foot), (-1, other.origin))
        across = other.w if pose.dimension == 3 else (other.v if pose.kind == "parallel_planes" else other.u)
        h = _dot(gap, across)
        result["position"] = float(abs(h) if flat else mpmath.sqrt(abs(_dot(gap, gap) - h * h)))
        if pose.kind == "cone":
            same = 1 if _dot(pose.w, other.w) > 0 else -1
            assert same > 0
            here = pose.sizes[0] + g * mpmath.tan(pose.sizes[1])
            there = other.sizes[0] + h * mpmath.tan(other.sizes[1])
            result["size"] = float(abs(here - there))
            result["angle"] = float(abs(pose.sizes[1] - other.sizes[1]))
    else:
        gap = _sum((1, foot), (-1, other.origin))
        result["position"] = float(mpmath.sqrt(_dot(gap, gap)))
    if pose.kind != "sphere" and pose.dimension == 3:
        result["direction"] = _turn(pose.w, other.w)
    if pose.kind in ("ellipse", "slot") or (pose.dimension == 2 and pose.kind != "circle"):
        result["direction"] = max(result.get("direction", 0.0), _turn(pose.u, other.u))
    if pose.kind != "cone" and pose.sizes:
        result["size"] = max(float(abs(a - b)) for a, b in zip(pose.sizes, other.sizes, strict=True))
    return result


def _turn(a: Vector, b: Vector) -> float:
    return float(mpmath.sqrt(abs(1 - _dot(a, b) ** 2)))
