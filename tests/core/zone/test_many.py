"""`fit_many` and `fit_trials` by zone criteria: the answers of `fit`, whichever items the batch settles itself."""

from __future__ import annotations

import secrets

import numpy as np
import pytest

from metrology_core import blocks, fit
from metrology_core.fitting import fit_many, fit_trials
from tests.core.fitting.parts import FEATURES, noisy

CRITERIA = ("minimum_zone", "maximum_inscribed", "minimum_circumscribed")
ROUND = ("circle", "sphere", "cylinder")
CASES = [(kind, "minimum_zone") for kind in FEATURES] + [(kind, c) for kind in ROUND for c in CRITERIA[1:]]


def _same(points: list[np.ndarray], kind: str, criterion: str, seed: int, **options: object) -> int:
    """Compare the batch with single fits; returns how many items the batch settled by itself."""
    many = fit_many(points, kind, criterion=criterion, **options)  # type: ignore[arg-type]
    for i, one in enumerate(points):
        alone = fit(one, kind, criterion=criterion, **options)  # type: ignore[arg-type]
        assert many.status[i] == alone.status, (seed, i)
        assert set(many.flags_of(i)) == set(alone.flags), (seed, i)
        assert (many.n_points[i], many.n_used[i], many.dof[i]) == (alone.n_points, alone.n_used, alone.dof)
        if alone.feature is None:
            assert all(np.isnan(values[i]).all() for values in many.parameters.values())
            continue
        if alone.status not in ("converged", "non_unique"):
            continue  # where an unbounded search was given up means nothing
        # ulps of 1e3 (1.1e-13); the least-squares start of the batch may come from another search
        limit = 1e-12
        assert abs(many.form[i] - alone.form) <= limit, (seed, i)
        if alone.status == "converged":
            assert abs(many.rms[i] - alone.rms) <= limit, (seed, i)
            assert many.sigma[i] == pytest.approx(alone.sigma, rel=1e-9, nan_ok=True), (seed, i)
            for name, value in alone.parameters.items():
                assert np.abs(np.asarray(value) - many.parameters[name][i]).max() <= 10.0 * limit, (seed, i, name)
            if alone.extent is not None:
                assert np.abs(np.subtract(alone.extent, many.extent[i])).max() <= 10.0 * limit, (seed, i)
    return len(points) - len(many._single)


@pytest.mark.parametrize(("kind", "criterion"), CASES)
def test_the_answers_of_single_fits(kind: str, criterion: str) -> None:
    seed = secrets.randbelow(1 << 30)
    points = [noisy(kind, 40, seed=seed + i) for i in range(8)]
    settled = _same(points, kind, criterion, seed)
    if kind not in ("cone", "torus"):  # few points of these have a long search of their own
        assert settled >= 6, seed
    # with a start, as simulated repeats have one
    settled = _same(points, kind, criterion, seed, start=FEATURES[kind])
    assert settled >= 6, seed


def test_what_is_not_plain_is_left_to_single_fits() -> None:
    seed = secrets.randbelow(1 << 30)
    rng = np.random.default_rng(seed)
    good = noisy("circle", 30, seed=seed)
    missing = good.copy()
    missing[3, 1] = np.nan
    thick = noisy("circle", 25, sigma=1.0, seed=seed)
    arc = noisy("circle", 30, seed=seed, arc=0.2)
    half = noisy("circle", 30, seed=seed, arc=2.5)
    exact = noisy("circle", 30, sigma=0.0, seed=seed)
    few, none = good[:3], np.empty((0, 3))
    straight = np.outer(rng.uniform(size=20), (1.0, 2.0, 3.0))
    many = noisy("circle", 3000, seed=seed)
    points = [good, missing, thick, arc, half, few, none, straight, many]
    for criterion in CRITERIA:
        _same(points, "circle", criterion, seed)
        # points on one circle to rounding: which of the flags applies is rounding's choice, the zone is not
        found = fit_many([exact, exact], "circle", criterion=criterion)
        assert found.form.max() <= 1e-12


def test_two_contacts_of_a_circumscribed_circle() -> None:
    """Held by curvature: two points across decide, and the derivatives of the contacts leave a direction free."""
    seed = secrets.randbelow(1 << 30)
    rng = np.random.default_rng(seed)
    points = []
    for _ in range(8):
        t = np.concatenate(((0.0, np.pi), rng.uniform(0.0, 2.0 * np.pi, 30)))
        r = np.concatenate(((10.003, 10.003), rng.uniform(9.999, 10.0, 30)))
        points.append(np.column_stack((r * np.cos(t), r * np.sin(t))) + rng.uniform(-50.0, 50.0, 2))
    assert _same(points, "circle", "minimum_circumscribed", seed) == 8
    assert fit(points[0], "circle", criterion="minimum_circumscribed").optimality["n_contacts"] == 2


def test_threads_and_neighbours_change_no_bit() -> None:
    points = np.array([noisy("cylinder", 40, seed=i) for i in range(70)])
    results = []
    for count in (1, 2, 4):
        with blocks.threads(count):
            results.append(fit_many(points, "cylinder", criterion="minimum_zone"))
    alone = fit_many(points[33:34], "cylinder", criterion="minimum_zone")
    for other in results[1:]:
        assert np.array_equal(other.form, results[0].form)
        assert np.array_equal(other.parameters["axis"], results[0].parameters["axis"])
    assert alone.form[0] == results[0].form[33]


def test_covariances_and_single_fits_of_settled_items() -> None:
    points = np.array([noisy("sphere", 40, seed=i) for i in range(6)])
    many = fit_many(points, "sphere", criterion="maximum_inscribed")
    assert not many._single
    assert many.covariance.shape == (6, 4, 4)
    for i in range(6):
        one = fit(points[i], "sphere", criterion="maximum_inscribed")
        assert set(many[i].optimality["contacts"]) == set(one.optimality["contacts"])
        assert many.covariance[i] == pytest.approx(one.covariance, rel=1e-6, abs=1e-18)


def test_trials_by_zone() -> None:
    points = noisy("cylinder", 50, seed=5)
    moves = 1e-3 * np.random.default_rng(6).standard_normal((30, 50))
    start = fit(points, "cylinder").require().feature
    assert start is not None
    found = fit_trials(points, "cylinder", moves, criterion="minimum_zone")
    assert found.converged.all()
    for i in (0, 17):
        moved = points + moves[i][:, None] * start.normals(points)
        alone = fit(moved, "cylinder", criterion="minimum_zone").require()
        assert found.form[i] == pytest.approx(alone.form, abs=1e-12)
        assert found[i].form == pytest.approx(alone.form, abs=1e-12)
