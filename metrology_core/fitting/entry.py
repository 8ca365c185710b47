"""`fit`: from points and the name of a feature to a `Fit`."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting import problem as _problem
from metrology_core.fitting import shallow
from metrology_core.fitting.canonical import canonical_frame, canonical_turn, chart_columns, feature_of, lengths
from metrology_core.fitting.memory import finite_points, in_space, selected
from metrology_core.fitting.passes import NEAR_FROM, Gathered
from metrology_core.fitting.result import Evidence, Fit
from metrology_core.fitting.search import ambiguous, tied
from metrology_core.fitting.solver import Answer, least_squares, least_squares_of
from metrology_core.fitting.table import Row, find
from metrology_core.kernels import layout

# Condition of J with unit columns above which a parameter is known far worse than the points: an arc below 14 degrees.
ILL_CONDITIONED = 1e3
FLAT_KINDS = (layout.CIRCLE, layout.SPHERE, layout.CYLINDER)
_FORM = "peak to valley of the normal distances about the least-squares {}"


def fit(
    points: Any,
    feature: str,
    *,
    criterion: str = "least_squares",
    material: str | None = None,
    weights: Any = None,
    covariances: Any = None,
    fixed: Mapping[str, Any] | None = None,
    bounds: Any = None,
    start: Feature | None = None,
    unit: str | None = None,
    robust: str | None = None,
    labels: Any = None,
) -> Fit:
    """Fit a feature to points: no hint needed, deterministic, judged by its optimality condition.

    points: (n, 3) array or `PointSet`; (n, 2) for line, circle and ellipse in a plane; or a `hdf5.BlockSource` that is
    read in blocks, several times, by least squares only: the same bits in bounded memory, without `Fit.residuals`.
    Points that are not finite are counted, flagged and left out. feature: line, plane, circle, sphere, cylinder, cone,
    torus, ellipse, slot or parallel_planes (in a plane: parallel lines). criterion: see
    `metrology_core.fitting.available`. material:
    ``"inside"`` (shaft) or ``"outside"`` (bore); one-sided criteria need it, ball centres are compensated towards it.
    weights: (n,) 1 / variance, for the least-squares and least-absolute criteria. covariances: (n, d, d), or (d, d)
    for all points, of the points' errors: least squares in their metric (errors in variables). fixed: parameters held
    at a value (``{"radius": 5.0}``, ``{"axis": (0, 0, 1)}``). bounds: ``{"radius": (low, high)}`` on sizes and the
    half-angle, None for no limit. start: a feature to start from instead of the search. unit: a unit of length,
    recorded with the result (a `PointSet` carries its own). robust: ``"huber"`` or ``"tukey"``: outliers are found and
    dropped, and reported, before the plain fit (least squares only). labels: (n,) with two values, which of two
    parallel planes each point belongs to; without it the points are split automatically.

    Bad data never raise: see `Fit.status` and `Fit.flags` (non_finite_points, zero_redundancy, ill_conditioned,
    curvature_not_significant, curvature_only, other_minima, ball_centre_uncompensated, contacts_unstable,
    outliers_dropped, bound_active). Wrong use raises `ParameterError`, `CriterionError` or `UnitError`.
    Orthogonal distance regression; directions follow `features.sign_of`, a cone's axis points to its growing radius,
    the point of line, plane, cylinder and cone is the foot of the points' centroid.
    """
    source = None
    if hasattr(points, "blocks"):
        from metrology_core.fitting import streamed

        if streamed.is_source(points):
            streamed.check_arguments(
                criterion, weights=weights, covariances=covariances, bounds=bounds, robust=robust, labels=labels
            )
            unit = getattr(points, "unit", unit) if unit is None else unit
            source = points
            points = points.read(0, points.n_points) if streamed.small(points) else np.empty((0, 3))
    given = _problem.read_points(points, unit)
    if not isinstance(feature, str):
        raise ParameterError("a feature is named by a word", expected="for example 'cylinder'", got=repr(feature)[:80])
    row = find(feature, given.dimension, criterion)
    if material not in (None, "inside", "outside"):
        raise ParameterError("unknown material side", expected="'inside', 'outside' or None", got=repr(material))
    held = _problem.read_fixed(fixed, row)
    first = _problem.read_start(start, row)
    if source is not None and not len(given.array) and source.n_points:
        return _streamed(source, row, given, held, first, material)
    n = len(given.array)
    all_weights = _problem.read_weights(weights, n)
    if (
        criterion != "least_squares"
        or not row.compiled
        or robust is not None
        or bounds is not None
        or covariances is not None
        or labels is not None
        or "axis_ratio" in held
    ):
        from metrology_core.fitting.general.entry import other_fit

        found = other_fit(
            points, row, criterion, given, material, all_weights, covariances, held, bounds, first, robust, labels
        )
        if found is not None:
            return found
    if criterion != "least_squares":
        from metrology_core.fitting.zone.finish import check_arguments

        check_arguments(criterion, material, all_weights)

    many = n >= NEAR_FROM and criterion == "least_squares"  # not copied, see `passes.Gathered`
    array = given.array
    xyz = array if many or given.dimension == 3 else in_space(array)
    notes: list[str] = list(given.source.flags) if given.source is not None else []
    settings: dict[str, Any] = {"start": "given" if first is not None else "search"}
    if held:
        settings["fixed"] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in held.items()}
    if all_weights.size:
        settings["weighted"] = True
    n_free = _free_count(row, held)
    needed = _minimum(row, n_free)
    used: np.ndarray | None = None
    answer = Answer("bad_points")
    if n >= needed and xyz.shape[1] == 3 and not (all_weights.size and not (all_weights > 0.0).all()):
        answer = least_squares(row, xyz, all_weights, held, first)
    m = n
    if answer.outcome == "bad_points":
        points = Gathered(xyz, all_weights) if many else None
        if points is None or points.n < n:
            finite = points.used if points is not None and not all_weights.size else finite_points(xyz)
            if not finite.all():
                notes.append("non_finite_points")
            used = finite & (all_weights > 0.0) if all_weights.size else finite
            m = int(used.sum())
        if m < needed:
            answer = Answer("insufficient", f"{m} usable points, {needed} needed")
        elif points is not None:
            answer = least_squares_of(row, points, held, first)
        else:
            answer = least_squares(row, selected(xyz, used), selected(all_weights, used), held, first)
    if answer.outcome != "converged" or answer.condition > ILL_CONDITIONED:
        from metrology_core.fitting.rescue import rescued

        part = in_space(selected(xyz, used))
        answer = rescued(row, part, selected(all_weights, used), held, answer, searched=first is None)
    if first is None and answer.outcome == "converged" and not all_weights.size and _rough(row, answer, m):
        from metrology_core.fitting.rescue import beside_strays

        answer = beside_strays(row, in_space(selected(xyz, used)), held, answer)
    if answer.outcome == "converged" and answer.pose[12] > shallow.FROM and "radius" not in held:
        load = all_weights if used is None or not all_weights.size else all_weights[used]
        shallow.refined(row, xyz if used is None else xyz[used], load, answer.pose, answer.centre, answer.scale)
    evidence = None
    if answer.outcome in ("converged", "not_converged"):
        pose = canonical_frame(row, answer.pose)
        fixed_columns = tuple(c for c in chart_columns(row) if not answer.free[c]) if held else ()
        evidence = Evidence(row, xyz, all_weights, used, pose, answer.centre, answer.scale, fixed_columns)
    else:
        flat = None
        if answer.outcome == "degenerate" and criterion == "least_squares" and row.kind in FLAT_KINDS:
            flat = _bent(row, xyz, used, all_weights, held, notes)
        return _failed(row, criterion, given, n, m, answer, notes, settings, flat)
    if ambiguous(answer.rivals, m, m * row.rows_per_point - n_free, n_free):
        notes.append("other_minima")
    if held and row.kind == layout.ELLIPSE and not _kept(held, evidence, answer.scale):
        answer.reason = "the other semi-axis would have to be larger than the fixed semi_major (or smaller: semi_minor)"
        answer.outcome = "degenerate"
        return _failed(row, criterion, given, n, m, answer, notes, settings)
    if criterion != "least_squares":
        from metrology_core.fitting.zone.finish import zone_fit

        points_used = selected(xyz, used)
        return zone_fit(
            row,
            criterion,
            given.source,
            given.unit,
            xyz,
            points_used,
            used,
            answer,
            held,
            n_free,
            material,
            notes,
            settings,
        )
    return _finish(row, criterion, given, n, m, n_free, answer, evidence, material, notes, settings)


def _rough(row: Row, answer: Answer, m: int) -> bool:
    """Whether residuals are above a hundredth of the extent: no workpiece, or a few strays beside a sound one."""
    p = layout.N_PARAMETERS[row.kind]
    return float(answer.sums[p * (p + 1) - p * (p - 1) // 2]) > 1e-4 * m


def _streamed(
    source: Any, row: Row, given: Any, held: dict[str, Any], first: Feature | None, material: str | None
) -> Fit:
    """The fit of a block source that is not read at once."""
    from metrology_core.fitting.streamed import Stream

    stream = Stream(source)
    answer = least_squares_of(row, stream, held, first)
    doubted = answer.outcome != "converged" or answer.condition > ILL_CONDITIONED
    if doubted and first is None and row.kind in (layout.CONE, layout.TORUS):
        near = fit(stream.near, row.name, fixed=held or None)  # with the second search, which needs points in memory
        other = answer if near.associated is None else least_squares_of(row, stream, held, near.associated)
        p = layout.N_PARAMETERS[row.kind]
        cost = p * (p + 1) - p * (p - 1) // 2
        if other.outcome == "converged" and (answer.outcome != "converged" or other.sums[cost] < answer.sums[cost]):
            answer = other
    notes = list(getattr(source, "flags", ()))
    if not stream.clean:
        notes.append("non_finite_points")
    settings: dict[str, Any] = {"start": "given" if first is not None else "search", "points": "read in blocks"}
    if held:
        settings["fixed"] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in held.items()}
    n, m = stream.given, stream.n
    if answer.outcome == "bad_points" or m < _minimum(row, _free_count(row, held)):
        answer.outcome, answer.reason = "insufficient", f"{m} usable points"
    if answer.outcome not in ("converged", "not_converged"):
        return _failed(row, "least_squares", given, n, m, answer, notes, settings)
    pose = canonical_frame(row, answer.pose)
    fixed_columns = tuple(c for c in chart_columns(row) if not answer.free[c]) if held else ()
    none = np.empty(0)
    evidence = Evidence(row, np.empty((0, 3)), none, None, pose, answer.centre, answer.scale, fixed_columns, kept=False)
    return _finish(
        row, "least_squares", given, n, m, _free_count(row, held), answer, evidence, material, notes, settings
    )


def _bent(
    row: Row, xyz: np.ndarray, used: np.ndarray | None, weights: np.ndarray, held: dict[str, Any], notes: list[str]
) -> Any:
    """The curvature of points that are too flat for a radius, with the flag that says so; None where there is none."""
    from metrology_core.fitting.curvature import fit_curvature

    if any(name in held for name in row.sizes):
        return None
    part = (xyz if used is None else xyz[used])[:, : row.dimension]
    load = weights if used is None or not weights.size else weights[used]
    found = fit_curvature(row, part, load, held.get(row.axis or "") if row.kind == layout.CYLINDER else None)
    if found is not None:
        notes.append("curvature_only" if found.significant else "curvature_not_significant")
    return found


def _kept(held: Mapping[str, Any], evidence: Evidence, scale: float) -> bool:
    """Whether the fixed semi-axes of an ellipse are still called what they were: the sign rule names the longer one."""
    return all(
        abs(float(evidence.pose[12 + k]) - held[name] * scale) <= 1e-12 * abs(held[name] * scale)
        for k, name in enumerate(("semi_major", "semi_minor"))
        if name in held
    )


def _free_count(row: Row, held: Mapping[str, Any]) -> int:
    return sum(row.free) - sum(2 if name == row.axis else 1 for name in held)


def _minimum(row: Row, n_free: int) -> int:
    """Points needed: those of the table, fewer where parameters are fixed."""
    missing = sum(row.free) - n_free
    return max(1, row.minimum - missing // row.rows_per_point)


def _failed(
    row: Row, criterion: str, given: Any, n: int, m: int, answer: Answer, notes: list[str], settings: dict[str, Any],
    flat: Any = None,
) -> Fit:  # fmt: skip
    status = answer.outcome
    p = sum(row.free)
    return Fit(
        feature=None, associated=None, criterion=criterion, unit=given.unit, status=status,
        flags=_flags.merge([*notes, status]), n_points=n, n_used=m, dof=max(0, m * row.rows_per_point - p),
        rms=math.nan, sigma=math.nan, form=math.nan, form_kind=_form_words(row), covariance=np.full((p, p), math.nan),
        optimality={"reason": answer.reason}, settings=settings, extent=None, reach=math.nan, kind=row.name,
        _flat=flat,
    )  # fmt: skip


def _form_words(row: Row) -> str:
    if row.kind == layout.LINE and row.dimension == 3:
        return "diameter of the enclosing cylinder about the least-squares line"
    return _FORM.format(row.name)


def _finish(
    row: Row,
    criterion: str,
    given: Any,
    n: int,
    m: int,
    n_free: int,
    answer: Answer,
    evidence: Evidence,
    material: str | None,
    notes: list[str],
    settings: dict[str, Any],
) -> Fit:
    p, scale, sums = layout.N_PARAMETERS[row.kind], answer.scale, answer.sums
    associated = feature_of(row, evidence.pose, answer.centre, scale)
    weighted = bool(evidence.weights.size)
    dof = m * row.rows_per_point - n_free
    total = float(sums[p * (p + 1) - p * (p - 1) // 2])  # packed (p, p): e'We
    total = max(0.0, total)
    sigma = math.sqrt(total / dof) / scale if dof > 0 else math.nan
    rms = math.sqrt(total / m) / scale

    status = answer.outcome
    if status == "not_converged":
        notes.append("not_converged")
    if dof <= 0:
        notes.append("zero_redundancy")
        if status == "converged" and not row.exact_is_unique:
            status = "non_unique"
            notes.append("non_unique")
    elif status == "converged" and tied(answer.rivals, m):
        status = "non_unique"
        notes.append("non_unique")
    if answer.condition > ILL_CONDITIONED:
        notes.append("ill_conditioned")
    if row.name in ("sphere", "cylinder", "circle") and _flat(row, answer, evidence.pose, sigma):
        notes.append("curvature_not_significant")

    if material is not None:
        associated = associated.with_material(material)  # type: ignore[arg-type]
    result, distance = _moved(given.source, associated, notes, settings)
    later = functools.partial(_final_covariance, row, answer, evidence.pose, sigma, associated, distance)
    if row.kind == layout.LINE and row.dimension == 3:
        form = 2.0 * math.sqrt(max(0.0, float(sums[layout.S_DMAX]))) / scale
    elif row.kind == layout.LINE:
        form = _span_2d_line(evidence, answer)
    else:
        form = float(sums[layout.S_DMAX] - sums[layout.S_DMIN]) / scale
    if weighted:
        rms = _unweighted_rms(associated, evidence)
    reach = math.sqrt(float(sums[layout.S_REACH2])) / scale
    if _problem.off_plane(rms, form, reach):
        notes.append("points_not_in_plane")
    extent = None
    if row.kind in (layout.LINE, layout.CYLINDER, layout.CONE):
        lo, hi = float(sums[layout.S_GMIN]) / scale, float(sums[layout.S_GMAX]) / scale
        flipped = float(evidence.pose[9:12] @ answer.pose[9:12]) < 0.0
        extent = (-hi, -lo) if flipped else (lo, hi)
    optimality: dict[str, Any] = {
        "gradient": answer.gradient,
        "step": answer.step,
        "condition": answer.condition,
        "passes": answer.passes,
    }
    if answer.reason:
        optimality["reason"] = answer.reason
    fit = object.__new__(Fit)
    fit.__dict__.update(
        feature=result, associated=associated, criterion=criterion, unit=given.unit, status=status,
        flags=_flags.merge(notes) if notes else (), n_points=n, n_used=m, dof=dof, rms=rms, sigma=sigma, form=form,
        form_kind=_form_words(row), optimality=optimality, settings=settings, extent=extent,
        reach=reach, kind=row.name, _evidence=evidence, _later=later,
    )  # fmt: skip
    return fit


def _unweighted_rms(feature: Feature, evidence: Evidence) -> float:
    total, count = 0.0, 0
    for piece in evidence.slices():
        squares = feature.distance(piece) ** 2
        if hasattr(feature, "height"):
            squares = squares + feature.height(piece) ** 2
        total, count = total + float(squares.sum()), count + len(piece)
    return math.sqrt(total / count)


def _span_2d_line(evidence: Evidence, answer: Answer) -> float:
    """Peak to valley of a 2-D line: the kernel's extremes are those of the squared distance in space, so evaluate."""
    low, high = math.inf, -math.inf
    for piece in evidence.slices():
        local = (piece - answer.centre[:2]) * answer.scale - evidence.pose[:2]
        d = local[:, 0] * evidence.pose[3] + local[:, 1] * evidence.pose[4]
        low, high = min(low, float(d.min())), max(high, float(d.max()))
    return (high - low) / answer.scale


def _covariance(row: Row, answer: Answer, turn: np.ndarray, sigma: float) -> np.ndarray:
    """(p, p) of the kernel chart in canonical axes: sigma^2 (J'WJ)^-1, lengths in the data's unit."""
    from metrology_core.kernels import fitmain as k

    p = layout.N_PARAMETERS[row.kind]
    result = np.empty((p, p))
    unit = np.where(lengths(row), 1.0 / answer.scale, 1.0)
    # sums are in scaled lengths: (J'J)^-1 carries 1 for a length per length, scale for an angle per length
    if not k.covariance(row.kind, answer.free, answer.sums, turn, unit, (sigma * answer.scale) ** 2, result):
        result[:] = math.nan
    return result


def _final_covariance(
    row: Row, answer: Answer, pose: np.ndarray, sigma: float, associated: Feature, distance: float | None
) -> np.ndarray:
    """`Fit.covariance`: that of the fitted feature's chart, or of the feature moved by `distance`."""
    covariance = _covariance(row, answer, canonical_turn(row, answer.pose, pose), sigma)
    columns = chart_columns(row)
    if len(columns) < len(covariance):
        covariance = covariance[np.ix_(columns, columns)]
    return covariance if distance is None else _moved_covariance(row, associated, covariance, distance)


def _flat(row: Row, answer: Answer, pose: np.ndarray, sigma: float) -> bool:
    """Whether the radius is not known to half of itself (two standard uncertainties reach a plane or a line)."""
    half = 0.5 * float(answer.pose[12]) / answer.scale
    p = layout.N_PARAMETERS[row.kind]
    square = float(answer.sums[(p - 1) * (p + 1) - (p - 1) * (p - 2) // 2])  # of the radius column
    # with unit columns the inverse has no entry above condition^2: the covariance itself is seldom needed
    if square > 0.0 and (sigma * answer.condition) ** 2 <= half * half * square:
        return False
    return bool(_covariance(row, answer, canonical_turn(row, answer.pose, pose), sigma)[p - 1, p - 1] > half**2)


def _compensate(
    row: Row,
    source: Any,
    associated: Feature,
    covariance: np.ndarray,
    notes: list[str],
    settings: dict[str, Any],
) -> tuple[Feature, np.ndarray]:
    """Move the feature of ball centres by the tip radius towards the material."""
    moved, distance = _moved(source, associated, notes, settings)
    return moved, covariance if distance is None else _moved_covariance(row, associated, covariance, distance)


def _moved(
    source: Any, associated: Feature, notes: list[str], settings: dict[str, Any]
) -> tuple[Feature, float | None]:
    """The feature of ball centres moved towards the material, and by how much."""
    if source is None or source.points_are != "ball_centre":
        return associated, None
    tip = source.tip.radius if source.tip is not None else None
    moved = None
    if tip is not None and associated.material_side is not None:
        distance = -tip if associated.material_side == "inside" else tip
        try:
            moved = associated.offset(distance)
        except ParameterError:  # a shaft smaller than the ball that touched it: the declaration is wrong, the data stay
            moved = None
        if moved is not None:
            settings["tip_radius"] = tip
            settings["tip_offset"] = float(distance)
            return moved, float(distance)
    notes.append("ball_centre_uncompensated")
    return associated, None


def _moved_covariance(row: Row, associated: Feature, covariance: np.ndarray, distance: float) -> np.ndarray:
    if row.kind != layout.CONE:
        return covariance
    turn = np.eye(6)  # the radius at the point changes with the angle: distance / cos(half_angle)
    angle = float(associated.parameters["half_angle"])
    turn[4, 5] = distance * math.sin(angle) / math.cos(angle) ** 2
    moved: np.ndarray = turn @ covariance @ turn.T
    return moved
