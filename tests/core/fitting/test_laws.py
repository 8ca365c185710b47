"""Laws that no implementation may break: motion, scale, order, duplicates, units, dimension, threads."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import blocks, fit
from metrology_core.data import Rigid
from metrology_core.kernels import layout
from tests.core.fitting.parts import FEATURES, noisy, same_direction

SEEDS = [11, 12]


def compare(a: dict[str, object], b: dict[str, object], limit: float) -> None:
    for name, value in a.items():
        other = np.asarray(b[name])
        if np.ndim(value) == 1 and name not in ("point", "center"):
            assert same_direction(np.asarray(value), other) <= limit, name
        else:
            assert np.abs(np.asarray(value) - other).max() <= limit, name


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("seed", SEEDS)
def test_rigid_motion(kind: str, seed: int) -> None:
    points = noisy(kind, 120, seed=seed)
    rng = np.random.default_rng(seed)
    motion = Rigid.from_rotation_vector(rng.uniform(-2.0, 2.0, 3), rng.uniform(-500.0, 500.0, 3))
    here = fit(points, kind).require()
    there = fit(motion.apply(points), kind).require()
    carried = here.feature.transform(motion)
    # moving rounds every coordinate by an ulp of 1.5e3 (2.3e-13), conditions are below 20
    compare(carried.parameters, there.parameters, 5e-12)
    assert there.sigma == pytest.approx(here.sigma, rel=1e-9)


@pytest.mark.parametrize("kind", FEATURES)
def test_scale(kind: str) -> None:
    points = noisy(kind, 90, seed=13)
    here = fit(points, kind).require()
    for factor in (2.0**-20, 2.0**30):  # powers of two round nothing: the same bits must come out
        there = fit(points * factor, kind).require()
        for name, value in here.parameters.items():
            length = (np.ndim(value) == 0 and name != "half_angle") or name in ("point", "center")
            assert np.array_equal(np.asarray(value) * (factor if length else 1.0), there.parameters[name]), name
        assert there.form == here.form * factor
    inch = fit(points / 25.4, kind).require()
    assert inch.form * 25.4 == pytest.approx(here.form, rel=1e-9)  # rounding of the converted coordinates


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("seed", SEEDS)
def test_order_does_not_matter(kind: str, seed: int) -> None:
    points = noisy(kind, 300, seed=seed)
    here = fit(points, kind).require()
    there = fit(points[np.random.default_rng(seed).permutation(300)], kind).require()
    compare(here.parameters, there.parameters, 1e-12)  # ulps of 1e3; sums are taken in another order


@pytest.mark.parametrize("kind", FEATURES)
def test_duplicates_change_only_the_degrees_of_freedom(kind: str) -> None:
    points = noisy(kind, 60, seed=14)
    here = fit(points, kind).require()
    twice = fit(np.concatenate([points, points]), kind).require()
    compare(here.parameters, twice.parameters, 1e-12)
    assert twice.rms == pytest.approx(here.rms, rel=1e-10)
    assert twice.form == pytest.approx(here.form, rel=1e-10)


@pytest.mark.parametrize("kind", ["circle", "ellipse"])
def test_plane_and_space_agree(kind: str) -> None:
    rng = np.random.default_rng(15)
    t = rng.uniform(0.0, 2.0 * np.pi, 80)
    flat = np.array((300.0, -80.0)) + np.column_stack(
        [40.0 * np.cos(t), (40.0 if kind == "circle" else 23.0) * np.sin(t)]
    )
    flat += 2e-3 * rng.standard_normal(flat.shape)
    here = fit(flat, kind).require()
    there = fit(np.column_stack([flat, np.full(80, 55.5)]), kind).require()
    assert np.abs(there.parameters["center"] - (*here.parameters["center"], 55.5)).max() <= 1e-12  # ulps of 3e2
    assert there.form == pytest.approx(here.form, rel=1e-9)
    assert there.dof == here.dof + 80 - 3  # the heights are 80 more residuals for three more parameters


def many(kind: str) -> np.ndarray:
    return noisy(kind, 5 * layout.CHUNK + 777, seed=16)


@pytest.mark.parametrize("kind", ["plane", "circle", "cylinder", "torus"])
def test_threads_never_change_a_bit(kind: str) -> None:
    points = many(kind)
    results = []
    for count in (1, 2, 4, 16):
        with blocks.threads(count):
            results.append(fit(points, kind).require())
    first = results[0]
    for other in results[1:]:
        for name, value in first.parameters.items():
            assert np.array_equal(np.asarray(value), np.asarray(other.parameters[name])), name
        assert np.array_equal(first.covariance, other.covariance)
        assert (first.form, first.rms, first.sigma) == (other.form, other.rms, other.sigma)


def test_one_thread_and_many_take_the_same_road(monkeypatch: pytest.MonkeyPatch) -> None:
    from metrology_core.fitting import solver

    points = many("cone")
    threaded = fit(points, "cone").require()
    monkeypatch.setattr(solver, "THREADED_FROM", 10**9)
    serial = fit(points, "cone").require()
    for name, value in threaded.parameters.items():
        assert np.array_equal(np.asarray(value), np.asarray(serial.parameters[name])), name


def test_memory_layout_does_not_matter() -> None:
    points = noisy("cylinder", 70, seed=17)
    base = fit(points, "cylinder").require()
    wide = np.zeros((70, 5))
    wide[:, 1:4] = points
    frozen = points.copy()
    frozen.setflags(write=False)
    for other in (np.asfortranarray(points), wide[:, 1:4], frozen, points.tolist(), points[::-1][::-1]):
        found = fit(other, "cylinder").require()
        assert np.array_equal(found.parameters["point"], base.parameters["point"])
        assert found.parameters["radius"] == base.parameters["radius"]
    whole = np.round(points * 10.0).astype(np.int32)
    assert np.array_equal(
        fit(whole, "cylinder").parameters["point"], fit(whole.astype(float), "cylinder").parameters["point"]
    )
