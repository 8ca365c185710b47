"""B-spline curves and surfaces as features: evaluation, closest points, signed distance, rigid motion."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.features.base import points as as_points

if TYPE_CHECKING:
    from metrology_core.data.frames import Rigid

_CHUNK = 256  # points handed to one call of a kernel
_PER_SPAN = 12  # samples of each span: the search for closest points starts from them
_BLOCK = 8


def _knots(value: Any, degree: int, n: int, name: str) -> np.ndarray:
    knots = np.array(value, dtype=np.float64)
    from metrology_core.kernels.bspline import MAX_DEGREE

    if not 1 <= degree <= MAX_DEGREE:
        raise ParameterError("the degree is not usable", expected=f"1 to {MAX_DEGREE}", got=str(degree))
    if knots.shape != (n + degree + 1,) or not np.isfinite(knots).all() or (np.diff(knots) < 0.0).any():
        raise ParameterError(
            f"{name} are no knots", expected=f"{n + degree + 1} finite numbers that do not fall", got=str(knots.shape)
        )
    inner = knots[degree : n + 1]
    if not inner[-1] > inner[0] or (knots[degree + 1 :] - knots[: -degree - 1] <= 0.0).any():
        raise ParameterError(f"{name} repeat too often", expected=f"no knot more than {degree + 1} times")
    if (knots[degree + 1 : -1] - knots[1 : -degree - 1] <= 0.0).any():
        raise ParameterError(f"{name} break the spline apart", expected=f"inner knots at most {degree} times")
    knots.setflags(write=False)
    return knots


def _control(value: Any, weights: Any, axes: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray | None]:
    control = np.array(value, dtype=np.float64)
    if control.ndim != axes + 1 or control.shape[-1] not in sizes or not np.isfinite(control).all():
        raise ParameterError(
            "these are no control points", expected=f"finite, last axis {sizes}", got=str(control.shape)
        )
    control.setflags(write=False)
    if weights is None:
        return control, None
    w = np.array(weights, dtype=np.float64)
    if w.shape != control.shape[:-1] or not (np.isfinite(w).all() and (w > 0.0).all()):
        raise ParameterError(
            "weights of control points are positive", expected=str(control.shape[:-1]), got=str(w.shape)
        )
    w.setflags(write=False)
    return control, w


def _homogeneous(control: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    w = np.ones(control.shape[:-1]) if weights is None else weights
    return np.ascontiguousarray(np.concatenate((control * w[..., None], w[..., None]), axis=-1))


@dataclass(frozen=True)
class Feet:
    """Closest points of n points.

    parameter (n,) or (n, 2); point (n, d); normal (n, d) unit (of a space curve: towards the point); distance (n,)
    signed along the normal (space curve: not negative); at_edge (n,): the foot lies on an open end, where the line to
    it is not along the normal.
    """

    parameter: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    distance: np.ndarray
    at_edge: np.ndarray


@dataclass(frozen=True, eq=False)
class _Freeform(Feature):
    """What freeform features share: rigid motion about the mean of the control points, closest points."""

    def _reference(self) -> np.ndarray:
        control: np.ndarray = self.control  # type: ignore[attr-defined]
        return np.asarray(control.reshape(-1, control.shape[-1]).mean(axis=0))

    @abstractmethod
    def feet(self, xyz: Any) -> Feet:
        """Closest points; `ParameterError` for points that are not finite."""

    def distance(self, xyz: Any) -> np.ndarray:
        return self.feet(xyz).distance

    def normals(self, xyz: Any) -> np.ndarray:
        return self.feet(xyz).normal

    def project(self, xyz: Any) -> np.ndarray:
        return self.feet(xyz).point

    def displacement(self, other: Any) -> float:
        """Largest distance between control points of the same number."""
        a, b = self.control, other.control  # type: ignore[attr-defined]
        if a.shape != b.shape:
            raise ParameterError("another number of control points", expected=str(a.shape), got=str(b.shape))
        return float(np.linalg.norm(a - b, axis=-1).max())

    def _moved_control(self, delta: Any) -> np.ndarray:
        d = np.array(self._delta(delta))
        size = self.dimension
        control: np.ndarray = self.control  # type: ignore[attr-defined]
        rotation = rotation_of(d[size:])
        centre = self._reference()
        return np.asarray((control - centre) @ rotation.T + centre + d[:size])

    def moved(self, delta: Any) -> Self:
        return replace(self, control=self._moved_control(delta))  # type: ignore[call-arg]

    def _finite(self, xyz: Any) -> np.ndarray:
        array = np.ascontiguousarray(as_points(xyz, self.dimension))
        if not np.isfinite(array).all():
            raise ParameterError("closest points need finite points", remedy="leave out points that are not finite")
        return array


def rotation_of(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of an angle (1,) in the plane or a rotation vector (3,)."""
    if len(vector) == 1:
        c, s = np.cos(vector[0]), np.sin(vector[0])
        return np.array(((c, -s), (s, c)))
    angle = float(np.linalg.norm(vector))
    k = np.array(((0.0, -vector[2], vector[1]), (vector[2], 0.0, -vector[0]), (-vector[1], vector[0], 0.0)))
    if angle < 1e-8:
        return np.asarray(np.eye(3) + k + 0.5 * k @ k)
    return np.asarray(np.eye(3) + np.sin(angle) / angle * k + (1.0 - np.cos(angle)) / angle**2 * k @ k)


@dataclass(frozen=True, eq=False)
class _Curve(_Freeform):
    """A B-spline curve: `control` (n, d), `knots` (n + degree + 1,), `degree`, optional `weights` (n,), `closed`.

    Open curves are clamped or not, as their knots say; closed ones have periodic knots and repeat their first
    `degree` control points at the end.
    """

    control: np.ndarray
    knots: np.ndarray
    degree: int = 3
    weights: np.ndarray | None = None
    closed: bool = False

    kind: ClassVar[str] = "bspline_curve"
    parameter_names: ClassVar[tuple[str, ...]] = ("control", "knots", "degree", "weights", "closed")

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        control, weights = _control(self.control, self.weights, 1, (self.dimension,))
        put("control", control)
        put("weights", weights)
        put("knots", _knots(self.knots, self.degree, len(control), "knots"))

    @property
    def domain(self) -> tuple[float, float]:
        """First and last parameter."""
        return float(self.knots[self.degree]), float(self.knots[len(self.control)])

    @cached_property
    def _points(self) -> np.ndarray:
        return _homogeneous(self.control, self.weights)

    def evaluate(self, t: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Point, first and second derivative (m, d) at parameters (m,); closed curves take any, open ones are clamped
        to their domain."""
        from metrology_core.kernels.bspline import curve_values

        a, b = self.domain
        t = np.atleast_1d(np.asarray(t, dtype=np.float64))
        t = a + np.mod(t - a, b - a) if self.closed else np.clip(t, a, b)
        out = np.empty((len(t), 3, self.dimension))
        curve_values(self.knots, self.degree, self._points, np.ascontiguousarray(t), out)
        return out[:, 0], out[:, 1], out[:, 2]

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        inner = np.unique(self.knots[self.degree : len(self.control) + 1])
        share = np.arange(_PER_SPAN) / _PER_SPAN
        t = np.append((inner[:-1, None] + share * np.diff(inner)[:, None]).ravel(), inner[-1])
        fine = np.append((t[:-1, None] + np.arange(8) / 8.0 * np.diff(t)[:, None]).ravel(), t[-1])
        points = self.evaluate(np.minimum(fine, inner[-1]))[0]
        if self.closed:
            points[-1] = points[0]
        length = np.linalg.norm(np.diff(points, axis=0), axis=1).reshape(-1, 8).sum(axis=1)
        # chords of eighths fall short of the arc by at most a few per mille where the samples resolve the curve
        tangents = np.ascontiguousarray(self.evaluate(np.minimum(t, inner[-1]))[1])
        if self.closed:
            tangents[-1] = tangents[0]
        return t, np.ascontiguousarray(points[::8]), tangents, 1.01 * length + 1e-12 * np.abs(points).max()

    def _closest(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from metrology_core.kernels.bspline import curve_feet

        t, samples, tangents, lengths = self._table
        out, foot, starts = np.empty(len(array)), np.empty((len(array), 3, self.dimension)), np.empty(len(array), int)

        def work(start: int, stop: int) -> None:
            curve_feet(
                self.knots, self.degree, self._points, t, samples, tangents, lengths, array, start * _CHUNK,
                min(stop * _CHUNK, len(array)), out, foot, starts,
            )  # fmt: skip

        run_blocks(work, (len(array) + _CHUNK - 1) // _CHUNK)
        return out, foot, starts

    def _edge(self, t: np.ndarray) -> np.ndarray:
        a, b = self.domain
        return np.zeros(len(t), bool) if self.closed else (t <= a) | (t >= b)

    def arc_length(self, t: Any = None) -> np.ndarray:
        """Length from the start to parameters (m,) (default: all of it), by Gauss-Legendre quadrature on each span."""
        a, b = self.domain
        wanted = np.atleast_1d(np.asarray(b if t is None else t, dtype=np.float64))
        inner = np.unique(np.concatenate((self.knots[self.degree : len(self.control) + 1], np.clip(wanted, a, b))))
        inner = np.unique(np.concatenate([inner[:-1] + k / 4.0 * np.diff(inner) for k in range(4)] + [inner[-1:]]))
        x, w = np.polynomial.legendre.leggauss(12)
        half = 0.5 * np.diff(inner)
        at = (0.5 * (inner[:-1] + inner[1:]))[:, None] + half[:, None] * x
        speed = np.linalg.norm(self.evaluate(at.ravel())[1], axis=1).reshape(at.shape)
        total = np.concatenate(([0.0], np.cumsum((speed @ w) * half)))
        return np.asarray(np.interp(np.clip(wanted, a, b), inner, total))

    def curvature(self, t: Any) -> np.ndarray:
        """(m,) curvature; in the plane signed, positive where the curve turns left."""
        _, d1, d2 = self.evaluate(t)
        speed = np.linalg.norm(d1, axis=1)
        if self.dimension == 2:
            return np.asarray((d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]) / speed**3)
        return np.asarray(np.linalg.norm(np.cross(d1, d2), axis=1) / speed**3)

    def _sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, b = self.domain
        margin = 0.0 if self.closed else 0.02 * (b - a)
        point, d1, _ = self.evaluate(rng.uniform(a + margin, b - margin, n))
        return point, d1 / np.linalg.norm(d1, axis=1)[:, None], self._reference()


@dataclass(frozen=True, eq=False)
class BSplineCurve2D(_Curve):
    """A B-spline curve in the plane; see `_Curve`. Distance is positive on the right of its sense: outside of a closed
    curve that runs counter-clockwise. Chart: shift_x, shift_y, rotation (rad, about the mean of the control points)."""

    dimension: ClassVar[int] = 2
    chart: ClassVar[tuple[str, ...]] = ("shift_x", "shift_y", "rotation")

    def feet(self, xyz: Any) -> Feet:
        """Closest points of (n, 2)."""
        array = self._finite(xyz)
        t, foot, _ = self._closest(array)
        d1 = foot[:, 1] / np.linalg.norm(foot[:, 1], axis=1)[:, None]
        normal = np.column_stack((d1[:, 1], -d1[:, 0]))
        off = array - foot[:, 0]
        distance = np.einsum("ij,ij->i", off, normal)
        edge = self._edge(t)
        distance[edge] = np.where(distance[edge] < 0.0, -1.0, 1.0) * np.linalg.norm(off[edge], axis=1)
        return Feet(t, foot[:, 0], normal, distance, edge)

    def normals_at(self, t: Any) -> np.ndarray:
        """(m, 2) unit normals on the right of the sense of the curve, at parameters."""
        d1 = self.evaluate(t)[1]
        d1 = d1 / np.linalg.norm(d1, axis=1)[:, None]
        return np.column_stack((d1[:, 1], -d1[:, 0]))

    def transform(self, rigid: Rigid) -> Self:
        from metrology_core.features.planar import plane_motion as plane_motion

        rotation, translation = plane_motion(rigid)
        return replace(self, control=self.control @ rotation.T + translation)

    def sample_feet(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """Reference point, n random feet about it, and the directions of the residuals (for generators of data)."""
        point, along, origin = self._sample(n, rng)
        return origin, point - origin, (np.column_stack((along[:, 1], -along[:, 0])),)


@dataclass(frozen=True, eq=False)
class BSplineCurve(_Curve):
    """A B-spline curve in space; see `_Curve`. Its distance has no sign. Chart: shift_x, shift_y, shift_z, rotation_x,
    rotation_y, rotation_z (rad, about the mean of the control points)."""

    chart: ClassVar[tuple[str, ...]] = ("shift_x", "shift_y", "shift_z", "rotation_x", "rotation_y", "rotation_z")

    def feet(self, xyz: Any) -> Feet:
        """Closest points of (n, 3)."""
        array = self._finite(xyz)
        t, foot, _ = self._closest(array)
        off = array - foot[:, 0]
        distance = np.linalg.norm(off, axis=1)
        safe = np.where(distance > 0.0, distance, 1.0)
        return Feet(t, foot[:, 0], off / safe[:, None], distance, self._edge(t))

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, control=rigid.apply(self.control))

    def sample_feet(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """As `BSplineCurve2D.sample_feet`, with two directions across the curve."""
        point, along, origin = self._sample(n, rng)
        seed = np.eye(3)[np.argmin(np.abs(along), axis=1)]
        u = np.cross(along, seed)
        u /= np.linalg.norm(u, axis=1)[:, None]
        return origin, point - origin, (u, np.cross(along, u))


@dataclass(frozen=True, eq=False)
class BSplineSurface(_Freeform):
    """A B-spline surface: `control` (n, m, 3), `knots_u`, `knots_v`, degrees, optional `weights` (n, m).

    Distance is positive along S_u x S_v. Chart: shift_x, shift_y, shift_z, rotation_x, rotation_y, rotation_z (rad,
    about the mean of the control points).
    """

    control: np.ndarray
    knots_u: np.ndarray
    knots_v: np.ndarray
    degree_u: int = 3
    degree_v: int = 3
    weights: np.ndarray | None = None

    kind: ClassVar[str] = "bspline_surface"
    parameter_names: ClassVar[tuple[str, ...]] = ("control", "knots_u", "knots_v", "degree_u", "degree_v", "weights")
    chart: ClassVar[tuple[str, ...]] = BSplineCurve.chart

    def _validate(self, put: Callable[[str, Any], None]) -> None:
        control, weights = _control(self.control, self.weights, 2, (3,))
        put("control", control)
        put("weights", weights)
        put("knots_u", _knots(self.knots_u, self.degree_u, control.shape[0], "knots_u"))
        put("knots_v", _knots(self.knots_v, self.degree_v, control.shape[1], "knots_v"))

    @property
    def domain(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """First and last parameter in u and in v."""
        n, m, _ = self.control.shape
        u, v = self.knots_u, self.knots_v
        return (float(u[self.degree_u]), float(u[n])), (float(v[self.degree_v]), float(v[m]))

    @cached_property
    def _points(self) -> np.ndarray:
        return _homogeneous(self.control, self.weights)

    def evaluate(self, uv: Any) -> np.ndarray:
        """(m, 6, 3): S, S_u, S_v, S_uu, S_uv, S_vv at parameters (m, 2), clamped to the domain."""
        from metrology_core.kernels.bspline import surface_values

        (u0, u1), (v0, v1) = self.domain
        uv = np.clip(np.atleast_2d(np.asarray(uv, dtype=np.float64)), (u0, v0), (u1, v1))
        out = np.empty((len(uv), 6, 3))
        surface_values(
            self.knots_u, self.knots_v, self.degree_u, self.degree_v, self._points, np.ascontiguousarray(uv), out
        )
        return out

    @cached_property
    def _grid(self) -> tuple[np.ndarray, ...]:
        n, m, _ = self.control.shape
        us, vs = (
            _samples(knots, degree, count)
            for knots, degree, count in ((self.knots_u, self.degree_u, n), (self.knots_v, self.degree_v, m))
        )
        uv = np.stack(np.meshgrid(us, vs, indexing="ij"), axis=-1).reshape(-1, 2)
        grid = self.evaluate(uv)[:, 0].reshape(len(us), len(vs), 3)
        rows, columns = -(-(len(us) - 1) // _BLOCK), -(-(len(vs) - 1) // _BLOCK)
        centres, radii = np.empty((rows, columns, 3)), np.empty((rows, columns))
        for i in range(rows):
            for j in range(columns):
                part = grid[i * _BLOCK : (i + 1) * _BLOCK + 1, j * _BLOCK : (j + 1) * _BLOCK + 1]
                centres[i, j] = part.reshape(-1, 3).mean(axis=0)
                # half a cell may bulge beyond its corners: a cell's diagonal bounds that by far
                cell = np.linalg.norm(np.diff(part, axis=0), axis=-1).max(initial=0.0)
                cell += np.linalg.norm(np.diff(part, axis=1), axis=-1).max(initial=0.0)
                radii[i, j] = np.linalg.norm(part - centres[i, j], axis=-1).max() + 0.5 * cell
        return us, vs, np.ascontiguousarray(grid), centres, radii

    def feet(self, xyz: Any) -> Feet:
        """Closest points of (n, 3)."""
        from metrology_core.kernels.bspline import surface_feet

        array = self._finite(xyz)
        us, vs, grid, centres, radii = self._grid
        uv, foot, starts = np.empty((len(array), 2)), np.empty((len(array), 6, 3)), np.empty(len(array), int)

        def work(start: int, stop: int) -> None:
            surface_feet(
                self.knots_u, self.knots_v, self.degree_u, self.degree_v, self._points, us, vs, grid, centres, radii,
                _BLOCK, array, start * _CHUNK, min(stop * _CHUNK, len(array)), uv, foot, starts,
            )  # fmt: skip

        run_blocks(work, (len(array) + _CHUNK - 1) // _CHUNK)
        normal = np.cross(foot[:, 1], foot[:, 2])
        normal /= np.linalg.norm(normal, axis=1)[:, None]
        off = array - foot[:, 0]
        distance = np.einsum("ij,ij->i", off, normal)
        (u0, u1), (v0, v1) = self.domain
        edge = (uv[:, 0] <= u0) | (uv[:, 0] >= u1) | (uv[:, 1] <= v0) | (uv[:, 1] >= v1)
        distance[edge] = np.where(distance[edge] < 0.0, -1.0, 1.0) * np.linalg.norm(off[edge], axis=1)
        return Feet(uv, foot[:, 0], normal, distance, edge)

    def transform(self, rigid: Rigid) -> Self:
        return replace(self, control=rigid.apply(self.control.reshape(-1, 3)).reshape(self.control.shape))

    def sample_feet(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """Reference point, n random feet about it, and the normals there (for generators of data)."""
        (u0, u1), (v0, v1) = self.domain
        at = self.evaluate(rng.uniform(0.02, 0.98, (n, 2)) * (u1 - u0, v1 - v0) + (u0, v0))
        normal = np.cross(at[:, 1], at[:, 2])
        origin = self._reference()
        return origin, at[:, 0] - origin, (normal / np.linalg.norm(normal, axis=1)[:, None],)


def _samples(knots: np.ndarray, degree: int, n: int) -> np.ndarray:
    inner = np.unique(knots[degree : n + 1])
    per = max(2, min(_PER_SPAN, -(-96 // (len(inner) - 1))))
    share = np.arange(per) / per
    return np.append((inner[:-1, None] + share * np.diff(inner)[:, None]).ravel(), inner[-1])
