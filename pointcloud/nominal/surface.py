"""What every nominal surface can do: give the closest point, with a side, a normal and words about doubtful cases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from pointcloud.kernels import codes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
REGIONS = ("face", "edge", "vertex", "none")


@dataclass(frozen=True, eq=False)
class ClosestPoints:
    """Closest points of n queries, in their order.

    ``rows`` (n, 8) float64, one cache line each: foot x, y, z, signed distance, normal x, y, z, and two 32-bit words
    (face, code). Lengths in the unit of the nominal. The properties are views of it where possible.
    """

    rows: FloatArray

    @classmethod
    def empty(cls, n: int) -> ClosestPoints:
        """Rows to be filled."""
        return cls(np.empty((n, 8)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def foot(self) -> FloatArray:
        """(n, 3) closest point of the surface; NaN where there is none."""
        return self.rows[:, 0:3]

    @property
    def signed(self) -> FloatArray:
        """(n,) distance, positive on the outer side; where no side can be told (see `has_sign`) it is positive."""
        return self.rows[:, 3]

    @cached_property
    def distance(self) -> FloatArray:
        """(n,) signed distance, positive on the outer side (excess material); NaN where no side can be told."""
        return np.where(self.has_sign, self.rows[:, 3], np.nan)

    @property
    def normal(self) -> FloatArray:
        """(n, 3) outward unit normal at the foot: of the face, the mean of both faces on an edge, the angle-weighted
        normal on a vertex; NaN where there is no foot."""
        return self.rows[:, 4:7]

    @property
    def words(self) -> IntArray:
        """(n, 16) the rows as 32-bit words; 14 is the face, 15 the code."""
        return self.rows.view(np.int32)

    @property
    def face(self) -> IntArray:
        """(n,) index of the face (of the nominal's own list); -1 where there is no foot."""
        return self.words[:, 14]

    @property
    def code(self) -> IntArray:
        """(n,) region and flag bits, see `pointcloud.kernels.codes`."""
        return self.words[:, 15]

    @property
    def region(self) -> IntArray:
        """(n,) index into `REGIONS`: 0 face, 1 edge, 2 vertex, 3 none."""
        return self.code & codes.REGION

    def _has(self, bit: int) -> NDArray[np.bool_]:
        return (self.code & bit) != 0

    @property
    def has_sign(self) -> NDArray[np.bool_]:
        return (self.code & codes.NO_SIGN) == 0

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n,) whether there is a foot."""
        return self.region != codes.NOTHING

    @property
    def on_open_border(self) -> NDArray[np.bool_]:
        """(n,) the foot is on the border of an open surface: the point lies beside it, not over it."""
        return self._has(codes.OPEN_BORDER)

    @property
    def beyond_limit(self) -> NDArray[np.bool_]:
        """(n,) nothing within the search limit."""
        return self._has(codes.BEYOND_LIMIT)

    @property
    def beyond_angle(self) -> NDArray[np.bool_]:
        """(n,) nothing within the search limit whose normal is within the limit of the angle."""
        return self._has(codes.ANGLE)

    @property
    def non_finite(self) -> NDArray[np.bool_]:
        return self._has(codes.NON_FINITE)

    @property
    def non_manifold(self) -> NDArray[np.bool_]:
        """(n,) more than two triangles meet at the foot: the side is that of the sheet most across the way to it."""
        return self._has(codes.NON_MANIFOLD)

    @property
    def approximate(self) -> NDArray[np.bool_]:
        """(n,) the foot is that on the triangles of a CAD nominal, right to its chord tolerance only."""
        return self._has(codes.APPROXIMATE)

    def counts(self) -> dict[str, int]:
        """How many points each remark concerns."""
        return {
            "points": len(self),
            "with_sign": int(np.count_nonzero(self.has_sign)),
            "on_open_border": int(np.count_nonzero(self.on_open_border)),
            "beyond_limit": int(np.count_nonzero(self.beyond_limit)),
            "beyond_angle": int(np.count_nonzero(self.beyond_angle)),
            "non_finite": int(np.count_nonzero(self.non_finite)),
            "non_manifold": int(np.count_nonzero(self.non_manifold)),
            "approximate": int(np.count_nonzero(self.approximate)),
        }


@runtime_checkable
class NominalSurface(Protocol):
    """A nominal that points can be compared with: a tree of triangles, analytic features, CAD."""

    @property
    def unit(self) -> str:
        """Unit of length of its coordinates."""
        ...

    @property
    def size(self) -> float:
        """Length of the diagonal of its box; infinite for unbounded features."""
        ...

    @property
    def chord_tolerance(self) -> float:
        """Largest distance between this surface and the nominal it stands for; 0 where it is the nominal."""
        ...

    def closest(
        self,
        points: Any,
        *,
        limit: float | None = None,
        normals: Any = None,
        max_angle: float | None = None,
        seeds: Any = None,
    ) -> ClosestPoints:
        """Closest points of ``points`` (n, 3); ``limit`` in unit; ``normals`` (n, 3) and ``max_angle`` (rad) admit
        only faces whose normal is that near; ``seeds`` (n,) faces to start from (a previous answer)."""
        ...


def as_points(points: Any, name: str = "points") -> FloatArray:
    """(n, 3) C-contiguous float64 of an array or a `PointSet`; raises `ParameterError`."""
    array = np.ascontiguousarray(getattr(points, "xyz", points), dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise ParameterError(f"{name} are not an array of points", expected="(n, 3)", got=str(array.shape))
    return array


def check_limits(n: int, limit: float | None, normals: Any, max_angle: float | None) -> tuple[float, FloatArray, float]:
    """Search limit (infinite without one), unit directions (n, 3) or (0, 3), and the cosine of the largest angle."""
    reach = np.inf if limit is None else float(limit)
    if not reach > 0.0:
        raise ParameterError("the search limit is a length", expected="> 0", got=repr(limit))
    if (normals is None) != (max_angle is None):
        raise ParameterError("normals and max_angle go together", expected="both or neither")
    if normals is None or max_angle is None:
        return reach, np.empty((0, 3)), -2.0
    if limit is None:
        raise ParameterError(
            "a limit of the angle needs a search limit",
            expected="limit=",
            remedy="without one, any face of the part with a fitting normal would be an answer",
        )
    if not 0.0 < max_angle <= np.pi:
        raise ParameterError("max_angle is an angle in rad", expected="0 to pi", got=repr(max_angle))
    directions = np.ascontiguousarray(normals, dtype=np.float64)
    if directions.shape != (n, 3):
        raise ParameterError("one normal for each point", expected=f"({n}, 3)", got=str(directions.shape))
    length = np.sqrt(np.einsum("ij,ij->i", directions, directions))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        directions = directions / length
    return reach, directions, float(np.cos(max_angle))
