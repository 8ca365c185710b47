"""Nested variance components: closed forms of balanced designs, dense twins, coverage, what cannot be estimated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from metrology_core.statistics import nested as nested_module
from metrology_core.statistics.nested import NestedComponents, nested_components


def design(
    stream: np.random.Generator, sd: tuple[float, ...], lots: int, wafers: int, fields: int, images: int, uneven: bool
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Values and labels; wafer and field names repeat in every group above, as real ones do."""
    y: list[float] = []
    labels: dict[str, list[Any]] = {"lot": [], "wafer": [], "field": []}
    for lot in range(lots):
        a = sd[0] * stream.standard_normal()
        for wafer in range(wafers):
            b = sd[1] * stream.standard_normal()
            for place in range(int(stream.integers(2, 2 * fields)) if uneven else fields):
                c = sd[2] * stream.standard_normal()
                for _ in range(int(stream.integers(1, 2 * images)) if uneven else images):
                    y.append(a + b + c + sd[3] * stream.standard_normal())
                    for key, value in zip(labels, (lot, wafer, place), strict=True):
                        labels[key].append(value)
    return np.array(y), labels


def of(y: np.ndarray, labels: dict[str, list[Any]], **more: Any) -> NestedComponents:
    return nested_components(y, labels, bottom="image", **more)


def test_balanced_closed_form() -> None:
    """The textbook: sigma_k^2 = (MS_k - MS_k+1) / values in a group of level k."""
    y, labels = design(np.random.Generator(np.random.PCG64(2)), (1.0, 0.7, 0.5, 0.3), 3, 4, 5, 2, False)
    cube = y.reshape(3, 4, 5, 2)
    means = [cube.mean(axis=(1, 2, 3)), cube.mean(axis=(2, 3)), cube.mean(axis=3), cube]
    above = [np.array(cube.mean()), *means[:-1]]
    counts = (40, 10, 2, 1)
    squares = [n * float(np.sum((m - a.reshape(a.shape + (1,) * (m.ndim - a.ndim))) ** 2))
               for n, m, a in zip(counts, means, above, strict=True)]  # fmt: skip
    dof = (2, 9, 48, 60)
    ms = [s / d for s, d in zip(squares, dof, strict=True)] + [0.0]
    result = of(y, labels)
    assert result.balanced and result.n == 120
    for k, row in enumerate(result.components):
        below = ms[k + 1] if k < 3 else 0.0
        assert row.variance == pytest.approx((ms[k] - below) / counts[k], rel=1e-10)
        assert (row.groups, row.dof) == ((3, 12, 60, 120)[k], dof[k])
    # balanced: the sums of squares are chi-squared as they stand
    assert [row.effective_dof for row in result.components] == pytest.approx(dof)
    assert result.mean == pytest.approx(float(cube.mean()))
    # variance of the grand mean: MS of the top level over n
    assert result.mean_u**2 == pytest.approx(ms[0] / 120, rel=1e-10)


def test_expected_squares_by_a_dense_twin() -> None:
    """Unbalanced: the estimators are unbiased exactly when E[form] = coefficients; forms and traces from (n, n)
    matrices, written independently."""
    y, labels = design(np.random.Generator(np.random.PCG64(5)), (1.0, 0.7, 0.5, 0.3), 3, 3, 3, 2, True)
    n = y.size
    codes = nested_module._codes(labels, n)
    projections = [np.full((n, n), 1.0 / n)]
    shared = []
    for g in codes:
        same = g[:, None] == g
        shared.append(same.astype(float))
        projections.append(same / same.sum(axis=1))
    forms = [b - a for a, b in zip(projections[:-1], projections[1:], strict=True)]
    squares = np.array([y @ f @ y for f in forms])
    coefficients = np.array([[np.trace(f @ z) for z in shared] for f in forms])
    expected = np.linalg.solve(coefficients, squares)
    found = of(y, labels)
    assert [row.variance for row in found.components] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    v = sum(max(e, 0.0) * z for e, z in zip(expected, shared, strict=True))
    for row, f in zip(found.components, forms, strict=True):
        m = f @ v
        assert row.effective_dof == pytest.approx(np.trace(m) ** 2 / np.trace(m @ m), rel=1e-8)
    assert found.mean_u**2 == pytest.approx(float(v.sum()) / n**2, rel=1e-9)


def test_balanced_anova_is_restricted_maximum_likelihood() -> None:
    """Where no estimate is negative the two agree in balanced designs: the gradient of the restricted likelihood
    (dense, n = 48) is zero at the estimates, to rounding of the sums."""
    y, labels = design(np.random.Generator(np.random.PCG64(11)), (1.0, 0.8, 0.6, 0.4), 2, 3, 4, 2, False)
    found = of(y, labels)
    estimates = [row.variance for row in found.components]
    assert min(estimates) > 0.0
    z = [(g[:, None] == g).astype(float) for g in nested_module._codes(labels, y.size)]
    v = np.linalg.inv(sum(e * m for e, m in zip(estimates, z, strict=True)))
    one = np.ones((y.size, 1))
    p = v - v @ one @ np.linalg.inv(one.T @ v @ one) @ one.T @ v
    for m in z:
        assert float(y @ p @ m @ p @ y) == pytest.approx(float(np.trace(p @ m)), rel=1e-8)


@pytest.mark.parametrize(
    ("sd", "shape", "uneven"),
    [
        ((0.5, 0.5, 0.5, 0.5), (4, 4, 6, 2), False),
        ((0.3, 0.2, 0.5, 0.5), (4, 3, 4, 2), True),
        ((0.5, 0.0, 0.3, 0.5), (4, 3, 5, 2), True),
    ],
)
def test_intervals_hold_the_truth(
    sd: tuple[float, ...], shape: tuple[int, int, int, int], uneven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """250 designs: a coverage of 95 % shows 90.9 to 98.8 % (three standard errors of 1.4 %, and up where a component is
    zero, since its interval then starts there); estimates unbiased within four of their standard errors."""
    monkeypatch.setattr(nested_module, "DRAWS", 3000)
    inside, variances, totals = [], [], []
    for k in range(250):
        y, labels = design(np.random.Generator(np.random.PCG64([7, k])), sd, *shape, uneven)
        found = of(y, labels, seed=k)
        inside.append([row.low <= s <= row.high for row, s in zip(found.components, sd, strict=True)])
        variances.append([row.variance for row in found.components])
        totals.append(found.total_low <= math.hypot(*sd) <= found.total_high)
    coverage = np.mean(inside, axis=0)
    assert np.all(coverage > 0.909) and np.all(coverage[[s > 0.0 for s in sd]] < 0.99), coverage
    assert 0.909 < np.mean(totals) < 0.99
    off = np.mean(variances, axis=0) - np.array(sd) ** 2
    assert np.all(np.abs(off) < 4.0 * np.std(variances, axis=0) / math.sqrt(250))


def test_known_noise_is_taken_off_the_bottom() -> None:
    stream = np.random.Generator(np.random.PCG64(3))
    y, labels = design(stream, (0.0, 1.0, 0.6, 0.4), 1, 20, 12, 4, False)
    noisy = y + 0.5 * stream.standard_normal(y.size)
    result = of(noisy, labels, noise_variance=np.full(y.size, 0.25))
    # 720 degrees of freedom: the root of a variance to 2.6 %, and the noise makes that 4 %
    assert result["image"].sd == pytest.approx(0.4, rel=0.15) and result.noise == pytest.approx(0.5)
    assert result["field"].sd == pytest.approx(0.6, rel=0.2)
    assert result["lot"].status == "not_estimable" and result["lot"].reason == "there is only one lot"


def test_levels_that_cannot_be_told_apart() -> None:
    """One image a field: the field component lies in that of the images."""
    labels = {"wafer": ["a"] * 4 + ["b"] * 4, "field": list(range(4)) * 2}
    found = of(np.array((1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0)), labels)
    assert found["field"].status == "not_estimable" and "one image" in found["field"].reason
    assert found["image"].variance == pytest.approx(5.0 / 3.0)
    assert found["wafer"].variance == pytest.approx(50.0 - 5.0 / 12.0)
    flat = of(np.array((1.0, 2.0, 3.0, 1.0, 2.0, 3.0)), {"wafer": list("aaabbb")})
    assert flat["wafer"].variance < 0.0 and flat["wafer"].sd == 0.0 and flat["wafer"].status == "not_resolved"


def test_wrong_use() -> None:
    for values, labels in (
        ([1.0, 2.0], {"a": [1, 2]}),
        ([1.0, 2.0, math.nan], {"a": [1, 1, 2]}),
        ([1.0] * 4, {"a": [1]}),
        ([1.0] * 4, {}),
    ):
        with pytest.raises(ParameterError):
            nested_components(values, labels)
    with pytest.raises(ParameterError, match="noise"):
        nested_components([1.0, 2.0, 3.0], {"a": [1, 1, 2]}, noise_variance=[-1.0, 0.0, 0.0])
    with pytest.raises(ParameterError, match="name of its own"):
        nested_components([1.0, 2.0, 3.0], {"within": [1, 1, 2]})
    with pytest.raises(ParameterError, match="coverage probability"):
        nested_components([1.0, 2.0, 3.0], {"a": [1, 2, 2]}, p=0.2)


def test_the_same_seed_gives_the_same_interval() -> None:
    y, labels = design(np.random.Generator(np.random.PCG64(1)), (0.5, 0.5, 0.5, 0.5), 3, 3, 3, 2, True)
    assert of(y, labels, seed=4) == of(y, labels, seed=4)
    assert of(y, labels, seed=4)["lot"].high != of(y, labels, seed=5)["lot"].high
