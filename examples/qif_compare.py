"""Every answer of the sample QIF file beside ours: python examples/qif_compare.py PATH/QIF_PTS_SAMPLE.QIF"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrology_core.data import Selection
from metrology_core.features import Plane
from pointcloud.evaluate.entry import CharacteristicRequest, Evaluation, FeatureRequest, evaluate
from pointcloud.readers.api import read_points
from pointcloud.readers.qif import read_qif


@dataclass(frozen=True)
class Row:
    """One answer of the file, ours, and why they differ where they do."""

    name: str
    file: float
    ours: float | None
    unit: str
    remark: str = ""

    @property
    def difference(self) -> float | None:
        return None if self.ours is None else self.ours - self.file


def measured(path: Path) -> Evaluation:
    """The features of the file that have points of their own, and what follows from them."""
    points = read_points(path, unit="mm", points_are="ball_centre", frame="part")
    down, up = (0.0, 0.0, -1.0), (0.0, 0.0, 1.0)
    features = [
        FeatureRequest("DATUMA", "plane", Selection("DATUMA"), "inside", up),
        *(
            FeatureRequest(name, "circle", Selection(name), "outside", down, fixed=("direction",))
            for name in ("DATUMB", "CIRCLE1", "CIRCLE2")
        ),
        FeatureRequest("CYL_1", "cylinder", Selection("CYL_1"), "outside", down),
    ]
    ask = CharacteristicRequest
    characteristics = [
        ask("FLATA", "iso1101.flatness", ("DATUMA",)),
        ask("DIA_", "iso14405.GG", ("DATUMB",)),
        *(ask(f"{a.upper()}_CIRCLE{i}", f"coordinate.{a}", (f"CIRCLE{i}",)) for i in (1, 2) for a in "xyz"),
        ask("DIA_CIRCLE1", "iso14405.GG", ("CIRCLE1",)),
        ask("DIA_2", "iso14405.GG", ("CIRCLE2",)),
        ask("TP_CIRCLE1", "iso1101.position.G", ("CIRCLE1",), at=(-33.05, -4.35)),
        ask("TP_2", "iso1101.position.G", ("CIRCLE2",), at=(-33.05, 43.05)),
        ask("RND_CIRCLE1", "iso1101.roundness", ("CIRCLE1",)),
        ask("RND_2", "iso1101.roundness", ("CIRCLE2",)),
        ask("DIA_CYL", "iso14405.GG", ("CYL_1",)),
        ask("PERP1", "iso1101.perpendicularity.G", ("CYL_1", "DATUMA")),
    ]
    return evaluate(points, features, characteristics)


REMARKS = {
    "FLATA": "minimum zone of all 8 points",
    "RND_CIRCLE1": "minimum zone",
    "RND_2": "minimum zone",
    "PERP1": "file: length x (1 - cos(tilt)) against z; ours: length x sin(tilt) against the least-squares plane",
}


def compare(path: Path) -> list[Row]:
    """All answers of the file in its order, ours computed by the library or, for points, from the definitions."""
    document = read_qif(path)
    found = measured(path)
    ours = {m.name: m.measured.value for m in found.measurements if m.measured is not None}
    geometry: dict[str, Any] = {f.request.name: f.uncertain.feature for f in found.features if f.uncertain is not None}
    points, tip = found.points, found.points.tip
    assert tip is not None
    rows: list[Row] = []
    # POINT3 and POINT5 refer to sets that the file numbers 777 and 829; their owners are inferred from the order
    probed = {name: points.labelled(name).xyz[0] for name in ("POINT1", "POINT2", "POINT4", "POINT6")}
    probed["POINT3"] = points.labelled("set 777").xyz[0]
    probed["POINT5"] = points.labelled("set 829").xyz[0]
    names = ("POINT1", "POINT2", "POINT3", "POINT4")
    corners = np.array([probed[name] for name in names])
    center = corners.mean(axis=0)
    normal = np.linalg.svd(corners - center)[2][2]
    plane = Plane(center, normal).oriented((0.0, 0.0, 1.0))
    line = np.asarray(geometry["CIRCLE2"].center) - np.asarray(geometry["CIRCLE1"].center)
    datum_c = np.diff(points.labelled("DATUMC").xyz, axis=0)[0]
    for row in document.characteristics:
        value = row.measured
        if value is None:
            continue
        remark = REMARKS.get(row.name, "")
        mine = ours.get(row.name)
        if row.kind == "PointProfile":
            feature = document.feature(row.features[0])
            along = np.asarray(feature.nominal["normal"])
            mine = float((probed[row.features[0]] - np.asarray(feature.nominal["location"])) @ along) - tip.radius
            remark = "distance from the nominal point along its normal, less the probe radius"
        elif row.kind == "AngleBetween":
            a = geometry["DATUMA"].normal
            mine = float(np.degrees(np.arctan2(np.linalg.norm(np.cross(plane.normal, a)), plane.normal @ a)))
            stated = np.asarray(document.feature("DATUMA").measured["normal"])  # type: ignore[index]
            again = float(np.degrees(np.arctan2(np.linalg.norm(np.cross(plane.normal, stated)), plane.normal @ stated)))
            remark = (
                "ours: least-squares DATUMA; the file's DATUMA is another plane, which touches the highest point; "
                f"with that plane the angle is {again:.12f}, {again - value:+.1e} off"
            )
        elif row.kind == "DistanceBetween":
            mine = float((probed["POINT6"] - probed["POINT5"])[1])
            remark = f"y distance of the ball centres; the surfaces are {mine - 2.0 * tip.radius:.6f} apart"
        elif row.kind == "Parallelism":
            sine = float(np.linalg.norm(np.cross(line, datum_c)) / np.linalg.norm(line) / np.linalg.norm(datum_c))
            mine = float(np.linalg.norm(line)) * sine
            remark = "ours: distance of the centres x sin(angle to DATUMC); the file's rule was not found"
        rows.append(Row(row.name, value, mine, row.unit, remark))
    feature = document.feature("CYL_1")
    assert feature.measured is not None
    axis, at = np.asarray(feature.measured["axis"]), np.asarray(feature.measured["axis_point"])
    cylinder = geometry["CYL_1"]
    on_plane = cylinder.point + (at[2] - cylinder.point[2]) / cylinder.axis[2] * cylinder.axis
    for i, letter in enumerate("xyz"):
        rows.append(Row(f"CYL_1 axis {letter}", float(axis[i]), float(cylinder.axis[i]), "1"))
    for i, letter in enumerate("xy"):
        rows.append(Row(f"CYL_1 {letter} at z = -7", float(at[i]), float(on_plane[i]), "mm"))
    feature = document.feature("DATUMB")
    assert feature.measured is not None
    for i, letter in enumerate("xyz"):
        stated_at = float(np.asarray(feature.measured["location"])[i])
        rows.append(Row(f"DATUMB {letter}", stated_at, float(geometry["DATUMB"].center[i]), "mm"))
    return rows


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    print(f"{'answer':16s} {'file':>18s} {'ours':>18s} {'difference':>11s}")
    for row in compare(Path(sys.argv[1])):
        ours = "-" if row.ours is None else f"{row.ours:18.12f}"
        gap = "-" if row.difference is None else f"{row.difference:+11.1e}"
        print(f"{row.name:16s} {row.file:18.12f} {ours:>18s} {gap:>11s} {row.unit:4s} {row.remark}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
