"""The vector sums of one pass against the rows of its Jacobian, summed in long double."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.kernels import fitmain, layout, sums
from metrology_core.kernels.vectors import WIDTH, Plain

NOTHING = np.empty(0)
# Sums of at most 1300 terms in two stages of 64 and 32 additions per lane, eight lanes: below a hundred roundings of
# the sum of absolute values; the rows themselves are rounded a few times more.
ROUNDING = 200 * 2.0**-53


def _pose(rng: np.random.Generator) -> np.ndarray:
    pose = np.zeros(layout.POSE)
    pose[:3] = rng.normal(0.0, 0.05, 3)
    pose[3:12] = np.linalg.qr(rng.standard_normal((3, 3)))[0].reshape(-1)
    pose[12:] = 0.4, 0.15
    return pose


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 515, 1300])
@pytest.mark.parametrize("kind", range(8))
def test_the_sums_of_a_pass_are_those_of_its_rows(kind: int, n: int, weighted: bool) -> None:
    rng = np.random.default_rng(100 * kind + n)
    centre, scale, pose = np.array((250.0, -120.0, 60.0)), 2.0**-6, _pose(rng)
    xyz = centre + 20.0 * rng.standard_normal((n, 3))
    weights = rng.uniform(0.2, 3.0, n) if weighted else NOTHING
    found = np.empty((1, layout.N_SUMS))
    fitmain.accumulate(kind, xyz.reshape(-1), weights, centre, scale, pose, 0, 1, found)
    p = layout.N_PARAMETERS[kind]
    rows = np.empty((layout.N_ROWS[kind] * n, p + 1))
    fitmain.design_rows(kind, xyz.reshape(-1), centre, scale, pose, rows)
    long = rows.astype(np.longdouble)
    load = np.tile(weights if weighted else np.ones(n), layout.N_ROWS[kind]).astype(np.longdouble)
    expected = (long.T * load) @ long
    size = (np.abs(long).T * load) @ np.abs(long)
    upper = np.triu_indices(p + 1)
    got = found[0, : len(upper[0])]
    assert np.all(np.abs(got - expected[upper]) <= ROUNDING * size[upper] + 1e-300)
    local = ((xyz - centre) * scale - pose[:3]) @ pose[3:12].reshape(3, 3).T
    distance = local[:, 0] ** 2 + local[:, 1] ** 2 if kind == layout.LINE else rows[:n, p]
    seen = found[0, [layout.S_DMIN, layout.S_DMAX, layout.S_REACH2]]
    reach = (local**2).sum(axis=1).max()
    np.testing.assert_allclose(seen, (distance.min(), distance.max(), reach), rtol=1e-14, atol=1e-14)
    if kind in (layout.LINE, layout.CYLINDER, layout.CONE):  # features with an extent along their axis
        axial = found[0, [layout.S_GMIN, layout.S_GMAX]]
        np.testing.assert_allclose(axial, (local[:, 2].min(), local[:, 2].max()), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("kind", sorted(sums.SHAPES))
def test_without_the_compiler_the_formulas_give_the_same_sums(kind: int) -> None:
    n = 64
    rng = np.random.default_rng(kind)
    centre, scale, pose = np.array((250.0, -120.0, 60.0)), 2.0**-6, _pose(rng)
    flat = (centre + 20.0 * rng.standard_normal((n, 3))).reshape(-1)
    weights = rng.uniform(0.2, 3.0, n)
    sizes = np.array((pose[12], pose[13], np.cos(pose[13]), np.sin(pose[13]), -np.sin(pose[13])))
    totals = np.zeros(sums.SCRATCH)
    steps, finish = sums._prepare(sums.SHAPES[kind], True, Plain(), scale, (flat, weights, centre, pose, sizes, totals))
    for step in steps:
        for k in range(0, n, WIDTH):
            step(k, k)
    finish()
    found = np.empty((1, layout.N_SUMS))
    fitmain.accumulate(kind, flat, weights, centre, scale, pose, 0, 1, found)
    factors = np.array((1.0, -1.0, -sizes[2], pose[12]))
    p = layout.N_PARAMETERS[kind]
    expected = np.zeros((p + 1) * (p + 2) // 2)
    for entry, row, *which in sums.TERMS[sums.FIRST_TERM[kind] : sums.FIRST_TERM[kind + 1]]:
        lanes = totals[(sums.T_SUMS + row) * WIDTH : (sums.T_SUMS + row + 1) * WIDTH]
        expected[entry] += lanes.sum() * factors[which].prod()
    size = np.abs(expected).max()  # eight additions in each lane, not fused here
    np.testing.assert_allclose(found[0, : len(expected)], expected, rtol=1e-13, atol=1e-14 * size)


def test_products_and_sums_are_fused_whatever_the_processor() -> None:
    # Points 0 and 8 meet in one lane: u v is -1 and then (1 + h)(1 - h) = 1 - h^2, which plain products round to 1.
    h = 2.0**-30
    xyz = np.zeros((16, 3))
    xyz[0, :2], xyz[8, :2] = (1.0, -1.0), (1.0 + h, 1.0 - h)
    pose = np.zeros(layout.POSE)
    pose[[3, 7, 11]] = 1.0
    found = np.empty((1, layout.N_SUMS))
    fitmain.accumulate(layout.PLANE, xyz.reshape(-1), NOTHING, np.zeros(3), 1.0, pose, 0, 1, found)
    assert found[0, 5] == -h * h


@pytest.mark.parametrize("n", [1, 9, 4099])
def test_extremes_count_the_finite_points(n: int) -> None:
    rng = np.random.default_rng(n)
    xyz = rng.standard_normal((n, 3))
    out = np.empty((1, layout.N_MOMENTS))
    fitmain.extremes(xyz.reshape(-1), 0, 1, out)
    assert out[0, layout.M_COUNT] == n
    np.testing.assert_array_equal(out[0, layout.M_MIN : layout.M_MIN + 3], xyz.min(axis=0))
    np.testing.assert_array_equal(out[0, layout.M_MAX : layout.M_MAX + 3], xyz.max(axis=0))
    for bad, value in ((0, np.nan), (n - 1, np.inf), (n // 2, -np.inf)):
        xyz[bad, bad % 3] = value
    fitmain.extremes(xyz.reshape(-1), 0, 1, out)
    assert out[0, layout.M_COUNT] == np.isfinite(xyz).all(axis=1).sum()
