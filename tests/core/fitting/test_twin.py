"""Against the slow independent twin: same points, own starts here, a start near the truth there."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core import fit
from tests.core.fitting.parts import FEATURES, noisy
from tests.oracles.least_squares_twin import RESIDUALS, packed, solve


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("seed", [3, 4])
def test_same_optimum(kind: str, seed: int) -> None:
    points = noisy(kind, 80, 5e-3, seed)
    found = fit(points, kind).require()
    start = packed(FEATURES[kind].parameters) + 1e-3
    q, cost = solve(kind, points, start)
    ours = packed(found.parameters)
    mine = float(np.sum(RESIDUALS[kind](ours, points) ** 2))
    # Both sums round to about n eps relative; the twin's solver stops on its objective, so ours may only be lower.
    assert mine <= cost * (1.0 + 1e-12)
    # An objective flat to eps leaves the twin's parameters free to sqrt(eps): sizes agree to 1e-6 of the noise or
    # better.
    sizes = [i for i, v in enumerate(packed(found.parameters)) if i >= len(ours) - 1]
    if kind not in ("line", "plane"):
        assert np.abs(q[sizes] - ours[sizes]).max() <= 1e-6


@pytest.mark.parametrize("kind", FEATURES)
def test_residuals_and_rms_are_those_of_the_twin(kind: str) -> None:
    points = noisy(kind, 50, 5e-3, 9)
    found = fit(points, kind).require()
    theirs = RESIDUALS[kind](packed(found.parameters), points)
    total = float(np.sum(theirs**2))
    assert found.rms == pytest.approx(np.sqrt(total / 50), rel=1e-9)  # distances of 5e-3 from coordinates of 1e3: 1e-11
    if kind == "line":
        theirs = np.linalg.norm(theirs.reshape(-1, 3), axis=1)
        assert found.form == pytest.approx(2.0 * theirs.max(), rel=1e-9)
    else:
        theirs = theirs[:50]
        assert found.form == pytest.approx(np.ptp(theirs), rel=1e-9)
    assert np.abs(found.residuals - theirs).max() <= 2e-12  # a few ulps of the coordinates
