"""The result of a registration: the motion, how well it is known, what it leaves free, and what it is good for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import Datum, DatumSystem, Frame, Rigid
from metrology_core.errors import FitError, ParameterError
from pointcloud.registration.free import FreeMotion
from pointcloud.registration.redundancy import BARS
from pointcloud.registration.se3 import displacement_rows, transport

FloatArray = NDArray[np.float64]

CHART = ("rx", "ry", "rz", "tx", "ty", "tz")
STATUSES = (
    "converged",
    "not_converged",
    "degenerate",
    "ambiguous",
    "insufficient",
    "disjoint",
    "mirrored",
    "unit_mismatch",
)
_REMEDY = {
    "not_converged": "give a start nearer to the truth, or a robust loss where the scan holds more than the part",
    "degenerate": "measure surfaces that lock the free motions, or accept them with require(free=True)",
    "ambiguous": "give a start, or datums; or accept one of the equivalent poses with require(ambiguous=True)",
    "insufficient": "measure more points",
    "disjoint": "check units and frames, give a start, or widen the search limit",
    "mirrored": "check the handedness of the export; nothing was mirrored here",
    "unit_mismatch": "state the right unit; nothing was scaled here",
}


@dataclass(frozen=True, eq=False)
class Registration:
    """A rigid motion of a scan onto its nominal. Lengths in ``unit`` (that of the scan), angles in rad.

    ``target_from_source`` moves scan coordinates into the nominal frame; None unless a motion was found (never the
    identity in place of one). ``covariance`` (6, 6): of the twist (rx, ry, rz, tx, ty, tz) about ``pivot``, a point of
    the target frame at the middle of the points: the true motion is the stated one followed by a rotation
    (rx, ry, rz) about the pivot and a translation (tx, ty, tz), in the axes of the target frame. It is NaN in rows and
    columns that a free motion touches and infinite on their diagonal; `covariance_determined` leaves the free motions
    out. ``free``: motions that the data do not determine. ``equivalents``: other poses that fit as well.

    ``status``: converged | not_converged | degenerate (determined up to ``free``) | ambiguous (one of ``equivalents``)
    | insufficient | disjoint | mirrored | unit_mismatch. The last two are findings: the motion, if any, is that of the
    data as given.
    """

    target_from_source: Rigid | None
    method: str
    unit: str
    status: str
    flags: tuple[str, ...] = ()
    pivot: FloatArray = field(default_factory=lambda: np.zeros(3))
    information: FloatArray = field(default_factory=lambda: np.zeros((6, 6)))
    covariance_determined: FloatArray = field(default_factory=lambda: np.full((6, 6), math.nan))
    null_space: FloatArray = field(default_factory=lambda: np.zeros((6, 0)))
    free: tuple[FreeMotion, ...] = ()
    equivalents: tuple[Rigid, ...] = ()
    dof: float = math.inf
    rms: float = math.nan
    sigma: float = math.nan
    n_points: int = 0
    n_used: int = 0
    n_outside: int = 0
    n_trimmed: int = 0
    iterations: int = 0
    alignment: str = "best_fit"
    permission: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    _residuals: Callable[[], FloatArray] | None = field(default=None, repr=False)

    @functools.cached_property
    def residuals(self) -> FloatArray:
        """(n,) signed distances of the scan points, as given, to the nominal after the motion, positive outside the
        material; NaN for points without a foot. Computed when first read."""
        if self._residuals is None:
            raise ParameterError(f"this registration ({self.method}) has no residuals", got=self.status)
        result = self._residuals()
        result.setflags(write=False)
        return result

    @functools.cached_property
    def covariance(self) -> FloatArray:
        """(6, 6), see the class; rows and columns touched by a free motion are NaN, their diagonal infinite."""
        result = np.array(self.covariance_determined)
        if self.null_space.shape[1]:
            length = float(self.details.get("length", 1.0)) or 1.0
            size = np.linalg.norm(self.null_space * np.r_[np.ones(3), np.full(3, 1.0 / length)][:, None], axis=1)
            touched = size > 1e-7
            result[touched, :] = math.nan
            result[:, touched] = math.nan
            result[touched, touched] = math.inf
        result.setflags(write=False)
        return result

    @property
    def standard_uncertainty(self) -> dict[str, float]:
        """Of each degree of freedom of the chart about `pivot`; infinite where the data do not determine it."""
        diagonal = np.diag(self.covariance)
        return {name: math.sqrt(v) if v >= 0.0 else math.nan for name, v in zip(CHART, diagonal)}

    def covariance_at(self, point: Any) -> FloatArray:
        """(6, 6) covariance of the determined motions in the chart about another point of the target frame."""
        t = transport(np.asarray(point, dtype=np.float64) - self.pivot)
        return np.asarray(t @ self.covariance_determined @ t.T)

    def distance_uncertainty(self, xyz: Any, directions: Any) -> FloatArray:
        """(n,) standard uncertainty that the alignment gives to distances of points xyz (n, 3) along unit directions
        (n, 3), both in the target frame; motions that are free are left out, for they change no distance."""
        rows = displacement_rows(np.atleast_2d(xyz), np.atleast_2d(directions), self.pivot)
        variance = np.einsum("ij,jk,ik->i", rows, self.covariance_determined, rows)
        return np.sqrt(np.maximum(variance, 0.0))

    @property
    def permitted(self) -> bool:
        """Whether the drawing allows this kind of alignment: datums and datum targets, or a cited permission for a best
        fit or a tolerance fit."""
        return self.alignment in ("datums", "as_measured") or bool(self.permission)

    @property
    def allows_verdict(self) -> bool:
        """Whether characteristics in this alignment may be decided: `permitted`, with redundancy, and determined as far
        as the verdict depends on it (`pointcloud.registration.redundancy`)."""
        return self.permitted and not self.bars

    @property
    def bars(self) -> tuple[str, ...]:
        """Flags that take the verdict away: ``alignment_not_redundant``, ``alignment_undetermined``."""
        return tuple(name for name in BARS if name in self.flags)

    @property
    def obstacle(self) -> str:
        """Why this alignment gives no verdict, in words; empty where it does."""
        words = []
        if not self.permitted:
            words.append("no permission of the drawing cited")
        if "alignment_not_redundant" in self.bars:
            words.append(str(self.details.get("redundancy", {}).get("reason", "the fit leaves too little over")))
        if "alignment_undetermined" in self.bars:
            words.append("the deviations depend on which of several poses is meant")
        return "; ".join(words)

    @property
    def usable(self) -> bool:
        """Whether distances to the nominal after this motion mean something: converged, free or ambiguous motions
        included (they change no distance)."""
        return self.target_from_source is not None and self.status in ("converged", "degenerate", "ambiguous")

    def require(self, *, free: bool = False, ambiguous: bool = False) -> Registration:
        """This registration if it converged, else `FitError`; ``free`` accepts undetermined motions, ``ambiguous`` one
        pose out of several that fit as well."""
        accepted = {"converged"} | ({"degenerate"} if free else set()) | ({"ambiguous"} if ambiguous else set())
        if self.status in accepted and self.target_from_source is not None:
            return self
        reason = str(self.details.get("reason", "")) or "; ".join(m.words for m in self.free) or ", ".join(self.flags)
        raise FitError(
            f"the registration ({self.method}) is {self.status}", got=reason or None, remedy=_REMEDY.get(self.status)
        )

    def datum_system(self, name: str, parent: Frame, datums: tuple[Datum, ...] = ()) -> DatumSystem:
        """The nominal frame as a child of the scan's frame ``parent``, with the kind of alignment and permission."""
        motion = self.require(free=True, ambiguous=True).target_from_source
        assert motion is not None
        kind = self.alignment if self.alignment in ("best_fit", "tolerance_fit") else "datums"
        return DatumSystem(name, datums, Frame(name, parent, motion.inverse()), kind, self.permission)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; numbers that are not known are None."""
        return {
            "method": self.method,
            "status": self.status,
            "flags": list(self.flags),
            "unit": self.unit,
            "target_from_source": None if self.target_from_source is None else self.target_from_source.to_dict(),
            "chart": list(CHART),
            "pivot": self.pivot.tolist(),
            "covariance": [[_plain(v) for v in row] for row in self.covariance],
            "standard_uncertainty": {k: _plain(v) for k, v in self.standard_uncertainty.items()},
            "free": [motion.to_dict() for motion in self.free],
            "equivalents": [pose.to_dict() for pose in self.equivalents],
            "rms": _plain(self.rms),
            "sigma": _plain(self.sigma),
            "n_points": self.n_points,
            "n_used": self.n_used,
            "n_outside": self.n_outside,
            "n_trimmed": self.n_trimmed,
            "iterations": self.iterations,
            "alignment": self.alignment,
            "permission": self.permission,
            "allows_verdict": self.allows_verdict,
            "obstacle": self.obstacle,
            "details": {k: _tree(v) for k, v in self.details.items()},
        }


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _tree(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_tree(v) for v in value.tolist()]
    if isinstance(value, (list, tuple)):
        return [_tree(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _tree(v) for k, v in value.items()}
    if isinstance(value, (bool, str, int)) or value is None:
        return value
    return _plain(float(value))
