"""Least-squares fits against SciPy and NumPy in one run: `python -m benchmarks.against.fit [--points N] [--coverage
DEG]`.

Ours starts from raw points. SciPy's Levenberg-Marquardt (analytic Jacobian, global parameters) gets a start 0.05 mm
and 2 mrad off, as a careful user would give it; the plane's rival is the eigenvector of NumPy's covariance.
Candidates take turns; medians and ratios are printed, and how far each ends from the tight optimum. Set
OPENBLAS_NUM_THREADS=1 to keep a spinning BLAS away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares

from benchmarks.common import interleaved, print_environment
from metrology_core import fit

W = np.array((0.36, -0.48, 0.8))
U = np.array((0.8, 0.6, 0.0))
V = np.cross(W, U)
PLACE = np.array((290.0, -290.0, 290.0))
RADIUS = 25.0


def part(kind: str, n: int, coverage: float, seed: int = 1) -> np.ndarray:
    """Points of a part 500 mm from the origin with 5 um of noise."""
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
    return PLACE + x + 5e-3 * rng.standard_normal((n, 3))


def model(kind: str, x: np.ndarray) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray], np.ndarray]:
    """(residuals, Jacobian, start) with the axis tilted by two small numbers about a nearby direction."""

    def frame(q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        w = W + q[3] * U + q[4] * V
        return x - q[:3], w / np.linalg.norm(w), U - q[3] * W, V - q[4] * W

    if kind == "sphere":

        def residuals(q: np.ndarray) -> np.ndarray:
            return np.linalg.norm(x - q[:3], axis=1) - q[3]

        def jacobian(q: np.ndarray) -> np.ndarray:
            y = x - q[:3]
            return np.column_stack([-y / np.linalg.norm(y, axis=1)[:, None], -np.ones(len(x))])

        return residuals, jacobian, np.array((*(PLACE + 0.05), RADIUS + 0.05))

    def parts(q: np.ndarray) -> tuple[np.ndarray, ...]:
        y, w, u, v = frame(q)
        g = y @ w
        across = y - g[:, None] * w
        f = np.linalg.norm(across, axis=1)
        return y, w, g, f, across / f[:, None], y @ u, y @ v, u, v

    def residuals(q: np.ndarray) -> np.ndarray:
        _, _, g, f, _, _, _, _, _ = parts(q)
        if kind == "circle":
            return np.concatenate([f - q[5], g])
        if kind == "cylinder":
            return f - q[5]
        if kind == "cone":
            return (f - q[5]) * np.cos(q[6]) - g * np.sin(q[6])
        return np.hypot(f - q[5], g) - q[6]

    def jacobian(q: np.ndarray) -> np.ndarray:
        _, w, g, f, n, yu, yv, u, v = parts(q)
        # derivatives of g and f with respect to the place and the two tilts
        dg = np.column_stack([np.broadcast_to(-w, n.shape), yu, yv])
        df = np.column_stack([-n, -g * (n @ u), -g * (n @ v)])
        one, nil = np.ones(len(x)), np.zeros(len(x))
        if kind == "circle":
            return np.vstack([np.column_stack([df, -one]), np.column_stack([dg, nil])])
        if kind == "cylinder":
            return np.column_stack([df, -one])
        if kind == "cone":
            c, s = np.cos(q[6]), np.sin(q[6])
            return np.column_stack([c * df - s * dg, -c * one, -s * (f - q[5]) - c * g])
        e = f - q[5]
        d = np.hypot(e, g)
        return np.column_stack([(e / d)[:, None] * df + (g / d)[:, None] * dg, -e / d, -one])

    sizes = {"circle": (RADIUS,), "cylinder": (RADIUS,), "cone": (RADIUS, 0.3), "torus": (RADIUS, 8.0)}[kind]
    start = np.array((*(PLACE + 0.05), 2e-3, -2e-3, sizes[0] + 0.05, *sizes[1:]))
    return residuals, jacobian, start


def scipy_fit(kind: str, x: np.ndarray) -> np.ndarray:
    residuals, jacobian, start = model(kind, x)
    # the place of an axis may slide along it: MINPACK takes the rank-deficient Jacobian
    return least_squares(residuals, start, jac=jacobian, method="lm", xtol=1e-12, ftol=1e-12, gtol=1e-12).x


def numpy_plane(x: np.ndarray) -> np.ndarray:
    mean = x.mean(axis=0)
    y = x - mean
    return np.linalg.eigh(y.T @ y)[1][:, 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="*", default=[1000, 1_000_000])
    parser.add_argument("--coverage", type=float, nargs="*", default=[360.0, 60.0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print_environment()
    print("feature    points  coverage    ours ms    peer ms   ratio  peer's cost above ours")
    for n in arguments.points:
        for coverage in arguments.coverage:
            for kind in ("plane", "sphere", "circle", "cylinder", "cone", "torus"):
                x = part(kind, n, coverage)
                peer = (lambda x=x: numpy_plane(x)) if kind == "plane" else (lambda x=x, kind=kind: scipy_fit(kind, x))
                timings = interleaved(
                    {"ours": lambda x=x, kind=kind: fit(x, kind), "peer": peer}, rounds=arguments.rounds
                )
                found = fit(x, kind).require()
                ours = found.rms
                if kind == "plane":
                    theirs = float(np.sqrt(np.mean(((x - x.mean(axis=0)) @ numpy_plane(x)) ** 2)))
                else:
                    residuals, _, _ = model(kind, x)
                    theirs = float(np.sqrt(np.sum(residuals(scipy_fit(kind, x)) ** 2) / n))
                a, b = timings["ours"].median * 1e3, timings["peer"].median * 1e3
                print(f"{kind:9s} {n:8d} {coverage:9.0f} {a:10.3f} {b:10.3f} {b / a:7.1f}  {theirs / ours - 1.0:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
