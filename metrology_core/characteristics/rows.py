"""The geometric rows: sizes, coordinates, distances, angles, and the ISO 1101 characteristics of associated features.

"G" in an id says that the associated (least-squares, Gaussian) feature stands for the real one. Zones evaluated on an
associated axis over the length of its points are upper-bounded by the ends of that length, because a straight line
leaves a zone at its ends first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from metrology_core.characteristics.registry import Characteristic, Context, register
from metrology_core.errors import CharacteristicError

_ROUND = ("circle", "circle_2d", "sphere", "cylinder")
_CENTRED = ("circle", "circle_2d", "sphere", "torus", "ellipse", "ellipse_2d")
_AXIAL = ("line", "cylinder", "cone")
_DIRECTED = ("line", "plane", "cylinder", "cone", "circle", "torus", "ellipse")
_ANY = (
    "line",
    "line_2d",
    "plane",
    "circle",
    "circle_2d",
    "sphere",
    "cylinder",
    "cone",
    "torus",
    "ellipse",
    "ellipse_2d",
)


def direction(feature: Any) -> np.ndarray:
    """Unit direction of a feature: of its axis, line, or normal."""
    p = feature.parameters
    for key in ("axis", "direction", "normal"):
        if key in p:
            return np.asarray(p[key], dtype=np.float64)
    raise CharacteristicError(f"a {feature.kind} has no direction")


def location(feature: Any) -> np.ndarray:
    """The centre of a feature, or the point of its axis, line or plane."""
    p = feature.parameters
    return np.asarray(p["center"] if "center" in p else p["point"], dtype=np.float64)


def _ends(feature: Any, extent: tuple[float, float] | None) -> np.ndarray:
    """(2, 3) end points of an axis over the length of its points; raises where the length is not known."""
    if extent is None:
        raise CharacteristicError(f"the length of the {feature.kind} is not known", remedy="fit it to points")
    return location(feature) + np.asarray(extent)[:, None] * direction(feature)


def _size(features: Sequence[Any], context: Context) -> float:
    return 2.0 * float(features[0].parameters["radius"])


def _coordinate(index: int) -> Any:
    def function(features: Sequence[Any], context: Context) -> float:
        return float(location(features[0])[index])

    return function


def _parameter(key: str, factor: float) -> Any:
    def function(features: Sequence[Any], context: Context) -> float:
        return factor * float(features[0].parameters[key])

    return function


def _distance_points(features: Sequence[Any], context: Context) -> float:
    return float(np.linalg.norm(location(features[1]) - location(features[0])))


def _distance_plane(features: Sequence[Any], context: Context) -> float:
    return abs(float((location(features[0]) - location(features[1])) @ direction(features[1])))


def _distance_axis(features: Sequence[Any], context: Context) -> float:
    return _off_axis(location(features[0]), features[1])


def _off_axis(point: np.ndarray, feature: Any) -> float:
    return float(np.linalg.norm(np.cross(point - location(feature), direction(feature))))


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle of two directions in [0, pi/2], exact near 0 (cross product, not arc cosine)."""
    return math.atan2(float(np.linalg.norm(np.cross(a, b))), abs(float(a @ b)))


def _angle(features: Sequence[Any], context: Context) -> float:
    value = angle_between(direction(features[0]), direction(features[1]))
    # a plane is given by its normal: against a line, the angle of the line to the plane is asked
    planes = sum(feature.kind in ("plane", "circle", "torus", "ellipse") for feature in features)
    return math.pi / 2.0 - value if planes == 1 else value


def _position(features: Sequence[Any], context: Context) -> float:
    feature = features[0]
    if context.at is None:
        raise CharacteristicError("a position needs its theoretically exact location", remedy="give at: in the recipe")
    at = np.asarray(context.at, dtype=np.float64)
    ends = _ends(feature, context.extents[0]) if feature.kind in _AXIAL else location(feature)[None, :]
    return 2.0 * float(np.linalg.norm(ends[:, : len(at)] - at, axis=1).max())


def _coaxiality(features: Sequence[Any], context: Context) -> float:
    return 2.0 * max(_off_axis(end, features[1]) for end in _ends(features[0], context.extents[0]))


def _length(context: Context) -> float:
    extent = context.extents[0]
    if extent is None:
        raise CharacteristicError("the length of the axis is not known", remedy="fit it to points")
    return extent[1] - extent[0]


def _perpendicularity(features: Sequence[Any], context: Context) -> float:
    axis, datum = direction(features[0]), direction(features[1])
    leaning = float(np.linalg.norm(np.cross(axis, datum)))
    return _length(context) * (leaning if features[1].kind == "plane" else abs(float(axis @ datum)))


def _parallelism(features: Sequence[Any], context: Context) -> float:
    axis, datum = direction(features[0]), direction(features[1])
    leaning = float(np.linalg.norm(np.cross(axis, datum)))
    return _length(context) * (abs(float(axis @ datum)) if features[1].kind == "plane" else leaning)


for _row in (
    Characteristic(
        "iso14405.GG",
        "diameter, least-squares size",
        "ISO 14405-1:2016, GG",
        "length",
        "features",
        (_ROUND,),
        _size,
        0.0,
        "global size of the associated least-squares feature",
        tip_factor=2.0,
    ),
    *(
        Characteristic(
            f"iso14405.{letters}",
            f"diameter, {title} size",
            f"ISO 14405-1:2016, {letters}",
            "length",
            "features",
            (_ROUND,),
            _size,
            0.0,
            f"global size of the {words} feature",
            tip_factor=2.0,
            criterion=criterion,
        )
        for letters, title, words, criterion in (
            ("GX", "maximum inscribed", "maximum inscribed", "maximum_inscribed"),
            ("GN", "minimum circumscribed", "minimum circumscribed", "minimum_circumscribed"),
            ("GC", "minimax", "minimum-zone (Chebyshev)", "minimum_zone"),
        )
    ),
    *(
        Characteristic(
            f"iso1101.{name}",
            name,
            f"ISO 1101 {name}, minimum zone",
            "length",
            "form",
            (kinds,),
            None,
            0.0,
            words,
            length_of="none",
            criterion="minimum_zone",
        )
        for name, kinds, words in (
            ("flatness", ("plane",), "distance of two parallel planes about all points, the smallest"),
            (
                "roundness",
                ("circle", "circle_2d"),
                "difference in radius of two concentric circles about all points, the smallest",
            ),
            (
                "cylindricity",
                ("cylinder",),
                "difference in radius of two coaxial cylinders about all points, the smallest",
            ),
            (
                "straightness",
                ("line", "line_2d"),
                "diameter of the cylinder (in a plane: distance of the parallels) about all points, the smallest",
            ),
        )
    ),
    Characteristic(
        "form.G.peak_to_valley",
        "peak to valley about the least-squares element",
        "ISO 1101 form, reference element least squares (not the minimum zone)",
        "length",
        "form",
        (_ANY,),
        None,
        0.0,
        "range of the normal distances from the least-squares element",
        length_of="none",
    ),
    *(
        Characteristic(
            f"coordinate.{axis}",
            f"{axis} coordinate of the centre",
            "ISO 5459 frame, or the frame of the file",
            "length",
            "features",
            (_CENTRED,),
            _coordinate(index),
            None,
            f"{axis} of the centre of the associated least-squares feature",
            uses_datum_system=True,
        )
        for index, axis in enumerate("xyz")
    ),
    Characteristic(
        "cone.apex_angle",
        "apex angle",
        "ISO 3040",
        "angle",
        "features",
        (("cone",),),
        _parameter("half_angle", 2.0),
        0.0,
        "full apex angle of the associated least-squares cone",
        length_of="angle",
    ),
    Characteristic(
        "torus.major_diameter",
        "major diameter",
        "ISO 14405-2",
        "length",
        "features",
        (("torus",),),
        _parameter("major_radius", 2.0),
        0.0,
        "diameter of the centre circle of the associated least-squares torus",
    ),
    Characteristic(
        "torus.minor_diameter",
        "minor diameter",
        "ISO 14405-2",
        "length",
        "features",
        (("torus",),),
        _parameter("minor_radius", 2.0),
        0.0,
        "diameter of the tube of the associated least-squares torus",
        tip_factor=2.0,
    ),
    Characteristic(
        "ellipse.major_diameter",
        "major axis",
        "ISO 14405-2",
        "length",
        "features",
        (("ellipse", "ellipse_2d"),),
        _parameter("semi_major", 2.0),
        0.0,
        "major axis of the associated least-squares ellipse",
        tip_factor=2.0,
    ),
    Characteristic(
        "ellipse.minor_diameter",
        "minor axis",
        "ISO 14405-2",
        "length",
        "features",
        (("ellipse", "ellipse_2d"),),
        _parameter("semi_minor", 2.0),
        0.0,
        "minor axis of the associated least-squares ellipse",
        tip_factor=2.0,
    ),
    Characteristic(
        "distance.point_point",
        "distance of two centres",
        "ISO 14405-2",
        "length",
        "features",
        (_CENTRED, _CENTRED),
        _distance_points,
        0.0,
        "distance of the centres of the associated least-squares features",
        length_of="distance",
    ),
    Characteristic(
        "distance.point_plane",
        "distance of a centre from a plane",
        "ISO 14405-2",
        "length",
        "features",
        ((*_CENTRED, "plane"), ("plane",)),
        _distance_plane,
        0.0,
        "distance of the centre (or of a plane's centroid) from the associated least-squares plane",
        length_of="distance",
    ),
    Characteristic(
        "distance.point_axis",
        "distance of a centre from an axis",
        "ISO 14405-2",
        "length",
        "features",
        ((*_CENTRED, *_AXIAL), _AXIAL),
        _distance_axis,
        0.0,
        "distance of the centre (or of an axis' central point) from the associated least-squares axis",
        length_of="distance",
    ),
    Characteristic(
        "angle.between",
        "angle between two features",
        "ISO 14405-3",
        "angle",
        "features",
        (_DIRECTED, _DIRECTED),
        _angle,
        0.0,
        "angle of the associated least-squares features, 0 to 90 degrees",
        length_of="angle",
    ),
    Characteristic(
        "iso1101.position.G",
        "position of the associated feature",
        "ISO 1101 position, associated feature (G)",
        "length",
        "features",
        ((*_CENTRED, *_AXIAL),),
        _position,
        0.0,
        "twice the largest distance of the associated least-squares centre or axis from its exact location",
        uses_position=True,
        uses_datum_system=True,
        length_of="distance",
    ),
    Characteristic(
        "iso1101.coaxiality.G",
        "coaxiality of the associated axis",
        "ISO 1101 coaxiality, associated feature (G)",
        "length",
        "features",
        (_AXIAL, _AXIAL),
        _coaxiality,
        0.0,
        "twice the largest distance of the associated axis, over the length of its points, from the datum axis",
        length_of="distance",
    ),
    Characteristic(
        "iso1101.perpendicularity.G",
        "perpendicularity of the associated axis",
        "ISO 1101 perpendicularity, associated feature (G)",
        "length",
        "features",
        (_AXIAL, ("plane", *_AXIAL)),
        _perpendicularity,
        0.0,
        "diameter of the zone that the associated axis fills over the length of its points",
        length_of="angle",
    ),
    Characteristic(
        "iso1101.parallelism.G",
        "parallelism of the associated axis",
        "ISO 1101 parallelism, associated feature (G)",
        "length",
        "features",
        (_AXIAL, ("plane", *_AXIAL)),
        _parallelism,
        0.0,
        "width or diameter of the zone that the associated axis fills over the length of its points",
        length_of="angle",
    ),
    Characteristic(
        "iso1101.line_profile",
        "profile of a line",
        "ISO 1101 line profile (zone symmetric about the nominal)",
        "length",
        "points",
        (("points",),),
        None,
        0.0,
        "twice the largest distance of the points from the nominal curve, in the datum system",
        uses_datum_system=True,
        length_of="none",
    ),
):
    register(_row)
