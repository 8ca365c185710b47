"""Few points leave many local minima: exact points are found exactly, or the fit says that it may be another minimum.

Exact points make every miss visible: the sum of squares at the optimum is zero.
"""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.features import Torus
from metrology_core.fitting.search import FEW, ambiguous

# found exactly: rounding of coordinates of 1e2 is 1e-14; a wrong minimum is above 1e-3
EXACT = 1e-9


def torus_points(seed: int, n: int, ring: float, tube: float = 360.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.0, np.radians(ring), n)
    v = rng.uniform(0.0, np.radians(tube), n)
    f = 89.0 + 46.0 * np.cos(v)
    return np.column_stack([f * np.cos(t), f * np.sin(t), 46.0 * np.sin(v)])


def wrong_and_silent(points: np.ndarray, kind: str) -> tuple[bool, bool]:
    found = fit(points, kind)
    wrong = found.feature is None or not found.rms < EXACT
    silent = wrong and found.status == "converged" and "other_minima" not in found.flags
    return wrong, silent


@pytest.mark.parametrize("arc", [90.0, 360.0])
@pytest.mark.parametrize("n", [8, 12, 20, 30])
def test_torus(n: int, arc: float) -> None:
    results = [wrong_and_silent(torus_points(seed, n, arc), "torus") for seed in range(30)]
    assert not any(silent for _, silent in results)
    # 1 of 300 at n = 8, none elsewhere (measured): one of 30 is left to other machines' rounding
    assert sum(wrong for wrong, _ in results) <= (1 if n == 8 else 0)


@pytest.mark.parametrize(("seed", "arc"), [(2, 90.0), (29, 360.0)])
def test_the_tori_of_twenty_points_that_were_missed(seed: int, arc: float) -> None:
    found = fit(torus_points(seed, 20, arc), "torus").require()
    assert isinstance(found.feature, Torus)
    # exact points: what remains is rounding times the condition of the problem (below 1e3)
    assert found.feature.major_radius == pytest.approx(89.0, abs=1e-9)
    assert found.feature.minor_radius == pytest.approx(46.0, abs=1e-9)
    assert found.flags == ()


@pytest.mark.parametrize("seed", [103, *range(25)])
def test_cylinder_of_six_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = 6.0 * rng.uniform(0.0, 2.0 * np.pi, 6)
    z = 6.0 * rng.uniform(0.0, 20.0, 6)
    found = fit(np.column_stack([10.0 * np.cos(t), 10.0 * np.sin(t), z]), "cylinder")
    assert found.rms < EXACT
    if "other_minima" not in found.flags:
        # 1e-6: six points may determine the radius 1e6 times worse than they are known (1e-14)
        assert found.parameters["radius"] == pytest.approx(10.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_cone_of_eight_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = rng.uniform(0.0, 2.0 * np.pi, 8)
    z = rng.uniform(0.0, 20.0, 8)
    f = 10.0 + 0.3 * z
    wrong, _ = wrong_and_silent(np.column_stack([f * np.cos(t), f * np.sin(t), z]), "cone")
    assert not wrong


@pytest.mark.parametrize(("ring", "tube"), [(20.0, 90.0), (90.0, 30.0)])
@pytest.mark.parametrize("n", [FEW + 1, 1000])
def test_tori_over_small_arcs(n: int, ring: float, tube: float) -> None:
    for seed in range(10):
        assert not wrong_and_silent(torus_points(seed, n, ring, tube), "torus")[0], seed


CUBE = np.array([(x, y, z) for x in (-5.0, 5.0) for y in (-5.0, 5.0) for z in (-5.0, 5.0)])  # on three cylinders


def test_a_second_feature_that_fits_as_well_is_told() -> None:
    found = fit(CUBE, "cylinder")
    assert found.status == "non_unique"
    assert {"non_unique", "other_minima"} <= set(found.flags)
    # noise makes one of the three the best, by less than eight points can tell
    noisy = fit(CUBE + 0.05 * np.random.default_rng(1).standard_normal((8, 3)), "cylinder")
    assert noisy.status == "converged"
    assert "other_minima" in noisy.flags


def test_the_bound_between_two_minima() -> None:
    assert not ambiguous((), 20, 13, 7)
    assert not ambiguous((1e-6, 1.0), 20, 13, 7)
    assert ambiguous((1.0, 1.5), 20, 13, 7)
    assert not ambiguous((1.0, 5.0), 20, 13, 7)
    assert ambiguous((1.0, 100.0), 8, 1, 7)  # one degree of freedom decides nothing
    assert not ambiguous((1.0, 1.5), 7, 0, 7)  # without redundancy: zero_redundancy and non_unique speak


def test_a_start_ends_the_doubt() -> None:
    again = fit(CUBE, "cylinder", start=fit(CUBE, "cylinder").associated)
    assert again.status == "converged"
    assert "other_minima" not in again.flags
