"""A declared field of correlated noise in the budget of a scan: against the dense sandwich, and nothing without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.instrument import Instrument
from pointcloud.evaluate.entry import CharacteristicRequest, FeatureRequest, evaluate

PLAIN = Instrument("S", "scanner", noise=0.002, correlation_length=3.0)


def scan(n: int) -> PointSet:
    rng = np.random.default_rng(2)
    a, z = rng.uniform(0.0, 2.0 * np.pi, n), rng.uniform(0.0, 20.0, n)
    r = 10.0 + 0.002 * rng.standard_normal(n)
    xyz = np.stack([r * np.cos(a), r * np.sin(a), z], axis=1)
    return PointSet.from_array(xyz, unit="mm", frame="part", points_are="surface")


def diameter(points: PointSet, instrument: Instrument):
    bore = FeatureRequest("bore", "cylinder", direction=(0.0, 0.0, 1.0))
    rows = [
        CharacteristicRequest("d", "iso14405.GG", ("bore",)),
        CharacteristicRequest("f", "iso1101.cylindricity", ("bore",)),
    ]
    found = evaluate(points, [bore], rows, instrument=instrument)
    return found, found.measurements[0]


def test_budget_follows_the_declared_kernel() -> None:
    points = scan(1200)  # more than surfaces are drawn for
    declared = replace(PLAIN, correlation_kernel="matern32", noise_independent=0.001)
    found, m = diameter(points, declared)
    feature = found.features[0]
    fit = feature.fit
    c = declared.noise_field().on(fit.associated, points.xyz).matrix()
    s = fit.sensitivities
    expected = 2.0 * np.sqrt((s @ c @ s.T)[-1, -1])
    # the evaluation's design comes from differences, the fit's is exact: 1e-8
    assert m.measured.u == pytest.approx(expected, rel=1e-6)
    assert "matern(1.5), along the surface" in m.method and "0.001 mm of it independent" in m.method
    assert found.measurements[1].measured.u > 0.0


def test_all_points_of_a_dense_scan_count() -> None:
    """Beyond 2000 points the plain budget rests on a subset and says so; the field takes all."""
    points = scan(6000)
    _, m = diameter(points, replace(PLAIN, correlation_kernel="exponential"))
    _, plain = diameter(points, PLAIN)
    assert "correlation_subsampled" in plain.flags and "correlation_subsampled" not in m.flags
    # the same law but for the distance (along the surface, through the bore): a few percent
    assert m.measured.u == pytest.approx(plain.measured.u, rel=0.15)
    assert m.measured.u != plain.measured.u


def test_a_field_needs_its_parts() -> None:
    for wrong in (
        {"correlation_kernel": "spherical"},
        {"correlation_kernel": "exponential", "correlation_length": None},
        {"noise_independent": 0.001},
        {"correlation_kernel": "exponential", "noise_independent": 0.003},
    ):
        with pytest.raises(ParameterError):
            replace(PLAIN, **wrong)
    assert PLAIN.noise_field() is None
