"""The coarse stage: a pose from nothing, up to the symmetry of the part; mirror images and wrong units recognised.

Candidates come from the scan as it lies, from the principal axes (all 24 ways to lay them on each other, and turns
about them where moments are equal), then, where none of these lets the whole scan lie on the nominal, from local shape
(Open3D, where it installs) and from a grid of rotations. Every candidate is judged on the nominal itself: a short
descent, then the mean squared distance, cut off so that points which are not of the part count alike. Stray points,
alone far from all others, take no part: they would move the middle, the axes and the size. A scan that holds more than
the nominal (or a nominal that is only a part of it) lies on it with a share of its points; that share is believed where
these points lie on the nominal far more tightly than chance would have them, and hold all six motions.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import MissingDependencyError, ParameterError
from pointcloud.registration.fine import Limits, descend, length_of, runner
from pointcloud.registration.normal import Data, Rules, State
from pointcloud.registration.order import cells, thin
from pointcloud.registration.se3 import Pose, displacement_rows, rotation
from pointcloud.registration.target import FeatureTarget, SampleTarget, Surface

FloatArray = NDArray[np.float64]
_FEW, _SOME, _MANY = 240, 1200, 20_000  # points of the first and second look, and of the nominal's sample
_GOOD, INSIDE = 0.01, 0.02  # rms and distance, relative to the part, of a scan that lies on its nominal
_GRID = 216  # rotations
_LEAST, _TIGHT, _HELD = 0.2, 0.1, 1e-3  # share, median distance over `INSIDE` (chance: 0.5), least information
_HOME = 1.1  # ratio of mean squares up to which the scan as it lies is preferred
_STRAY, _STRAYS, _LOOKED = 10.0, 0.1, 30_000  # spacings from its neighbours, most of the points, points looked at
_SAME = (0.05, 0.02)  # rad and share of the part within which two poses are one
_SUSPECT = 2e-4  # rms relative to the part from which the mirror image is tried
UNIT_FACTORS = (25.4, 1000.0, 10.0, 100.0, 39.37007874015748, 304.8, 1e6)


@dataclass(frozen=True, eq=False)
class Trial:
    """A pose after its descent: mean of the cut-off squares, rms and share of the points that lie on the nominal."""

    pose: Pose
    cost: float
    rms: float
    share: float
    tight: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """What the coarse stage found: best pose, others as good, whether it is a pose at all, and its suspicions."""

    pose: Pose
    trials: tuple[Trial, ...]
    good: bool
    size: float
    mirrored: bool = False
    unit_factor: float | None = None
    method: str = "principal axes"
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def hopeless(self) -> bool:
        """Nothing for the fine stage to do: no pose, and no mirror image to show either."""
        return not self.mirrored and (not self.good or self.unit_factor is not None)


class _Search:
    """Candidates of one scan (or of its mirror image) on one nominal."""

    def __init__(
        self, xyz: FloatArray, surface: Surface, quick: SampleTarget, nominal: FloatArray, offset: float
    ) -> None:
        self.surface, self.quick = surface, quick
        self.size = length_of(nominal)
        self.nominal = nominal
        self.some, _ = thin(xyz, _SOME)
        self.few, _ = thin(self.some, _FEW)
        self.offset = offset
        self.middle = self.some.mean(axis=0)

    def short(
        self, pose: Pose, limit: float, xyz: FloatArray, passes: int, step: float, surface: Surface | None = None
    ) -> Trial:
        """A descent from the pose; cost and share with the cut-off at 5 % of the part."""
        data = Data(xyz, np.ones(len(xyz)), self.offset)
        rules = Rules(limit=limit * self.size, border=True)
        run = runner(data, surface or self.surface, rules, max(length_of(xyz), 1e-3 * self.size))
        end = descend(run, pose, _everything, Limits(step, 0.0, passes=passes), blend=0.3)
        return self.judge(run(end.pose, None) if end.converged else end.state)

    def judge(self, judged: State) -> Trial:
        """Cost, share and tightness of an evaluation."""
        size = np.abs(judged.residual)
        size = np.where(np.isfinite(size), size, np.inf)
        cut = np.minimum(size, 0.05 * self.size)
        inside = size <= INSIDE * self.size
        share = float(np.mean(inside))
        rms = math.sqrt(float(np.mean(size[inside] ** 2))) if inside.any() else math.inf
        tight = share >= _LEAST and float(np.median(size[inside])) <= _TIGHT * INSIDE * self.size
        if tight:
            rows = displacement_rows(judged.moved[inside], judged.direction[inside], judged.pivot)
            rows[:, :3] /= judged.length
            values = np.linalg.eigvalsh(rows.T @ rows)
            tight = bool(values[0] >= _HELD * values[-1])
        return Trial(judged.pose, float(np.mean(cut * cut)), rms, share, tight)

    def settle(self, pose: Pose, limit: float) -> Trial:
        """A descent with more points; once more with the near ones only where not all lie on the nominal."""
        wide = self.short(pose, limit, self.some, 40, 1e-7)
        if wide.share >= 0.95:
            return wide
        data = Data(self.some, np.ones(len(self.some)), self.offset)
        length = max(length_of(self.some), 1e-3 * self.size)
        look = runner(data, self.surface, Rules(border=True), length)
        pose = wide.pose
        for reach in (0.05, 0.02, 0.02, 0.01):  # points over an open border would pull: those near a real foot only
            state = look(pose, None)
            feet = self.surface.feet(state.moved)
            use = feet.valid & (np.abs(feet.distance - self.offset) <= reach * self.size)
            if np.count_nonzero(use) < 20:
                return wide
            part = np.ascontiguousarray(self.some[use])
            run = runner(Data(part, np.ones(len(part)), self.offset), self.surface, Rules("tukey", border=True), length)
            pose = descend(run, pose, _everything, Limits(1e-6, 0.0, passes=15)).pose
        near = self.judge(look(pose, None))
        return min(wide, near, key=lambda t: t.cost)

    def home(self) -> Trial:
        """The scan as it lies."""
        return self.settle(Pose(np.eye(3), self.middle, self.middle), 0.3)

    def rank(self, poses: list[Pose], limit: float, keep: int) -> list[Trial]:
        """The best of many poses: a short look at each, then more points for the best, best first, none twice."""
        looks = (self.short(p, limit, self.few, 10, 2e-3, self.quick) for p in poses)
        first = sorted(looks, key=lambda t: t.cost)
        chosen = self.distinct(first)[:keep]
        last = [self.settle(t.pose, min(limit, 0.3)) for t in chosen]
        return self.distinct(sorted(last, key=lambda t: t.cost))

    def distinct(self, trials: list[Trial]) -> list[Trial]:
        kept: list[Trial] = []
        for t in trials:
            at = t.pose.apply(self.middle)
            if not any(
                t.pose.rotated_by(o.pose) < _SAME[0]
                and float(np.linalg.norm(at - o.pose.apply(self.middle))) < _SAME[1] * self.size
                for o in kept
            ):
                kept.append(t)
        return kept

    def axes(self) -> list[Pose]:
        """Principal axes on principal axes in all ways; turned in steps where two moments are nearly equal."""
        a, wa = _principal(self.some)
        b, wb = _principal(self.nominal)
        centre = self.nominal.mean(axis=0)
        turns = [np.eye(3)]
        equal = [wb[i + 1] - wb[i] <= 0.1 * wb[2] or wa[i + 1] - wa[i] <= 0.1 * wa[2] for i in range(2)]
        if all(equal):
            return self.grid(_GRID)
        for i, same in enumerate(equal):
            if same:
                axis = np.eye(3)[2 if i == 0 else 0]
                turns += [rotation(axis * math.radians(30.0 * k)) for k in range(1, 3)]
        return [Pose(b @ p @ turn @ a.T, self.middle, centre) for turn in turns for p in _signed_permutations()]

    def grid(self, count: int) -> list[Pose]:
        """Rotations spread evenly over all rotations (M. Alexa, Super-Fibonacci spirals, CVPR 2022), middle on
        middle."""
        s = np.arange(count) + 0.5
        t, d = s / count, 2.0 * math.pi * s
        r, o = np.sqrt(t), np.sqrt(1.0 - t)
        alpha, beta = d / math.sqrt(2.0), d / 1.533751168755204288118041
        q = np.stack([r * np.sin(alpha), r * np.cos(alpha), o * np.sin(beta), o * np.cos(beta)], axis=1)
        centre = self.nominal.mean(axis=0)
        return [Pose(_of_quaternion(row), self.middle, centre) for row in q]


def _everything(pivot: FloatArray) -> FloatArray:
    return np.eye(6)


def _of_quaternion(q: FloatArray) -> FloatArray:
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _principal(xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Right-handed principal axes (columns, smallest moment first) and the moments (3,)."""
    centred = xyz - xyz.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(xyz))
    if np.linalg.det(vectors) < 0.0:
        vectors[:, 0] = -vectors[:, 0]
    return vectors, values


def _signed_permutations() -> list[FloatArray]:
    """The 24 rotations of a cube, those that keep each axis first."""
    result = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            m = np.zeros((3, 3))
            m[list(order), range(3)] = signs
            if np.linalg.det(m) > 0.0:
                result.append(m)
    return result


def _on_nominal(trial: Trial, size: float) -> bool:
    return trial.share >= 0.95 and trial.rms <= _GOOD * size


def find_start(data: Data, surface: Surface, *, seed: int = 0, open3d: bool | None = None, check: bool = True) -> Found:
    """A pose to start from, without any hint; deterministic for a seed.

    ``open3d``: None uses it where it installs, True demands it, False does without. Raises `ParameterError` for
    nominals that cannot be sampled, `MissingDependencyError`.
    """
    if isinstance(surface, FeatureTarget):
        return _from_feature(data, surface)
    nominal = surface.sample(_MANY, seed)
    if nominal is None:
        raise ParameterError("this nominal cannot be sampled for the coarse stage", remedy="give start=")
    even, edge = thin(nominal, 2500)
    quick = SampleTarget(even, surface.feet(even).direction, edge)
    kept = without_strays(data.xyz)
    search = _Search(kept, surface, quick, even, data.offset)
    data = Data(kept, np.ones(len(kept)), data.offset)
    trials, method = _candidates(search, data, surface, nominal, edge, seed, open3d)
    best = trials[0]
    size = search.size
    good = best.share >= 0.5 or best.tight
    mirrored, factor = False, None
    if check:
        here = length_of(search.some)
        suspect = not good or best.share < 0.95 or best.rms > _SUSPECT * size
        if suspect:
            mirrored = _is_mirrored(data, search, best)
        if (suspect or not 0.1 <= here / size <= 1.5) and not mirrored and here > 0.0:
            factor = _unit_factor(data, search, best, here)
    return Found(best.pose, tuple(trials), good, size, mirrored, factor, method)


def _candidates(
    search: _Search, data: Data, surface: Surface, nominal: FloatArray, edge: float, seed: int, open3d: bool | None
) -> tuple[list[Trial], str]:
    home = search.home()

    def sorted_out(trials: list[Trial], method: str) -> tuple[list[Trial], str]:
        best = trials[0].cost
        if home.cost <= _HOME * best + (1e-9 * search.size) ** 2:  # of several as good, the one that is there
            return search.distinct([home, *trials]), "as it lies"
        return trials, method

    axes = search.axes()
    trials = search.distinct(
        sorted([home, *search.rank(axes, math.inf, 12 if len(axes) == _GRID else 8)], key=lambda t: t.cost)
    )
    if _on_nominal(trials[0], search.size):
        return sorted_out(trials, "principal axes")
    method = "principal axes"
    if open3d is not False:
        from pointcloud.registration.features import feature_candidates

        target = nominal[cells(nominal, edge)]
        source = data.xyz[cells(data.xyz, edge)] if data.n > 20 else data.xyz
        # cells are even: of a scan with more of them, less than the least share could lie on the nominal
        if 20 <= len(source) <= 1.2 / _LEAST * len(target):
            try:
                normals = surface.feet(np.ascontiguousarray(target)).direction
                poses = feature_candidates(source, None, target, normals, edge, seed, 24)
            except MissingDependencyError:
                if open3d:
                    raise
                poses = []
            if poses:
                trials = search.distinct(sorted([*search.rank(poses, 0.5, 8), *trials], key=lambda t: t.cost))
                method = "FPFH and RANSAC"
                if _on_nominal(trials[0], search.size):
                    return sorted_out(trials, method)
    if trials[0].tight:
        return sorted_out(trials, method)
    if len(axes) == _GRID:  # the grid was tried in their place
        return sorted_out(trials, method)
    more = search.rank(search.grid(_GRID), math.inf, 12)
    merged = search.distinct(sorted([*trials, *more], key=lambda t: t.cost))
    return sorted_out(merged, method if merged[0] in trials else "grid of rotations")


def without_strays(xyz: FloatArray) -> FloatArray:
    """The points (n, 3) without those that are alone: farther from their neighbours than `_STRAY` times what is usual.

    Judged on an even subset of points in the order of a space-filling curve; all points are kept where more than a
    tenth would go, for then they are no strays.
    """
    from scipy.spatial import cKDTree

    n = len(xyz)
    some = xyz if n <= _LOOKED else np.ascontiguousarray(xyz[(np.arange(_LOOKED) * n) // _LOOKED])
    k = 6  # itself and five others: pairs and small groups of strays are alone, too
    if len(some) <= 5 * k:
        return xyz
    tree = cKDTree(some)
    far = tree.query(some, k=k)[0][:, -1]
    limit = _STRAY * float(np.median(far))
    alone = far > limit
    share = float(np.mean(alone))
    if not limit > 0.0 or not 0.0 < share <= _STRAYS:
        return xyz
    good = some[~alone]
    if n == len(some):
        return np.ascontiguousarray(good)
    near = cKDTree(good).query(xyz, distance_upper_bound=limit)[0]
    return np.ascontiguousarray(xyz[np.isfinite(near)])


def _is_mirrored(data: Data, search: _Search, best: Trial) -> bool:
    """Whether the mirror image of the scan lies clearly better on the nominal than the scan."""
    xyz = np.ascontiguousarray(data.xyz * np.array([-1.0, 1.0, 1.0]))
    mirror = _Search(xyz, search.surface, search.quick, search.nominal, data.offset)
    other = mirror.rank(mirror.axes(), math.inf, 4)[0]
    return _on_nominal(other, search.size) and other.cost < 0.16 * best.cost


def _unit_factor(data: Data, search: _Search, best: Trial, here: float) -> float | None:
    """The factor on the scan's numbers that lets it lie on the nominal, where it does not as it is."""
    size = search.size
    for f in UNIT_FACTORS:
        for factor in (f, 1.0 / f):
            if not 0.5 <= here * factor / size <= 1.3:
                continue
            xyz = np.ascontiguousarray(data.xyz * factor)
            scaled = _Search(xyz, search.surface, search.quick, search.nominal, data.offset * factor)
            other = scaled.rank(scaled.axes(), math.inf, 4)[0]
            # both relative to their own sizes: a tiny scan may hide in any flat place of a large nominal
            relative = math.sqrt(best.cost) / min(here, size)
            if _on_nominal(other, size) and math.sqrt(other.cost) / size < 0.5 * relative:
                return factor
    return None


def _from_feature(data: Data, surface: FeatureTarget) -> Found:
    """The pose that lays a least-squares feature of the same kind on the nominal feature."""
    from metrology_core import fit
    from pointcloud.datums import direction_of, point_of

    some, _ = thin(data.xyz, 20_000)
    fitted = fit(some, surface.feature.kind)
    middle = data.xyz.mean(axis=0)
    if fitted.feature is None:
        pose = Pose(np.eye(3), middle, middle)
        return Found(pose, (), False, 1.0, method="least-squares feature")
    goal = surface.feature
    factor = surface.factor
    turn = np.eye(3)
    a, b = _direction(fitted.feature, direction_of), _direction(goal, direction_of)
    if a is not None and b is not None:
        turn = _shortest(a, b if float(a @ b) >= 0.0 or goal.kind in ("plane", "cone") else -b)
        if goal.kind == "plane" and float(a @ b) < 0.0:
            turn = _shortest(-a, b)
    pose = Pose(turn, point_of(fitted.feature), point_of(goal) / factor)
    pose = Pose(turn, middle, pose.apply(middle))
    return Found(pose, (), True, max(length_of(some), 1e-300), method="least-squares feature")


def _direction(feature: Any, direction_of: Any) -> FloatArray | None:
    return np.asarray(feature.normal) if feature.kind == "plane" else direction_of(feature)


def _shortest(a: FloatArray, b: FloatArray) -> FloatArray:
    """The smallest rotation that carries unit vector a to b."""
    axis = np.cross(a, b)
    s, c = float(np.linalg.norm(axis)), float(a @ b)
    if s < 1e-15:
        if c > 0.0:
            return np.eye(3)
        other = np.eye(3)[int(np.argmin(np.abs(a)))]
        axis = np.cross(a, other)
        return rotation(axis / np.linalg.norm(axis) * math.pi)
    return rotation(axis / s * math.atan2(s, c))
