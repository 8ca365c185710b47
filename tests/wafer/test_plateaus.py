"""The same feature seen with other pixels has the same plateaus, and the same diameter."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from metrology_core.data import Image
from wafer.contacts import measure_contacts
from wafer.contacts.evaluate import ContactSettings
from wafer.contours.evaluate import measure_contours
from wafer.simulate.contacts import simulate_contacts

PIXEL, SIDE = 0.9, 320  # nm, px of the image as it is usually taken
PITCH = 72.0


@cache
def bloomed(factor: float) -> Image:
    """Wide contacts with a strong bloom, ``factor`` times as many pixels over the same field; no noise, so that the
    plateaus alone decide."""
    n, px = round(SIDE * factor), PIXEL / factor
    drawn = simulate_contacts(
        seed=4711, shape=(n, n), pixel=(px, px), pitch=(PITCH, PITCH), diameter=40.0, cdu=0.5, bloom=0.6,
        bloom_length=6.0, bits=16, low_level=5000.0, high_level=45000.0, electrons_per_grey=math.inf, read_noise=0.0,
    )  # fmt: skip
    return Image(drawn.pixels, "nm", (px, px))


def diameters(image: Image, how: str) -> dict[tuple[int, int], float]:
    """Diameters in nm of the whole features, by their place."""
    assert image.pixel_size is not None
    px = image.pixel_size[0]
    if how == "contours":
        rows = [(r["x"], r["y"], r["diameter_area"]) for r in measure_contours(image).contours
                if "diameter_area_u" in r]  # fmt: skip
    else:
        found = measure_contacts(image, ContactSettings(lattice=how == "lattice"))
        rows = [(r["x"], r["y"], r["diameter"]) for r in found.per_contact if r["state"] == "found"]
    return {(round(x * px / PITCH * 2), round(y * px / PITCH * 2)): d for x, y, d in rows}


@pytest.mark.parametrize("how", ["contours", "lattice", "free"])
def test_the_pixel_size_does_not_set_the_diameter(how: str) -> None:
    """At 2 and 3 times the pixels 2.5 widths of the edge are 27 and 40 px, more than any fixed reach that suits usual
    images; with a reach of 20 px (10 px without a lattice) the diameter was up to 0.47 nm (0.5 nm) larger. What is left
    is the averaging over pixels (s^2 / 2 r of a pixel's own width) and whole steps of the depth: below a tenth of a
    usual pixel. At half the pixels the beam is 1.1 px wide."""
    usual = diameters(bloomed(1.0), how)
    for factor, allowed in ((2.0, 0.05), (3.0, 0.05), (0.5, 0.2 if how != "free" else 0.6)):
        other = diameters(bloomed(factor), how)
        both = sorted(set(usual) & set(other))
        assert len(both) >= 3
        change = np.array([other[k] - usual[k] for k in both])
        assert abs(float(change.mean())) < allowed * PIXEL, (factor, change)
