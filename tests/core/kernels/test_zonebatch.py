"""Zones of very many surfaces where more places than needed meet in a vertex."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linprog

from metrology_core.kernels import zonebatch


def test_a_vertex_where_more_places_than_needed_meet_is_left() -> None:
    """A drawn bore, cut down to the places and digits on which the exchange ran in circles: no optimum was found."""
    turn = 2.0 * np.pi * np.array([0, 3, 5, 20, 45, 48, 48, 51, 51, 52, 52, 53, 57, 58]) / 60.0
    z = (np.array([1, 9, 10, 10, 0, 0, 10, 0, 8, 0, 9, 8, 8, 9]) - 5.0) / 5.0
    y = [0.68, -0.25, -0.283, -0.118, 1, 0.99, -0.602, 0.955, -0.294, 0.939, -0.44, -0.281, -0.238, -0.351]
    rows = np.stack([np.cos(turn), np.sin(turn), z * np.cos(turn), z * np.sin(turn)])
    surfaces = np.array([y, np.multiply(y, 3e-3)])
    out = np.empty((2, 5))
    zonebatch.zones(surfaces, rows, np.full(4, 50.0), False, True, 0, 2, out)
    twin = linprog(
        [0.0, 0.0, 0.0, 0.0, 1.0], A_ub=np.vstack([-rows, -np.ones(14)]).T, b_ub=y, bounds=[(None, None)] * 5
    )
    # rows are moved by up to half a billionth, and no sum of |x| is over 2
    assert np.abs(out[:, :4]).sum(axis=1).max() < 2.0
    assert np.allclose(out[:, 4], [twin.fun, 3e-3 * twin.fun], rtol=0.0, atol=1e-9) and twin.fun > 0.1
    reached = np.max(-(surfaces + out[:, :4] @ rows), axis=1)
    assert reached == pytest.approx(out[:, 4], abs=1e-9)
