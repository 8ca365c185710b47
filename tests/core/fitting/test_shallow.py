"""Shallow caps: a radius of 10 m seen on 900 mm, against least squares in 50 digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from metrology_core import fit


def _exact(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Centre and radius by Gauss-Newton in 50 digits."""
    with mpmath.workdps(50):
        rows = [[mpmath.mpf(float(v)) for v in p] for p in points]
        x = [mpmath.mpf(float(v)) for v in start]
        d = len(rows[0])
        for _ in range(40):
            j, r = mpmath.matrix(len(rows), d + 1), mpmath.matrix(len(rows), 1)
            for i, p in enumerate(rows):
                away = [p[k] - x[k] for k in range(d)]
                length = mpmath.sqrt(sum(a * a for a in away))
                r[i] = length - x[d]
                for k in range(d):
                    j[i, k] = -away[k] / length
                j[i, d] = -1
            step = mpmath.lu_solve(j.T * j, -(j.T * r))
            x = [x[k] + step[k] for k in range(d + 1)]
            if max(abs(s) for s in step) < mpmath.mpf(10) ** -35:
                break
        return np.array([float(v) for v in x])


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shallow_caps(dimension: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-0.045, 0.045, (2, 14))
    r = 1e4 + 1e-3 * rng.standard_normal(14)
    unit = np.column_stack((np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)))
    if dimension == 2:
        unit = np.column_stack((np.cos(a), np.sin(a)))
    turn, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    points = (r[:, None] * unit - np.eye(dimension)[0] * 1e4) @ turn.T + rng.uniform(-300.0, 300.0, dimension)
    found = fit(points, "circle" if dimension == 2 else "sphere").require().feature
    exact = _exact(points, np.append(found.center, found.radius))  # type: ignore[union-attr]
    # differences of coordinates of 450 are rounded by 3e-14, the arc of 5 degrees magnifies that some thousand times
    # (as root less radius the error is 1e-9)
    assert np.abs(np.append(found.center, found.radius) - exact).max() <= 6e-11  # type: ignore[union-attr]
