"""QIF 3.0: a real result file of a coordinate measuring machine, and small files made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrology_core.data import ProbeTip
from metrology_core.errors import ParameterError, ReaderError, UnitError
from pointcloud import QifDocument, read_points, read_qif
from tests.pointcloud.readers import writers
from tests.pointcloud.readers.writers import save

RADIUS = 2.49978271104


@pytest.fixture(scope="module")
def sample(data_root: Path) -> QifDocument:
    return read_qif(data_root / "clouds" / "qif" / "QIF_PTS_SAMPLE.QIF", root=data_root)


@pytest.mark.real_data
def test_the_sample_has_twelve_sets_of_ball_centres_in_mm(sample: QifDocument) -> None:
    assert [len(row.xyz) for row in sample.point_sets] == [219, 219, 219, 18, 8, 2, 1, 1, 1, 1, 1, 1]
    assert {row.probe_radius for row in sample.point_sets} == {RADIUS}
    assert {row.points_are for row in sample.point_sets} == {"ball_centre"}
    assert (sample.units.linear, sample.units.angular) == ("mm", "deg")
    assert sample.source.path == "clouds/qif/QIF_PTS_SAMPLE.QIF"
    first = sample.point_sets[0].xyz
    assert first[0].tolist() == [3.54516458565, 0.0037440421, -1.82916012241]
    assert first[-1].tolist() == [3.54406294492, -0.07350448483, -1.8194095497]


@pytest.mark.real_data
def test_the_sample_as_points(sample: QifDocument, data_root: Path) -> None:
    points = sample.points(frame="machine")
    assert points.n_points == 691 and points.points_are == "ball_centre" and points.tip == ProbeTip(RADIUS)
    assert points.label_names == (
        *("DATUMB", "CIRCLE1", "CIRCLE2", "CYL_1", "DATUMA", "DATUMC", "POINT1", "POINT2"),
        *("set 777", "POINT4", "set 829", "POINT6"),
    )
    assert points.flags == ("point_range_not_applied", "points_missing_in_file", "points_unclaimed")
    path = data_root / "clouds" / "qif" / "QIF_PTS_SAMPLE.QIF"
    for unit, points_are in (("mm", "ball_centre"), (None, None)):
        again = read_points(path, unit=unit, points_are=points_are)
        assert np.array_equal(again.xyz, points.xyz) and again.unit == "mm" and again.tip == points.tip
    one = read_points(path, unit="mm", points_are=None, feature="CYL_1")
    assert one.n_points == 18 and one.label_names == ("CYL_1",) and "point_range_not_applied" not in one.flags


@pytest.mark.real_data
def test_the_oddities_of_the_sample_are_told_and_not_fatal(sample: QifDocument) -> None:
    assert sample.notes == (
        "POINT5: refers to point set 828, which the file does not hold",
        "no feature refers to point set 777, 829",
    )
    with pytest.raises(ParameterError, match="leads nowhere"):
        sample.point_set("POINT5")
    with pytest.raises(ParameterError, match="refers to none"):
        sample.point_set("POINT3")
    with pytest.raises(ParameterError, match="0 features named 'bore'"):
        sample.point_set("bore")
    # the plane claims points 3 to 8 of 8; its own plane is the one through all 8 (least squares through six of them
    # is tilted by 1e-4, through all by less than 1e-14)
    assert sample.point_set("DATUMA").n_points == 8
    assert "point_range_not_applied" in sample.point_set("DATUMA").flags
    claimed = sample.point_set("DATUMA", stated_range=True)
    assert np.array_equal(claimed.xyz, sample.point_sets[4].xyz[2:8])
    assert "point_range_not_applied" not in claimed.flags
    assert sample.point_set("DATUMC", stated_range=True).n_points == 2


@pytest.mark.real_data
def test_features_of_the_sample(sample: QifDocument) -> None:
    assert len(sample.features) == 14
    assert [f.kind for f in sample.features].count("circle") == 3
    circle = sample.feature("CIRCLE1")
    assert circle.side == "internal" and circle.determination == "measured"
    assert circle.nominal == {
        "diameter": 12.0,
        "location": (-33.05, -4.35, -1.309995069701),
        "normal": (0.0, 0.0, -1.0),
    }
    assert circle.measured is not None
    assert circle.measured["location"] == (-33.202287934878, -4.336695992982, -1.309995069701)
    assert circle.measured["diameter"] == 12.095569950907
    assert sample.feature("DATUMB").side is None
    cylinder = sample.feature("CYL_1")
    assert cylinder.nominal["axis_point"] == (-19.65, 19.45, -7.0)
    assert cylinder.measured is not None
    assert cylinder.measured["axis"] == (0.00027596187700008, -0.00120213638300035, -0.99999923935629)
    assert sample.feature("CPLANE").determination == "constructed"
    line = sample.feature("DATUMC")
    # the file calls the direction of a measured line its normal
    assert line.measured is not None and line.measured["direction"] == (
        -3.07699999999909e-09,
        0.999785979180705,
        -0.0206880601719939,
    )


@pytest.mark.real_data
def test_characteristics_of_the_sample(sample: QifDocument) -> None:
    assert len(sample.characteristics) == 23
    assert sum(len(row.results) for row in sample.characteristics) == 27
    assert [r.status for row in sample.characteristics for r in row.results].count("FAIL") == 12
    found = {
        row.name: (row.kind, row.unit, row.nominal, row.lower, row.upper, row.measured, row.status, row.features)
        for row in sample.characteristics
    }
    assert found["FLATA"] == ("Flatness", "mm", None, 0.0, 0.01, 0.00676025187, "PASS", ("DATUMA",))
    assert found["DIA_"] == ("Diameter", "mm", 12.0, 11.95, 12.05, 12.091599179226, "FAIL", ("DATUMB",))
    assert found["X_CIRCLE1"] == (
        *("LinearCoordinate", "mm", -33.05, -33.1, -33.0, -33.202287934878, "FAIL"),
        ("CIRCLE1",),
    )
    assert found["TP_CIRCLE1"] == ("Position", "mm", None, 0.0, 0.01, 0.305735910302614, "FAIL", ("CIRCLE1",))
    assert found["RND_2"] == ("Circularity", "mm", None, 0.0, 0.01, 0.081326375416, "FAIL", ("CIRCLE2",))
    assert found["PROF1"][3:7] == (-0.1, 0.1, -0.086196035032941, "PASS")
    assert found["DIA_CYL"][5] == 30.110940798089999
    assert found["ANGLE_CPLANE"] == (
        *("AngleBetween", "deg", 40.0, 37.135211024346, 42.864788975654, 39.996305332655, "PASS"),
        ("CPLANE", "DATUMA"),
    )
    assert found["DISTANCE1_Y"][5:] == (82.764766514306, "FAIL", ("POINT5", "POINT6"))
    position = sample.characteristic("TP_2")
    assert position.details["zone_shape"] == "DiametricalZone" and position.details["material_condition"] == "NONE"
    assert position.zone == 0.01


@pytest.mark.real_data
def test_the_sample_contradicts_other_settings(data_root: Path) -> None:
    path = data_root / "clouds" / "qif" / "QIF_PTS_SAMPLE.QIF"
    with pytest.raises(UnitError, match="another unit"):
        read_points(path, unit="inch", points_are="ball_centre")
    with pytest.raises(ParameterError, match="says otherwise"):
        read_points(path, unit="mm", points_are="surface")
    with pytest.raises(ParameterError, match="another tip radius"):
        read_points(path, unit="mm", points_are="ball_centre", tip=ProbeTip(2.0))
    points = read_points(path, unit="mm", points_are="ball_centre", tip=ProbeTip(2.499783, 0.0003))
    assert points.tip == ProbeTip(RADIUS, 0.0003)


@pytest.mark.parametrize(
    ("name", "factor", "ours"), [("mm", "0.001", "mm"), ("inch", "0.0254", "inch"), ("foo", "1e-6", "um")]
)
def test_units_come_from_the_factor(tmp_path: Path, name: str, factor: str, ours: str) -> None:
    path = save(tmp_path, "a.qif", writers.qif([("A", writers.cloud(3))], unit=(name, factor)))
    assert read_qif(path).units.linear == ours
    assert read_points(path, unit=None, points_are=None).unit == ours


def test_prefixes_encodings_and_extensions(tmp_path: Path) -> None:
    xyz = writers.cloud(4)
    for name, data in (
        ("prefix.qif", writers.qif([("Bohrung Ü", xyz)], prefix="q:")),
        (
            "utf16.qif",
            writers.qif([("Bohrung Ü", xyz)], prolog='<?xml version="1.0" encoding="UTF-16"?>')
            .decode()
            .encode("utf-16"),
        ),
        ("other.xml", b"\xef\xbb\xbf" + writers.qif([("Bohrung Ü", xyz)])),
        ("named.dat", writers.qif([("Bohrung Ü", xyz)])),
    ):
        points = read_points(save(tmp_path, name, data), unit="mm", points_are="ball_centre")
        assert np.array_equal(points.xyz, xyz) and points.label_names == ("Bohrung Ü",), name
        assert points.tip == ProbeTip(1.5)


def test_sets_that_differ_cannot_be_one_point_set(tmp_path: Path) -> None:
    xyz = writers.cloud(4)
    data = writers.qif([("A", xyz), ("B", xyz)]).replace(b"<ProbeRadius>1.5", b"<ProbeRadius>2.5", 1)
    path = save(tmp_path, "a.qif", data)
    with pytest.raises(ReaderError, match="differ in tip radius") as caught:
        read_points(path, unit="mm", points_are=None)
    assert "feature=" in str(caught.value)
    assert read_points(path, unit="mm", points_are=None, feature="B").tip == ProbeTip(1.5)
    assert read_qif(path).point_set("A").tip == ProbeTip(2.5)


def test_a_file_that_does_not_say_what_its_points_are(tmp_path: Path) -> None:
    path = save(tmp_path, "a.qif", writers.qif([("A", writers.cloud(4))], compensated=None, radius=None))
    with pytest.raises(ParameterError, match="nobody says"):
        read_points(path, unit="mm", points_are=None)
    assert read_points(path, unit="mm", points_are="surface").points_are == "surface"
    assert read_qif(path).point_sets[0].points_are == "unknown"
