"""The experiment on a calibrated workpiece (ISO 15530-3): its formula by hand, its coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.uncertainty import artefact_ratio, assess


def known(value: float, u: float, unit: str = "mm") -> Measured:
    return Measured.from_standard(value, u, unit, Influence("ring/certificate", "calibration", "B"))


def test_the_formula_by_hand() -> None:
    """Ring of 30.0012 mm, U = 0.6 um (k = 2); 20 readings, half 1 um below and half 3 um above: mean error +1 um and
    u_p = sqrt(20 * 2^2 / 19) um = 2.05196 um; u_w 0.4 um, u_b 0.2 um.
    U = 2 sqrt(0.3^2 + 2.05196^2 + 0.2^2 + 0.4^2) um = 2 sqrt(4.500526) um = 4.2429 um."""
    readings = [30.0002] * 10 + [30.0042] * 10
    found = assess("ring", readings, known(30.0012, 3e-4), u_w=4e-4, u_b=2e-4)
    assert found.bias == pytest.approx(1e-3, abs=1e-14)  # rounding of 30 mm: 4e-15
    assert found.u_p == pytest.approx(1e-3 * math.sqrt(80.0 / 19.0), rel=1e-12)
    assert found.expanded() == pytest.approx(2e-3 * math.sqrt(0.09 + 80.0 / 19.0 + 0.04 + 0.16), rel=1e-12)
    assert found.expanded() == pytest.approx(4.2429e-3, abs=5e-8)
    value = found.apply(30.0100)
    assert value.value == pytest.approx(30.0090, abs=1e-12) and value.u == pytest.approx(found.u, rel=1e-12)
    # the scatter has 19 degrees of freedom, the rest is known
    assert value.dof == pytest.approx(19.0 * (found.u / found.u_p) ** 4, rel=1e-12)
    assert "corrected for its bias of 0.001 mm" in found.describe() and found.flags == ()


def test_an_uncorrected_bias_counts() -> None:
    readings = [30.0002] * 10 + [30.0042] * 10
    found = assess("ring", readings, known(30.0012, 3e-4), correct=False)
    root = math.hypot(3e-4, found.u_p)
    assert found.expanded() == pytest.approx(2.0 * root + 1e-3, rel=1e-12)  # outside the root: the 2004 specification
    assert found.apply(30.01).value == 30.01 and found.apply(30.01).u == pytest.approx(math.hypot(root, 1e-3))


def test_two_values_share_all_but_the_scatter() -> None:
    found = assess("ring", [30.0002] * 10 + [30.0042] * 10, known(30.0012, 3e-4), u_w=4e-4, u_b=2e-4)
    a, b = found.apply(30.01), found.apply(30.02)
    common = 3e-4**2 + 4e-4**2 + 2e-4**2
    assert a.correlation(b) == pytest.approx(common / found.u**2, rel=1e-12)


def test_a_bias_that_nothing_explains_is_flagged() -> None:
    readings = [30.0002] * 10 + [30.0042] * 10  # mean 30.0022, standard deviation 2.05 um
    for true, flagged in ((30.0125, False), (30.0130, True), (29.9914, True), (29.9921, False)):
        found = assess("ring", readings, known(true, 3e-4))
        own = math.hypot(3e-4, found.u_p)
        assert (abs(found.bias) > 5.0 * own) is flagged
        assert ("bias_exceeds_uncertainty" in found.apply(30.0).flags) is flagged
    # a stated cause explains it
    assert assess("ring", readings, known(30.0130, 3e-4), u_b=3e-3).flags == ()


def test_units_and_short_experiments() -> None:
    found = assess("ring", [30001.2, 30001.8, 30001.5], known(30.0012, 3e-4), unit="um")
    assert found.flags == ("assessment_short",) and found.bias == pytest.approx(0.3, abs=1e-9)
    assert found.u_cal == pytest.approx(0.3) and "assessment_short" in found.apply(30002.0).flags


def test_intervals_cover_the_truth() -> None:
    """3000 experiments: a process with bias and scatter, a ring calibrated with an error of its own, one part each."""
    rng = np.random.default_rng(5)
    trials, inside = 3000, 0
    for _ in range(trials):
        true_ring, u_cal, s, bias = 30.0, 3e-4, 8e-4, rng.normal(0.0, 2e-3)
        stated = true_ring + rng.normal(0.0, u_cal)
        found = assess("r", true_ring + bias + rng.normal(0.0, s, 20), known(stated, u_cal), u_w=4e-4)
        part = 30.05
        reading = part + bias + rng.normal(0.0, s) + rng.normal(0.0, 4e-4)
        low, high = found.apply(reading).coverage_interval(0.95)
        inside += low <= part <= high
    # the mean of 20 readings is not counted as a cause of its own (s / sqrt(20)): 1 % of the interval too short
    assert inside / trials == pytest.approx(0.95, abs=4.0 * math.sqrt(0.95 * 0.05 / trials) + 0.005)


def test_an_artefact_checks_an_uncertainty() -> None:
    y = Measured.from_standard(20.001, 4e-4, "mm", Influence("sim", "simulation", "B"))
    assert artefact_ratio(y, known(20.0, 3e-4)) == pytest.approx(1e-3 / 1e-3, rel=1e-9)
    assert artefact_ratio(y, known(20_000.0, 0.3, "um")) == pytest.approx(1.0, rel=1e-6)
    with pytest.raises(ParameterError, match="neither value"):
        artefact_ratio(Measured.exact(1.0, "mm"), Measured.exact(1.0, "mm"))


def test_wrong_use() -> None:
    with pytest.raises(ParameterError, match="too few readings"):
        assess("r", [1.0], known(1.0, 0.1))
    with pytest.raises(ParameterError, match="u_w must not be negative"):
        assess("r", [1.0, 2.0], known(1.0, 0.1), u_w=-1.0)
