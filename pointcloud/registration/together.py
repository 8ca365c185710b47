"""Several scans of one part registered together: their overlaps share the form deviation of the part.

A nominal knows nothing of the part's form deviation f, and each scan alone takes some of it into its motion. Where
scans overlap they see the same f. So the deviations of each scan are averaged over small cells of the nominal, and the
motions minimise the generalised least squares of these means under

    y(scan, cell) = J(scan, cell) . twist(scan) + f(cell) + noise / sqrt(points in the cell),

with f independent from cell to cell (so a cell should be as large as the form is correlated) and of a spread that is
estimated with the motions. Without form this is every scan on the nominal for itself; with much form the overlaps tie
the scans to each other, and the nominal places them all. Source: generalised least squares with random effects, J. C.
Pinheiro & D. M. Bates, Mixed-Effects Models (2000), ch. 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import PointSet, Rigid
from metrology_core.errors import ParameterError
from metrology_core.flags import merge
from pointcloud.registration.entry import align
from pointcloud.registration.fine import length_of
from pointcloud.registration.normal import Data, move, twist_of
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import Pose, displacement_rows, transport
from pointcloud.registration.target import Surface, surface_of

FloatArray = NDArray[np.float64]
_PASSES = 40
_STEP = 1e-12  # of the part, at which the motions have settled
_SETTLE = 4  # passes after which every point stays in its cell: the steps can end


@dataclass(frozen=True, eq=False)
class JointRegistration:
    """Motions of several scans onto one nominal.

    ``registrations``: one for each scan, as from `align`; their ``covariance_determined`` are the blocks of
    ``covariance`` (6 k, 6 k), the joint one of the twists about each scan's ``pivot``. ``form``: standard deviation of
    the part's form deviation from cell to cell, in ``unit``; ``cell``: edge of the cells; ``shared``: cells seen by
    more than one scan. ``status``: converged | not_converged, or that of the first scan without a motion.
    """

    registrations: tuple[Registration, ...]
    covariance: FloatArray
    form: float
    cell: float
    shared: int
    unit: str
    status: str
    iterations: int
    flags: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def relative_covariance(self, i: int, j: int, point: Any) -> FloatArray:
        """(6, 6) covariance of the twist of scan i against scan j about a point of the target frame: what a step
        between the two at this place may be."""
        at = np.asarray(point, dtype=np.float64)
        a, b = (transport(at - self.registrations[n].pivot) for n in (i, j))
        block = [[self.covariance[6 * r : 6 * r + 6, 6 * c : 6 * c + 6] for c in (i, j)] for r in (i, j)]
        return np.asarray(a @ block[0][0] @ a.T + b @ block[1][1] @ b.T - a @ block[0][1] @ b.T - b @ block[1][0] @ a.T)


@dataclass(eq=False)
class _Scan:
    data: Data
    pose: Pose
    motions: FloatArray  # (6, k) of the scaled chart about the pivot
    pivot: FloatArray
    noise: float
    key: NDArray[np.int64] | None = None  # the cell of each point, once it stays


@dataclass(frozen=True, eq=False)
class _Means:
    """Of the cells of one scan: key (m,), points (m,), mean deviation (m,), mean row (m, k); scatter within cells."""

    key: NDArray[np.int64]
    count: FloatArray
    value: FloatArray
    row: FloatArray
    within: float
    dof: float


def align_together(
    scans: Sequence[PointSet],
    nominal: Any,
    *,
    cell: float | None = None,
    starts: Sequence[Rigid | None] | None = None,
    search_limit: float | None = None,
    seed: int = 0,
    nominal_unit: str | None = None,
) -> JointRegistration:
    """Register scans of one unit to a nominal, tied by the form deviation that they share where they overlap.

    ``cell``: edge of the cells over which a scan is averaged, in the unit of the scans; some four times the length over
    which the form of the part is correlated (smaller ones understate the uncertainty), and with a few points of each
    scan (default: the larger of 1/15 of the part and what holds five points). Each scan is first aligned alone
    (`align`, best fit); free motions of a scan
    stay free. Noise: declared, or the scatter within the cells.

    Raises `ParameterError` for wrong use; bad data give a status.
    """
    if not scans or any(not isinstance(scan, PointSet) for scan in scans):
        raise ParameterError("scans are PointSets", expected="one or more")
    unit = scans[0].unit
    if any(scan.unit != unit for scan in scans):
        raise ParameterError("the scans have several units", got=", ".join(sorted({scan.unit for scan in scans})))
    if any(isinstance(scan.noise, np.ndarray) for scan in scans):
        raise ParameterError("joint registration takes one noise for each scan", remedy="average the noise per scan")
    if starts is not None and len(starts) != len(scans):
        raise ParameterError("one start for each scan, or none", got=str(len(starts)))
    if cell is not None and not cell > 0.0:
        raise ParameterError("a cell has a size", expected="> 0", got=repr(cell))
    surface = surface_of(nominal, unit, nominal_unit=nominal_unit, limit=search_limit)
    alone = [
        align(scan, surface, start=None if starts is None else starts[i], search_limit=search_limit, seed=seed)
        for i, scan in enumerate(scans)
    ]
    for found in alone:
        if not found.usable:
            return JointRegistration(
                tuple(alone), np.full((6 * len(scans),) * 2, math.nan), math.nan, cell or math.nan, 0, unit,
                found.status, 0, merge(found.flags),
            )  # fmt: skip
    every = np.concatenate([found.target_from_source.apply(scan.xyz[scan.finite])  # type: ignore[union-attr]
                            for scan, found in zip(scans, alone)])  # fmt: skip
    size = length_of(every)
    items = [_scan_of(scan, found, size) for scan, found in zip(scans, alone)]
    feet = [surface_feet(surface, move(item.data, item.pose), search_limit)[0] for item in items]
    edge = cell if cell is not None else _edge(feet, every)
    low = every.min(axis=0) - edge
    form, passes, converged = 0.0, 0, False
    means: list[_Means] = []
    while passes < _PASSES:
        passes += 1
        means = [_means(item, surface, low, edge, size, search_limit, passes > _SETTLE) for item in items]
        sigma = [_noise(item, mean) for item, mean in zip(items, means)]
        a, g, fresh, shared = _equations(means, sigma, form)
        if not _determined(a):
            return JointRegistration(
                tuple(alone), np.full((6 * len(scans),) * 2, math.nan), math.nan, edge, shared, unit, "degenerate",
                passes, merge([flag for found in alone for flag in found.flags], ["degenerate"]),
            )  # fmt: skip
        step = -np.linalg.solve(a, g)
        smallest = math.sqrt(float(np.linalg.inv(a).diagonal().min(initial=math.inf)))
        size_of_step = float(np.abs(step).max(initial=0.0))
        # points on facets and borders may come and go for ever: then half steps, and an end within a tenth of u
        tired = passes > 3 * _SETTLE
        step = 0.5 * step if tired else step
        parts = np.split(step, np.cumsum([item.motions.shape[1] for item in items])[:-1])
        for item, part in zip(items, parts):
            item.pose = item.pose.moved(twist_of(item.motions @ part, size), item.pivot)
        settled = abs(fresh - form) <= max(1e-6 * max(form, fresh), 1e-3 * min(sigma), 1e-13 * size)
        form = fresh
        small = size_of_step <= max(_STEP, (0.1 if tired else 1e-3) * smallest)
        if passes > _SETTLE and small and settled:
            converged = True
            break
    covariance = _covariance(items, np.asarray(np.linalg.inv(a), dtype=np.float64), size)
    result = []
    for k, (found, item) in enumerate(zip(alone, items)):
        block = covariance[6 * k : 6 * k + 6, 6 * k : 6 * k + 6]
        flags = merge([*found.flags, *([] if converged else ["not_converged"])])
        result.append(
            replace(
                found,
                target_from_source=item.pose.rigid,
                pivot=item.pivot,
                covariance_determined=block,
                flags=flags,
                status=found.status if converged else "not_converged",
                dof=math.inf,
                details={**found.details, "together": len(scans)},
                _residuals=None,
            )
        )
    return JointRegistration(
        tuple(result), covariance, form, edge, shared, unit, "converged" if converged else "not_converged", passes,
        merge([flag for row in result for flag in row.flags]), {"noise": sigma},
    )  # fmt: skip


def _determined(a: FloatArray) -> bool:
    """Whether the cells determine all motions that the scans determine alone: too few or too large ones do not."""
    if not np.isfinite(a).all():
        return False
    values = np.linalg.eigvalsh(a)
    return bool(values[0] > 1e-13 * values[-1])


def _scan_of(scan: PointSet, found: Registration, size: float) -> _Scan:
    xyz = np.ascontiguousarray(scan.xyz[scan.finite])
    offset = scan.tip.radius if scan.points_are == "ball_centre" and scan.tip is not None else 0.0
    assert found.target_from_source is not None
    pose = Pose.of(found.target_from_source, xyz.mean(axis=0))
    noise = float(scan.noise) if isinstance(scan.noise, float) else math.nan
    free = found.null_space * np.r_[np.ones(3), np.full(3, 1.0 / size)][:, None]
    determined = np.linalg.svd(free, full_matrices=True)[0][:, free.shape[1] :] if free.shape[1] else np.eye(6)
    return _Scan(Data(xyz, np.ones(len(xyz)), offset), pose, determined, found.pivot, noise)


def _keys(foot: FloatArray, n: FloatArray, low: FloatArray, edge: float) -> NDArray[np.int64]:
    """(n,) numbers of the cells: place on the grid and main direction of the normal."""
    grid = np.floor((foot - low) / edge).astype(np.int64)
    main = np.abs(n).argmax(axis=1)
    side = 2 * main + (np.take_along_axis(n, main[:, None], 1)[:, 0] > 0.0)
    key = np.asarray(((((grid[:, 0] << 18) + grid[:, 1]) << 18) + grid[:, 2]) * 6 + side, dtype=np.int64)
    return np.where((grid >= 0).all(axis=1), key, -1)


def surface_feet(
    surface: Surface, moved: FloatArray, limit: float | None
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Feet, deviations and gradients of the points that count, and which do."""
    found = surface.feet(moved)
    good = found.valid if limit is None else found.valid & (np.abs(found.distance) <= limit)
    d, n = found.distance[good], found.direction[good]
    return moved[good] - d[:, None] * n, d, n, good


def _edge(feet: list[FloatArray], every: FloatArray) -> float:
    extent = float(np.ptp(every, axis=0).max())
    spacing = max(float(np.ptp(f, axis=0).max()) / math.sqrt(len(f)) for f in feet)
    return max(extent / 15.0, 2.3 * spacing)


def _means(
    item: _Scan, surface: Surface, low: FloatArray, edge: float, size: float, limit: float | None, keep: bool
) -> _Means:
    moved = move(item.data, item.pose)
    foot, d, n, good = surface_feet(surface, moved, limit)
    d = d - item.data.offset
    if item.key is None:
        key = _keys(foot, n, low, edge)
    else:
        key = item.key[good]
    if keep and item.key is None:
        item.key = np.full(item.data.n, -1, dtype=np.int64)
        item.key[good] = key
    inside = key >= 0  # a point that counts only now has no cell
    foot, d, n = foot[inside], d[inside], n[inside]
    keys, index, count = np.unique(key[inside], return_inverse=True, return_counts=True)
    rows = displacement_rows(foot, n, item.pivot)
    rows[:, 3:] *= size  # the scaled chart: (omega, v / size)
    rows = rows @ item.motions
    k, m = rows.shape[1], len(keys)
    value = np.bincount(index, d, m) / count
    row = np.stack([np.bincount(index, rows[:, c], m) for c in range(k)], axis=1) / count[:, None]
    # scatter within cells about a plane of their own would need many points: about the mean, less what the rows explain
    rest = d - value[index]
    dof = float(max(len(d) - m, 1))
    return _Means(keys, count.astype(np.float64), value, row, float(rest @ rest) / dof, dof)


def _noise(item: _Scan, mean: _Means) -> float:
    """Declared, or the scatter within the cells where that is larger: it holds what the form does within them."""
    scatter = math.sqrt(mean.within)
    return max(item.noise, scatter) if math.isfinite(item.noise) else scatter


def _equations(means: list[_Means], sigma: list[float], form: float) -> tuple[FloatArray, FloatArray, float, int]:
    """Normal equations with the form integrated out, the form estimated anew, and the number of shared cells."""
    keys = np.unique(np.concatenate([m.key for m in means]))
    widths = [m.row.shape[1] for m in means]
    first = np.cumsum([0, *widths])
    total, seen = np.zeros(len(keys)), np.zeros(len(keys), dtype=np.int64)
    weighted, rows = np.zeros(len(keys)), np.zeros((len(keys), first[-1]))
    a, g = np.zeros((first[-1],) * 2), np.zeros(first[-1])
    for i, (m, s) in enumerate(zip(means, sigma)):
        at = np.searchsorted(keys, m.key)
        w = m.count / (s * s)
        total[at] += w
        seen[at] += 1
        weighted[at] += w * m.value
        part = slice(first[i], first[i + 1])
        rows[at, part] += w[:, None] * m.row
        a[part, part] += (m.row * w[:, None]).T @ m.row
        g[part] += (m.row * w[:, None]).T @ m.value
    kappa = form * form / (1.0 + form * form * total)
    a -= (rows * kappa[:, None]).T @ rows
    g -= rows.T @ (kappa * weighted)
    mean = weighted / total
    return a, g, _form(mean, 1.0 / total, first[-1]), int(np.count_nonzero(seen > 1))


def _form(mean: FloatArray, variance: FloatArray, parameters: int) -> float:
    """Spread of the form by the method of R. C. Paule & J. Mandel (J. Res. NBS 87 (1982) 377): the weighted sum of
    squares equals its degrees of freedom."""
    dof = max(len(mean) - parameters, 1)

    def excess(square: float) -> float:
        return float(np.sum(mean * mean / (variance + square))) - dof

    if excess(0.0) <= 0.0:
        return 0.0
    high = float(np.mean(mean * mean)) + 1e-300
    while excess(high) > 0.0:
        high *= 2.0
    low = 0.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return math.sqrt(0.5 * (low + high))


def _covariance(items: list[_Scan], inverse: FloatArray, size: float) -> FloatArray:
    scale = np.r_[np.ones(3), np.full(3, size)][:, None]
    wide = np.zeros((6 * len(items), inverse.shape[0]))
    at = 0
    for i, item in enumerate(items):
        k = item.motions.shape[1]
        wide[6 * i : 6 * i + 6, at : at + k] = item.motions * scale
        at += k
    return np.asarray(wide @ inverse @ wide.T)
