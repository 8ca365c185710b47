"""`align`: one door to all alignments of a scan to its nominal."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metrology_core.data import PointSet, Rigid
from metrology_core.data.datums import DEGREES_OF_FREEDOM
from metrology_core.errors import ParameterError
from metrology_core.flags import merge
from metrology_core.instrument import Instrument
from metrology_core.units import convert
from pointcloud.registration.fine import Basis, Descent, Limits, descend, length_of, runner, span
from pointcloud.registration.free import name_motions
from pointcloud.registration.normal import Data, Loss, Rules
from pointcloud.registration.observe import free_space
from pointcloud.registration.order import morton_order
from pointcloud.registration.redundancy import free_matters, redundancy
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import Pose
from pointcloud.registration.target import FeatureTarget, Surface, surface_of
from pointcloud.registration.uncertainty import spread

FloatArray = NDArray[np.float64]
Method = Literal["best_fit", "minimum_maximum", "tolerance_fit", "rps", "none"]
METHODS = ("best_fit", "minimum_maximum", "tolerance_fit", "rps", "none")
GROSS = 0.3  # radii of gyration of the nominal beyond which a point is not of its surface, where no limit is given
LEVELS = (2048, 32768)  # points of the first two stages


@dataclass(frozen=True, eq=False)
class Options:
    """Checked arguments of `align` that the stages share."""

    rules: Rules
    metric: str
    limits: Limits
    locked: tuple[str, ...]
    noise: float | None
    instrument: Instrument | None
    permission: str | None
    seed: int
    open3d: bool | None
    check: bool


def align(
    scan: PointSet,
    nominal: Any,
    *,
    method: Method = "best_fit",
    start: Rigid | None = None,
    nominal_unit: str | None = None,
    targets: Any = None,
    tolerance: Any = None,
    loss: Loss = "squares",
    trim: float = 0.0,
    search_limit: float | None = None,
    max_angle: float | None = None,
    metric: Literal["point_to_plane", "point_to_point"] = "point_to_plane",
    locked: tuple[str, ...] = (),
    instrument: Instrument | None = None,
    permission: str | None = None,
    seed: int = 0,
    open3d: bool | None = None,
    check: bool = True,
    max_iterations: int = 60,
    step: float = 1e-12,
) -> Registration:
    """Find ``target_from_source`` for a scan and its nominal (mesh, nominal surface, or feature).

    method
        ``best_fit``: least squares of the distances to the surface (with ``loss`` huber or tukey: robust; with
        ``trim``: the share of points with the largest residuals left out). ``minimum_maximum``: least largest distance
        (Chebyshev). ``tolerance_fit``: least worst share of ``tolerance`` (a number for +-t, (lower, upper), (n,) or
        (n, 2), in the unit of the scan). ``rps``: datum targets, see `rps`. ``none``: the coordinates as they are.
    start
        A motion to start from; without it the coarse stage finds one from nothing, up to the symmetry of the part.
    search_limit, max_angle
        Points farther than this from the nominal (unit of the scan) or with a normal turned further than this (rad)
        do not count. They belong to the fine stage. Without a limit and a start, a fit of plain squares leaves out what
        lies farther than 0.3 radii of gyration of the nominal, or than 0.02 where the coarse stage found a part of the
        scan tight on the nominal and the rest off it: flag ``gross_outliers_left_out``.
    metric
        How the first stage descends: by tangent planes at the feet with the feet themselves as brake
        (``point_to_plane``), or by the feet alone (``point_to_point``: slow and steady). The objective, the sum of
        squared distances to the surface, and so the result are the same.
    locked
        Degrees of freedom of the target frame (tx ty tz rx ry rz, about its origin) in which the start is not moved.
    permission
        Where the drawing allows a best fit or a tolerance fit: without it the result gives no verdict.
    step
        Relative size of the last step at which the fine stage ends; it also ends where the step is a thousandth of its
        own standard uncertainty.

    Never raises for bad data: see `Registration.status` and its flags. Raises `ParameterError` for wrong use.
    """
    if not isinstance(scan, PointSet):
        raise ParameterError("the scan is not a PointSet", got=type(scan).__name__, remedy="use PointSet.from_array")
    if method not in METHODS:
        raise ParameterError(f"unknown method {method!r}", expected=", ".join(METHODS))
    options = _options(
        scan,
        loss,
        trim,
        search_limit,
        metric,
        locked,
        instrument,
        permission,
        seed,
        open3d,
        check,
        max_iterations,
        step,
    )
    if locked and start is None and method != "none":
        raise ParameterError("locked degrees of freedom need a start", remedy="give start=, Rigid.identity() to stay")
    if (method == "tolerance_fit") != (tolerance is not None):
        raise ParameterError("tolerance= and method='tolerance_fit' go together")
    if (method == "rps") != (targets is not None):
        raise ParameterError("targets= and method='rps' go together")
    if max_angle is not None and (search_limit is None or scan.normals is None):
        raise ParameterError("max_angle needs search_limit= and a scan with normals")
    surface = surface_of(nominal, scan.unit, nominal_unit=nominal_unit, limit=search_limit, max_angle=max_angle)
    finite = scan.finite
    flags = list(scan.flags)
    n = int(np.count_nonzero(finite))
    if method == "none":
        from pointcloud.registration.fixed import as_measured

        return as_measured(scan, surface, options.rules.limit)
    if n < 3:
        return Registration(
            None, method, scan.unit, "insufficient", merge(flags, ["insufficient"]), n_points=len(scan), n_used=n,
            details={"reason": f"{n} finite points"},
        )  # fmt: skip
    order = morton_order(scan.xyz)[:n]
    data = _data(scan, order, max_angle is not None)
    gross = 0
    if start is None:
        from pointcloud.registration.checks import with_findings
        from pointcloud.registration.coarse import INSIDE, find_start

        found = find_start(data, surface, seed=seed, open3d=open3d, check=check)
        pose, coarse = found.pose, found
        if found.hopeless:  # no pose to go on from
            nothing = Registration(
                None, method, scan.unit, "disjoint", merge(flags), n_points=len(scan), n_used=0,
                permission=permission, details={"length": length_of(data.xyz)},
            )  # fmt: skip
            return with_findings(nothing, found, pose, np.zeros((6, 0)), surface, seed)
        if (
            math.isinf(options.rules.limit)
            and options.rules.loss == "squares"
            and not isinstance(surface, FeatureTarget)
        ):
            best = found.trials[0]
            # what a partial nominal does not hold has feet on other walls of it, and would pull
            reach = INSIDE if best.tight and best.share < 0.95 else GROSS
            near = _near(data, surface, pose, reach * found.size)
            gross = int(np.count_nonzero(~near))
            if gross:
                order = order[near]
                data = _data(scan, order, max_angle is not None)
    else:
        pose, coarse = Pose.of(start, data.xyz.mean(axis=0)), None
    solved = best_fit(scan, data, order, surface, pose, options, start)
    result = solved.result
    residuals = functools.partial(lazy_residuals, scan, surface, offset=data.offset)
    if result.target_from_source is not None and method in ("minimum_maximum", "tolerance_fit"):
        from pointcloud.registration.minimax import minimise, zone_of

        zone = None if tolerance is None else zone_of(tolerance, order, len(scan))
        noise = declared_noise(scan, order, options)
        result = minimise(result, data, surface, solved.pose, solved.basis, zone, options.rules, noise, residuals)
    elif result.target_from_source is not None and method == "rps":
        from pointcloud.registration.rps import align_targets

        noise = declared_noise(scan, order, options)
        result = align_targets(
            scan, data.xyz, surface, targets, solved.pose, offset=data.offset, noise=noise, residuals=residuals
        )
        if result.free and result.target_from_source is not None:
            result = _with_free_targets(result, data, surface, options, noise)
    if gross:
        flags = [*result.flags, "gross_outliers_left_out"]
        result = replace(result, flags=merge(flags), n_outside=result.n_outside + gross)
    if coarse is not None and "length" in result.details:
        result = with_findings(result, coarse, solved.pose, solved.free, surface, seed)
    return result


def _near(data: Data, surface: Surface, pose: Pose, limit: float) -> NDArray[np.bool_]:
    """(n,) which points lie within ``limit`` of the nominal at a pose, its open borders included."""
    distance = surface.feet(np.ascontiguousarray(pose.apply(data.xyz)), border=True).distance - data.offset
    return np.asarray(np.abs(distance) <= limit)


def _with_free_targets(
    result: Registration, data: Data, surface: Surface, options: Options, noise: float | None
) -> Registration:
    """Targets that leave motions free: whether the distances of the scan depend on them."""
    assert result.target_from_source is not None
    length = length_of(data.xyz)
    free = result.null_space / np.r_[np.ones(3), np.full(3, length)][:, None]
    part = data.thinned(LEVELS[0])
    middle = result.target_from_source.inverse().apply(result.pivot)
    run = runner(part, surface, Rules(limit=options.rules.limit), length, middle)
    pose = Pose.of(result.target_from_source, data.xyz.mean(axis=0))
    if free_matters(run, pose, free / np.linalg.norm(free, axis=0), max(surface.chord, noise or 0.0)):
        return replace(result, flags=merge(result.flags, ["alignment_undetermined"]))
    return result


def _options(
    scan: PointSet, loss: str, trim: float, limit: float | None, metric: str, locked: Any,
    instrument: Instrument | None, permission: str | None, seed: int, open3d: bool | None, check: bool,
    passes: int, step: float,
) -> Options:  # fmt: skip
    if loss not in ("squares", "huber", "tukey"):
        raise ParameterError(f"unknown loss {loss!r}", expected="squares, huber or tukey")
    if not 0.0 <= trim < 0.9:
        raise ParameterError("trim is a share of the points", expected="0 <= trim < 0.9", got=repr(trim))
    if trim and loss != "squares":
        raise ParameterError("trimming and a robust loss are two answers to one question", remedy="choose one")
    if limit is not None and not limit > 0.0:
        raise ParameterError("search_limit is a length", expected="> 0", got=repr(limit))
    if metric not in ("point_to_plane", "point_to_point"):
        raise ParameterError(f"unknown metric {metric!r}", expected="point_to_plane or point_to_point")
    if passes < 1:
        raise ParameterError("max_iterations is a count", expected=">= 1", got=repr(passes))
    if not step >= 0.0:
        raise ParameterError("step is a relative length", expected=">= 0", got=repr(step))
    locked = tuple(locked)
    unknown = [name for name in locked if name not in DEGREES_OF_FREEDOM]
    if unknown:
        raise ParameterError(f"unknown degree of freedom {unknown[0]!r}", expected=", ".join(DEGREES_OF_FREEDOM))
    noise: float | None = None
    if isinstance(scan.noise, float):
        noise = scan.noise
    elif scan.noise is None and instrument is not None and instrument.noise is not None:
        noise = convert(instrument.noise, instrument.unit, scan.unit)
    elif scan.noise is not None:
        noise = math.nan  # per point: set with the weights
    rules = Rules(loss, float(trim), math.inf if limit is None else float(limit))  # type: ignore[arg-type]
    return Options(
        rules, metric, Limits(step, passes=passes), locked, noise or None, instrument, permission, seed, open3d, check
    )  # fmt: skip


def _data(scan: PointSet, order: NDArray[np.int64], with_normals: bool) -> Data:
    xyz = np.ascontiguousarray(scan.xyz[order])
    prior = np.ones(len(order))
    if isinstance(scan.noise, np.ndarray):
        noise = scan.noise[order]
        if noise.min() <= 0.0:
            raise ParameterError(
                "per-point noise must be positive to weight an alignment", got=repr(float(noise.min()))
            )
        prior = float(np.mean(noise**2)) / noise**2
    offset = scan.tip.radius if scan.points_are == "ball_centre" and scan.tip is not None else 0.0
    return Data(xyz, prior, offset, scan.normals[order] if with_normals and scan.normals is not None else None)


def declared_noise(scan: PointSet, order: NDArray[np.int64], options: Options) -> float | None:
    """Standard deviation of a point of weight 1, where declared."""
    if isinstance(scan.noise, np.ndarray):
        return math.sqrt(float(np.mean(scan.noise[order] ** 2)))
    return options.noise


def locked_basis(locked: tuple[str, ...], length: float) -> Basis:
    """Orthonormal motions of the scaled chart about a pivot that leave the locked freedoms of the origin alone."""
    names = ("rx", "ry", "rz", "tx", "ty", "tz")
    allowed = np.eye(6)[:, [i for i, name in enumerate(names) if name not in locked]]
    scale = np.r_[np.ones(3), np.full(3, length)][:, None]
    return span(allowed / scale, np.zeros(3), length)


def fine_levels(
    data: Data, surface: Surface, pose: Pose, options: Options, length: float
) -> tuple[Descent, FloatArray, FloatArray]:
    """The descent over subsets and all points; (last descent, determined (6, k), free (6, m) motions about its
    pivot)."""
    to_point = options.metric == "point_to_point"
    rules = options.rules
    wide = Rules(rules.loss, rules.trim, rules.limit, border=True)
    middle = data.xyz.mean(axis=0)
    basis = locked_basis(options.locked, length)
    counts = [count for count in LEVELS if count < 0.7 * data.n]
    part = data.thinned(LEVELS[0])
    # from afar: open borders attract, and the blend begins on the side of the majorant
    run = runner(part, surface, wide, length, middle)
    if to_point:  # feet held fixed all the way down; the end belongs to the undamped steps that both models share
        pose = descend(run, pose, basis, Limits(1e-3, 0.0, passes=300), point_to_point=True).pose
    last = descend(run, pose, basis, Limits(1e-5, 0.1, passes=100), blend=0.3)
    subset = runner(part, surface, rules, length, middle)
    free: tuple[FloatArray, FloatArray] | None = None
    for count in [*counts, data.n]:
        final = count == data.n
        run = runner(data.thinned(count), surface, rules, length, middle)
        goal = options.limits if final else Limits(1e-9, 0.1, passes=40)
        last = descend(run, last.pose, basis, goal)
        if last.state.n_kept < 3 or (free is not None and not final):
            continue
        if not final and count != counts[-1]:
            continue
        sigma = math.sqrt(2.0 * last.state.cost / max(last.state.n_kept - 6, 1))
        kept, found = free_space(
            last.state, basis(last.state.pivot), None if surface.exact else subset, surface.chord, sigma
        )
        if final and free is not None:
            continue
        free = (found, last.state.pivot)
        if found.shape[1]:
            basis = span(kept, last.state.pivot, length)
            if final and not surface.exact:  # free motions found at the end only: settle without them
                last = descend(run, last.pose, basis, goal)
    pivot = last.state.pivot
    if free is None:
        return last, np.zeros((6, 0)), np.zeros((6, 0))
    return last, basis(pivot), span(*free, length)(pivot) if free[0].shape[1] else free[0]


@dataclass(frozen=True, eq=False)
class Solved:
    """A best fit with what other alignments go on from: pose, determined motions, free motions (6, m)."""

    result: Registration
    pose: Pose
    basis: Basis
    free: FloatArray


def best_fit(
    scan: PointSet, data: Data, order: NDArray[np.int64], surface: Surface, pose: Pose, options: Options,
    start: Rigid | None,
) -> Solved:  # fmt: skip
    """The least-squares (or robust) alignment, from a pose."""
    length = length_of(data.xyz)
    flags = list(scan.flags)
    if not length > 0.0:
        nothing = Registration(
            None, "best_fit", scan.unit, "degenerate", merge(flags, ["degenerate"]), n_points=len(scan),
            n_used=data.n, details={"reason": "all points are equal"},
        )  # fmt: skip
        return Solved(nothing, pose, locked_basis((), 1.0), np.zeros((6, 0)))
    last, determined, free = fine_levels(data, surface, pose, options, length)
    state = last.state
    k = determined.shape[1]
    noise = declared_noise(scan, order, options)
    details: dict[str, Any] = {
        "length": length, "step": last.step, "rate": last.rate, "metric": options.metric, "loss": options.rules.loss,
        "start": "given" if start is not None else "coarse stage",
    }  # fmt: skip
    if options.locked:
        details["locked"] = list(options.locked)
    common: dict[str, Any] = {
        "n_points": len(scan), "n_used": state.n_kept, "n_outside": data.n - state.n_valid,
        "n_trimmed": state.n_valid - state.n_kept, "iterations": last.passes, "permission": options.permission,
    }  # fmt: skip
    if state.n_kept < max(3, min(k, 6)) or state.n_valid < 0.01 * data.n:
        status = "insufficient" if data.n < 6 else "disjoint"
        details["reason"] = f"{state.n_valid} of {data.n} points have a foot on the nominal"
        nothing = Registration(
            None, "best_fit", scan.unit, status, merge(flags, [status]), details=details, **common
        )  # fmt: skip
        return Solved(nothing, last.pose, locked_basis((), length), free)
    found = spread(
        state, options.rules, data.prior, determined, noise=noise, instrument=options.instrument, unit=scan.unit
    )
    flags += found.flags
    scale = np.r_[np.ones(3), np.full(3, length)]
    covariance = found.covariance * np.outer(scale, scale)
    kept = state.weight != 0.0
    rms = math.sqrt(float(np.mean(state.residual[kept] ** 2))) if state.n_kept else math.nan
    motions = name_motions(free, state.pivot, length)
    status = "converged" if last.converged else "not_converged"
    if not last.converged:
        flags.append("not_converged")
        if last.passes >= options.limits.passes:
            flags.append("steps_not_exhausted")
    elif free.shape[1]:
        status = "degenerate"
    if free.shape[1]:
        flags.append("free_motions")
    if state.n_valid < data.n:
        flags.append("points_beyond_limit")
    if state.n_kept < state.n_valid:
        flags.append("points_trimmed")
    if options.rules.loss == "squares" and state.n_kept > 100:
        size = np.abs(state.residual[kept]) * np.sqrt(data.prior[kept])
        if float(np.mean(size > 6.0 * 1.4826 * np.median(size))) > 0.01:
            flags.append("outliers_present")
    if state.n_kept <= k:
        flags.append("zero_redundancy")
    over = redundancy(state, determined)
    details["redundancy"] = over.to_dict()
    if not over.enough:
        flags.append("alignment_not_redundant")
        details["redundancy"]["reason"] = over.words()
    if free.shape[1]:
        allowed = max(2.0 * surface.chord if math.isfinite(surface.chord) else 0.0, noise or 0.0)
        if k < state.n_kept and math.isfinite(found.sigma):
            allowed = max(allowed, found.sigma)
        walk = runner(data.thinned(LEVELS[0]), surface, options.rules, length, data.xyz.mean(axis=0))
        if free_matters(walk, last.pose, free, allowed):
            flags.append("alignment_undetermined")
    if not options.permission:
        flags.append("best_fit_alignment")
    details["budget"] = found.budget
    rigid = last.pose.rigid
    factor = np.r_[np.ones(3), np.full(3, length)]
    null = free * factor[:, None]
    information = state.h_plane * np.outer(1.0 / factor, 1.0 / factor) * length**2
    result = Registration(
        rigid, "best_fit", scan.unit, status, merge(flags), state.pivot, information, covariance, null, motions, (),
        found.dof, rms, found.sigma, alignment="best_fit", details=details,
        _residuals=lazy_residuals(scan, surface, last.pose, data.offset), **common,
    )  # fmt: skip
    return Solved(result, last.pose, span(determined, state.pivot, length), free)


def lazy_residuals(scan: PointSet, surface: Surface, pose: Pose, offset: float = 0.0) -> Any:
    """A function that computes the residuals of all points of the scan."""

    def compute() -> FloatArray:
        finite = scan.finite
        result = np.full(len(scan), math.nan)
        normals = None if scan.normals is None else scan.normals[finite] @ pose.rotation.T
        feet = surface.feet(np.ascontiguousarray(pose.apply(scan.xyz[finite])), normals=normals)
        result[finite] = np.where(feet.valid, feet.distance - offset, math.nan)
        return result

    return compute
