"""Correlation functions against closed forms and Bessel functions; which distance is positive definite where."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import gamma, kv

from metrology_core.errors import ParameterError
from metrology_core.features import Circle, Cone, Cylinder, Plane, Sphere
from metrology_core.uncertainty.fields import CorrelatedField, exponential, gaussian, kernel_named, matern
from metrology_core.uncertainty.fields.sampling import dense
from metrology_core.uncertainty.fields.surfaces import coordinates

CIRCLE = Circle((1.0, -2.0, 3.0), (0.0, 0.6, 0.8), 10.0)
CYLINDER = Cylinder((1.0, -2.0, 3.0), (0.0, 0.6, 0.8), 10.0)
KERNELS = (exponential(4.0), matern(4.0, 1.5), matern(4.0, 2.5), matern(4.0, 0.8), gaussian(4.0))


def on_circle(angle: np.ndarray, height: float | np.ndarray = 0.0) -> np.ndarray:
    local = np.stack([10.0 * np.cos(angle), 10.0 * np.sin(angle), np.broadcast_to(height, angle.shape)], axis=1)
    from metrology_core.features import basis

    w = np.array([0.0, 0.6, 0.8])
    return local @ np.stack([*basis(w), w]) + np.array([1.0, -2.0, 3.0])


@pytest.mark.parametrize("nu", [0.5, 0.7, 1.0, 1.5, 2.2, 2.5, 7.0])
def test_matern_is_its_bessel_form(nu: float) -> None:
    d = np.array([1e-6, 0.01, 0.3, 1.0, 4.0, 9.0, 30.0])
    x = math.sqrt(2.0 * nu) * d / 3.0
    expected = 2.0 ** (1.0 - nu) / gamma(nu) * x**nu * kv(nu, x)
    # kv itself is good to about 1e-13 relative; near 0 the product loses what x^nu K_nu cancels
    assert np.allclose(matern(3.0, nu)(d), expected, rtol=1e-9, atol=1e-15)
    assert matern(3.0, nu)(0.0) == 1.0


def test_the_family_ends_in_exponential_and_gaussian() -> None:
    d = np.linspace(0.0, 5.0, 11)
    assert np.allclose(exponential(2.0)(d), np.exp(-d / 2.0), rtol=1e-15)
    assert np.allclose(gaussian(2.0)(d), np.exp(-(d**2) / 8.0), rtol=1e-15)
    # Matern approaches the Gaussian as 1/nu: at nu = 20 within 2 %
    assert np.abs(matern(2.0, 20.0)(d) - gaussian(2.0)(d)).max() < 0.02


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_compiled_correlations_are_those_of_the_kernel(kernel) -> None:
    rng = np.random.default_rng(2)
    xyz = rng.uniform(-20.0, 20.0, (60, 3))
    at = coordinates(None, xyz, kernel)
    expected = kernel(np.linalg.norm(xyz[:, None] - xyz[None], axis=2))
    # the table of general smoothness has steps of 1/1170 in the root of the distance: 2e-6 next to a kink at 0
    assert np.abs(dense(at, kernel) - expected).max() < (1e-12 if kernel.nu != 0.8 else 3e-6)


def test_distances_along_surfaces() -> None:
    """Closed forms: arc of a circle, its wrapped sum, arc of a sphere, the unrolled sector."""
    angle = np.array([0.0, 1.0, 3.0, 5.5])
    turn = np.abs(angle[:, None] - angle[None])
    arc = 10.0 * np.minimum(turn, 2.0 * np.pi - turn)
    k = exponential(4.0)
    at = coordinates(CIRCLE, on_circle(angle), k)
    assert at.along == "geodesic" and np.allclose(dense(at, k), k(arc), atol=1e-13)
    m = matern(4.0, 1.5)
    at = coordinates(CIRCLE, on_circle(angle), m)
    images = np.arange(-8, 9) * 20.0 * np.pi
    wrapped = m(10.0 * turn[..., None] + images).sum(axis=-1) / m(images).sum()
    assert at.along == "wrapped" and np.allclose(dense(at, m), wrapped, atol=1e-11)
    half = coordinates(CIRCLE, on_circle(angle[:3]), m)
    assert half.along == "geodesic" and np.allclose(dense(half, m), m(10.0 * turn[:3, :3]), atol=1e-13)
    ball = Sphere((1.0, 2.0, 3.0), 5.0)
    y = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, -5.0], [-5.0, 0.0, 0.0]])
    at = coordinates(ball, y + np.array([1.0, 2.0, 3.0]), k)
    assert np.allclose(dense(at, k)[0], k(5.0 * np.array([0.0, np.pi / 2, np.pi / 2, np.pi])), atol=1e-9)
    sheet = Plane((0.0, 0.0, 1.0), (0.0, 0.0, 1.0))
    xyz = np.array([[0.0, 0.0, 1.0], [3.0, 4.0, 1.1]])
    assert dense(coordinates(sheet, xyz, k), k)[0, 1] == pytest.approx(math.exp(-5.0 / 4.0), rel=1e-14)


@pytest.mark.parametrize("length", [1.0, 4.0, 20.0, 60.0])
@pytest.mark.parametrize("kernel", [exponential, gaussian, lambda x: matern(x, 1.5), lambda x: matern(x, 0.8)])
def test_the_chosen_distance_is_positive_definite(kernel, length: float) -> None:
    rng = np.random.default_rng(3)
    angle, height = rng.uniform(0.0, 2.0 * np.pi, 150), rng.uniform(0.0, 30.0, 150)
    y = rng.standard_normal((150, 3))
    y *= 10.0 / np.linalg.norm(y, axis=1)[:, None]
    for feature, xyz in (
        (CIRCLE, on_circle(angle)),
        (CYLINDER, on_circle(angle, height)),
        (Sphere((0.0, 0.0, 0.0), 10.0), y),
        (Cone((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 10.0, 0.3), y),
    ):
        k = kernel(length)
        # rounding of 150 eigenvalues of sum 150, and 3e-6 of the table per entry for nu = 0.8
        limit = 1e-11 if k.nu != 0.8 else 1e-4
        assert np.linalg.eigvalsh(dense(coordinates(feature, xyz, k), k))[0] > -limit


def test_what_is_not_positive_definite_is_refused() -> None:
    """The refusal is needed: the Gaussian of the arc has a clearly negative eigenvalue on a full circle."""
    angle = np.arange(60) * (2.0 * np.pi / 60)
    turn = np.abs(angle[:, None] - angle[None])
    arc = 10.0 * np.minimum(turn, 2.0 * np.pi - turn)
    assert np.linalg.eigvalsh(gaussian(20.0)(arc))[0] < -1e-3
    height = np.linspace(0.0, 30.0, 60)
    cases = (
        (CIRCLE, on_circle(angle), gaussian(4.0), "geodesic"),
        (CIRCLE, on_circle(angle), matern(4.0, 1.5), "geodesic"),
        (CYLINDER, on_circle(angle, height), exponential(4.0), "geodesic"),
        (Sphere((0.0, 0.0, 0.0), 10.0), on_circle(angle), matern(4.0, 1.5), "geodesic"),
        (Sphere((0.0, 0.0, 0.0), 10.0), on_circle(angle), exponential(4.0), "wrapped"),
        (Cone((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 10.0, 0.3), on_circle(angle), exponential(4.0), "geodesic"),
        (Plane((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)), on_circle(angle), exponential(4.0), "wrapped"),
    )
    for feature, xyz, kernel, metric in cases:
        with pytest.raises(ParameterError, match="metric"):
            CorrelatedField(1.0, kernel, metric=metric).on(feature, xyz)
        # and there is always a way
        CorrelatedField(1.0, kernel, metric="chordal").on(feature, xyz)


def test_wrong_use() -> None:
    for call in (
        lambda: exponential(0.0),
        lambda: matern(1.0, -1.0),
        lambda: matern(1.0, 30.0),
        lambda: kernel_named("spherical", 1.0),
        lambda: CorrelatedField(-1.0, exponential(1.0)),
        lambda: CorrelatedField(1.0, exponential(1.0), nugget=math.nan),
        lambda: CorrelatedField(1.0, exponential(1.0), metric="taxi"),
        lambda: CorrelatedField(1.0, "exponential"),  # type: ignore[arg-type]
        lambda: CorrelatedField([1.0, 2.0], exponential(1.0)).on(None, np.zeros((3, 3))),
        lambda: CorrelatedField(1.0, exponential(1.0)).on(None, np.zeros(3)),
        lambda: CorrelatedField(1.0, exponential(1.0)).on(None, np.zeros((3, 3))).sandwich(np.zeros((2, 4))),
        lambda: CorrelatedField(1.0, gaussian(1e5)).on(CIRCLE, on_circle(np.arange(6.0))),
    ):
        with pytest.raises(ParameterError):
            call()
    assert kernel_named("matern32", 2.0) == matern(2.0, 1.5)
