"""What all features share: validation, local basis, sign rule of directions, exact motion along the chart."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from metrology_core.errors import ParameterError

if TYPE_CHECKING:
    from metrology_core.data.frames import Rigid

MaterialSide = Literal["inside", "outside"]
_SIGN_THRESHOLD = 0.1


def vector(value: Any, name: str, size: int = 3) -> np.ndarray:
    """A finite read-only float64 vector of the given size, or `ParameterError`."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (size,) or not math.isfinite(float(array.sum())):
        raise ParameterError(f"{name} is not a vector", expected=f"{size} finite numbers", got=repr(value)[:80])
    array.setflags(write=False)
    return array


def direction(value: Any, name: str, size: int = 3) -> np.ndarray:
    """A read-only unit vector along `value`; `ParameterError` where it has no direction."""
    array = vector(value, name, size)
    length = math.hypot(*array.tolist())
    if not length > 0.0:
        raise ParameterError(f"{name} has no direction", expected="a vector of non-zero length", got=repr(value)[:80])
    if length != 1.0:
        array = array / length
        array.setflags(write=False)
    return array


def number(value: Any, name: str, *, positive: bool = False) -> float:
    """A finite float, positive where asked, or `ParameterError`."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result) or (positive and result <= 0.0):
        raise ParameterError(
            f"{name} is not usable", expected="a positive number" if positive else "a finite number", got=repr(value)
        )
    return result


def points(xyz: Any, size: int = 3) -> np.ndarray:
    """Points as an (n, size) float64 array (one point becomes one row), or `ParameterError`."""
    array = np.atleast_2d(np.asarray(xyz, dtype=np.float64))
    if array.ndim != 2 or array.shape[1] != size:
        raise ParameterError("not an array of points", expected=f"shape (n, {size})", got=str(np.shape(xyz)))
    return array


def basis(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local basis (u, v) of a unit direction w, right-handed: v = w x u.

    u is the coordinate axis with the smallest component along w (x before y before z on a tie), made perpendicular to
    w.
    """
    numbers = basis_numbers(*axis.tolist())
    return np.array(numbers[:3]), np.array(numbers[3:])


def basis_numbers(x: float, y: float, z: float) -> tuple[float, float, float, float, float, float]:
    """The components of u, then of v, of `basis`."""
    ax, ay, az = abs(x), abs(y), abs(z)
    pick = 0 if ax <= ay and ax <= az else (1 if ay <= az else 2)
    d = (x, y, z)[pick]
    u = [-d * x, -d * y, -d * z]
    u[pick] += 1.0
    norm = math.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])
    a, b, c = u[0] / norm, u[1] / norm, u[2] / norm
    return a, b, c, y * c - z * b, z * a - x * c, x * b - y * a


def sign_of(axis: np.ndarray) -> float:
    """+1 or -1 that makes a direction follow the house rule.

    The first of its components z, y, x (2-D: y, x) that exceeds 0.1 in size is made positive. A threshold far from the
    usual drawing directions keeps noise from flipping an axis between repeats.
    """
    for component in reversed(axis.tolist()):
        if abs(component) > _SIGN_THRESHOLD:
            return 1.0 if component > 0.0 else -1.0
    return 1.0


def tilted(axis: np.ndarray, tilt_u: float, tilt_v: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frame (u, v, w) of `axis` turned so that w moves by (tilt_u, tilt_v) rad along the great circle."""
    u, v = basis(axis)
    return turned(u, v, axis, tilt_u, tilt_v)


def turned(
    u: np.ndarray, v: np.ndarray, w: np.ndarray, tilt_u: float, tilt_v: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn an orthonormal frame about the axis in the u-v plane that carries w towards tilt_u u + tilt_v v."""
    angle = math.hypot(tilt_u, tilt_v)
    if angle == 0.0:
        return u, v, w
    au, av = tilt_u / angle, tilt_v / angle
    s, h = math.sin(angle), 2.0 * math.sin(0.5 * angle) ** 2
    t = au * u + av * v
    new = math.cos(angle) * w + s * t
    turn = h * t + s * w
    return u - au * turn, v - av * turn, new / np.linalg.norm(new)


@dataclass(frozen=True, eq=False, kw_only=True)
class Feature(ABC):
    """A geometric element: where it is, how far points lie from it, and how it moves along its local chart.

    `distance` is positive away from the axis or along the normal. `material_side` says where the material is:
    ``"inside"`` on the negative side of `distance` (a shaft; behind a plane's normal), ``"outside"`` on the positive
    side (a bore). Lengths are in the unit of the points that made the feature; angles in rad.
    """

    material_side: MaterialSide | None = None

    kind: ClassVar[str]
    dimension: ClassVar[int] = 3
    chart: ClassVar[tuple[str, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        if self.material_side not in (None, "inside", "outside"):
            raise ParameterError(
                "unknown material side", expected="'inside', 'outside' or None", got=repr(self.material_side)
            )
        self._validate(lambda name, value: object.__setattr__(self, name, value))

    @abstractmethod
    def _validate(self, put: Callable[[str, Any], None]) -> None:
        """Check and store the fields."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters by name: vectors as read-only arrays, sizes as floats."""
        return {name: getattr(self, name) for name in self.parameter_names}

    @abstractmethod
    def distance(self, xyz: Any) -> np.ndarray:
        """(n,) signed normal distance of points (n, dimension)."""

    @abstractmethod
    def normals(self, xyz: Any) -> np.ndarray:
        """(n, dimension) unit vectors along which `distance` grows, at the points."""

    def project(self, xyz: Any) -> np.ndarray:
        """(n, dimension) nearest points of the feature."""
        array = points(xyz, self.dimension)
        return array - self.distance(array)[:, None] * self.normals(array)

    def deviation(self, xyz: Any) -> np.ndarray:
        """(n,) deviation of surface points, positive for excess material; raises where the material side is not
        known."""
        if self.material_side is None:
            raise ParameterError(
                f"the material side of this {self.kind} is not known",
                expected="material_side 'inside' or 'outside'",
                remedy="state the material side (a shaft is 'inside', a bore 'outside')",
            )
        distance = self.distance(xyz)
        return distance if self.material_side == "inside" else -distance

    @abstractmethod
    def transform(self, rigid: Rigid) -> Self:
        """The feature carried along by a rigid motion."""

    @abstractmethod
    def moved(self, delta: Any) -> Self:
        """The feature displaced by `delta` (p,) along its `chart`: an exact motion, not a linear one."""

    def oriented(self, hint: Any) -> Self:
        """The same geometry with its direction turned to the side of `hint`; features without direction stay."""
        return self

    def offset(self, distance: float) -> Self | None:
        """The parallel feature at this signed distance, or None where the parallel is of another kind."""
        return None

    def with_material(self, side: MaterialSide | None) -> Self:
        """The same feature with this material side."""
        return replace(self, material_side=side)

    def _delta(self, delta: Any) -> list[float]:
        return vector(delta, "delta", len(self.chart)).tolist()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((self.kind, *(np.asarray(value).tobytes() for value in self.parameters.values())))


def radial(xyz: Any, origin: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Height g along the axis, distance f from it, and unit radial directions (n, 3) (any one where f is zero)."""
    y = points(xyz) - origin
    g = y @ axis
    across = y - g[:, None] * axis
    f = np.sqrt(np.einsum("ij,ij->i", across, across))
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = across / f[:, None]
    unit[f == 0.0] = basis(axis)[0]
    return g, f, unit


def shifted(origin: np.ndarray, axis: np.ndarray, su: float, sv: float, sw: float = 0.0) -> np.ndarray:
    """A point displaced in the local frame of `axis`."""
    u, v = basis(axis)
    return np.asarray(origin + (su * u + sv * v + sw * axis))
