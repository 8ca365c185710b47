"""Text clouds: what is detected, what is refused, and that numbers are read as ``float(text)`` reads them."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrology_core.data import PointSet
from metrology_core.errors import ReaderError, UnitError
from pointcloud import read_points
from pointcloud.readers import text as text_reader
from tests.pointcloud.readers import writers
from tests.pointcloud.readers.writers import save


def read(folder: Path, data: str | bytes, name: str = "a.txt", **options: object) -> PointSet:
    content = data.encode() if isinstance(data, str) else data
    return read_points(save(folder, name, content), **{"unit": "mm", "points_are": "surface", **options})


@pytest.mark.parametrize(
    "data",
    [
        "1.5 2.5 3.5\n4.5 5.5 6.5\n",
        "1.5 2.5 3.5\r\n4.5 5.5 6.5\r\n",
        "1.5 2.5 3.5\r4.5 5.5 6.5",
        "\ufeff1.5 2.5 3.5\n4.5 5.5 6.5",
        "  1.5\t 2.5   3.5 \n\n\t4.5 5.5 6.5\t\n\n",
        "1.5,2.5,3.5\n4.5,5.5,6.5\n",
        "1.5, 2.5, 3.5\n4.5, 5.5, 6.5\n",
        "1.5,2.5,3.5,\n4.5,5.5,6.5,\n",
        "1.5;2.5;3.5\n4.5;5.5;6.5\n",
        "1,5;2,5;3,5\n4,5;5,5;6,5\n",
        "1,5 2,5 3,5\n4,5 5,5 6,5\n",
        "1,5\t2,5\t3,5\n4,5\t5,5\t6,5\n",
        "1.5\t\t2.5\t\t3.5\n4.5\t\t5.5\t\t6.5\n",
        "# a comment\n// another\n1.5 2.5 3.5\n% one more\n! and more\n4.5 5.5 6.5\n",
        "x y z\n1.5 2.5 3.5\n4.5 5.5 6.5\n",
        "X [mm];Y [mm];Z [mm]\n1,5;2,5;3,5\n4,5;5,5;6,5\n",
        "z,y,x\n3.5,2.5,1.5\n6.5,5.5,4.5\n",
        "//X Y Z\n1.5 2.5 3.5\n4.5 5.5 6.5\n",
        "Protocol of a machine\nOperator: N. N.\n1.5 2.5 3.5\n4.5 5.5 6.5\n",
        "2\n1.5 2.5 3.5\n4.5 5.5 6.5\n",
        "+1.5 25e-1 3.5E0\n4.50 .55e1 6.5\n",
        '"x";"y";"z"\n"1,5";"2,5";"3,5"\n"4,5";"5,5";"6,5"\n',
    ],
)
def test_all_these_are_the_same_two_points(tmp_path: Path, data: str) -> None:
    points = read(tmp_path, data)
    assert np.array_equal(points.xyz, [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]])
    assert points.labels is None and points.normals is None


def test_normals_by_name_and_by_position(tmp_path: Path) -> None:
    rows = "1 2 3 0 0 1\n4 5 6 0.6 0 -0.8\n"
    for header, role in (("x y z i j k", "approach"), ("X Y Z nx ny nz", "measured"), ("", "measured")):
        points = read(tmp_path, f"{header}\n{rows}")
        assert np.array_equal(points.normals, [[0, 0, 1], [0.6, 0, -0.8]])
        assert points.normals_role == role and points.flags == ()
    assert read(tmp_path, rows, normals_role="nominal").normals_role == "nominal"
    colours = read(tmp_path, "1 2 3 255 0 128\n4 5 6 0 0 1\n")
    assert colours.normals is None and colours.flags == ("columns_ignored",)
    assert "3 column(s) not used" in colours.history[0].words


def test_intensity_and_colour_are_ignored_aloud(tmp_path: Path) -> None:
    points = read(tmp_path, "2\n1.5 2 3 -120 10 20 30\n4 5 6 -90 40 50 60\n", "a.pts")
    assert np.array_equal(points.xyz, [[1.5, 2, 3], [4, 5, 6]])
    assert points.flags == ("columns_ignored",)


@pytest.mark.parametrize(
    ("data", "names", "labels"),
    [
        ("1 2 3 bore\n4 5 6 flange\n7 8 9 bore\n", ("bore", "flange"), [0, 1, 0]),
        ("bore,1.5,2,3\nflange,4,5,6\nbore,7,8,9\n", ("bore", "flange"), [0, 1, 0]),
        ("x;y;z;feature\n1;2;3;bore A\n4;5;6;Bohrung Ü\n7;8;9;bore A\n", ("bore A", "Bohrung Ü"), [0, 1, 0]),
        ("x;y;z;label\n1;2;3;7\n4;5;6;8\n7;8;9;\n", ("7", "8"), [0, 1, -1]),
        ("name x y z remark\na 1 2 3 ok\nb 4 5 6 ok\na 7 8 9 ok\n", ("a", "b"), [0, 1, 0]),
        ('x,y,z,feature\n1.0,2,3,"bore, left"\n4,5,6,b\n7,8,9,"bore, left"\n', ("bore, left", "b"), [0, 1, 0]),
        ("x\ty\tz\tgroup\n1,5\t2\t3\tS1,5\n4\t5\t6\tS.2\n7\t8\t9\tS1,5\n", ("S1,5", "S.2"), [0, 1, 0]),
    ],
)
def test_labels(tmp_path: Path, data: str, names: tuple[str, ...], labels: list[int]) -> None:
    points = read(tmp_path, data)
    assert points.label_names == names
    assert points.labels is not None and points.labels.tolist() == labels
    assert points.xyz[1].tolist() == [4, 5, 6]
    part = read(tmp_path, data, feature=names[0])
    assert part.n_points == labels.count(0)


def test_label_column_by_name_and_number(tmp_path: Path) -> None:
    data = "x;y;z;lot;part\n1;2;3;L1;a\n4;5;6;L1;b\n"
    assert read(tmp_path, data, label_column="part").label_names == ("a", "b")
    assert read(tmp_path, data, label_column=3).label_names == ("L1",)
    assert read(tmp_path, "1 2 3 a b\n4 5 6 a c\n", label_column=-1).label_names == ("b", "c")
    assert read(tmp_path, "5 1.5 2 3\n6 4 5 6\n", label_column=0).label_names == ("5", "6")
    with pytest.raises(ReaderError, match="no column is named 'site'"):
        read(tmp_path, data, label_column="site")


def test_columns_and_separator_overrule(tmp_path: Path) -> None:
    data = "1 10.5 20.5 30.5\n2 11.5 21.5 31.5\n3 12.5 22.5 32.5\n"
    points = read(tmp_path, data, columns=("index", "z", "y", "x"))
    assert points.xyz[0].tolist() == [30.5, 20.5, 10.5]
    assert read(tmp_path, "1,5,2,5\n1,6,2,6\n", separator=",").xyz.tolist() == [[1, 5, 2], [1, 6, 2]]
    assert read(tmp_path, "1.5|2.5|3.5\n", separator="|").xyz.tolist() == [[1.5, 2.5, 3.5]]


def test_the_unit_of_the_header_is_checked(tmp_path: Path) -> None:
    data = "x [um],y [um],z [um]\n1.5,2,3\n"
    assert read(tmp_path, data, unit=None).unit == "um"
    with pytest.raises(UnitError) as caught:
        read(tmp_path, data)
    assert "um" in str(caught.value) and "mm" in str(caught.value) and "a.txt" in str(caught.value)


def test_blocks_give_the_same_as_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xyz = writers.cloud(300)
    rows = "".join(f"{a!r};{b!r};{c!r};f{k // 37}\n" for k, (a, b, c) in enumerate(xyz.tolist()))
    data = "x;y;z;feature\n" + rows
    whole = read(tmp_path, data)
    monkeypatch.setattr(text_reader, "_BLOCK", 500)
    pieces = read(tmp_path, data)
    assert np.array_equal(whole.xyz, xyz) and np.array_equal(pieces.xyz, xyz)
    assert pieces.label_names == whole.label_names and np.array_equal(pieces.labels, whole.labels)
    broken = data.replace("f5\n", "f5\nx;1;2;3\n", 1)
    with pytest.raises(ReaderError, match="line 188"):  # 1 header line, 37 rows for each of f0 to f4, one of f5
        read(tmp_path, broken)


def test_one_long_label_costs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "".join(f"{k} 2 3 {'a' * (400 if k == 50 else 1 + k % 3)}\n" for k in range(100))
    quick = read(tmp_path, data)
    monkeypatch.setattr(text_reader, "_MAX_LABEL_TABLE", 1000)
    frugal = read(tmp_path, data)
    assert frugal.label_names == quick.label_names == ("a", "aa", "aaa", "a" * 400)
    assert np.array_equal(frugal.labels, quick.labels)


number = st.floats(allow_nan=False, allow_infinity=False)
styles = st.tuples(
    st.sampled_from([" ", "  ", "\t", ";", ",", " ; ", ", "]),
    st.sampled_from([".", ","]),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.sampled_from(["", "x{s}y{s}z", "# exported\n//x y z", "Report 7\n"]),
    st.booleans(),
).filter(lambda s: not (s[1] == "," and s[0].strip() == ","))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(number, number, number), min_size=1, max_size=8), styles)
def test_every_style_is_detected_and_exact(rows: list[tuple[float, float, float]], style: tuple) -> None:
    separator, decimal, end, header, fixed = style
    if fixed:  # plain decimals instead of exponents: the digits that float(text) must round
        rows = [tuple(float(f"{min(max(v, -1e9), 1e9):.17g}") for v in row) for row in rows]
    head = (header.format(s=separator) + end) if header else ""
    body = end.join(separator.join(repr(v).replace(".", decimal) for v in row) for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        points = read(Path(folder), head + body + end)
    expected = np.array(rows)
    assert np.array_equal(points.xyz.view(np.uint64), expected.view(np.uint64))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.from_regex(r"[+-]?[0-9]{1,25}\.[0-9]{1,25}([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_any_decimal_text_is_rounded_as_python_rounds(word: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        points = read(Path(folder), f"{word} 0.5 {word}\n")
    assert points.xyz[0, 0] == float(word) or (points.xyz[0, 0] == np.inf * np.sign(points.xyz[0, 0]))
    assert np.array([points.xyz[0, 2]]).tobytes() == np.array([float(word)]).tobytes()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=300) | st.text(alphabet='0123456789.,;- \t\nexyz#"', max_size=200))
def test_any_bytes_give_points_or_a_typed_error(data: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            points = read(Path(folder), data)
        except ReaderError as error:
            assert error.place and error.remedy and error.path == "a.txt"
        else:
            assert points.n_points > 0


def test_a_hundred_thousand_lines_take_no_python_loop(tmp_path: Path) -> None:
    xyz = writers.cloud(100_000)
    data = b"".join(b"%.17g;%.17g;%.17g;f%d\n" % (*row, k // 10_000) for k, row in enumerate(xyz.tolist()))
    start = time.perf_counter()
    points = read(tmp_path, data)
    seconds = time.perf_counter() - start
    assert np.array_equal(points.xyz, xyz) and len(points.label_names) == 10
    assert seconds < 3.0  # 0.2 s on a quiet machine, 15 times that for a busy one; a loop over fields takes longer


@pytest.mark.parametrize("line", ["# unit: inch", "# Units = inch", "% length unit is inch"])
def test_a_comment_that_states_the_unit_counts(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"{line}\nx,y,z\n1.5,2.5,3.5\n2.5,1.5,3.5\n")
    with pytest.raises(UnitError, match="another unit"):
        read_points(path, unit="mm", points_are="surface")
    assert read_points(path, unit="inch", points_are="surface").unit == "inch"


def test_two_columns_are_no_ambiguous_decimal_sign(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("1.5,2.5\n2.5,3.5\n")
    with pytest.raises(ReaderError, match="two numbers"):
        read_points(path, unit="mm", points_are="surface")


@pytest.mark.parametrize(
    ("text", "columns", "line"),
    [
        ("x,y,label\n599.6192,700.0000,A\n599.7132,705.2257,A\n", ("x", "y", "label"), 2),
        ("599.6192,700.0000,A\n599.7132,705.2257,A\n", ("x", "y", "label"), 1),
        ("feature;x;y\nA;1,5;2,5\nB;2,5;1,5\n", ("label", "x", "y"), 2),
        ("x,y,i,j,label\n1.5,2.5,0.6,0.8,a\n", ("x", "y", "i", "j", "label"), 2),
    ],
)
def test_a_missing_z_is_named_and_the_remedy_reads_the_file(
    text: str, columns: tuple[str, ...], line: int, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ReaderError, match=r"z is missing|one column for z") as caught:
        read_points(path, unit="mm", points_are="surface")
    assert f"line {line}" in str(caught.value.where)
    assert f"columns=({', '.join(repr(name) for name in columns)})".replace("'", '"') in str(caught.value.remedy)
    points = read_points(path, unit="mm", points_are="surface", columns=columns)
    assert points.n_points == text.count("\n") - line + 1 and not points.xyz[:, 2].any()


def test_coordinates_torn_apart_by_thousands_separators_are_not_points_of_a_plane(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("1.234,5;2.345,6;3.456,7\n")
    with pytest.raises(ReaderError, match="both a point and a comma"):
        read_points(path, unit="mm", points_are="surface")


def test_points_of_a_plane_need_their_columns_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("1.5,2.5,0.6,0.8,a\n2.5,3.5,-0.6,0.8,b\n")
    points = read_points(path, unit="mm", points_are="surface", columns=("x", "y", "i", "j", "label"))
    np.testing.assert_array_equal(points.xyz, [[1.5, 2.5, 0.0], [2.5, 3.5, 0.0]])
    np.testing.assert_array_equal(points.normals, [[0.6, 0.8, 0.0], [-0.6, 0.8, 0.0]])
    assert "z = 0" in points.history[0].words
    with pytest.raises(ReaderError, match="column for y"):
        read_points(path, unit="mm", points_are="surface", columns=("x", "ignore", "i", "j", "label"))
