"""Covariances without a matrix: exact circulant answers, and every method beside the dense matrix."""

from __future__ import annotations

import json

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.blocks import threads
from metrology_core.features import Circle, Cylinder, Line, Plane, Sphere
from metrology_core.uncertainty.fields import CorrelatedField, exponential, gaussian, lobe_alias, matern
from metrology_core.uncertainty.fields import cells as _cells

R = 10.0


def ring(n: int) -> tuple[np.ndarray, np.ndarray]:
    angle = 2.0 * np.pi * np.arange(n) / n
    return angle, np.stack([R * np.cos(angle), R * np.sin(angle)], axis=1)


def circle_rows(angle: np.ndarray) -> np.ndarray:
    n = len(angle)
    return np.stack([2.0 / n * np.cos(angle), 2.0 / n * np.sin(angle), np.full(n, 1.0 / n)])


def test_circle_of_the_reference(data_root) -> None:
    """u(R) / s and u(x) / s of the acceptance case to its printed digits, and of the circulant sums to 1e-12."""
    cases = json.loads((data_root / "uncertainty/acceptance/acceptance_cases.json").read_text())
    case = next(c for c in (cases if isinstance(cases, list) else cases["cases"]) if c["id"] == "circle-corr")
    for n, u_r, u_x in zip(case["inputs"]["n"], case["expected"]["uR_over_s"], case["expected"]["uX_over_s"]):
        angle, xy = ring(n)
        found = CorrelatedField(1.0, exponential(R * np.pi / 6)).on(fit(xy, "circle").feature, xy)
        u = np.sqrt(np.diag(found.sandwich(circle_rows(angle)).value))
        assert abs(u[2] - u_r) < 5.1e-6 and abs(u[0] - u_x) < 5.1e-6  # five printed digits


@pytest.mark.parametrize("n", [8, 25, 100, 1000, 1_000_000])
@pytest.mark.parametrize("degrees", [10.0, 30.0, 90.0])
def test_full_circle_is_exact(n: int, degrees: float) -> None:
    angle, xy = ring(n)
    length = np.deg2rad(degrees)
    rho = np.exp(-np.minimum(angle, 2.0 * np.pi - angle) / length)
    expected = (rho.sum() / n, 2.0 / n * (rho @ np.cos(angle)))
    found = CorrelatedField(1.0, exponential(R * length)).on(
        Circle((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), R), np.c_[xy, 0 * angle]
    )
    s = found.sandwich(circle_rows(angle))
    assert s.method == "circulant"
    # a million terms are summed in another order: 1e-10 relative is far below the 1e-6 asked for
    assert s.value[2, 2] == pytest.approx(expected[0], rel=1e-9)
    assert s.value[0, 0] == pytest.approx(expected[1], rel=1e-9)
    assert abs(s.value[0, 2]) < 1e-12
    if n == 1000 and degrees == 30.0:
        assert found.effective_number()[0] == pytest.approx(1.0 / 0.40774**2, rel=1e-4)


def test_the_acceptance_within_the_reference_table() -> None:
    """The table of the reference, four digits."""
    for n, degrees, u_r, u_x in ((8, 10, 0.3575, 0.5039), (25, 90, 0.6584, 0.5740), (1000, 10, 0.2357, 0.3284)):
        angle, xy = ring(n)
        f = CorrelatedField(1.0, exponential(R * np.deg2rad(degrees))).on(fit(xy, "circle").feature, xy)
        u = np.sqrt(np.diag(f.sandwich(circle_rows(angle)).value))
        assert (round(u[2], 4), round(u[0], 4)) == (u_r, u_x)


def grids():
    rng = np.random.default_rng(5)
    y, z = np.meshgrid(np.arange(40) * 0.5, np.arange(31) * 0.8, indexing="ij")
    flat = np.stack([y.ravel(), z.ravel(), 0.0 * y.ravel()], axis=1)
    angle, height = np.meshgrid(np.arange(48) * 2 * np.pi / 48 + 0.1, np.arange(20) * 1.5, indexing="ij")
    round_ = np.stack([R * np.cos(angle), R * np.sin(angle), height], axis=2).reshape(-1, 3)
    line = np.stack([np.arange(300) * 0.1, np.zeros(300), np.zeros(300)], axis=1)
    return {
        "plane": (Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), flat[rng.permutation(len(flat))]),
        "cylinder": (Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), R), round_[rng.permutation(len(round_))]),
        "line": (Line((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), line),
    }


@pytest.mark.parametrize("name", ["plane", "cylinder", "line"])
@pytest.mark.parametrize(
    "kernel", [exponential(3.0), matern(3.0, 1.5), matern(3.0, 0.8), gaussian(3.0), exponential(40.0)]
)
def test_grids_are_exact_by_embedding(name: str, kernel) -> None:
    feature, xyz = grids()[name]
    rng = np.random.default_rng(6)
    g = rng.standard_normal((3, len(xyz)))
    on = CorrelatedField(rng.uniform(0.5, 1.5, len(xyz)), kernel, nugget=0.3).on(feature, xyz)
    s = on.sandwich(g)
    assert s.method == "circulant"
    expected = g @ on.matrix() @ g.T
    # the compiled matrix of nu = 0.8 comes from a table with 3e-6 of error an entry, the FFT from Bessel functions
    limit = 1e-11 if kernel.nu != 0.8 else 1e-5
    assert np.abs(s.value - expected).max() < limit * np.abs(expected).max()


def scattered(name: str, n: int):
    rng = np.random.default_rng(7)
    if name == "sphere":
        y = rng.standard_normal((n, 3))
        y *= 10.0 / np.linalg.norm(y, axis=1)[:, None]
        return Sphere((0.0, 0.0, 0.0), 10.0), y, np.c_[y / 10.0, np.ones(n)]
    angle, z = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(0.0, 30.0, n)
    xyz = np.stack([R * np.cos(angle), R * np.sin(angle), z], axis=1)
    c, s = np.cos(angle), np.sin(angle)
    return Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), R), xyz, np.stack([c, s, z * c, z * s, np.ones(n)], axis=1)


@pytest.mark.parametrize("name,metric", [("cylinder", "auto"), ("cylinder", "chordal"), ("sphere", "auto")])
@pytest.mark.parametrize(
    "kernel", [exponential(2.0), matern(3.0, 2.2), gaussian(2.5), exponential(0.3), exponential(9.0)]
)
def test_many_scattered_points_beside_the_dense_matrix(name: str, metric: str, kernel, monkeypatch) -> None:
    monkeypatch.setattr(_cells, "EXACT_POINTS", 1000)
    n = 2500
    feature, xyz, j = scattered(name, n)
    g = np.linalg.solve(j.T @ j, j.T)
    on = CorrelatedField(1.0, kernel, metric=metric).on(feature, xyz)
    s = on.sandwich(g)
    assert s.method == ("grid" if (name, metric) == ("cylinder", "auto") else "cells")
    expected = np.diag(g @ on.matrix() @ g.T)
    # what the result claims of itself: 2e-3 of a variance, 1e-3 of an uncertainty
    assert np.abs(np.diag(s.value) / expected - 1.0).max() < s.relative == 2e-3


def test_contacts_take_their_own_pairs() -> None:
    feature, xyz, _ = scattered("cylinder", 6000)
    g = np.zeros((2, len(xyz)))
    g[0, [5, 900, 4000]] = (0.5, 0.3, 0.2)
    g[1, [5, 77]] = (1.0, -1.0)
    on = CorrelatedField(1.0, exponential(5.0), nugget=0.1).on(feature, xyz)
    few = [5, 77, 900, 4000]
    small = CorrelatedField(1.0, exponential(5.0), nugget=0.1, metric="wrapped").on(feature, xyz[few])
    assert np.allclose(on.sandwich(g).value, g[:, few] @ small.matrix() @ g[:, few].T, rtol=1e-12)


def test_threads_change_no_bit() -> None:
    feature, xyz, j = scattered("sphere", 5000)
    g = np.linalg.solve(j.T @ j, j.T)
    on = CorrelatedField(1.0, exponential(2.0)).on(feature, xyz)
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append(on.sandwich(g).value.tobytes())
    assert len(set(found)) == 1


@pytest.mark.parametrize("n", [3, 7, 12])
def test_lobes_alias_exactly(n: int) -> None:
    """Beside a real fit of a circle with a small k-lobe form: what enters is what the rule says, to second order."""
    amplitude, start, phase = 1e-6, 0.37, 0.9
    angle = start + 2.0 * np.pi * np.arange(n) / n
    seen = set()
    for k in range(3 * n + 3):
        r = R + amplitude * np.cos(k * angle - phase)
        found = fit(np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1), "circle").parameters
        alias = lobe_alias(n, k, amplitude, phase, start)
        # second order: n (amplitude / R)^2 R
        assert found["radius"] - R == pytest.approx(alias.radius, abs=1e-11)
        assert np.allclose(found["center"], (alias.x, alias.y), atol=1e-11)
        seen.add((alias.radius != 0.0, (alias.x, alias.y) != (0.0, 0.0)))
        assert (alias.radius != 0.0) == (k % n == 0)
        assert ((alias.x, alias.y) != (0.0, 0.0)) == (k % n in (1, n - 1))
    assert seen == {(True, False), (False, True), (False, False)} or n == 3
