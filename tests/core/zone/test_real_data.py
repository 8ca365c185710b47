"""Published minimum-zone values of measured points."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metrology_core import fit

PRINTED = 1e-9  # mm: half a unit of the last printed digit of the published values is below this


def qif_sets(path: Path) -> dict[str, np.ndarray]:
    """Point sets of the QIF sample by id."""
    tree = ElementTree.parse(path).getroot()
    space = tree.tag.partition("}")[0] + "}"
    found = {}
    for node in tree.iter(f"{space}MeasuredPointSet"):
        text = node.findtext(f".//{space}Points") or ""
        found[str(node.get("id"))] = np.array([float(v) for v in text.split()]).reshape(-1, 3)
    return found


def test_qif_sample_circularity_and_flatness(data_root: Path) -> None:
    sets = qif_sets(data_root / "clouds" / "qif" / "QIF_PTS_SAMPLE.QIF")
    for key, circularity in (("262", 0.023337199995), ("510", 0.081326375416)):
        points = sets[key][:, :2]  # the circles were evaluated in the plane z = constant of the drawing
        assert len(points) == 219
        found = fit(points, "circle", criterion="minimum_zone", unit="mm").require()
        assert abs(found.form - circularity) <= PRINTED
    plane = fit(sets["12"], "plane", criterion="minimum_zone", unit="mm").require()
    assert plane.n_points == 8
    assert abs(plane.form - 0.00676025187) <= PRINTED
    assert plane.form_kind.endswith("(ISO 1101 form)")


@pytest.mark.parametrize(
    ("number", "n", "roundness"), [(1, 100, 0.957419946), (2, 39, 0.008537464), (3, 24, 0.038230944)]
)
def test_roundness_sets_of_the_literature(data_root: Path, number: int, n: int, roundness: float) -> None:
    sheet = data_root / "clouds" / "emu_axle_roundness" / f"Dataset{number}.xlsx"
    text = zipfile.ZipFile(sheet).read("xl/worksheets/sheet1.xml").decode("utf-8")
    points = np.array([float(v) for v in re.findall(r"<v>([^<]*)</v>", text)]).reshape(-1, 2)
    assert len(points) == n
    found = fit(points, "circle", criterion="minimum_zone").require()
    assert abs(found.form - roundness) <= PRINTED
