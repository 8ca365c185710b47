"""A slow, independent least-squares fitter: its own distance formulas, global parameters, SciPy's trust-region solver.

It shares nothing with `metrology_core`: axes are unconstrained vectors, distances come from cross products,
derivatives from complex or finite differences inside SciPy. It needs a start, and is polished by Gauss-Newton steps
on the numeric Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def line(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.cross(x - q[:3], _unit(q[3:6])).ravel()


def plane(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (x - q[:3]) @ _unit(q[3:6])


def circle(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = x - q[:3]
    w = _unit(q[3:6])
    return np.concatenate([np.linalg.norm(np.cross(y, w), axis=1) - q[6], y @ w])


def sphere(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x - q[:3], axis=1) - q[3]


def cylinder(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.cross(x - q[:3], _unit(q[3:6])), axis=1) - q[6]


def cone(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    """q: point, axis, radius there, half-angle (growing along the axis)."""
    y = x - q[:3]
    w = _unit(q[3:6])
    f = np.linalg.norm(np.cross(y, w), axis=1)
    return (f - q[6]) * np.cos(q[7]) - (y @ w) * np.sin(q[7])


def torus(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    y = x - q[:3]
    w = _unit(q[3:6])
    f = np.linalg.norm(np.cross(y, w), axis=1)
    return np.sqrt((f - q[6]) ** 2 + (y @ w) ** 2) - q[7]


def ellipse(q: np.ndarray, x: np.ndarray) -> np.ndarray:
    """q: centre, normal, major axis (made perpendicular), semi-axes. The foot is found by many damped angle steps."""
    y = x - q[:3]
    w = _unit(q[3:6])
    u = _unit(q[6:9] - (q[6:9] @ w) * w)
    v = np.cross(w, u)
    px, py = y @ u, y @ v
    a, b = q[9], q[10]
    t = np.arctan2(a * py, b * px)
    for _ in range(40):
        c, s = np.cos(t), np.sin(t)
        slope = a * px * s - b * py * c + (b * b - a * a) * s * c
        bend = a * px * c + b * py * s + (b * b - a * a) * (c * c - s * s)
        t = t - slope / np.where(np.abs(bend) > 1e-3 * a * b, bend, a * b)
    dx, dy = px - a * np.cos(t), py - b * np.sin(t)
    inside = (px / a) ** 2 + (py / b) ** 2 < 1.0
    return np.concatenate([np.where(inside, -1.0, 1.0) * np.hypot(dx, dy), y @ w])


RESIDUALS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "line": line,
    "plane": plane,
    "circle": circle,
    "sphere": sphere,
    "cylinder": cylinder,
    "cone": cone,
    "torus": torus,
    "ellipse": ellipse,
}


def packed(parameters: dict[str, object]) -> np.ndarray:
    """The parameters of a fit in the order that the residual functions take."""
    return np.concatenate([np.atleast_1d(np.asarray(value, dtype=float)) for value in parameters.values()])


def solve(kind: str, x: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """(parameters, sum of squares) of the optimum near `start`."""
    shift = x.mean(axis=0)
    q = start.copy()
    q[:3] -= shift
    found = least_squares(
        lambda p: RESIDUALS[kind](p, x - shift), q, jac="3-point", method="trf", x_scale="jac",
        ftol=3e-16, xtol=3e-16, gtol=3e-16, max_nfev=400,
    )  # fmt: skip
    q = found.x
    q[:3] += shift
    return q, float(2.0 * found.cost)
