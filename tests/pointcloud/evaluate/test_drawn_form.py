"""Form of a scan with a declared field: intervals from drawn surfaces; nothing changes without the declaration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metrology_core.data import PointSet
from metrology_core.instrument import Instrument
from pointcloud.evaluate.entry import CharacteristicRequest, FeatureRequest, evaluate

PLAIN = Instrument("S", "scanner", noise=0.001, correlation_length=2.0)
FIELD = replace(PLAIN, correlation_kernel="exponential")


def bore(amplitude: float, seed: int) -> PointSet:
    """16 x 6 points with a three-lobed form that turns along the axis, and errors of 1 um independent of each other."""
    a, z = (x.ravel() for x in np.meshgrid(2.0 * np.pi * np.arange(16) / 16, np.linspace(0.0, 30.0, 6), indexing="ij"))
    r = 10.0 + amplitude * np.cos(3.0 * a + 0.05 * z) + 1e-3 * np.random.default_rng(seed).standard_normal(len(a))
    xyz = np.stack([r * np.cos(a), r * np.sin(a), z], axis=1)
    return PointSet.from_array(xyz, unit="mm", frame="part", points_are="surface")


def sheet(seed: int) -> PointSet:
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0.0, 60.0, 10), np.linspace(0.0, 40.0, 8), indexing="ij"))
    z = 0.01 * np.cos(x / 20.0) + 1e-3 * np.random.default_rng(seed).standard_normal(len(x))
    return PointSet.from_array(np.stack([x, y, z], axis=1), unit="mm", frame="part", points_are="surface")


def measured(points: PointSet, kind: str, instrument: Instrument, *names: str):
    direction = (0.0, 0.0, 1.0)
    rows = [CharacteristicRequest(name, name, ("f",)) for name in names]
    found = evaluate(points, [FeatureRequest("f", kind, direction=direction)], rows, instrument=instrument)
    return found.measurements


def test_clear_form_is_held_and_no_form_begins_at_zero() -> None:
    names = ("iso1101.cylindricity", "form.G.peak_to_valley")
    for m in measured(bore(0.02, 1), "cylinder", FIELD, *names):
        low, high = m.measured.coverage_interval(0.95)
        # three lobes of 0.02 mm: 0.04 mm, no centre or size takes any of it
        assert low < 0.04 < high and high - low < 0.01
        assert "drawn 399 times" in m.method and m.measured.u > 0.0 and "form_not_resolved" not in m.flags
        assert any(key.startswith("surface/") for key in m.measured.contributions)
    flagged = [measured(bore(0.0, s), "cylinder", FIELD, names[0])[0] for s in (2, 3, 4)]
    for m in flagged:
        if "form_not_resolved" in m.flags:
            assert m.measured.coverage_interval(0.95)[0] == 0.0
            # noise makes a form of 4 to 5 standard deviations on 96 points; the surface has less
            assert m.measured.coverage_interval(0.95)[1] < m.measured.value
    assert sum("form_not_resolved" in m.flags for m in flagged) >= 2


def test_without_the_declaration_the_budget_is_the_old_one() -> None:
    plain = measured(bore(0.02, 1), "cylinder", PLAIN, "iso1101.cylindricity")[0]
    assert plain.measured.samples is None and "drawn" not in plain.method
    assert any(key.endswith("/bias") for key in plain.measured.contributions)


def test_flatness() -> None:
    m = measured(sheet(5), "plane", FIELD, "iso1101.flatness")[0]
    x = np.linspace(0.0, 60.0, 4001)
    y = 0.01 * np.cos(x / 20.0)
    # the smallest strip about a curve in one direction: over slopes, by search
    true = min(float(np.ptp(y - slope * x)) for slope in np.linspace(-1e-3, 1e-3, 2001))
    low, high = m.measured.coverage_interval(0.95)
    assert low < true < high and high - low < 0.006


def test_same_seed_same_samples() -> None:
    first, second = (measured(bore(0.01, 1), "cylinder", FIELD, "iso1101.cylindricity")[0] for _ in range(2))
    assert first.measured.samples.tobytes() == second.measured.samples.tobytes()
