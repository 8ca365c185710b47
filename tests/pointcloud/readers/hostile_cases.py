"""A table of files that must be refused: each with the kind of error, the place and the remedy that a person needs.

``python -m tests.pointcloud.readers.hostile_cases`` prints how many there are.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from metrology_core.errors import AbbeError, ReaderError, UnitError
from tests.pointcloud.readers import writers

GOOD = writers.cloud(20)
ROWS = "1.5 2.5 3.5\n4.5 5.5 6.5\n7.5 8.5 9.5\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@dataclass(frozen=True)
class Case:
    """A file and what must be said about it; ``place`` and ``remedy`` are parts of the texts."""

    name: str
    file: str
    data: bytes
    place: str
    remedy: str
    says: str
    error: type[AbbeError] = ReaderError
    options: dict[str, object] = field(default_factory=dict)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xyz", bytes(10_000_000))
    return buffer.getvalue()


def _t(
    name: str, data: str | bytes, place: str, remedy: str, says: str, file: str = "a.txt", **options: object
) -> Case:
    content = data.encode() if isinstance(data, str) else data
    return Case(name, file, content, place, remedy, says, options=options)


TEXT = [
    _t("empty", "", "byte 0", "export", "empty"),
    _t("only blanks", "  \n\n  \n", "line 1", "lines of x y z", "no data line"),
    _t("only comments", "# x y z\n# nothing\n", "line 1", "lines of x y z", "no data line"),
    _t("only a header", "x;y;z\n", "line 1", "separator=", "no line holds three numbers"),
    _t("prose", "Dear Sir,\nplease find\n", "line 2", "separator=", "no line holds three numbers"),
    _t("two columns", "1 2\n3 4\n", "line 2", "columns=", "two numbers"),
    _t("cut in a line", ROWS + "10.5 11.5", "line 4", "cut off", "2 columns"),
    _t("cut in a number", ROWS + "10.5 11.5 1e", "line 4", "repair", "'1e'"),
    _t("a column more", ROWS + "1 2 3 4\n", "line 4", "repair", "4 columns"),
    _t("a row short at the start", "1 2\n" + ROWS, "line 1", "delete the line if it is a header", "2 number"),
    _t("a word among numbers", "1.5 2.5 3.5\n4.5 oops 6.5\n7.5 8.5 9.5\n", "line 2", "repair", "'oops'"),
    _t("a damaged first line", "1.5 2.x 3.5\n" + ROWS, "line 1", "comment with #", "'2.x'"),
    _t("a footer", ROWS + "END\n", "line 4", "repair", "1 columns"),
    _t("python underscores", ROWS + "1_000 2 3\n", "line 4", "repair", "'1_000'"),
    _t("hexadecimal", ROWS + "0x10 2 3\n", "line 4", "repair", "'0x10'"),
    _t("two numbers run together", ROWS + "1.5-2.5 3 4\n", "line 4", "repair", "'1.5-2.5'"),
    _t("fortran exponents", ROWS + "1.0D5 2 3\n", "line 4", "repair", "'1.0D5'"),
    _t("an empty field", "1.5;2;3\n4.5;;6\n7.5;8;9\n", "line 2", "write nan", "is empty"),
    _t("an empty field beside a doubled one", "1.5;2;3\n4.5 5;;6\n7.5;8;9\n", "line 2", "columns=", "'4.5 5'"),
    _t("thousands separators", "1.234,5;2.345,6;3.456,7\n", "line 1", "thousands", "both a point and a comma"),
    _t("decimal comma and comma separator", "1,5,2,5,3,5\n4,5,5,5,6,5\n", "line 1", 'separator=","', "decimal comma"),
    _t("the same under a header", "x,y,z\n1,5,2,5,3,5\n", "line 2", "';'", "6 fields"),
    _t("the same with blanks", "1,5, 2,5, 3,5\n4,5, 5,5, 6,5\n", "line 1", '";"', "decimal comma"),
    _t("commas of varying number", "1,2,3\n4,5,5,2\n1,2,3\n", "line 2", "decimal signs", "4 columns"),
    _t("mixed decimal signs", "1,5;2;3\n4.5;5;6\n7,5;8;9\n", "line 2", "repair", "'4.5'"),
    _t("fewer points than announced", "5\n" + ROWS, "line 1", "cut off", "announces 5 points and holds 3"),
    _t("more points than announced", "2\n" + ROWS, "line 1", "joined", "announces 2 points and holds 3"),
    _t("ten billion points announced", "10000000000\n" + ROWS, "line 1", "cut off", "announces 10000000000"),
    _t("a negative count", "-3\n" + ROWS, "line 1", "export", "impossible"),
    _t("a count beyond 64 bits", "9" * 40 + "\n" + ROWS, "line 1", "export", "impossible"),
    _t("a second scan behind the first", "3\n" + ROWS + "3\n" + ROWS, "line 5", "repair", "1 columns"),
    _t("a point number taken for x", "1 9.5 8 7\n2 9 8 7\n3 9 8 7\n", "line 1", '"index"', "point number"),
    _t("two text columns", "1 2 3 a b\n4 5 6 a c\n", "line 1", "label_column=", "2 columns hold text"),
    _t("a header without x", "east;north;up\n1;2;3\n", "line 2", "columns=", "no x, y and z"),
    _t("x twice", "x;x;y;z\n1;2;3;4\n", "line 2", "columns=", "exactly one column for x"),
    _t("columns of another number", ROWS, "line 1", "every column", "names 4 columns", columns=("x", "y", "z", "i")),
    _t("a separator that is not there", ROWS, "line 3", "separator=", "';'", separator=";"),
    _t("a label column that is not there", ROWS, "line 1", "from 0", "outside", label_column=7),
    _t("an open quote", 'x,y,z,name\n1,2,3,"a\n', "line 2", "close the quote", "not closed"),
    _t(
        "a label of a megabyte",
        f"1 2 3 {'a' * 1_000_000}\n4 5 6 b\n",
        "row 1",
        "label_column=",
        "1000000 bytes",
    ),
    _t("a label on one line only", "1.5 2.5 3.5 bore\n" + ROWS, "line 1", "comment with #", "'bore'"),
    _t("a label in latin-1", "1 2 3 S\xfcd\n".encode("latin-1"), "row 1", "UTF-8", "not UTF-8"),
    _t("stray bytes in a number", b"1.5 2.5 3.5\n4.5 5.5\xff 6.5\n7 8 9\n", "line 2", "repair", "xff"),
    _t("UTF-16 with a mark", ROWS.encode("utf-16"), "byte 0", "UTF-8", "UTF-16"),
    _t("UTF-16 without a mark", ROWS.encode("utf-16-le"), "byte 1", "UTF-8", "NUL"),
    _t("binary noise", bytes(range(256)) * 4, "byte 0", "UTF-8", "NUL"),
    _t("a NUL in the middle", ROWS.encode() + b"1 2 \0 3\n", "byte 40", "UTF-8", "NUL"),
    _t("gzip", gzip.compress(ROWS.encode()), "byte 0", "decompress", "gzip"),
    _t("a zip bomb", _zip(), "byte 0", "unpack", "zip", file="a.xyz"),
    _t("a PNG as xyz", PNG, "byte 0", "as an image", "PNG", file="a.xyz"),
    _t("an unknown extension", ROWS, "path", "format=", "'.foo'", file="a.foo"),
    _t("no extension", ROWS, "path", "format=", "(none)", file="points"),
    Case("no unit", "a.txt", ROWS.encode(), "", "export settings", "missing", UnitError, {"unit": None}),
    Case("another unit in the header", "a.csv", b"x[um],y[um],z[um]\n1.5,2,3\n", "", "unit='um'", "another", UnitError),
]

_PLY = writers.ply(GOOD)
_ASCII_PLY = writers.ply(GOOD, "ascii")
_HEAD = _PLY.split(b"end_header\n", 1)[0]
_MESH = writers.ply(writers.tetrahedron()[0], faces=[[0, 1, 2]])


def _ply(name: str, data: bytes, place: str, remedy: str, says: str, **options: object) -> Case:
    return Case(name, "a.ply", data, place, remedy, says, options=options)


def _claim(count: str, data: bytes = _PLY) -> bytes:
    return data.replace(b"vertex 20", f"vertex {count}".encode())


PLY = [
    _ply("PLY cut in the header", _HEAD[:60], "header", "cut off", "end_header"),
    _ply("PLY cut in the data", _PLY[:-7], "line 4", "cut off", "too short"),
    _ply("PLY without data", _HEAD + b"end_header\n", "line 4", "cut off", "too short"),
    _ply("PLY of ten gigabytes", _claim("430000000"), "line 4", "cut off", "at least 10320000000 bytes"),
    _ply("PLY count near 2^63", _claim("9223372036854775807"), "line 4", "export", "impossible"),
    _ply("PLY count beyond 64 bits", _claim("99999999999999999999999"), "line 4", "export", "impossible"),
    _ply("PLY negative count", _claim("-1"), "line 4", "export", "impossible"),
    _ply("PLY count in words", _claim("many"), "line 4", "export", "'many'"),
    _ply("PLY no vertices", _claim("0"), "line 4", "export", "no vertices"),
    _ply("PLY unknown type", _PLY.replace(b"double y", b"decimal y"), "line 6", "export", "unknown type"),
    _ply("PLY without z", _PLY.replace(b"double z", b"double w"), "line 4", "x, y and z", "one property z"),
    _ply("PLY with x twice", _PLY.replace(b"double z", b"double x"), "line 4", "x, y and z", "one property x"),
    _ply("PLY unknown format", _PLY.replace(b"little", b"middle"), "line 2", "export", "binary_middle_endian"),
    _ply(
        "PLY without format", _PLY.replace(b"format binary_little_endian 1.0\n", b""), "header", "export", "no format"
    ),
    _ply("PLY foreign header line", _PLY.replace(b"comment made", b"remark made"), "line 3", "export", "remark"),
    _ply("PLY vertices as lists", _PLY.replace(b"double z", b"list uchar double z"), "line 4", "plain", "list"),
    _ply("PLY without vertices", _PLY.replace(b"vertex", b"corner"), "line 8", "export", "'vertex'"),
    _ply(
        "PLY property before element",
        b"ply\nformat ascii 1.0\nproperty int x\nend_header\n",
        "line 3",
        "",
        "not a line",
    ),
    _ply(
        "PLY empty element",
        _PLY.replace(b"element vertex", b"element a 5\nelement vertex"),
        "line 4",
        "",
        "no properties",
    ),
    _ply("PLY ASCII word", _ASCII_PLY.replace(repr(float(GOOD[3, 1])).encode(), b"abc"), "line 12", "repair", "'abc'"),
    _ply("PLY ASCII cut", _ASCII_PLY[:-300], "line 24", "cut off", "15 of 20"),
    _ply("PLY ASCII ragged", _ASCII_PLY[:-1] + b" 5\n", "line 28", "damaged", "4 numbers"),
    _ply("PLY list longer than the file", _MESH[:-13] + b"\xff" + _MESH[-12:], "byte", "cut off", "list of 255"),
    _ply("PLY list of two", _MESH[:-13] + b"\2" + _MESH[-12:], "byte", "cut off", "list of 2"),
    _ply(
        "PLY negative list",
        _MESH.replace(b"list uchar", b"list char")[:-13] + b"\x80" + _MESH[-12:],
        *("byte", "cut off", "list of -128"),
    ),
    _ply("PLY faces claimed", _MESH.replace(b"face 1\n", b"face 2000000000\n"), "line 8", "cut off", "too short"),
    _ply("PLY face to nowhere", _MESH[:-4] + b"\x63\0\0\0", "face", "damaged", "triangle 1"),
    _ply(
        "PLY list counted in float", _MESH.replace(b"list uchar", b"list float"), "line 9", "export", "floating point"
    ),
    _ply("PLY that is a PNG", PNG, "byte 0", "as an image", "PNG"),
    _ply("PLY that is text", ROWS.encode(), "line 1", "check its format", "'ply'"),
    _ply("PLY called STL", _PLY, "byte 0", "auto", "is PLY", format="stl"),
]

_CORNERS = writers.tetrahedron()[0][writers.tetrahedron()[1]]
_STL, _ASCII = writers.stl(_CORNERS), writers.stl_ascii(_CORNERS)


def _m(file: str, name: str, data: bytes, place: str, remedy: str, says: str) -> Case:
    return Case(name, file, data, place, remedy, says)


MESH = [
    _m("a.stl", "STL cut", _STL[:-20], "byte 80", "cut off", "announces 4 triangles"),
    _m("a.stl", "STL of a few bytes", b"abc", "byte 0", "cut off", "3 bytes"),
    _m(
        "a.stl", "STL of 200 gigabytes", _STL[:80] + b"\xff\xff\xff\xff" + _STL[84:], "byte 80", "cut off", "4294967295"
    ),
    _m("a.stl", "STL without triangles", _STL[:80] + bytes(4), "byte 80", "export", "no triangles"),
    _m("a.stl", "ASCII STL cut", _ASCII[:-60], "line", "cut off", "endsolid"),
    _m("a.stl", "ASCII STL word", _ASCII.replace(b"vertex 0.1", b"vertex zero", 1), "line 4", "repair", "'zero'"),
    _m("a.stl", "ASCII STL corner missing", _ASCII.replace(b"vertex", b"vortex", 1), "line", "cut off", "11 vertices"),
    _m("a.stl", "ASCII STL empty", b"solid a\nendsolid a\n", "line 1", "export", "no triangles"),
    _m("a.obj", "OBJ empty", b"# nothing\n", "line 1", "export", "no vertices"),
    _m("a.obj", "OBJ two coordinates", b"v 1 2\n", "line 1", "x, y, z", "2 numbers"),
    _m("a.obj", "OBJ word", b"v 1 2 3\nv 1 b 3\n", "line 2", "repair", "'b'"),
    _m("a.obj", "OBJ face to nowhere", b"v 1 2 3\nv 2 2 3\nv 3 3 3\nf 1 2 4\n", "line 4", "export", "outside the 3"),
    _m("a.obj", "OBJ face zero", b"v 1 2 3\nf 0 1 1\n", "line 2", "export", "'0 1 1'"),
    _m("a.obj", "OBJ face before", b"v 1 2 3\nf -1 -2 -3\n", "line 2", "export", "outside"),
    _m("a.obj", "OBJ weights", b"v 1 2 3 0.5\n", "line 1", "rational", "weight"),
    _m("a.obj", "OBJ foreign", b"hello world\n", "line 1", "format", "'hello'"),
    _m("a.obj", "OBJ binary", b"v 1 2 3\n\0\0", "byte 8", "format", "NUL"),
    _m("a.obj", "OBJ naked vertex", b"v 1 2 3\nv\n", "line 2", "x, y, z", "no numbers"),
]

_PCD, _LZF = writers.pcd(GOOD), writers.pcd(GOOD, "binary_compressed")
_AT = _LZF.index(b"binary_compressed\n") + len(b"binary_compressed\n")


def _sizes(packed: int, plain: int) -> bytes:
    return _LZF[:_AT] + packed.to_bytes(4, "little") + plain.to_bytes(4, "little") + _LZF[_AT + 8 :]


def _points(n: int, data: bytes) -> bytes:
    return data.replace(b"WIDTH 20", b"WIDTH %d" % n).replace(b"POINTS 20", b"POINTS %d" % n)


_PACKED = len(_LZF) - _AT - 8
PCD = [
    _m("a.pcd", "PCD cut in the header", _PCD[:90], "header", "cut off", "no DATA"),
    _m("a.pcd", "PCD cut in the data", _PCD[:-5], "POINTS", "cut off", "too short"),
    _m("a.pcd", "PCD of a petabyte", _points(10**14, _PCD), "POINTS", "cut off", "at least 2800000000000000"),
    _m("a.pcd", "PCD negative", _PCD.replace(b"POINTS 20", b"POINTS -20"), "POINTS", "export", "'-20'"),
    _m("a.pcd", "PCD no points", _points(0, _PCD), "POINTS", "export", "no points"),
    _m("a.pcd", "PCD width", _PCD.replace(b"WIDTH 20", b"WIDTH 21"), "header", "export", "WIDTH x HEIGHT is 21"),
    _m("a.pcd", "PCD without z", _PCD.replace(b"x y z", b"x y w"), "FIELDS", "x, y and z", "one field z"),
    _m("a.pcd", "PCD type", _PCD.replace(b"SIZE 8 8", b"SIZE 3 8"), "header", "export", "field x"),
    _m("a.pcd", "PCD half float", _PCD.replace(b"SIZE 8 8", b"SIZE 2 8"), "header", "export", "F2"),
    _m("a.pcd", "PCD lengths", _PCD.replace(b"TYPE F F F F", b"TYPE F F F"), "header", "export", "differ in length"),
    _m("a.pcd", "PCD count", _PCD.replace(b"COUNT 1 1 1 1", b"COUNT 0 1 1 1"), "header", "export", "x 0"),
    _m("a.pcd", "PCD key", _PCD.replace(b"HEIGHT", b"HIGHNESS"), "line 8", "export", "HIGHNESS"),
    _m("a.pcd", "PCD data kind", _PCD.replace(b"DATA binary", b"DATA zstd"), "DATA", "binary", "'zstd'"),
    _m("a.pcd", "PCD pose", _PCD.replace(b"VIEWPOINT 0", b"VIEWPOINT a"), "VIEWPOINT", "export", "seven numbers"),
    _m("a.pcd", "PCD ASCII cut", writers.pcd(GOOD, "ascii")[:-30], "line 31", "cut off", "2 numbers"),
    _m("a.pcd", "PCD ASCII word", writers.pcd(GOOD, "ascii")[:-2] + b"w\n", "line 31", "repair", "'w'"),
    _m("a.pcd", "LZF sizes missing", _LZF[: _AT + 4], "byte", "cut off", "two sizes"),
    _m("a.pcd", "LZF cut", _LZF[:-9], "byte", "cut off", "compressed bytes"),
    _m("a.pcd", "LZF packed size", _sizes(4_000_000_000, 560), "byte", "cut off", "4000000000"),
    _m("a.pcd", "LZF packed size too small", _sizes(_PACKED - 30, 560), "byte", "cut off", "damaged"),
    _m("a.pcd", "LZF plain size", _sizes(_PACKED, 4_000_000_000), "byte", "cut off", "560 bytes"),
    _m("a.pcd", "LZF bomb", _points(10**8, _sizes(_PACKED, 28 * 10**8)), "byte", "cut off", "cannot give"),
    _m(
        "a.pcd",
        "LZF back reference",
        _LZF[: _AT + 8] + b"\x3f\xff" + _LZF[_AT + 10 :],
        "byte 170",
        "cut off",
        "before the start",
    ),
    _m("a.pcd", "LZF noise", _LZF[: _AT + 8] + b"\x1f" * _PACKED, "byte", "cut off", "damaged"),
]

_QIF = writers.qif([("HOLE", GOOD)])
_BOMB = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(9)
)


def _q(name: str, data: bytes, place: str, remedy: str, says: str) -> Case:
    return Case(name, "a.qif", data, place, remedy, says, options={"points_are": None})


def _swap(old: str, new: str) -> bytes:
    assert old.encode() in _QIF, old
    return _QIF.replace(old.encode(), new.encode(), 1)


QIF = [
    _q("QIF billion laughs", f"{_BOMB}]><QIFDocument>&j;</QIFDocument>".encode(), "line 1", "DOCTYPE", "refused"),
    _q(
        "QIF external entity",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><QIFDocument>&x;</QIFDocument>',
        *("line 1", "DOCTYPE", "refused"),
    ),
    _q(
        "QIF external DTD",
        b'<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><QIFDocument/>',
        "line 1",
        "DOCTYPE",
        "refused",
    ),
    _q("QIF unknown entity", _swap("</Points>", "&bad;</Points>"), "line 3", "export", "undefined entity"),
    _q("QIF cut", _QIF[:-100], "line 3", "cut off", "not well-formed"),
    _q("QIF not XML", b"hello", "line 1", "cut off", "not well-formed"),
    _q("QIF another document", b"<html><body/></html>", "line 1", "QIF 3.0", "<html>"),
    _q("QIF of old", _swap('versionQIF="3.0.0"', 'versionQIF="2.1.0"'), "line 1", "QIF 3.0", "2.1.0"),
    _q("QIF without version", _swap('versionQIF="3.0.0"', ""), "line 1", "QIF 3.0", "not stated"),
    _q(
        "QIF without units",
        _swap("FileUnits>", "OtherUnits>").replace(b"</FileUnits>", b"</OtherUnits>"),
        "line 1",
        "PrimaryUnits",
        "its units",
    ),
    _q("QIF odd factor", _swap("<Factor>0.001", "<Factor>0.0017"), "LinearUnit", "mm and degrees", "0.0017"),
    _q("QIF name against factor", _swap("<UnitName>mm", "<UnitName>inch"), "LinearUnit", "FileUnits", "called inch"),
    _q("QIF count", _swap('count="20"', 'count="21"'), "line 3", "damaged", "'21'"),
    _q("QIF huge count", _swap('count="20"', 'count="99999999999999"'), "line 3", "damaged", "60 numbers"),
    _q("QIF negative count", _swap('count="20"', 'count="-20"'), "line 3", "damaged", "'-20'"),
    _q("QIF a number missing", _swap('count="20"><Points>', "><Points>1 "), "line 3", "export", "61 numbers"),
    _q("QIF a word", _swap("<Points>", "<Points>abc "), "line 3", "damaged", "61 numbers"),
    _q("QIF a word for a number", _swap(repr(float(GOOD[0, 0])), "abc"), "line 3", "repair", "abc"),
    _q(
        "QIF no points",
        _swap("<Points>", "<PointsBinary>").replace(b"</Points>", b"</PointsBinary>"),
        "line 3",
        "text",
        "binary",
    ),
    _q("QIF compensated", _swap("<Compensated>false", "<Compensated>perhaps"), "line 3", "repair", "neither"),
    _q("QIF radius zero", _swap("<ProbeRadius>1.5", "<ProbeRadius>0"), "line 3", "ProbeRadius", "0.0"),
    _q("QIF radius NaN", _swap("<ProbeRadius>1.5", "<ProbeRadius>nan"), "line 3", "repair", "'nan'"),
    _q("QIF nested", b'<QIFDocument versionQIF="3.0.0">' + b"<a>" * 100_000, "line 1", "no QIF", "deeper than 128"),
    _q("QIF encoding", _swap('encoding="UTF-8"', 'encoding="x-none"'), "line 1", "UTF-8", "encoding"),
    _q("QIF bad bytes", _QIF.replace(b"HOLE", b"H\xffLE"), "line 1", "damaged", "not well-formed"),
    _q(
        "QIF plan only",
        _QIF[: _QIF.index(b"<Results>")] + b"</QIFDocument>",
        "MeasuredPointSets",
        "points",
        "no measured",
    ),
    _q("QIF mixed units", _swap('count="20"', 'count="20" linearUnit="inch"'), "line 3", "primary units", "inch"),
    _q("QIF called text", b"\0\0<QIFDocument/>", "line 1", "cut off", "not well-formed"),
]

HDF5 = [
    _m("a.h5", "HDF5 that is a PNG", PNG, "byte 0", "as an image", "PNG"),
    _m("a.h5", "HDF5 that is text", ROWS.encode(), "byte 0", "export", "as HDF5"),
    _m("a.h5", "HDF5 of a signature", b"\x89HDF\r\n\x1a\n", "byte 0", "export", "as HDF5"),
    _m("a.h5", "HDF5 with a broken superblock", b"\x89HDF\r\n\x1a\n" + b"\xff" * 500, "byte 0", "export", "as HDF5"),
]

CASES = (*TEXT, *PLY, *MESH, *PCD, *QIF, *HDF5)


def counts() -> dict[str, int]:
    """Number of cases by extension."""
    return dict(Counter(case.file.rpartition(".")[2] for case in CASES))


if __name__ == "__main__":
    print(f"{len(CASES)} hostile files: {counts()}")
    assert np.isfinite(GOOD).all()
