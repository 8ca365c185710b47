"""A small part of exact geometry, placed anywhere, for tests of the evaluation."""

from __future__ import annotations

import numpy as np

from metrology_core.data import PointSet, ProbeTip, Rigid, Selection
from metrology_core.data.pointset import ThermalState
from pointcloud.evaluate.entry import CharacteristicRequest, DatumRequest, FeatureRequest
from pointcloud.nominal.curve import NominalCurve
from pointcloud.simulate.section import aerofoil_points

TIP = 1.5
SECTION_Z = 12.0
PLACE = Rigid.from_rotation_vector((0.02, -0.03, 0.4), (310.0, 220.0, 140.0))
DATUM = DatumRequest("ABC", "flange", "bore", "clocking")


def ring(radius: float, center: tuple[float, float], heights: list[float], n: int, slope: float = 0.0) -> np.ndarray:
    a = 2.0 * np.pi * (np.arange(n) + 0.5) / n
    rows = [
        np.stack(
            [
                center[0] + (radius + slope * z) * np.cos(a),
                center[1] + (radius + slope * z) * np.sin(a),
                np.full(n, z),
            ],
            axis=1,
        )
        for z in heights
    ]
    return np.concatenate(rows)


def radial(xyz: np.ndarray, center: tuple[float, float], lift: float = 0.0) -> np.ndarray:
    d = xyz - np.array([center[0], center[1], 0.0])
    d[:, 2] = 0.0
    d /= np.linalg.norm(d, axis=1)[:, None]
    return np.cos(lift) * d - np.sin(lift) * np.array([0.0, 0.0, 1.0])


def surfaces() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Surface points and normals out of the material, in the part frame, by feature."""
    rng = np.random.default_rng(0)
    r, a = np.sqrt(rng.uniform(35.0**2, 60.0**2, 60)), rng.uniform(0, 2 * np.pi, 60)
    flange = np.stack([r * np.cos(a), r * np.sin(a), np.zeros(60)], axis=1)
    bore = ring(30.0, (0.0, 0.0), [-20.0, -12.0, -4.0], 24)
    seat = ring(50.0, (0.004, 0.003), [-38.0, -33.0, -28.0], 24)  # 5 um off axis
    clocking = ring(4.0, (47.5, 0.0), [-10.0, -6.0, -2.0], 12)
    hole = ring(5.0, (-11.97, 46.04), [-10.0, -6.0, -2.0], 12)  # 50 um off its place
    lift = np.radians(-20.0)
    cone = ring(33.0, (0.0, 0.0), [-5.0, -2.0, 2.0, 5.0], 18, slope=np.tan(lift))
    cone_normal = -radial(cone, (0.0, 0.0), lift)
    cone = cone + np.array([0.0, 0.0, -50.0])
    z = 1.0 - rng.uniform(0.0, 0.8, 50)
    t = rng.uniform(0, 2 * np.pi, 50)
    unit = np.stack([np.sqrt(1 - z * z) * np.cos(t), np.sqrt(1 - z * z) * np.sin(t), z], axis=1)
    curve = NominalCurve(aerofoil_points(), "mm")
    s = np.linspace(0.0, curve.knots[-1], 181)[:-1]
    xy, n2 = curve.evaluate(s)[0], curve.normals(s)
    deviation = 0.02 * np.sin(6.0 * np.pi * s / curve.knots[-1])  # +-20 um
    xy = xy + deviation[:, None] * n2
    up = np.zeros((len(s), 1))
    return {
        "flange": (flange, np.tile([0.0, 0.0, 1.0], (60, 1))),
        "bore": (bore, -radial(bore, (0.0, 0.0))),
        "seat": (seat, radial(seat, (0.004, 0.003))),
        "clocking": (clocking, -radial(clocking, (47.5, 0.0))),
        "hole": (hole, -radial(hole, (-11.97, 46.04))),
        "cone": (cone, cone_normal),
        "ball": (np.array([10.0, -47.0, 9.0]) + 6.0 * unit, unit),
        "section": (np.hstack([xy, up + SECTION_Z]), np.hstack([n2, up])),
    }


FEATURES = [
    FeatureRequest("flange", "plane", Selection("flange"), "inside", (0.0, 0.0, 1.0)),
    FeatureRequest("bore", "cylinder", Selection("bore"), "outside", (0.0, 0.0, 1.0)),
    FeatureRequest("seat", "cylinder", Selection("seat"), "inside", (0.0, 0.0, 1.0)),
    FeatureRequest("clocking", "cylinder", Selection("clocking"), "outside", (0.0, 0.0, 1.0)),
    FeatureRequest("hole", "cylinder", Selection("hole"), "outside", (0.0, 0.0, 1.0)),
    FeatureRequest("cone", "cone", Selection("cone"), "outside"),
    FeatureRequest("ball", "sphere", Selection("ball"), "inside"),
    FeatureRequest("section", "points", Selection("section")),
]
CURVE = NominalCurve(aerofoil_points(), "mm", name="section")


def ask(name: str, id_: str, *of: str, **more: object) -> CharacteristicRequest:
    return CharacteristicRequest(name, id_, of, **more)  # type: ignore[arg-type]


#: characteristic and its true value in mm or rad
CHARACTERISTICS: list[tuple[CharacteristicRequest, float]] = [
    (ask("bore", "iso14405.GG", "bore"), 60.0),
    (ask("seat", "iso14405.GG", "seat"), 100.0),
    (ask("ball", "iso14405.GG", "ball"), 12.0),
    (ask("coaxiality", "iso1101.coaxiality.G", "seat", "bore"), 0.010),
    (ask("apex", "cone.apex_angle", "cone"), np.radians(40.0)),
    (ask("axis distance", "distance.point_axis", "clocking", "bore"), 47.5),
    (ask("plane distance", "distance.point_plane", "ball", "flange"), 9.0),
    (ask("angle", "angle.between", "bore", "flange"), np.pi / 2.0),
    (ask("position", "iso1101.position.G", "hole", in_datum=True, at=(-12.0, 46.0)), 0.100),
    (ask("x", "coordinate.x", "ball", in_datum=True), 10.0),
    (ask("y", "coordinate.y", "ball", in_datum=True), -47.0),
    (ask("z", "coordinate.z", "ball", in_datum=True), 9.0),
    (ask("profile", "iso1101.line_profile", "section", in_datum=True, curve=CURVE), 0.040),
    (ask("flatness", "form.G.peak_to_valley", "flange"), 0.0),
    (ask("perpendicularity", "iso1101.perpendicularity.G", "bore", "flange"), 0.0),
    (ask("parallelism", "iso1101.parallelism.G", "seat", "bore"), 0.0),
]


def measured(
    *,
    balls: bool = True,
    noise: np.ndarray | float = 0.0,
    place: Rigid = PLACE,
    scale: float = 1.0,
    leave_out: tuple[str, ...] = (),
    tip: ProbeTip | None = None,
    thermal: ThermalState | None = None,
) -> PointSet:
    """Points of the part: ball centres (or surface points) with ``noise`` along the normals, scaled by ``scale``."""
    parts, labels, names = [], [], []
    for name, (xyz, normal) in surfaces().items():
        if name in leave_out:
            continue
        labels.extend([len(names)] * len(xyz))
        names.append(name)
        parts.append((xyz, normal))
    xyz = np.concatenate([p for p, _ in parts]) * scale
    normal = np.concatenate([n for _, n in parts])
    reach = (TIP if balls else 0.0) + np.broadcast_to(np.asarray(noise), (len(xyz),))
    more = {} if thermal is None else {"thermal": thermal}
    return PointSet.from_array(
        place.apply(xyz + reach[:, None] * normal),
        unit="mm",
        frame="machine",
        points_are="ball_centre" if balls else "surface",
        tip=(tip or ProbeTip(TIP)) if balls else None,
        labels=np.array(labels, dtype=np.int32),
        label_names=tuple(names),
        **more,
    )
