"""Whether a fitted alignment leaves anything over to judge the part by.

A fit of k motions to n points takes k combinations of their deviations for the pose; what is left is smaller than what
the part has: a point keeps the share 1 - h of its own deviation, h its leverage (the sum of all h is k). So a verdict
on residuals needs redundancy. Two bounds are set:

* nu = n - k >= 10 degrees of freedom, of points and of separate places. The scatter s about the nominal stands for the
  form that the points did not show; with nu degrees of freedom the true sigma may be sqrt(nu / chi2(0.05; nu)) times s
  at 95 %: 1.6 times at nu = 10, but 2.1 at 5, 4.4 at 2, 16 at 1. Six motions and ten points over keep four fifths of
  the root mean square. Places are cells of a tenth of the radius of gyration: a thousand points in five spots are five
  places, since form within a spot is one form.
* h <= 0.5 at every point: beyond, a deviation is more alignment than observation (P. J. Huber, Robust Statistics, 1981,
  7.2: leverages above 0.5 are to be avoided by design).

Free motions and equivalent poses take a verdict away only where it would depend on them: a turned part may turn in its
nominal, and a part with a twofold axis may lie either way; five points on a blade that slide along a screw may not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pointcloud.registration.fine import Evaluate, Limits, descend, length_of, runner
from pointcloud.registration.normal import Data, Rules, State, twist_of
from pointcloud.registration.se3 import Pose, displacement_rows
from pointcloud.registration.target import Surface

if TYPE_CHECKING:
    from metrology_core.data import Rigid

FloatArray = NDArray[np.float64]
LEAST = 10  # degrees of freedom beyond the motions, see above
MOST_LEVERAGE = 0.5
BARS = ("alignment_not_redundant", "alignment_undetermined")  # flags with which no verdict is given
_PLACE = 0.1  # radii of gyration: edge of the cells that count as one place
_MOST = 50_000  # points whose leverage and place are looked at
_WALK = 0.02  # radii of gyration (root mean square over the points) by which a free motion is tried


@dataclass(frozen=True)
class Redundancy:
    """Points and places (cells) used, determined motions, largest leverage of a point."""

    points: int
    places: int
    motions: int
    leverage: float

    @property
    def enough(self) -> bool:
        return min(self.points, self.places) - self.motions >= LEAST and self.leverage <= MOST_LEVERAGE

    def words(self) -> str:
        """What is wanting, in words; empty where nothing is."""
        short = []
        if self.points - self.motions < LEAST:
            short.append(
                f"{self.points} points for {self.motions} fitted motions, {LEAST} more than motions are needed"
            )
        elif self.places - self.motions < LEAST:
            short.append(
                f"the points lie in {self.places} places for {self.motions} fitted motions, "
                f"{LEAST} more than motions are needed"
            )
        if self.leverage > MOST_LEVERAGE:
            short.append(f"a point whose deviation goes to {100.0 * self.leverage:.0f} % into the alignment")
        return "; ".join(short)

    def to_dict(self) -> dict[str, Any]:
        return {
            "points": self.points, "places": self.places, "motions": self.motions, "largest_leverage": self.leverage
        }  # fmt: skip


def redundancy(state: State, determined: FloatArray) -> Redundancy:
    """Of an evaluation at the end of a fit, with its determined motions (6, k) of the scaled chart."""
    kept = np.flatnonzero(state.weight != 0.0)
    k = determined.shape[1]
    few = kept[:: max(1, len(kept) // _MOST)]
    xyz = state.moved[few]
    leverage = 0.0
    if k and len(few):
        rows = displacement_rows(xyz, state.direction[few], state.pivot)
        rows[:, :3] /= state.length
        rows = (rows * np.sqrt(state.weight[few])[:, None]) @ determined
        inverse = np.linalg.pinv(determined.T @ state.h_plane @ determined, hermitian=True)
        leverage = min(1.0, float(np.einsum("ij,jk,ik->i", rows, inverse, rows).max()))
    edge = _PLACE * length_of(xyz) if len(few) else 0.0
    places = len(few)
    if edge > 0.0:
        cell = np.minimum(np.floor((xyz - xyz.min(axis=0)) / edge), 2.0**20).astype(np.int64)  # 21 bits an axis
        places = len(np.unique(cell @ np.array([1 << 42, 1 << 21, 1])))
    return Redundancy(len(kept), places, k, leverage)


def free_matters(run: Evaluate, pose: Pose, free: FloatArray, allowed: float) -> bool:
    """Whether the distances of the points change when the scan is moved along its free motions (6, m), scaled chart
    about the pivot of ``run``: by more than ``allowed`` (root mean square; chord tolerance, or scatter)."""
    base = run(pose, None)
    weight = max(float(np.sum(base.weight)), 1e-300)
    level = 2.0 * base.cost / weight
    tiny = (1e-9 * base.length) ** 2
    for motion in free.T:
        spread = math.sqrt(max(float(motion @ base.h_point @ motion) / weight, 0.0))
        step = _WALK / max(spread, 1e-300) * motion
        for sign in (1.0, -1.0):
            there = run(base.pose.moved(twist_of(sign * step, base.length), base.pivot), base.scale)
            if 2.0 * there.cost / weight - level > allowed**2 + tiny:
                return True
    return False


def is_symmetry(surface: Surface, nominal: FloatArray, a: Rigid, b: Rigid, allowed: float) -> bool:
    """Whether the motion that leads from one pose to the other carries the nominal (points of it, (n, 3)) onto itself:
    no point farther off than ``allowed``, after the motion has settled (poses of the coarse stage are rough)."""
    lead = b @ a.inverse()
    data = Data(np.ascontiguousarray(nominal), np.ones(len(nominal)))
    length = length_of(nominal)
    run = runner(data, surface, Rules(border=True), length)
    start = Pose.of(lead, nominal.mean(axis=0))
    end = descend(run, start, lambda pivot: np.eye(6), Limits(1e-7, 0.0, passes=30), blend=0.3)
    size = np.abs(run(end.pose, None).residual)
    return bool(np.isfinite(size).all() and float(size.max()) <= allowed + 1e-6 * length)
