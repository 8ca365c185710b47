"""Writers of test files. Written from the format descriptions, independently of the readers they test."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# decimal texts that only a correctly rounding reader brings back, and the ends of the range
NASTY = np.array(
    [
        [0.1, 1.0 / 3.0, -2.0 / 3.0],
        [123456.78901234568, -0.0, 5e-324],
        [1.7976931348623157e308, 2.2250738585072014e-308, -9007199254740993.0],
        [0.30000000000000004, 1e22, 8.41e21],
        [-33.049999999999997, 12.068425921098999, 6.60889620000082e-05],
    ]
)


def cloud(n: int, seed: int = 5) -> np.ndarray:
    """(n, 3) coordinates with all 53 bits in use."""
    return np.random.Generator(np.random.PCG64(seed)).normal(scale=40.0, size=(n, 3))


def tetrahedron() -> tuple[np.ndarray, np.ndarray]:
    """Four vertices and four outward triangles, double precision."""
    vertices = np.array([[0.1, 0.2, 0.3], [10.1, 0.2, 0.3], [0.1, 7.7, 0.3], [0.1, 0.2, 5.3]])
    return vertices, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def text(xyz: np.ndarray, separator: str = " ", decimal: str = ".", header: str = "", end: str = "\n") -> bytes:
    rows = [separator.join(repr(float(v)).replace(".", decimal) for v in row) for row in xyz]
    return ((header + end if header else "") + end.join(rows) + end).encode()


def ply(
    xyz: np.ndarray,
    order: str = "binary_little_endian",
    kind: str = "double",
    normals: np.ndarray | None = None,
    faces: Sequence[Sequence[int]] | None = None,
    extra: str = "",
) -> bytes:
    head = f"ply\nformat {order} 1.0\ncomment made by a test\nelement vertex {len(xyz)}\n"
    head += "".join(f"property {kind} {a}\n" for a in "xyz")
    columns = [xyz]
    if normals is not None:
        head += "".join(f"property {kind} n{a}\n" for a in "xyz")
        columns.append(normals)
    if extra:
        head += f"property uchar {extra}\n"
    if faces is not None:
        head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\n"
    body = b""
    table = np.hstack(columns)
    end, code = (">" if "big" in order else "<"), {"double": "d", "float": "f"}[kind]
    for row in table:
        if order == "ascii":
            body += (" ".join(repr(float(v)) for v in row) + (" 7" if extra else "") + "\n").encode()
        else:
            body += struct.pack(f"{end}{len(row)}{code}", *row) + (b"\7" if extra else b"")
    for face in faces or ():
        if order == "ascii":
            body += (" ".join(str(int(v)) for v in (len(face), *face)) + "\n").encode()
        else:
            body += struct.pack(f"{end}B{len(face)}i", len(face), *(int(v) for v in face))
    return head.encode() + b"end_header\n" + body


def stl(corners: np.ndarray, header: bytes = b"made by a test") -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *triangle.ravel(), 0) for triangle in corners)
    return header.ljust(80, b" ") + struct.pack("<I", len(corners)) + body


def stl_ascii(corners: np.ndarray) -> bytes:
    out = "solid test\n"
    for triangle in corners:
        out += " facet normal 0 0 0\n  outer loop\n"
        out += "".join("   vertex " + " ".join(repr(float(v)) for v in corner) + "\n" for corner in triangle)
        out += "  endloop\n endfacet\n"
    return (out + "endsolid test\n").encode()


def obj(vertices: np.ndarray, faces: Sequence[Sequence[int]]) -> bytes:
    out = "# test\no part\n" + "".join("v " + " ".join(repr(float(v)) for v in row) + "\n" for row in vertices)
    return (
        out + "vn 0 0 1\n" + "".join("f " + " ".join(f"{k + 1}//1" for k in face) + "\n" for face in faces)
    ).encode()


def pcd(xyz: np.ndarray, data: str = "binary", size: int = 8, viewpoint: str = "0 0 0 1 0 0 0") -> bytes:
    n, code = len(xyz), {8: "d", 4: "f"}[size]
    head = (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE {size} {size} {size} 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    )
    head += f"WIDTH {n}\nHEIGHT 1\nVIEWPOINT {viewpoint}\nPOINTS {n}\nDATA {data}\n"
    if data == "ascii":
        return head.encode() + b"".join((" ".join(repr(float(v)) for v in row) + " 1\n").encode() for row in xyz)
    if data == "binary":
        return head.encode() + b"".join(struct.pack(f"<3{code}f", *row, 1.0) for row in xyz)
    plain = b"".join(struct.pack(f"<{n}{code}", *xyz[:, k]) for k in range(3)) + struct.pack(f"<{n}f", *([1.0] * n))
    packed = lzf(plain)
    return head.encode() + struct.pack("<II", len(packed), len(plain)) + packed


def lzf(plain: bytes) -> bytes:
    """A plain LZF compressor: greedy, with references (short, long and overlapping) and literals."""
    out, literals = bytearray(), bytearray()
    last: dict[bytes, int] = {}

    def flush() -> None:
        while literals:
            out.append(min(32, len(literals)) - 1)
            out.extend(literals[:32])
            del literals[:32]

    i = 0
    while i < len(plain):
        key = plain[i : i + 3]
        j = last.get(key, -1)
        last[key] = i
        length = 0
        if len(key) == 3 and j >= 0 and i - j <= 8192:
            while length < 264 and i + length < len(plain) and plain[j + length] == plain[i + length]:
                length += 1
        if length < 3:
            literals.append(plain[i])
            i += 1
            continue
        flush()
        distance = i - j - 1
        if length - 2 < 7:
            out.append((length - 2) << 5 | distance >> 8)
        else:
            out.append(7 << 5 | distance >> 8)
            out.append(length - 2 - 7)
        out.append(distance & 255)
        i += length
    flush()
    return bytes(out)


def qif(
    sets: Sequence[tuple[str, np.ndarray]],
    *,
    unit: tuple[str, str] = ("mm", "0.001"),
    compensated: str | None = "false",
    radius: str | None = "1.5",
    prolog: str = '<?xml version="1.0" encoding="UTF-8"?>',
    prefix: str = "",
    extra: str = "",
) -> bytes:
    """A small QIF 3.0 file: one circle feature per set, no characteristics."""
    p = prefix
    spaces = 'xmlns{}="http://qifstandards.org/xsd/qif3"'.format(f":{p[:-1]}" if p else "")
    out = f'{prolog}<{p}QIFDocument {spaces} versionQIF="3.0.0" idMax="1"><{p}FileUnits><{p}PrimaryUnits>'
    out += f"<{p}LinearUnit><{p}SIUnitName>meter</{p}SIUnitName><{p}UnitName>{unit[0]}</{p}UnitName>"
    out += f"<{p}UnitConversion><{p}Factor>{unit[1]}</{p}Factor></{p}UnitConversion></{p}LinearUnit>"
    out += f"</{p}PrimaryUnits></{p}FileUnits><{p}Features><{p}FeatureItems>"
    for k, (name, _) in enumerate(sets):
        out += f'<{p}CircleFeatureItem id="{100 + k}"><{p}FeatureName>{name}</{p}FeatureName></{p}CircleFeatureItem>'
    out += f"</{p}FeatureItems></{p}Features>{extra}<{p}Results><{p}MeasurementResultsSet><{p}MeasurementResults>"
    out += f"<{p}MeasuredFeatures>"
    for k in range(len(sets)):
        out += f'<{p}CircleFeatureMeasurement id="{200 + k}"><{p}FeatureItemId>{100 + k}</{p}FeatureItemId>'
        out += f"<{p}PointList><{p}WholePointSetId>{300 + k}</{p}WholePointSetId></{p}PointList>"
        out += f"</{p}CircleFeatureMeasurement>"
    out += f"</{p}MeasuredFeatures>\n<{p}MeasuredPointSets>"
    for k, (_, xyz) in enumerate(sets):
        numbers = " ".join(repr(float(v)) for v in np.ravel(xyz))
        out += f'\n<{p}MeasuredPointSet id="{300 + k}" count="{len(xyz)}"><{p}Points>{numbers}</{p}Points>'
        out += f"<{p}Compensated>{compensated}</{p}Compensated>" if compensated else ""
        out += f"<{p}ProbeRadius>{radius}</{p}ProbeRadius>" if radius else ""
        out += f"</{p}MeasuredPointSet>"
    out += f"</{p}MeasuredPointSets></{p}MeasurementResults></{p}MeasurementResultsSet></{p}Results></{p}QIFDocument>"
    return out.encode()


def save(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
