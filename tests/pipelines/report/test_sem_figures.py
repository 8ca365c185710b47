"""Roughness spectra and the map of contacts: from an image through a recipe to the page and to a picture file."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from pipelines.report import contact_svg, spectrum_svg
from pipelines.report.line_svg import LEGEND
from pipelines.run import run_recipe
from pipelines.store import RunFolder

CONTACTS = """\
schema: abbe/recipe/1
name: contacts
inputs: {files: ["*.tif"], format: image}
measure:
  kind: sem_contacts
  pixel: 0.9 nm
  characteristics:
    - {name: CD, characteristic: sem.contact_diameter}
    - {name: LCDU, characteristic: sem.lcdu_3s}
"""


def write(path: Path, pixels: np.ndarray) -> Path:
    import tifffile

    tifffile.imwrite(path, pixels)
    return path


def test_contacts_by_recipe_with_page(tmp_path: Path) -> None:
    from wafer.simulate.contacts import ContactModel, simulate_contacts

    drawn = simulate_contacts(ContactModel(shape=(300, 300), missing=2), seed=4)
    write(tmp_path / "a.tif", drawn.pixels)
    (tmp_path / "r.yaml").write_text(CONTACTS, encoding="utf-8")
    run_recipe(tmp_path / "r.yaml", out=tmp_path / "run", report=True)
    run = RunFolder(tmp_path / "run")
    (outcome,) = run.outcomes()
    record = run.read_record(outcome.task_id)
    document = record.document
    assert document["reason"] is None
    value = document["measurements"][0]
    truth = float(np.mean(drawn.diameter))
    # 300 px hold some 40 contacts; the threshold lies up to a nanometre off the drawn edge (bloom, docs/contacts.md)
    assert value["value"] == pytest.approx(truth, abs=1.2)
    (view,) = document["views"]
    assert view["kind"] == "sem_contacts" and view["counts"]["missing"] == 2
    shape = contact_svg.geometry(view, record.arrays)
    assert shape is not None
    contours, places, states = shape
    assert len(states) == sum(view["counts"].values())
    for ring, place, state in zip(contours, places, states, strict=True):
        if state == "found":
            ring = ring[np.isfinite(ring).all(axis=1)]
            radius = np.hypot(*(ring - ring.mean(axis=0)).T)
            assert radius.mean() == pytest.approx(0.5 * truth / 0.9, rel=0.2)  # cdu of 3 % and roughness
            assert np.hypot(*(ring.mean(axis=0) - place)) < 2.0
    page = next((tmp_path / "run" / "report" / "parts").glob("*.html")).read_text(encoding="utf-8")
    body = page[page.index('class="sem contacts"') :]
    assert body.count(f'stroke="{contact_svg.COLOURS["missing"]}"') == 2
    assert 'data-m="contacts.missing"' in body
    # nine modes at most, each with a bar, and a point where noise left power
    drawing = body[body.index("Spectrum of the edges") :].split("</svg>", 1)[0]
    bars, points = len(re.findall(r"\dV", drawing)), drawing.count("h0")
    assert 2 <= points <= bars <= 9


def test_spectra_on_the_page_and_in_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli.entry import main
    from wafer.simulate import SemModel, simulate_lines

    image = write(tmp_path / "a.tif", np.asarray(simulate_lines(SemModel(), seed=5).pixels))
    code = main(["sem", "lines", str(image), "--pixel", "0.8nm", "--picture", str(tmp_path / "p.svg"), "--json"])
    assert code in (0, 3)
    document = json.loads(capsys.readouterr().out)
    spectra = {s["name"]: s for s in document["spectra"]}
    assert set(spectra) == {"lwr", "ler"}
    curves = {k: np.array(v) for k, v in spectra["lwr"]["curves"].items()}
    assert np.all(curves["fit_low"] <= curves["fit"]) and np.all(curves["fit"] <= curves["fit_high"])
    inside = (curves["measured"] >= curves["range_low"]) & (curves["measured"] <= curves["range_high"])
    # 95 % expected of some 60 independent bins: five standard deviations of that share
    assert inside.mean() > 0.95 - 5.0 * math.sqrt(0.95 * 0.05 / inside.size)
    root = ET.fromstring((tmp_path / "p.svg").read_text(encoding="utf-8"))
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum("PSD / nm" in (t or "") for t in texts) == 2
    assert len(list(root.iter("{http://www.w3.org/2000/svg}image"))) == 1
    # each of the two spectra says what its marks are; a single image has no products of frames
    assert [texts.count(words) for words in LEGEND.values()] == [2, 2, 2, 2, 0]


def test_the_legend_lies_in_the_emptier_corner_and_shows_what_is_drawn() -> None:
    f = np.geomspace(1e-3, 1.0, 40)
    falling, rising = 2.0 * f**-1.5, 2.0 * f**1.5
    places = []
    for p in (falling, rising):
        curves = dict.fromkeys(spectrum_svg.CURVES, p) | {"frequency": f}
        svg = str(spectrum_svg.spectrum_svg(curves, "nm", "x", LEGEND))
        found = re.search(r'class="legend" transform="translate\(([\d.]+) ([\d.]+)\)"', svg)
        assert found is not None and LEGEND["fit"] in svg and LEGEND["cross"] not in svg
        places.append(float(found[2]))
        names = dict.fromkeys(spectrum_svg.FRAMES, p) | {"cross_frequency": f}
        assert LEGEND["cross"] in str(spectrum_svg.spectrum_svg(curves | names, "nm", "x", LEGEND))
        assert "legend" not in str(spectrum_svg.spectrum_svg(curves, "nm", "x"))  # the page has its own
    assert places[0] > 0.5 * spectrum_svg.HEIGHT > places[1]  # below a falling spectrum, above a rising one


def test_axes_are_true_to_the_numbers() -> None:
    """A decade in the curve is a decade between ticks: the drawing of a straight power law is a straight line."""
    f = np.geomspace(1e-3, 1.0, 40)
    p = 2.0 * f**-1.5
    curves = dict.fromkeys(spectrum_svg.CURVES, p) | {"frequency": f}
    svg = str(spectrum_svg.spectrum_svg(curves, "nm", "x"))
    dots = re.search(r'd="((?:M[\d. ]+h0)+)"', svg)
    assert dots is not None
    xy = np.array([[float(v) for v in m.split()] for m in re.findall(r"M([\d.]+ [\d.]+)h0", dots[1])])
    slope = np.diff(xy[:, 1]) / np.diff(xy[:, 0])
    np.testing.assert_allclose(slope, slope.mean(), rtol=0.03)  # coordinates are rounded to 0.1 of some 17 px
    ticks = {
        m[1]: float(m[0]) for m in re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="middle"[^>]*>([\d.]+)</text>', svg)
    }
    decade = ticks["0.1"] - ticks["0.01"]
    assert (xy[-1, 0] - xy[0, 0]) / 3.0 == pytest.approx(decade, abs=0.2)


def test_a_view_without_its_curves_is_left_out() -> None:
    assert spectrum_svg.curves_of({"curves": {"frequency": "a"}}, {"a": np.arange(3.0)}) is None
    assert contact_svg.geometry({"states": ["found"]}, {}) is None


def test_what_the_scan_did_is_on_the_terminal_and_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tilt of 0.01 is 0.573 degrees; a still stage leaves nothing else to see."""
    from pipelines.cli import main
    from wafer.simulate import simulate_lines

    drawn = simulate_lines(seed=77, tilt=0.01)
    image = write(tmp_path / "tilted.tif", drawn.pixels)
    assert main(["sem", "lines", str(image), "--pixel", "0.8nm"]) == 0
    line = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("scan (value"))
    found = re.search(r"tilt (0\.\d+) ± (0\.\d+) deg; not seen \(within 5 standard uncertainties of 0\): drift ", line)
    assert found is not None, line
    for name in ("drift", "row jitter"):  # with its value, too
        assert re.search(rf"{name} -?[\d.]+ ± [\d.]+ nm", line), line
    assert abs(float(found[1]) - math.degrees(math.atan(0.01))) <= 2.0 * float(found[2])  # four standard uncertainties
    recipe = tmp_path / "lines.yaml"
    recipe.write_text(
        'schema: abbe/recipe/1\nname: lines\ninputs: {files: ["*.tif"], format: image}\n'
        "measure:\n  kind: sem_lines\n  pixel: 0.8 nm\n"
        "  characteristics:\n    - {name: pitch, characteristic: sem.pitch}\n",
        encoding="utf-8",
    )
    run_recipe(recipe, out=tmp_path / "run")
    page = (tmp_path / "run" / "report" / "parts" / "tilted.tif.html").read_text(encoding="utf-8")
    table = page.split("What the scan did", 1)[1].split("</table>", 1)[0]
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", table)]
    assert [cells[k] for k in range(0, len(cells), 5)] == [
        "tilt", "drift (bow of the lines)", "jitter of single rows", "background, left to right",
        "background, top to bottom", "contrast, top to bottom", "charging trail",
    ]  # fmt: skip
    assert cells[1] == f"+{found[1]}" and cells[2] == found[2] and cells[3] == "deg" and cells[4] == "yes"
    assert cells[9::5] == ["no"] * 6
