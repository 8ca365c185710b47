"""Wafer maps: places, film files and their own summaries, simulated wafers with a signature, disturbances of images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from metrology_core.errors import DataError, ParameterError, ReaderError, UnitError
from metrology_core.statistics import nested_components
from wafer.maps import SiteMap, WaferFrame, doubts, place_of, read_film_maps
from wafer.simulate.disturb import charged, distorted
from wafer.simulate.sem import SemModel, simulate_lines
from wafer.simulate.wafers import CdSignature, WaferLots, wafer_images, wafer_table

FILMS = Path("wafer") / "waferscope_kla_f5"

BLOCK = """Cassette: ,x,,,
WAFER ID,Slot01,,,
LOT ID,pre,,,
RESULT TYPE,1st Thickness,GOF ,,
MEAN,{mean},0.9912,,
STDDEV,{sd},0.0004,,
RANGE,2.0,0.0010,,
Site #,Value,Value, X , Y
1,10.001,0.9907,0,0
2,11.001,0.9912,10,0
3,12.001,0.9917,0,-10
"""


def test_places() -> None:
    frame = WaferFrame(300.0, 3.0, "down", (26.0, 33.0))
    assert place_of({"field": "X+02_Y-01"}, frame) == (52.0, -33.0)
    assert place_of({"field": "X+02_Y-01"}, WaferFrame()) is None
    assert place_of({"wafer_x": "1 cm", "wafer_y": "-250 um", "field": "X+02_Y-01"}, frame) == (10.0, -0.25)
    assert place_of({}, frame) is None
    with pytest.raises(UnitError):
        place_of({"wafer_x": "1", "wafer_y": "2"}, frame)
    assert frame.counts(147.0, 0.0) and not frame.counts(147.1, 0.0)
    for bad in ({"diameter": 0.0}, {"edge_exclusion": 150.0}, {"notch": "north"}, {"field_size": (0.0, 1.0)}):
        with pytest.raises(ParameterError):
            WaferFrame(**bad)  # type: ignore[arg-type]


def test_summary_against_the_files_own(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(BLOCK.format(mean="11.001", sd="1.0"))
    thickness, fit = read_film_maps(path, unit="angstrom")
    assert (thickness.wafer, thickness.lot, thickness.title, thickness.unit) == (
        "Slot01",
        "pre",
        "1st Thickness",
        "angstrom",
    )
    assert fit.unit == "" and fit.title.startswith("GOF")
    found = thickness.summary()
    assert (found.n, found.mean, found.sd, found.range) == pytest.approx((3, 11.001, 1.0, 2.0))
    assert thickness.differences() == {} and thickness.reported["RANGE"] == "2.0"
    path.write_text(BLOCK.format(mean="11.4", sd="1.0"))
    assert read_film_maps(path, unit="angstrom")[0].differences() == {"MEAN": (11.4, pytest.approx(11.001))}


def test_the_unit_is_never_guessed(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    for text in (BLOCK.format(mean="11.001", sd="1.0"), "X,Y,s1\n0,0,3\n"):
        path.write_text(text)
        with pytest.raises(ParameterError, match="does not say the unit"):
            read_film_maps(path)
    path.write_text("X,Y,s1 [um],s2\n0,0,3,4\n")
    assert [m.unit for m in read_film_maps(path, unit="nm")] == ["um", "nm"]  # the file's own goes first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "no film map"),
        ("X,Y,s1\n1,2\n", "too short"),
        ("X,Y,s1\n1,two,3\n", "no number"),
        ("X,Y,s1\n", "no site"),
        ("X,Y,s1\n9999,2,3\n", "no place on a wafer"),
        ("Site #,Value,X\n1,2,3\n", "lacks X, Y or Value"),
        ("Site #,Value,X,Y\n", "empty"),
        ("", "empty"),
    ],
)
def test_bad_film_files(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(ReaderError, match=words):
        read_film_maps(path, unit="angstrom")
    with pytest.raises(ReaderError, match="cannot be read"):
        read_film_maps(tmp_path / "nothing.csv", unit="angstrom")


def test_a_value_that_is_no_number_costs_its_site_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("X,Y,s1,s2\n0,0,1OO,5\n9,0,102,6\n18,0,---,7\n27,0,,8\n36,0,inf,9\n")
    first, second = read_film_maps(path, unit="nm")
    assert first.summary().n == 1 and first.summary().mean == 102.0 and second.summary().n == 5
    assert first.unread == {0: "1OO", 2: "---", 4: "inf"} and second.unread == {}
    path.write_text(
        "WAFER ID,A\nRESULT TYPE,1st Thickness\nMEAN,n/a\nSite #,Value,X,Y\n1,n/a,0,0\n2,3.0,9,0\n"
        "WAFER ID,B\nSite #,Value,X,Y\n1,4.0,0,0\n"
    )
    first, second = read_film_maps(path, unit="nm")
    assert first.unread == {0: "n/a"} and first.reported == {} and first.summary().mean == 3.0
    assert second.wafer == "B" and second.summary().mean == 4.0


ROWS = "X,Y,s1,s2\n0,0,101.1,102.5\n9,0,101.2,102.6\n18,0,101.3,102.7\n27,0,101.4,102.8"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (ROWS, ((), ())),  # no end of line alone is a habit
        (ROWS + "\n", ((), ())),
        (ROWS[:-2], (("file_cut",), ("file_cut",))),  # 102 where all others have a digit behind the point
        (ROWS[:-2] + "\n", ((), ())),
        (ROWS.replace("27,0", "0.001,0") + "\n", (("sites_repeated",), ("sites_repeated",))),
        (ROWS.replace("27,0,", "0,0,,").replace(",,", ",") + "\n", (("sites_repeated",), ("sites_repeated",))),
        (ROWS.replace("101.4", "-101.4") + "\n", (("thickness_negative",), ())),
        (ROWS.replace("s2", "s1") + "\n", (("wafer_name_repeated",), ("wafer_name_repeated",))),
    ],
)
def test_what_makes_a_readable_map_doubtful(tmp_path: Path, text: str, flags: tuple[tuple[str, ...], ...]) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    assert tuple(doubts(found) for found in read_film_maps(path, unit="nm")) == flags


def test_a_last_block_with_fewer_sites_and_no_end_of_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    block = "WAFER ID,{}\nSite #,Value,X,Y\n1,4.0,0,0\n2,4.1,9,0\n"
    for end, flags in (("", [(), ()]), ("\n", [(), ()])):
        path.write_text((block.format("A") + block.format("B")).rstrip("\n") + end)
        assert [doubts(found) for found in read_film_maps(path, unit="nm")] == flags
    path.write_text(block.format("A") + block.format("B").replace("2,4.1,9,0\n", "").rstrip("\n"))
    assert [doubts(found) for found in read_film_maps(path, unit="nm")] == [(), ("file_cut",)]


def test_one_value_has_no_spread_and_none_no_figures() -> None:
    at = np.zeros(1)
    one = SiteMap(at, at, np.array([5.0]), "nm", reported={"STDDEV": "0.00"}).figures()
    assert one["MEAN"] == 5.0 and one["RANGE"] == 0.0 and one["STDDEV"] is None and one["3 % STDDEV"] is None
    none = SiteMap(at, at, np.array([math.nan]), "nm", reported={"MEAN": "5.0"})
    assert set(none.figures().values()) == {None} and none.differences() == {}


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "least"), [("pre.csv", 8), ("post.csv", 8), ("native_oxide.csv", 20)])
def test_real_files_reproduce_their_summaries(data_root: Path, name: str, least: int) -> None:
    """Every figure that the tool printed, from its sites, to the rounding of both."""
    maps = read_film_maps(data_root / FILMS / name, unit="angstrom")
    assert len(maps) >= least
    checked = 0
    for found in maps:
        assert found.differences() == {}, (found.wafer, found.title)
        checked += len(found.reported)
    assert checked >= 8 * least


@pytest.mark.real_data
def test_real_collection(data_root: Path) -> None:
    """55 sites by 10 slots; mean and 3 sigma of the first slot as its provenance states them."""
    maps = read_film_maps(data_root / FILMS / "wafer_collection.csv", unit="angstrom")
    assert len(maps) == 10 and {m.x.size for m in maps} == {55}
    first = maps[0].summary()
    assert first.mean == pytest.approx(5624.9, abs=0.05) and first.sd3 == pytest.approx(261.3, abs=0.05)


def test_a_map_needs_a_place_for_each_value() -> None:
    with pytest.raises(ParameterError):
        SiteMap(np.zeros(2), np.zeros(2), np.zeros(3), "nm")
    with pytest.raises(DataError, match="no value"):
        SiteMap(np.zeros(1), np.zeros(1), np.full(1, np.nan), "nm").summary()


def test_signature_and_components_of_simulated_wafers() -> None:
    """Without random effects the table is the signature; with them a decomposition finds what was put in (6 lots of 6
    wafers, 16 fields, 3 images: each truth within its 99.9 % interval)."""
    none = {"sd_lot": 0.0, "sd_wafer": 0.0, "sd_field": 0.0, "sd_image": 0.0}
    shape = CdSignature(radial=0.8, tilt_x=0.2, slit=0.1, scan=-0.3)
    rows = wafer_table(WaferLots(1, 1, None, 3, signature=shape, **none), seed=1)  # type: ignore[arg-type]
    for row in rows:
        f = row["image"] - 1.0
        r2 = (row["x_mm"] ** 2 + row["y_mm"] ** 2) / 140.0**2
        expected = 16.0 + 0.8 * r2 + 0.1 * row["x_mm"] / 140.0 + 0.1 * f * f - 0.15 * f
        assert row["cd"] == pytest.approx(expected, abs=1e-12)
    plan = WaferLots(6, 6, 16, 3, sd_lot=0.2, sd_wafer=0.15, sd_field=0.12, sd_image=0.06)
    table = wafer_table(plan, seed=5)
    found = nested_components(
        [row["cd"] for row in table], {key: [row[key] for row in table] for key in ("lot", "wafer", "field")},
        bottom="image", p=0.999,
    )  # fmt: skip
    for level, truth in (("lot", 0.2), ("wafer", 0.15), ("field", 0.12), ("image", 0.06)):
        assert found[level].low <= truth <= found[level].high, level
    assert found.balanced and found.n == 6 * 6 * 16 * 3
    smaller = wafer_table(WaferLots(1, 1, 16, 3, sd_lot=0.2, sd_wafer=0.15, sd_field=0.12, sd_image=0.06), seed=5)
    assert smaller == table[: len(smaller)]


def test_images_of_simulated_wafers() -> None:
    plan = WaferLots(1, 2, 2, 1, model=SemModel(shape=(64, 128)))
    found = list(wafer_images(plan, seed=3))
    assert found[0][0]["file"].startswith("L01_W01_X") and len(found) == 4
    for row, image in found:
        assert image.truth["cd_line"] == pytest.approx(row["cd"])
    with pytest.raises(ParameterError):
        wafer_table(WaferLots(0), seed=1)


def test_disturbances() -> None:
    """Charging: zero is the identity, a single bright column leaves a trail that decays by 1/e over its length.
    Distortion: zero in the middle, the stated amount at the borders, and the truth of line images knows it."""
    flat = np.zeros((2, 600))
    flat[:, 300] = 90.0
    assert charged(flat, 0.0, 20.0, 90.0) is flat
    trail = flat - charged(flat, 0.3, 20.0, 90.0)
    row = trail[0] - trail[0, 290]
    assert row[341] / row[321] == pytest.approx(math.exp(-1.0), rel=1e-4)
    assert row[299] == pytest.approx(0.0, abs=1e-6)  # nothing ahead of the column; the start has decayed
    assert distorted(np.array((0.0, 50.0, 100.0)), 100.0, 3.0) == pytest.approx((-3.0, 50.0, 103.0))
    model = SemModel(shape=(32, 512), sigma=0.0)
    plain, bent = simulate_lines(model, seed=1), simulate_lines(model, seed=1, distortion=2.0)
    middle = int(np.argmin(np.abs(plain.left[:, 0] - 256.0)))
    assert abs(bent.left[middle, 0] - plain.left[middle, 0]) < 0.01
    assert bent.left[-2, 0] - plain.left[-2, 0] > 1.0
    dark = simulate_lines(model, seed=1, charging=0.2).pixels.astype(float)
    # the frame grows brighter from top to bottom by a fifth of the step of 90; four rows at either end nearly show it
    assert dark[-4:].mean() - dark[:4].mean() == pytest.approx(0.2 * 90.0 * 28.0 / 31.0, abs=2.0)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_other_programs_save_them(tmp_path: Path, end: str, mark: str, code: str) -> None:
    """Line ends, separators (with a decimal comma where a comma does not separate) and encodings of spreadsheets."""
    lines = [
        "WAFER ID,Slot01", "LOT ID,pre", "RESULT TYPE,1st Thickness", "MEAN,11.5", "MIN,11.0", "MAX,12.0",
        "Site #,Value,X,Y", "1,11.0,0,0", "2,12.0,-34.5,1.5E+01",
    ]  # fmt: skip
    swap = [line.replace(",", mark) if mark == "," else line.replace(".", "@").replace(",", mark).replace("@", ",")
            for line in lines]  # fmt: skip
    path = tmp_path / "film.csv"
    path.write_bytes(end.join(swap).encode(code))
    (found,) = read_film_maps(path, unit="nm")
    assert found.x.tolist() == [0.0, -34.5] and found.y.tolist() == [0.0, 15.0]
    assert found.value.tolist() == [11.0, 12.0] and found.differences() == {}


def test_a_site_on_the_edge_exclusion_counts_in_spite_of_its_printed_digits() -> None:
    frame = WaferFrame(edge_exclusion=3.0)
    assert frame.counts(56.2546, 135.8107) and frame.counts(147.0, 0.0)  # 147.00001 mm of 147
    assert not frame.counts(147.01, 0.0)
