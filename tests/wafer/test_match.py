"""Two images of one field: known scale, rotation and offset of diameters come back with honest uncertainty."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from metrology_core.data import Image
from metrology_core.errors import DataError, ParameterError
from pipelines.cli import main
from wafer.contacts import ContactMatch, ContactSettings, match_contacts
from wafer.contacts.pairing import NAMES, fit_affine
from wafer.simulate.shapes import disc, simulate_shapes

PX = 0.8
MODE: dict[str, Any] = {"scale": 0.005, "rotation": 0.3, "shift": (5.3, -3.1), "bias": 0.15, "electrons_per_grey": 0.3}
TRUTH = {"scale_x": 0.005, "scale_y": 0.005, "rotation": math.radians(0.3), "shear": 0.0,
         "diameter_difference_equal_scale": 0.3}  # fmt: skip


def field(seed: int, side: int = 4, spread: float = 2.0, jitter: float = 8.0) -> list[np.ndarray]:
    """Discs of 20 nm radius and a pitch of 72 nm, sizes and places drawn."""
    stream = np.random.default_rng(seed)
    at = (np.arange(side) - 0.5 * (side - 1)) * 72.0
    return [
        disc(
            20.0 + stream.normal(0.0, spread), x + stream.uniform(-jitter, jitter), y + stream.uniform(-jitter, jitter)
        )
        for y in at
        for x in at
    ]


def picture(design: list[np.ndarray], seed: int, size: int = 400, **changes: Any) -> Image:
    image = simulate_shapes(design, seed=seed, shape=(size, size), **changes)
    return Image(image.pixels, "nm", (PX, PX))


def matched(seed: int, **settings: Any) -> ContactMatch:
    """A quick scan in another mode against a slow one."""
    design = field(seed)
    return match_contacts(
        picture(design, 2 * seed, **MODE), picture(design, 2 * seed + 1), ContactSettings(lattice=False, **settings)
    )


def test_affine_in_closed_form() -> None:
    """Places that a known map has moved come back exactly, and one wild pair does not pull."""
    stream = np.random.default_rng(1)
    other = stream.uniform(-200.0, 200.0, (12, 2))
    sx, sy, turn, shear = 0.004, -0.003, 0.002, 0.001
    matrix = np.array(((1 + sx, 0.5 * shear - turn), (0.5 * shear + turn, 1 + sy)))
    one = other @ matrix.T + (7.0, -2.0)
    found = fit_affine(one, other)
    assert found.values[:4] == pytest.approx([sx, sy, turn, shear], abs=1e-12)
    assert found(other) == pytest.approx(one, abs=1e-9)
    noisy = one + stream.normal(0.0, 0.1, one.shape)
    wild = noisy.copy()
    wild[3] += (30.0, 0.0)
    u = np.sqrt(np.diag(fit_affine(noisy, other).covariance))
    # a Huber estimate is pulled by one outlier of twelve by about its bound, 1.3 standard deviations of one place
    assert np.all(np.abs(fit_affine(wild, other).values - fit_affine(noisy, other).values) < 3.0 * u)


def test_affine_intervals_hold() -> None:
    """1000 draws of ten noisy places: 95 % intervals by t with n - 3 hold in 93 to 97 %, to three standard errors."""
    from metrology_core.quantity import two_sided_factor

    stream = np.random.default_rng(2)
    held = []
    for _ in range(1000):
        other = stream.uniform(-200.0, 200.0, (10, 2))
        found = fit_affine(other + stream.normal(0.0, 0.3, other.shape), other)
        truth = np.zeros(len(NAMES))
        held.append(
            np.abs(found.values - truth) < two_sided_factor(0.95, found.dof) * np.sqrt(np.diag(found.covariance))
        )
    assert np.all(np.abs(np.mean(held, axis=0) - 0.95) < 0.04)


@pytest.mark.parametrize("criterion", ["threshold", "model"])
def test_a_known_difference_of_two_scan_modes(criterion: str) -> None:
    """Scale 0.5 % larger, turned by 0.3 degrees, diameters 0.3 nm larger: the errors of ten fields are as large as
    stated (mean within three of its standard uncertainties, mean square of error over u between the quantiles of
    chi-squared at 1e-3), and the raw difference holds both."""
    found = [matched(seed, criterion=criterion) for seed in range(101, 111)]
    for name, truth in TRUTH.items():
        z = np.array([(m.measurements[name].value - truth) / m.measurements[name].u for m in found])
        assert abs(z.mean()) < 3.0 / math.sqrt(10) * 1.2, name  # u has 13 degrees of freedom: t is 1.1 times wider
        assert 1.5 < float(z @ z) < 38.0, name
    for m in found:
        assert len(m.pairs) == 16 and not m.unpaired and m.flags == ("repeatability_only",)
        equal, raw = (m.measurements[f"diameter_difference{end}"] for end in ("_equal_scale", ""))
        mean = np.mean([row["diameter_other"] for row in m.pairs])
        assert raw.value - equal.value == pytest.approx(0.005 * mean, abs=0.06)
        labels = [row.label for row in equal.budget()]
        assert len(labels) == 2 and any("scale between the scans" in text for text in labels)
    ratio = np.mean([m.scatter["ratio"] ** 2 for m in found])
    assert ratio == pytest.approx(1.0, abs=0.4)  # 150 degrees of freedom: 12 % of a variance


def test_features_without_a_partner_are_named() -> None:
    """One disc is gone, one is another: both are named with their place and the reason, and neither counts."""
    design = field(5)
    changed = [*design[:3], disc(26.0, *design[3].mean(axis=0)), *design[4:9], *design[10:]]
    found = match_contacts(picture(design, 1), picture(changed, 2), ContactSettings(lattice=False))
    assert len(found.pairs) == 14
    rows = {(row["image"], row["reason"]): row for row in found.unpaired}
    gone = rows[1, "no feature at its place in the other image"]
    at = design[9].mean(axis=0) / PX * (1, -1) + 199.5
    assert (gone["x"], gone["y"]) == pytest.approx(at.tolist(), abs=0.5)
    assert {key for key in rows if "another size" in key[1]} == {(k, "its partner has another size") for k in (1, 2)}


def test_a_shifted_field_names_what_lies_outside() -> None:
    """The field moved by 60 nm: a column leaves the image; nothing of it speaks against the rest."""
    design = field(6)
    found = match_contacts(picture(design, 1), picture(design, 2, shift=(60.0, 0.0)), ContactSettings(lattice=False))
    assert found.measurements["shift_x"].value == pytest.approx(-60.0, abs=0.2)
    assert len(found.pairs) == 12
    assert {row["reason"] for row in found.unpaired} == {"lies outside the other image or at its border"}


@pytest.mark.parametrize("jitter", [8.0, 0.0])
def test_different_fields_are_refused(jitter: float) -> None:
    """Places without a common pattern; and one array, whose lattice pairs whatever lies on it, by sizes that have
    nothing in common."""
    a, b = (picture(field(s, 5, jitter=jitter), s, 480) for s in (7, 8))
    with pytest.raises(DataError, match="same field") as caught:
        match_contacts(a, b, ContactSettings(lattice=False))
    assert caught.value.remedy and caught.value.expected


def test_on_a_lattice_the_sizes_tell_the_shift() -> None:
    """An exact array, moved by one pitch and 4 nm: pairs at no shift, at one pitch, at minus one pitch; only one of
    them has the sizes."""
    design = field(9, 5, jitter=0.0)
    found = match_contacts(picture(design, 1, 480, shift=(76.0, 0.0)), picture(design, 2, 480), search=110.0)
    assert found.measurements["shift_x"].value == pytest.approx(76.0, abs=0.1)
    assert "match_ambiguous" not in found.flags
    # an array of equal discs beyond the borders of the image
    at = 48.0 * np.arange(-4, 5)
    alike = [disc(14.0, x, y) for x in at for y in at]
    same = match_contacts(picture(alike, 1, shift=(4.0, 0.0)), picture(alike, 2), search=60.0)
    assert "match_ambiguous" in same.flags and same.measurements["shift_x"].value == pytest.approx(4.0, abs=0.1)


def test_wrong_use() -> None:
    design = field(11)
    a = picture(design, 1)
    with pytest.raises(ParameterError, match="search"):
        match_contacts(a, a, ContactSettings(lattice=False), search=-1.0)
    few = picture(design[:3], 1)
    with pytest.raises(DataError, match="too few"):
        match_contacts(few, few, ContactSettings(lattice=False))


def test_the_command(tmp_path: Path, capsys: Any) -> None:
    design = field(12)
    for name, image in (("a", picture(design, 1, **MODE)), ("b", picture(design, 2)), ("c", picture(field(13), 3))):
        tifffile.imwrite(tmp_path / f"{name}.tif", image.pixels)
    call = ["sem", "match", str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "--pixel", "0.8nm", "--no-lattice"]
    assert main([*call, "--pairs", str(tmp_path / "pairs.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measurements"]["scale_x"]["value"] == pytest.approx(
        0.005, abs=6 * found["measurements"]["scale_x"]["u"]
    )
    assert len(found["pairs"]) == 16 and found["scatter"]["ratio"] > 0.5
    with (tmp_path / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    mean = np.mean([float(row["difference_equal_scale"]) for row in rows])
    assert mean == pytest.approx(found["measurements"]["diameter_difference_equal_scale"]["value"], abs=1e-4)
    assert main(call) == 0
    text = capsys.readouterr().out
    assert "diameter_difference_equal_scale" in text and "predicted by the noise" in text and "pairs: 16" in text
    assert main([*call[:3], str(tmp_path / "c.tif"), *call[4:], "--json"]) == 3
    assert "same field" in capsys.readouterr().out
