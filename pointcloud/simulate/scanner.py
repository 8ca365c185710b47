"""`VirtualScanner`: an optical scanner (structured light, laser triangulation) as a population that its MPE describes.

Causes: distortion of the measuring field (smooth, in the sensor's own frame, the scale included), registration of the
views, and noise along the line of sight that grows with the angle of incidence. The acceptance test of such systems
(VDI/VDE 2634, ISO 10360-13) bounds the error of a distance of two spheres anywhere in the field: the distortion is
scaled so that the standard deviation of such a distance is ``MPE / k`` on the worst test line, k = 2 unless stated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import Rigid
from metrology_core.errors import ParameterError, UnitError
from metrology_core.units import unit as _unit
from metrology_core.virtual.cmm import correlated, length_lines
from metrology_core.virtual.modes import EDGE, Builder, Modes, read_points
from metrology_core.virtual.protocol import Cause
from metrology_core.virtual.thermal import AT_REFERENCE, PartTemperature

FloatArray = NDArray[np.float64]
_DEGREE = 3
_BELONGS = {
    "incidence": "the view that sees it at the smallest angle of incidence",
    "file": "the view that the file names",
}


@dataclass(frozen=True, eq=False)
class View:
    """One view: ``sensor_from_part`` as it was; ``covariance`` (6, 6) of its registration (rotation vector in rad, then
    translation, about the middle of the field; default that of the scanner); ``name`` for messages."""

    sensor_from_part: Rigid
    covariance: Any = None
    name: str = ""

    @classmethod
    def looking(cls, position: Any, direction: Any, standoff: float, *, up: Any = None, name: str = "") -> View:
        """The view of a sensor at ``position`` (3,) that looks along ``direction`` (3,), both in the part's frame; its
        z points back to it, the middle of its field lies ``standoff`` ahead of it, at the origin of its frame. ``up``
        (3,) gives its y; default the axis of the part's frame that it looks along least (the last of equal ones).
        Raises `ParameterError` for directions that are none."""
        ahead = np.asarray(direction, dtype=np.float64)
        length = float(np.linalg.norm(ahead))
        if ahead.shape != (3,) or not (math.isfinite(length) and length > 0.0):
            raise ParameterError(f"view {name or '?'}: no direction", got=repr(direction))
        z = -ahead / length
        if up is None:
            up = np.eye(3)[2 - int(np.argmin(np.round(np.abs(z[::-1]), 12)))]
        y = np.asarray(up, dtype=np.float64) - float(np.asarray(up, dtype=np.float64) @ z) * z
        if not float(np.linalg.norm(y)) > 1e-6 * float(np.linalg.norm(up)):
            raise ParameterError(f"view {name or '?'}: up lies along the line of sight", got=repr(up))
        y /= np.linalg.norm(y)
        rotation = np.stack([np.cross(y, z), y, z])
        middle = np.asarray(position, dtype=np.float64) - standoff * z
        return cls(Rigid(rotation, -rotation @ middle), None, name)


@dataclass(frozen=True, eq=False)
class VirtualScanner:
    """A simulated scanner; lengths in ``unit``.

    ``field`` ((3,), (3,)) corners of the measuring field in the sensor frame, z toward the sensor, ``standoff``
    above the middle of the field; ``distance_mpe`` of the distance of two spheres; ``noise`` standard deviation along
    the line of sight at normal incidence, divided by the cosine of the angle of incidence to the power ``growth``;
    points steeper than ``steepest`` (rad) are not seen (where their view is given they count as that steep);
    ``rotation_u`` (rad) and ``translation_u`` of a view's registration. ``correlation_length``: of the noise along the
    surface, within a view; without it points are independent. ``part`` the temperature of the part; ``views_by`` says
    in the labels of the causes how a point gets its view. Without ``views`` there is one, in the frame of the points.
    Raises `ParameterError`.
    """

    feature_kinds: ClassVar[tuple[str, ...]] = ("plane", "sphere", "cylinder", "cone", "torus")  # seen as surfaces

    id: str
    unit: str
    field: tuple[Any, Any]
    distance_mpe: float
    noise: float
    standoff: float
    views: Sequence[View] = (View(Rigid.identity()),)
    coverage: float = 2.0
    growth: float = 1.0
    steepest: float = math.radians(70.0)
    rotation_u: float = 0.0
    translation_u: float = 0.0
    correlation_length: float | None = None
    part: PartTemperature = AT_REFERENCE
    views_by: str = "incidence"

    def __post_init__(self) -> None:
        if not self.id or not self.views:
            raise ParameterError("a scanner needs an id and a view")
        found = _unit(self.unit)
        if found.dimension != "length":
            raise UnitError(f"the unit of scanner {self.id} is {found.name}", expected="a unit of length")
        object.__setattr__(self, "unit", found.name)
        low, high = (np.asarray(end, dtype=np.float64) for end in self.field)
        if low.shape != (3,) or high.shape != (3,) or not (high > low).all():
            raise ParameterError(f"scanner {self.id}: the field is two corners", got=repr(self.field)[:80])
        object.__setattr__(self, "field", (low, high))
        for name in ("distance_mpe", "noise", "rotation_u", "translation_u", "growth"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise ParameterError(f"scanner {self.id}: {name} must not be negative", got=repr(getattr(self, name)))
        if not self.standoff > 0.5 * (high - low)[2]:
            raise ParameterError(f"scanner {self.id}: the sensor stands inside its field", got=repr(self.standoff))
        for view in self.views:
            if view.covariance is not None and np.shape(view.covariance) != (6, 6):
                raise ParameterError("the covariance of a registration is (6, 6)", got=str(np.shape(view.covariance)))
        if self.views_by not in _BELONGS:
            raise ParameterError("unknown rule of the views", expected=", ".join(_BELONGS), got=self.views_by)
        if self.correlation_length is not None and not self.correlation_length >= 0.0:
            raise ParameterError(f"scanner {self.id}: correlation_length must not be negative")
        if not (0.0 < self.steepest < math.pi / 2.0 and self.coverage > 0.0):
            raise ParameterError(f"scanner {self.id}: steepest angle or coverage cannot be", got=f"{self.steepest:g}")

    @functools.cached_property
    def distortion(self) -> float:
        """Standard deviation of each coefficient of the distortion, from the MPE."""
        worst = 0.0
        for start, end, along in length_lines(*self.field):
            fields = self._fields(np.stack([start, end]))
            worst = max(worst, float(np.sum(((fields[:, 1] - fields[:, 0]) @ along) ** 2)))
        return self.distance_mpe / self.coverage / math.sqrt(worst)

    def _fields(self, xyz: FloatArray) -> FloatArray:
        """(m, n, 3) deformations of the field: the scale, and per component all products of Legendre polynomials of
        degree 2 and 3 (constants move, and other linear terms turn or shear, which calibration fixes)."""
        low, high = self.field
        t = (2.0 * xyz - low - high) / (high - low)
        p = [np.ones_like(t), t, 0.5 * (3.0 * t**2 - 1.0), 0.5 * (5.0 * t**3 - 3.0 * t)]
        rows = [t]
        for i in range(_DEGREE + 1):
            for j in range(_DEGREE + 1 - i):
                for k in range(_DEGREE + 1 - i - j):
                    if i + j + k < 2:
                        continue
                    value = p[i][:, 0] * p[j][:, 1] * p[k][:, 2] / (i + j + k)
                    for axis in range(3):
                        row = np.zeros_like(xyz)
                        row[:, axis] = value
                        rows.append(row)
        return np.array(rows)

    @property
    def causes(self) -> tuple[Cause, ...]:
        middle = 0.5 * (self.field[0] + self.field[1])
        at = self.views[0].sensor_from_part.inverse()
        return self.modes(at.apply(middle)[None], at.rotate(np.array([0.0, 0.0, 1.0]))[None]).causes

    def seen_by(self, points: Any, normals: Any = None) -> tuple[NDArray[np.int64], FloatArray]:
        """(n,) the view that sees each point most squarely, and the cosine of its angle of incidence."""
        xyz, along = read_points(points, normals)
        cosines = []
        for view in self.views:
            line = self._line(view, xyz)
            cosines.append(np.einsum("nk,nk->n", line, along))
        best = np.argmax(cosines, axis=0)
        return best, np.take_along_axis(np.array(cosines), best[None], axis=0)[0]

    def _line(self, view: View, xyz: FloatArray) -> FloatArray:
        """(n, 3) unit vectors from the points to the sensor, in the part's frame."""
        low, high = self.field
        sensor = 0.5 * (low + high) + [0.0, 0.0, self.standoff]
        away = view.sensor_from_part.inverse().apply(sensor) - xyz
        return np.asarray(away / np.linalg.norm(away, axis=1)[:, None])

    def modes(self, points: Any, normals: Any = None, *, scope: str = "", view: Any = None) -> Modes:
        """The errors at points (n, 3) of the part's frame with normals out of the material. ``view`` (n,) says which
        view measured each point (default the one that sees it most squarely). Raises `ParameterError` for points that
        are not seen or lie outside the field by more than `EDGE` of it."""
        xyz, along = read_points(points, normals)
        if view is None:
            number, cosine = self.seen_by(xyz, along)
        else:
            number = np.asarray(view, dtype=np.int64)
            if number.shape != (len(xyz),) or ((number < 0) | (number >= len(self.views))).any():
                raise ParameterError("view is a number for each point", expected=f"0 to {len(self.views) - 1}")
            lines = np.array([self._line(v, xyz) for v in self.views])
            cosine = np.einsum("nk,nk->n", lines[number, np.arange(len(xyz))], along)
        seen_at = math.cos(self.steepest)
        # a point whose view the file names was seen from it, however steeply: it has the noise of the steepest angle
        hidden = int(np.sum(cosine < seen_at if view is None else cosine <= 0.0))
        cosine = np.maximum(cosine, seen_at)
        if hidden:
            where = f" ({scope.rsplit('/', 1)[-1]})" if scope else ""
            raise ParameterError(
                f"{hidden} of {len(xyz)} points are not seen by {self.id}{where}",
                expected=f"an angle of incidence below {math.degrees(self.steepest):g} degrees",
                remedy="add a view, or leave these points out",
            )
        name = f"instrument/{self.id}"
        made = Builder(len(xyz))
        low, high = self.field
        fields, noise = None, np.zeros_like(xyz)
        registration: list[FloatArray] = []
        ids: list[str] = []
        for j, one in enumerate(self.views):
            mine = number == j
            local = one.sensor_from_part.apply(xyz)
            slack = EDGE * (high - low)
            if mine.any() and ((local[mine] < low - slack) | (local[mine] > high + slack)).any():
                raise ParameterError(
                    f"points of view {one.name or j} lie outside the field of {self.id}",
                    expected=f"{low.tolist()} to {high.tolist()} {self.unit} in the sensor frame",
                    got=f"{local[mine].min(axis=0).tolist()} to {local[mine].max(axis=0).tolist()}",
                    remedy="check the pose of the view and the corners of the field, or leave these points out",
                )
            back = one.sensor_from_part.rotation  # rows are the sensor's axes in the part
            turned = self.distortion * self._fields(local) @ back * mine[None, :, None]
            fields = turned if fields is None else fields + turned
            noise += (self.noise * self._line(one, xyz)) * (mine / np.where(mine, cosine, 1.0) ** self.growth)[:, None]
            factor = self._registration(one)
            arm = local - 0.5 * (low + high)
            basis = [np.cross(axis, arm) for axis in np.eye(3)] + [np.broadcast_to(a, arm.shape) for a in np.eye(3)]
            moves = np.einsum("cr,cnk->rnk", factor, np.array(basis)) @ back * mine[None, :, None]
            if np.any(factor):
                registration += list(moves)
                ids += [f"{name}/registration/{j}/{r}" for r in range(6)]
        assert fields is not None
        k = self.coverage
        seen = "" if len(self.views) == 1 else f" (a point belongs to {_BELONGS[self.views_by]})"
        if self.distance_mpe:
            label = (
                f"distortion of the field of {self.id} (normal, sd of a sphere distance MPE / {k:g} on the worst line)"
            )
            made.add(Cause("distortion", f"{name}/distortion", label), fields)
        if registration:
            label = f"registration of the views of {self.id}{seen}"
            made.add(Cause("registration", f"{name}/registration", label), registration, ids)
        self.part.add_to(made, name, xyz)
        label = f"noise of {self.id} along the line of sight, over the cosine of incidence to the power {self.growth:g}"
        if self.correlation_length:
            label += f", correlated over {self.correlation_length:g} {self.unit}"
        cause = Cause("noise", f"{name}/noise", label + seen)
        if self.correlation_length and self.noise:
            rows = []
            for j in range(len(self.views)):
                mine = np.flatnonzero(number == j)
                own = np.zeros((len(mine), *xyz.shape))
                own[:, mine] = correlated(xyz[mine], self.correlation_length).T[:, :, None] * noise[mine]
                rows.append(own)
            made.add(cause, np.concatenate(rows), [f"{cause.id}/{scope}/{i}" for i in range(len(xyz))])
        else:
            made.add_noise(cause, noise, scope)
        return made.build()

    def _registration(self, view: View) -> FloatArray:
        """(6, 6) factor of the covariance of a view's registration."""
        if view.covariance is None:
            return np.diag([self.rotation_u] * 3 + [self.translation_u] * 3)
        from metrology_core.uncertainty.model import factor_of

        return factor_of(np.asarray(view.covariance, dtype=np.float64), "of a registration")

    def simulate(
        self,
        target: Any,
        normals: Any = None,
        *,
        start: int = 0,
        stop: int,
        seed: int = 0,
        only: Collection[str] | None = None,
        scope: str = "",
    ) -> FloatArray:
        """(stop - start, n, 3) points that the scanner would give for the true points ``target`` (n, 3)."""
        xyz, along = read_points(target, normals)
        moved = self.modes(xyz, along, scope=scope).displacements(start, stop, seed=seed, only=only)
        moved += xyz
        return moved
