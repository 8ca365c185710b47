"""Between the solver's pose and the reported feature: sign rule, documented basis, chart, covariance."""

from __future__ import annotations

import numpy as np

from metrology_core.features import (
    Circle,
    Circle2D,
    Cone,
    Cylinder,
    Ellipse,
    Ellipse2D,
    Feature,
    Line,
    Line2D,
    Plane,
    Sphere,
    Torus,
    basis,
    sign_of,
)
from metrology_core.features.base import basis_numbers
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

# columns of the kernel chart: which are shifts (u, v, w), tilts (u, v) and the first size
_SHIFT = {
    layout.LINE: (0, 1, None), layout.PLANE: (None, None, 0), layout.CYLINDER: (0, 1, None), layout.CONE: (0, 1, None),
    layout.CIRCLE: (0, 1, 2), layout.TORUS: (0, 1, 2), layout.ELLIPSE: (0, 1, 2), layout.SPHERE: (0, 1, 2),
}  # fmt: skip
_TILT = {
    layout.LINE: (2, 3), layout.PLANE: (1, 2), layout.CYLINDER: (2, 3), layout.CONE: (2, 3), layout.CIRCLE: (3, 4),
    layout.TORUS: (3, 4), layout.ELLIPSE: (3, 4),
}  # fmt: skip


_SIZES = {
    layout.CIRCLE: ("radius",), layout.SPHERE: ("radius",), layout.CYLINDER: ("radius",), layout.CONE: ("radius",),
    layout.TORUS: ("major_radius", "minor_radius"), layout.ELLIPSE: ("semi_major", "semi_minor"),
}  # fmt: skip
_AXES = np.eye(3)


def canonical_frame(row: Row, pose: np.ndarray) -> np.ndarray:
    """The same geometry with the house's sign and basis. Scalars, not arrays of three: a fit makes one of these."""
    kind = row.kind
    new = pose.copy()
    if kind == layout.SPHERE:
        return new
    w = pose[9:12]
    planar = row.dimension == 2
    if kind == layout.CONE and pose[13] != 0.0:
        sign = -1.0 if pose[13] < 0.0 else 1.0
    elif planar:
        sign = sign_of(w[:2]) if kind == layout.LINE else (1.0 if w[2] > 0.0 else -1.0)
    else:
        sign = sign_of(w)
    if sign < 0.0:
        new[9:12] = -w
    if kind == layout.ELLIPSE:
        u2 = pose[3:6] if pose[12] >= pose[13] else pose[6:9]
        new[3:6] = u2 * sign_of(u2[:2] if planar else u2)
        new[6:9] = np.cross(new[9:12], new[3:6])
        if pose[12] < pose[13]:
            new[12], new[13] = pose[13], pose[12]
    elif planar and kind == layout.LINE:
        new[3:9] = (-new[10], new[9], 0.0, 0.0, 0.0, 1.0)
    else:
        new[3:9] = basis_numbers(*new[9:12].tolist())
    if kind == layout.CONE and sign < 0.0:
        new[13] = -pose[13]
    return new


def canonical_turn(row: Row, pose: np.ndarray, new: np.ndarray) -> np.ndarray:
    """T (p, p) of a pose and its `canonical_frame`: new chart = T old chart."""
    kind = row.kind
    turn = np.eye(layout.N_PARAMETERS[kind])
    if kind == layout.SPHERE:
        return turn
    u, v, w = pose[3:6], pose[6:9], pose[9:12]
    u2, v2 = new[3:6], new[6:9]
    sign = 1.0 if float(new[9:12] @ w) > 0.0 else -1.0
    if kind == layout.ELLIPSE:
        if pose[12] < pose[13]:
            turn[6, 6] = turn[7, 7] = 0.0
            turn[6, 7] = turn[7, 6] = 1.0
        turn[5, 5] = sign
    a = np.array(((u2 @ u, u2 @ v), (v2 @ u, v2 @ v)))
    su, sv, sw = _SHIFT[kind]
    if su is not None and sv is not None:
        turn[np.ix_((su, sv), (su, sv))] = a
    if sw is not None:
        turn[sw, sw] = sign
    tu, tv = _TILT[kind]
    turn[np.ix_((tu, tv), (tu, tv))] = sign * a
    if kind == layout.CONE and sign < 0.0:
        turn[5, 5] = -1.0
    return turn


def canonical_pose(row: Row, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`canonical_frame` and `canonical_turn`."""
    new = canonical_frame(row, pose)
    return new, canonical_turn(row, pose, new)


def lengths(row: Row) -> np.ndarray:
    """(p,) True where the kernel chart's column is a length, False for angles."""
    result = np.ones(layout.N_PARAMETERS[row.kind], bool)
    for column in _TILT.get(row.kind, ()):
        result[column] = False
    if row.kind == layout.CONE or row.kind == layout.ELLIPSE:
        result[5] = False
    return result


def chart_columns(row: Row) -> list[int]:
    """Kernel columns that make up the feature's own chart, in its order (2-D features have fewer)."""
    return [i for i, free in enumerate(row.free) if free]


def feature_of(row: Row, pose: np.ndarray, centre: np.ndarray, scale: float) -> Feature:
    """The feature of a canonical pose, in the unit and place of the data."""
    c = centre + pose[:3] / scale
    u, w = pose[3:6], pose[9:12]
    r, s = float(pose[12]) / scale, float(pose[13]) / scale
    kind = row.kind
    if row.dimension == 2:
        if kind == layout.LINE:
            return Line2D(c[:2], w[:2])
        if kind == layout.CIRCLE:
            return Circle2D(c[:2], r)
        return Ellipse2D(c[:2], u[:2], r, s)
    if kind == layout.LINE:
        return Line(c, w)
    if kind == layout.PLANE:
        return Plane(c, w)
    if kind == layout.CIRCLE:
        return Circle(c, w, r)
    if kind == layout.SPHERE:
        return Sphere(c, r)
    if kind == layout.CYLINDER:
        return Cylinder(c, w, r)
    if kind == layout.CONE:
        return Cone(c, w, r, float(pose[13]))
    if kind == layout.TORUS:
        return Torus(c, w, r, s)
    return Ellipse(c, w, u, r, s)


def pose_of(row: Row, feature: Feature, centre: np.ndarray | float = 0.0, scale: float = 1.0) -> np.ndarray:
    """The pose of a feature in centred, scaled coordinates; by default in those of the data."""
    pose = np.zeros(layout.POSE)
    values = feature.parameters
    flat = row.dimension == 2
    place = values.get("point", values.get("center"))
    origin = np.zeros(3)
    origin[: row.dimension] = place
    pose[:3] = (origin - centre) * scale
    given = values.get("direction", values.get("normal", values.get("axis")))
    axis = np.array((0.0, 0.0, 1.0)) if given is None else np.asarray(given)
    w: np.ndarray
    if flat and row.kind == layout.LINE:
        w = np.array((axis[0], axis[1], 0.0))
        u, v = np.array((-w[1], w[0], 0.0)), np.array((0.0, 0.0, 1.0))
    elif row.kind == layout.ELLIPSE:
        w = np.array((0.0, 0.0, 1.0)) if flat else axis
        u = np.zeros(3)
        u[: row.dimension] = values["major_axis"]
        v = np.cross(w, u)
    elif flat or given is None:
        u, v, w = _AXES
    else:
        w = axis
        u, v = basis(w)
    pose[3:6], pose[6:9], pose[9:12] = u, v, w
    sizes = _SIZES.get(row.kind, ())
    for i, name in enumerate(sizes):
        pose[12 + i] = values[name] * scale
    if row.kind == layout.CONE:
        pose[13] = values["half_angle"]
    return pose
