"""What kind of surface a face lies on when its file does not say: planes, cylinders, cones, spheres and tori that are
stored as surfaces of revolution (IGES knows no others), and the poles of those that stay general."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from metrology_core.features import Cone, Cylinder, Feature, Plane, Sphere, Torus
from pointcloud.nominal.surface import FloatArray

SAME = 1e-10  # mm: a tenth of the goal for feet inside faces; a carrier as near as this to the file's surface is it
# of the reach of a pole: nearer to its normal line than this, its curvatures give the foot (the next order is then
# 1e-13 of the reach), because the derivative along the parameter that names no place sinks in rounding
_ZONE, _RING = 3e-5, 1e-3
_SAMPLES = 256  # directions about a pole; a start 1 % of a turn off is well within Newton's reach
Evaluate = Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
Feet = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray, NDArray[np.bool_]]]


@dataclass(frozen=True, eq=False)
class Pole:
    """A side of the parameter rectangle that is one point, where the surface is smooth.

    ``point`` and ``normal`` (along Su x Sv) of the pole; ``free`` the parameter (0 u, 1 v) that names no place there;
    ``at`` the other one at the pole and ``span`` its way to the far side, signed; ``reach`` the length of that way in
    mm. ``bend`` (3, 3): its curvatures, in its tangent plane, positive towards the normal; they give feet within
    ``zone`` (mm) of its normal line. ``directions`` (k, 3): unit tangents that leave the pole at the values ``values``
    (k,) of the free parameter, with the ``speed`` (k,) in mm per parameter.
    """

    point: FloatArray
    normal: FloatArray
    free: int
    at: float
    span: float
    reach: float
    bend: FloatArray
    zone: float
    directions: FloatArray
    values: FloatArray
    speed: FloatArray


def derivatives(surface: Any, gp: Any) -> Evaluate:
    """Points and first derivatives of an OpenCascade surface."""
    p, su, sv = gp.gp_Pnt(), gp.gp_Vec(), gp.gp_Vec()

    def evaluate(uv: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        out = np.empty((3, len(uv), 3))
        for i, (u, v) in enumerate(uv.tolist()):
            surface.D1(u, v, p, su, sv)
            for k, item in enumerate((p, su, sv)):
                out[k, i] = item.X(), item.Y(), item.Z()
        return out[0], out[1], out[2]

    return evaluate


def poles_of(evaluate: Evaluate, bounds: tuple[float, float, float, float]) -> tuple[Pole, ...]:
    """The smooth poles at the sides of a parameter rectangle (u0, u1, v0, v1)."""
    if not np.isfinite(bounds).all() or max(map(abs, bounds)) > 1e50:
        return ()
    found = []
    for free, side in ((0, 0), (0, 1), (1, 0), (1, 1)):
        low, high = bounds[2 * free : 2 * free + 2]
        ends = bounds[2 - 2 * free : 4 - 2 * free]
        pole = _pole(evaluate, free, np.linspace(low, high, _SAMPLES + 1), ends[side], ends[1 - side])
        if pole is not None:
            found.append(pole)
    return tuple(found)


def _pole(evaluate: Evaluate, free: int, values: FloatArray, at: float, far: float) -> Pole | None:
    def beside(shift: float, pick: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        uv = np.empty((len(pick), 2))
        uv[:, free], uv[:, 1 - free] = pick, at + shift
        return evaluate(uv)

    few = beside(0.0, values[::64])[0]
    if np.ptp(few, axis=0).max() > SAME:
        return None
    p, *rows = beside(0.0, values)
    if np.ptp(p, axis=0).max() > SAME:
        return None
    leave = rows[1 - free] * math.copysign(1.0, far - at)
    speed = np.linalg.norm(leave, axis=1)
    reach = float(np.median(speed)) * abs(far - at)
    if not speed.min() > 1e-6 * speed.max() > 0.0:
        return None
    directions = leave / speed[:, None]
    size, axes = np.linalg.svd(directions)[1:]
    normal = axes[2]
    if size[1] < 0.1 * size[0] or np.abs(directions @ normal).max() > 1e-9:
        return None  # a tip, or a cusp
    point = p.mean(axis=0)
    ring, su, sv = beside(_RING * (far - at), values)
    if np.cross(su, sv).sum(axis=0) @ normal < 0.0:
        normal = -normal

    def heights(q: FloatArray) -> tuple[FloatArray, FloatArray]:
        x, y = (q - point) @ axes[0], (q - point) @ axes[1]
        return np.stack([x * x / 2.0, x * y, y * y / 2.0], axis=1), (q - point) @ normal

    half = beside(0.5 * _RING * (far - at), values)[0]
    whole, halved = (np.linalg.lstsq(*heights(q), rcond=None)[0] for q in (ring, half))
    xx, xy, yy = 2.0 * halved - whole  # what is left of the third order is taken out
    bend = axes[:2].T @ np.array([[xx, xy], [xy, yy]]) @ axes[:2]
    terms, height = heights(beside(_ZONE * (far - at), values)[0])
    if np.abs(terms @ np.array([xx, xy, yy]) - height).max() > SAME:
        return None  # smooth, and its curvature is not
    return Pole(point, normal, free, at, far - at, reach, bend, _ZONE * reach, directions, values, speed)


def settle(
    poles: tuple[Pole, ...], feet: Feet, points: FloatArray, foot: FloatArray, normal: FloatArray,
    good: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Mend, in place, the feet that Newton's method misses about poles.

    At a pole one parameter names no place: a start on the wrong side of it leads to the pole and stays there. So a way
    is chosen in space: along the tangent of the surface that points towards the query. Where the query is all but on
    the normal line of the pole, the curvatures of the pole give the foot.
    """
    for pole in poles:
        rest = points - pole.point
        height = rest @ pole.normal
        across = rest - height[:, None] * pole.normal
        off = np.linalg.norm(across, axis=1)
        rows = np.flatnonzero(off <= pole.zone)
        if len(rows):
            with np.errstate(invalid="ignore"):
                now = np.where(good[rows], np.linalg.norm(points[rows] - foot[rows], axis=1), np.inf)
            # beyond a centre of curvature the pole is no minimum
            matrix = np.eye(3) - height[rows, None, None] * pole.bend
            minimum = np.linalg.eigvalsh(matrix)[:, 0] > 1e-3
            rows, matrix, now = rows[minimum], matrix[minimum], now[minimum]
            step = np.linalg.solve(matrix, across[rows][:, :, None])[:, :, 0]
            fits = np.linalg.norm(step, axis=1) <= 4.0 * pole.zone
            fits &= np.abs(height[rows]) <= now + pole.zone  # and no other foot is much nearer
            rows, step = rows[fits], step[fits]
            lean = step @ pole.bend
            foot[rows] = pole.point + step + 0.5 * np.einsum("ij,ij->i", step, lean)[:, None] * pole.normal
            turned = pole.normal - lean
            normal[rows] = turned / np.linalg.norm(turned, axis=1)[:, None]
            good[rows] = True
        rows = np.flatnonzero(~good)
        if not len(rows):
            continue
        way = np.argmax(across[rows] @ pole.directions.T, axis=1)
        uv = np.empty((len(rows), 2))
        uv[:, pole.free] = pole.values[way]
        share = np.minimum(off[rows] / pole.speed[way], abs(pole.span))
        uv[:, 1 - pole.free] = pole.at + math.copysign(1.0, pole.span) * share
        new, turned, settled = feet(points[rows], uv)
        rows = rows[settled]
        foot[rows], normal[rows], good[rows] = new[settled], turned[settled], True


def revolved(surface: Any, points: FloatArray, geom: Any) -> tuple[Feature, str] | None:
    """The feature that a surface of revolution with a straight or circular meridian is, and the name of its kind.

    ``points`` (n, 3): places of the surface all over the face; the feature must hold them within `SAME`.
    """
    if isinstance(surface, geom.Geom_RectangularTrimmedSurface):
        surface = surface.BasisSurface()
    if not isinstance(surface, geom.Geom_SurfaceOfRevolution):
        return None
    curve = surface.BasisCurve()
    while isinstance(curve, geom.Geom_TrimmedCurve):
        curve = curve.BasisCurve()
    line = surface.Axis()
    origin, axis = _xyz(line.Location()), _xyz(line.Direction())
    try:
        if isinstance(curve, geom.Geom_Circle):
            found = _ring(origin, axis, _xyz(curve.Circ().Location()), curve.Radius())
        elif isinstance(curve, geom.Geom_Line):
            found = _flank(origin, axis, points)
        else:
            return None
        off = found[0].distance(points)
    except ParameterError:  # a figure of no size
        return None
    return found if np.abs(off).max() <= SAME else None


def _ring(origin: FloatArray, axis: FloatArray, centre: FloatArray, radius: float) -> tuple[Feature, str]:
    along = origin + ((centre - origin) @ axis) * axis
    away = float(np.linalg.norm(centre - along))
    if away <= SAME:
        return Sphere(along, radius), "spheres"
    if away <= radius:
        raise ParameterError("a torus that cuts its own axis", expected="a spine wider than the tube", got=repr(away))
    return Torus(along, axis, away, radius), "tori"


def _flank(origin: FloatArray, axis: FloatArray, points: FloatArray) -> tuple[Feature, str]:
    z = (points - origin) @ axis
    rho = np.linalg.norm(points - origin - z[:, None] * axis, axis=1)
    a, b = (int(np.argmin(z)), int(np.argmax(z)))
    rise, widening = z[b] - z[a], rho[b] - rho[a]
    if rise <= SAME:
        return Plane(origin + z[a] * axis, axis), "planes"
    if np.ptp(rho) <= SAME:
        return Cylinder(origin, axis, float(np.median(rho))), "cylinders"
    return Cone(origin + z[a] * axis, axis, float(rho[a]), math.atan2(widening, rise)), "cones"


def _xyz(p: Any) -> FloatArray:
    return np.array([p.X(), p.Y(), p.Z()])
