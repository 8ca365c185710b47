"""Which vectors of a lattice are named a and b hangs on the lattice, not on the noise of its points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.data import Image
from wafer.contacts import ContactSettings, measure_contacts
from wafer.contacts.lattice import find_lattice, named_basis, on_lattice
from wafer.simulate.contacts import simulate_contacts


def polar(length: float, degrees: float) -> np.ndarray:
    return length * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])


def points(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    i, j = np.meshgrid(np.arange(-12, 13), np.arange(-12, 13))
    place = i.reshape(-1, 1) * a + j.reshape(-1, 1) * b
    near = np.abs(place).max(axis=1) < 4.2 * max(np.hypot(*a), np.hypot(*b))
    return place[near] + noise * rng.standard_normal((int(near.sum()), 2)) + 200.0


@pytest.mark.parametrize(
    ("a", "b", "named_a", "named_b"),
    [
        # hexagonal, a row along x, or turned either way: the row, then the next one towards +y
        (polar(44, 60), polar(44, 120), polar(44, 0), polar(44, 60)),
        (polar(44, 58.6), polar(44, 118.6), polar(44, -1.4), polar(44, 58.6)),
        (polar(44, 68), polar(44, 128), polar(44, 8), polar(44, 68)),
        # hexagonal with a row along y: two vectors at 30 degrees from x, the one towards +y
        (polar(44, 90), polar(44, -30), polar(44, 30), polar(44, 90)),
        # a square at 45 degrees, and staggered rows, flat and upright
        (polar(40, 45), polar(40, 135), polar(40, 45), polar(40, 135)),
        (np.array([30.0, 0.0]), np.array([15.0, 60.0]), np.array([30.0, 0.0]), np.array([15.0, 60.0])),
        (np.array([0.0, 30.0]), np.array([60.0, 15.0]), np.array([60.0, 15.0]), np.array([0.0, 30.0])),
        # rectangles keep their names, whichever side is the longer
        (np.array([44.0, 1.0]), np.array([-1.0, 42.0]), np.array([44.0, 1.0]), np.array([-1.0, 42.0])),
        (np.array([60.0, 0.0]), np.array([0.0, 42.0]), np.array([60.0, 0.0]), np.array([0.0, 42.0])),
        (np.array([0.0, 60.0]), np.array([42.0, 0.0]), np.array([42.0, 0.0]), np.array([0.0, 60.0])),
    ],
)
def test_names_hold_under_noise(a: np.ndarray, b: np.ndarray, named_a: np.ndarray, named_b: np.ndarray) -> None:
    """Ten draws of scattered points each; the vectors must be the same ones in all."""
    for seed in range(10):
        found = find_lattice(points(a, b, np.random.default_rng(seed), 0.5))
        assert found is not None
        # 0.5 of scatter on more than 20 points over several cells: 0.1 a vector; another vector is at least 30 away
        assert np.hypot(*(found.a - named_a)) < 1.0
        assert np.hypot(*(found.b - named_b)) < 1.0
        on = on_lattice(found)
        assert np.nanmax(np.hypot(*found.residual[on].T)) < 3.0  # the index belongs to the vectors that it names


def test_any_two_vectors_of_a_lattice_give_the_same_names() -> None:
    """Closed form: 500 lattices, each in random bases (products of shears, so of determinant 1)."""
    rng = np.random.default_rng(5)
    for _ in range(500):
        base = np.array([polar(rng.uniform(20, 60), rng.uniform(0, 180)), polar(rng.uniform(20, 60), 0)])
        if abs(np.linalg.det(base)) < 200.0:
            continue
        aspect = rng.uniform(0.8, 1.25)
        first = named_basis(*base, aspect) @ base
        assert abs(np.linalg.det(first)) == pytest.approx(abs(np.linalg.det(base)), rel=1e-9)
        for _ in range(4):
            m = np.eye(2)
            for k in rng.integers(-2, 3, 4):
                m = np.array([[1, k], [0, 1]]) @ np.array([[0, 1], [-1, 0]]) @ m
            assert np.allclose(named_basis(*(m @ base), aspect) @ (m @ base), first, atol=1e-9)


def test_unequal_pixels_are_judged_by_lengths() -> None:
    """A square lattice of 40 nm seen with pixels of 1 by 0.5 nm stands at twice the height in pixels."""
    lengths = np.array([polar(40, 30), polar(40, 120)])
    pixels = lengths / (1.0, 0.5)
    assert np.allclose((named_basis(*pixels, 2.0) @ pixels) * (1.0, 0.5), lengths)


def test_pitch_of_a_hexagonal_array_is_that_of_its_row_in_every_image() -> None:
    """Three images of one array, scanned with a y scale that is 2 % off, so that its three pitches differ."""
    row = polar(44.0, -1.4) * (1.0, 0.88 / 0.9)
    other = polar(44.0, 58.6) * (1.0, 0.88 / 0.9)
    for seed in (601, 602, 603):
        image = simulate_contacts(
            seed=seed, shape=(300, 300), pitch=(44.0, 44.0), skew=60.0, rotation=-1.4, diameter=24.0, bloom=0.0
        )
        found = measure_contacts(Image(image.pixels, "nm", (0.9, 0.88)), ContactSettings())
        assert np.allclose(found.details["lattice"]["a"], row, atol=0.3)  # u is 0.05; the other vectors are 44 away
        for name, truth in (("sem.contact_pitch_a", row), ("sem.contact_pitch_b", other)):
            m = found.measurements[name]
            assert abs(m.value - float(np.hypot(*truth))) < 4.0 * m.u
