"""The spectrum of contact edges against the modes that were drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrology_core.data import Image
from wafer.contacts import measure_contacts
from wafer.simulate.contacts import simulate_contacts


def test_modes_of_contacts_are_those_drawn_under_the_beam() -> None:
    """Drawn: variance 0.36 nm^2 shared as 1 / n^2 among the modes 3 to 12, nothing in mode 2.

    A Gaussian beam keeps exp(-(n s / R)^2) of the power of a ripple of n periods on a straight edge; strips two pixels
    wide and the bend of the edge take some percent more of the higher modes.
    """
    blur, radius = 1.5, 13.0
    tables = []
    for seed in (8100, 8101, 8102, 8103):
        drawn = simulate_contacts(seed=seed, roughness=0.6, blur=blur)
        result = measure_contacts(Image(drawn.pixels, "nm", drawn.model.pixel))
        tables.append(result.details["edge_spectrum"])
    for n in range(2, 7):
        rows = [table[n - 2] for table in tables]
        assert {row["mode"] for row in rows} == {n}
        value, u = np.mean([row["variance"] for row in rows]), 0.5 * math.sqrt(np.mean([row["u"] ** 2 for row in rows]))
        share = n**-2.0 / sum(k**-2.0 for k in range(3, 13)) if n > 2 else 0.0
        truth = 0.36 * share * math.exp(-((n * blur / radius) ** 2))
        assert abs(value - truth) <= 4.0 * u + 0.1 * truth, n
        if n > 2:
            assert u < 0.15 * truth  # the comparison says something
    row = tables[0][1]
    length = row["mode"] / row["frequency"]
    assert length == pytest.approx(2.0 * math.pi * radius, rel=0.03)  # contacts of a CDU of 0.8 nm, and the criterion
    assert row["psd"] == pytest.approx(0.5 * length * row["variance"], rel=1e-12)
    assert row["psd_u"] == pytest.approx(0.5 * length * row["u"], rel=1e-12)


def test_noise_alone_leaves_no_power() -> None:
    drawn = simulate_contacts(seed=8110, roughness=0.0, cdu=0.0, electrons_per_grey=0.3, read_noise=6.0)
    result = measure_contacts(Image(drawn.pixels, "nm", drawn.model.pixel))
    for row in result.details["edge_spectrum"]:
        if row["features"] > 10:
            assert abs(row["variance"]) <= 4.0 * row["u"]
            assert row["noise"] > 3.0 * row["u"]  # noise was there to be taken off
