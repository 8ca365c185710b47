"""What the full self-test once found: each was wrong in the fits or in the reference sets, and is kept apart here."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from metrology_core.features import Cone
from metrology_core.testing import known_least_squares
from metrology_core.testing.reference_sets import Case, cases, sets_of
from metrology_core.testing.selftest import Row, judge_fit

CASES = {case.name: case for case in cases()}


def _judged(case: Case, seed: int) -> None:
    row = Row(case)
    for _, known in sets_of(case, full=True, seed=seed):
        row.sets += 1
        judge_fit(known, fit(known.points, case.feature, **known.arguments()), row)
    assert row.passed, (seed, row.to_dict())


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("line 3-D, least_absolute", 1),  # contacts drowned in the curvature of lengths near the curve
        ("circle 3-D, least_absolute", 102),
        ("ellipse 3-D, least_absolute", 102),  # residuals of 5e-8: directions known to rounding over their length
        ("slot 3-D, least_absolute", 101),
        ("cone 3-D, minimum_circumscribed [half_angle known]", 101),  # started upside down
        ("slot 2-D, least_squares_outside", 103),  # a reference set that was no solution
        ("slot 3-D, least_squares [width known]", 1),  # a reference set that determined nothing
        ("circle 2-D, least_squares", 102),  # a radius of 10 m on a patch: rounding of the radius
        ("sphere 3-D, least_squares", 102),
        ("cone 3-D, least_squares", 102),
    ],
)
def test_rows_of_the_full_selftest(name: str, seed: int) -> None:
    _judged(CASES[name], seed)


def test_a_known_half_angle_never_turns_the_cone_over() -> None:
    rng = np.random.default_rng(5)
    for seed in range(40):
        angle = float(rng.uniform(0.03, 0.4))
        cone = Cone(rng.uniform(-300.0, 300.0, 3), rng.standard_normal(3), float(rng.uniform(20.0, 80.0)), angle)
        known = known_least_squares(cone, 150, sigma=2e-3, seed=seed, length=60.0, fixed=("half_angle",))
        found = fit(known.points, "cone", **known.arguments()).require()
        assert found.sigma == pytest.approx(2e-3, rel=1e-6), seed
