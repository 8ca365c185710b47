"""Anisotropic point covariances against ODRPACK (another program and algorithm) and against repeated measurement."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.features import Cylinder, Feature

NOISE = (2e-3, 4e-4)


def unequal(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) standard deviations: the worse direction is x or y, by chance."""
    sizes = np.tile(NOISE, (n, 1))
    swap = rng.uniform(size=n) < 0.5
    sizes[swap] = sizes[swap, ::-1]
    return sizes


@pytest.mark.parametrize("kind", ["circle", "ellipse"])
@pytest.mark.parametrize("seed", [1, 2])
def test_plane_curves_against_odrpack(kind: str, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        odr = pytest.importorskip("scipy.odr")
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.0, 4.0, 60)
    sizes_of = unequal(60, rng)
    v = sizes_of[:, :, None] ** 2 * np.eye(2)
    minor = 10.0 if kind == "circle" else 6.0
    exact = np.column_stack([3.0 + 10.0 * np.cos(t), -2.0 + minor * np.sin(t)])
    points = exact + sizes_of * rng.standard_normal((60, 2))
    found = fit(points, kind, covariances=v).require()

    def implicit(b: np.ndarray, x: np.ndarray) -> np.ndarray:
        if kind == "circle":
            return np.asarray((x[0] - b[0]) ** 2 + (x[1] - b[1]) ** 2 - b[2] ** 2)
        c, s = np.cos(b[4]), np.sin(b[4])
        p, q = (x[0] - b[0]) * c + (x[1] - b[1]) * s, -(x[0] - b[0]) * s + (x[1] - b[1]) * c
        return np.asarray(100.0 * ((p / b[2]) ** 2 + (q / b[3]) ** 2 - 1.0))

    begin = [3.0, -2.0, 10.0] if kind == "circle" else [3.0, -2.0, 10.0, 6.0, 0.0]
    # weights of order one: the penalty that ODRPACK puts on implicit models has to outgrow them
    data = odr.Data(points.T, 1, wd=np.ascontiguousarray(NOISE[0] ** 2 / sizes_of.T**2))
    job = odr.ODR(data, odr.Model(implicit, implicit=True), begin, sstol=1e-15, partol=1e-15, maxit=500)
    job.set_job(deriv=1)  # central differences
    twin = job.run()
    own = found.parameters
    sizes = [own["radius"]] if kind == "circle" else [own["semi_major"], own["semi_minor"]]
    mine = np.array([*own["center"], *sizes])
    u = NOISE[0] * np.sqrt(np.diag(twin.cov_beta))[: len(mine)]
    # ODRPACK differences its model and raises a penalty for implicit models: it stops within some 1e-3 of u
    assert np.abs((mine - twin.beta[: len(mine)]) / u).max() <= 0.02
    claimed = found.standard_uncertainty
    sizes_u = [claimed["radius"]] if kind == "circle" else [claimed["semi_major"], claimed["semi_minor"]]
    # linearised at the observed against the adjusted points: differences of the order of noise over radius (1e-4)
    assert np.abs(np.array(sizes_u) / u[2:] - 1.0).max() <= 0.01


def test_cylinder_against_repeated_measurement() -> None:
    truth: Feature = Cylinder((1.0, 2.0, 3.0), (0.0, 0.0, 1.0), 10.0)
    rng = np.random.default_rng(5)
    t, z = rng.uniform(0.0, 2.0, 50), rng.uniform(-8.0, 8.0, 50)
    exact = np.column_stack([1.0 + 10.0 * np.cos(t), 2.0 + 10.0 * np.sin(t), 3.0 + z])
    v = np.diag(np.square((3e-3, 5e-4, 1e-3)))
    values, claims, plain = [], [], []
    for _ in range(300):
        points = exact + rng.standard_normal(exact.shape) * np.sqrt(np.diag(v))
        found = fit(points, "cylinder", covariances=v, start=truth)
        values.append(found.parameters["radius"])
        claims.append(found.standard_uncertainty["radius"])
        plain.append(fit(points, "cylinder", start=truth).parameters["radius"])
    spread = float(np.std(values, ddof=1))
    # relative standard error of a standard deviation from 300 trials: 4.1 %; 3.5 of them
    assert spread == pytest.approx(float(np.mean(claims)), rel=3.5 / np.sqrt(600.0))
    assert abs(float(np.mean(values)) - 10.0) <= 3.5 * spread / np.sqrt(300.0)
    assert spread < float(np.std(plain, ddof=1))  # knowing the directions of the noise must help
