"""Modes of form: orthonormal over the surface, waves of the length asked for, sectors as strips."""

from __future__ import annotations

import numpy as np
import pytest

from metrology_core.features import Cylinder, Plane
from metrology_core.uncertainty.fields.form_modes import POLYNOMIALS, WAVES, Modes, unrolled

Z = np.array([0.0, 0.0, 1.0])
BORE = Cylinder((0.0, 0.0, 0.0), tuple(Z), 10.0)


def bore(nu: int, nv: int, turn: float = 2.0 * np.pi) -> np.ndarray:
    x = np.polynomial.legendre.leggauss(nv)[0]
    a, z = np.meshgrid(turn * np.arange(nu) / nu, np.r_[-1.0, x, 1.0] * 15.0, indexing="ij")
    return np.stack([10.0 * np.cos(a), 10.0 * np.sin(a), z], axis=2).reshape(-1, 3)


def test_polynomials_are_orthonormal_over_a_bore() -> None:
    weights = np.polynomial.legendre.leggauss(30)[1]
    xyz = bore(48, 30)
    surface = unrolled(BORE, xyz, Z)
    assert surface is not None and surface.extents == pytest.approx((20.0 * np.pi, 30.0)) and surface.scale == 10.0
    modes, variance = Modes(POLYNOMIALS, surface, (5.0, 4.0)).of(5.0, 1.0)
    w = np.tile(np.r_[0.0, weights / 2.0, 0.0], 48) / 48.0  # Gauss-Legendre: exact for the degrees here; 0 at the ends
    assert np.allclose((modes.T * w) @ modes, np.eye(len(variance)), atol=1e-12)
    # lobes: order k has the wave number k / R; degrees d count as pi d / 30
    waves = -2.0 * np.log(np.sort(variance)[::-1]) / 25.0
    assert (
        waves[0] == 0.0 and np.isclose(waves, 0.1**2).sum() == 2 and np.isclose(waves, (np.pi / 30.0) ** 2).sum() == 1
    )


def test_waves_are_alike_in_all_directions_of_a_plane_and_end() -> None:
    """Covariances of a wave family depend on the distance only, and its spectrum ends where the length says."""
    sheet = Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    g = np.linspace(-30.0, 30.0, 13)
    x, y = (a.ravel() for a in np.meshgrid(g, g, indexing="ij"))
    xyz = np.stack([x, y, 0.0 * x], axis=1)
    surface = unrolled(sheet, xyz, np.array([1.0, 0.0, 0.0]))
    assert surface is not None and surface.turn == 0.0
    modes, variance = Modes(WAVES, surface, (8.0, 8.0)).of(8.0, 1.0)
    r = (modes * variance) @ modes.T
    assert np.allclose(np.diag(r), r[0, 0])
    along, across = r[84, 84 + 13 * np.arange(4)], r[84, 84 + np.arange(4)]  # from the middle, in steps of 5
    # the sum over waves stands for an integral: the same in both directions, and 3-4-5 as straight
    assert np.allclose(along, across) and r[84, 84 + 13 * 3 + 4] == pytest.approx(r[84, 84 + 5], abs=0.01 * r[84, 84])
    # two places far inside one wave of the shortest length, 2 pi 8 / 1.2, are nearly alike
    assert along[1] > 0.8 * along[0]


def test_a_sector_is_a_strip_and_flat_sets_have_no_modes() -> None:
    surface = unrolled(BORE, bore(20, 5, np.pi / 2.0), Z)
    assert surface is not None and surface.turn == 0.0
    assert surface.extents == pytest.approx((10.0 * np.pi / 2.0 * 19.0 / 20.0, 30.0))
    ring = bore(20, 5)
    ring[:, 2] = 0.0
    assert unrolled(BORE, ring, Z) is None
