"""Parts to fit, their distance functions, and the exact optimum in extended precision.

A solution is one vector: place (3), axis (3), sizes (sphere, circle, cylinder: radius; cone: radius at the place and
half-angle; torus: both radii). The optimum is computed here, by Gauss-Newton steps whose gradient is summed in long
double: it shares no code with the library.
"""

from __future__ import annotations

import math

import numpy as np

KINDS = ("plane", "sphere", "circle", "cylinder", "cone", "torus")
W = np.array((0.36, -0.48, 0.8))
U = np.array((0.8, 0.6, 0.0))
V = np.cross(W, U)
PLACE = np.array((290.0, -290.0, 290.0))
RADIUS = 25.0
SIZES: dict[str, tuple[float, ...]] = {
    "plane": (), "sphere": (RADIUS,), "circle": (RADIUS,), "cylinder": (RADIUS,), "cone": (RADIUS, 0.3),
    "torus": (RADIUS, 8.0),
}  # fmt: skip
# small numbers that move the nominal solution: shifts along U, V, W, tilts towards U and V, then the sizes
SHIFTS = {"plane": "w", "sphere": "uvw", "circle": "uvw", "cylinder": "uv", "cone": "uv", "torus": "uvw"}
_AXES = {"u": U, "v": V, "w": W}


def part(kind: str, n: int, coverage: float, seed: int = 1) -> np.ndarray:
    """(n, 3) points of a part 500 mm from the origin with 5 um of noise."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.0, np.radians(coverage), n)
    z = rng.uniform(-1.0, 1.0, n)
    ring = np.cos(t)[:, None] * U + np.sin(t)[:, None] * V
    if kind == "plane":
        x = 50.0 * z[:, None] * U + 40.0 * rng.uniform(-1.0, 1.0, n)[:, None] * V
    elif kind == "sphere":
        c = rng.uniform(np.cos(np.radians(coverage / 2.0)), 1.0, n)
        x = RADIUS * (
            np.sqrt(1.0 - c * c)[:, None] * (np.cos(2 * np.pi * z)[:, None] * U + np.sin(2 * np.pi * z)[:, None] * V)
        )
        x += RADIUS * c[:, None] * W
    elif kind == "circle":
        x = RADIUS * ring
    elif kind == "cylinder":
        x = RADIUS * ring + 30.0 * z[:, None] * W
    elif kind == "cone":
        x = (RADIUS + 20.0 * z * np.tan(0.3))[:, None] * ring + 20.0 * z[:, None] * W
    else:
        s = rng.uniform(0.0, 2.0 * np.pi, n)
        x = (RADIUS + 8.0 * np.cos(s))[:, None] * ring + 8.0 * np.sin(s)[:, None] * W
    result: np.ndarray = PLACE + x + 5e-3 * rng.standard_normal((n, 3))
    return result


def solution(kind: str, q: np.ndarray) -> np.ndarray:
    """Solution vector of the small numbers `q`."""
    shifts = SHIFTS[kind]
    place = PLACE.astype(q.dtype)
    for letter, value in zip(shifts, q, strict=False):
        place = place + value * _AXES[letter]
    axis = W.astype(q.dtype)
    tilts = 0 if kind == "sphere" else 2
    if tilts:
        axis = axis + q[len(shifts)] * U + q[len(shifts) + 1] * V
        axis = axis / np.sqrt(axis @ axis)
    return np.concatenate((place, axis, q[len(shifts) + tilts :]))


def nominal(kind: str) -> np.ndarray:
    """The small numbers of the part itself."""
    return np.array((0.0,) * (len(SHIFTS[kind]) + (0 if kind == "sphere" else 2)) + SIZES[kind])


def near(kind: str) -> np.ndarray:
    """A careful user's start: 0.05 mm and 2 mrad off."""
    q = nominal(kind)
    shifts = len(SHIFTS[kind])
    q[:shifts] += 0.05
    if kind != "sphere":
        q[shifts : shifts + 2] += (2e-3, -2e-3)
    if SIZES[kind]:
        q[len(q) - len(SIZES[kind])] += 0.05
    return q


def distances(kind: str, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(rows * n,) normal distances of the points from the solution, in the precision of `x`; a circle has two rows."""
    y = x - s[:3]
    if kind == "sphere":
        return np.asarray(np.sqrt(np.sum(y * y, axis=1)) - s[6])
    g = y @ s[3:6]
    if kind == "plane":
        return np.asarray(g)
    across = y - g[:, None] * s[3:6]
    f = np.sqrt(np.sum(across * across, axis=1))
    if kind == "circle":
        return np.concatenate((f - s[6], g))
    if kind == "cylinder":
        return np.asarray(f - s[6])
    if kind == "cone":
        return np.asarray((f - s[6]) * np.cos(s[7]) - g * np.sin(s[7]))
    return np.asarray(np.sqrt((f - s[6]) ** 2 + g * g) - s[7])


def jacobian(kind: str, q: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(rows * n, p) derivatives of the distances with respect to the small numbers."""
    s = solution(kind, q)
    y, w = x - s[:3], s[3:6]
    n = len(x)
    shifts = [_AXES[letter] for letter in SHIFTS[kind]]
    if kind == "sphere":
        outward = y / np.linalg.norm(y, axis=1)[:, None]
        return np.column_stack([-(outward @ e) for e in shifts] + [np.full(n, -1.0)])
    k = len(shifts)
    length = math.sqrt(1.0 + float(q[k]) ** 2 + float(q[k + 1]) ** 2)
    turns = [(e - w * (w @ e)) / length for e in (U, V)]  # of the unit axis
    g = y @ w
    dg = np.column_stack([np.full(n, -float(w @ e)) for e in shifts] + [y @ e for e in turns])
    if kind == "plane":
        return dg
    across = y - g[:, None] * w
    f = np.linalg.norm(across, axis=1)
    normal = across / f[:, None]
    df = np.column_stack([-(normal @ e) for e in shifts] + [-g * (normal @ e) for e in turns])
    one = np.ones(n)
    if kind == "cylinder":
        return np.column_stack((df, -one))
    if kind == "circle":
        return np.vstack((np.column_stack((df, -one)), np.column_stack((dg, 0.0 * one))))
    if kind == "cone":
        c, t = math.cos(q[-1]), math.sin(q[-1])
        return np.column_stack((c * df - t * dg, -c * one, -t * (f - q[-2]) - c * g))
    e = f - q[-2]
    d = np.hypot(e, g)
    return np.column_stack(((e / d)[:, None] * df + (g / d)[:, None] * dg, -e / d, -one))


def optimum(kind: str, x: np.ndarray) -> np.ndarray:
    """The least-squares solution to about 1e-18: steps with the float64 Jacobian, gradient in long double."""
    exact = x.astype(np.longdouble)
    q = nominal(kind).astype(np.longdouble)
    for _ in range(12):
        j = jacobian(kind, q.astype(float), x)
        gradient = j.T.astype(np.longdouble) @ distances(kind, solution(kind, q), exact)
        step = np.linalg.solve(j.T @ j, gradient.astype(float))
        q = q - step
        if float(np.abs(step).max()) < 1e-15:
            break
    return solution(kind, q)


def error(kind: str, found: np.ndarray, best: np.ndarray, x: np.ndarray) -> float:
    """Largest difference of the two solutions' distances at the points (at most 20 000 of them), in mm."""
    exact = x[:: max(1, len(x) // 20_000)].astype(np.longdouble)
    found = np.array(found, np.longdouble)
    if kind != "sphere":
        found[3:6] /= np.sqrt(found[3:6] @ found[3:6])
        if found[3:6] @ best[3:6] < 0.0:
            found[3:6] = -found[3:6]
            if kind == "cone":
                found[7] = -found[7]
    return float(np.abs(distances(kind, found, exact) - distances(kind, best, exact)).max())
