"""From the least-squares answer to the `ZoneFit`: solve, certify, canonical pose, compensation, covariance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.blocks import run_blocks
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.canonical import canonical_pose, chart_columns, feature_of, lengths, pose_of
from metrology_core.fitting.memory import kernel_view
from metrology_core.fitting.result import Evidence
from metrology_core.fitting.solver import Answer
from metrology_core.fitting.table import CRITERIA, Row
from metrology_core.fitting.zone.certificate import RESIDUAL_LIMIT, Certificate, certify
from metrology_core.fitting.zone.exchange import ZoneAnswer, size_of, solve, touching_points
from metrology_core.fitting.zone.problem import ZoneProblem, pose_problem
from metrology_core.fitting.zone.result import ZoneFit
from metrology_core.kernels import layout

# Radius over the extent of the data below which there is none: rounding of collinear points.
VANISHING = 1e-10
STABLE_GAP = 20.0  # standard deviations between the zone's border and the first point that is not a contact


def check_arguments(criterion: str, material: str | None, weights: np.ndarray) -> None:
    """Typed errors for what a zone criterion cannot take."""
    if weights.size:
        raise CriterionError(
            f"weights mean nothing to the {CRITERIA[criterion][1]} criterion: its contacts alone decide",
            remedy="leave weights out, or take criterion='least_squares'",
        )
    if criterion in ("minimum_zone_outside", "minimum_zone_inside") and material is None:
        raise ParameterError(
            f"{CRITERIA[criterion][1]} needs to know where the material is",
            expected="material='inside' (shaft, behind a plane's normal) or 'outside' (bore)",
        )


def zone_fit(
    row: Row,
    criterion: str,
    source: Any,
    unit: str | None,
    xyz: np.ndarray,
    points: np.ndarray,
    used: np.ndarray | None,
    answer: Answer,
    fixed: dict[str, Any],
    n_free: int,
    material: str | None,
    notes: list[str],
    settings: dict[str, Any],
) -> ZoneFit:
    """Fit by a zone criterion to the finite `points` (rows `used` of `xyz`), starting from the least-squares answer."""
    problem = pose_problem(row, criterion, answer.free, fixed)
    points = kernel_view(points).reshape(-1, 3)
    scale, centre = answer.scale, answer.centre
    centroid = _centroid(points, centre, scale)
    found = solve(problem, points, centre, scale, centroid, answer.pose)
    pose = found.pose.copy()
    p = layout.N_PARAMETERS[row.kind]
    if problem.radial:
        pose[12] += found.h if problem.plus else -found.h
    canonical, turn = canonical_pose(row, pose)
    middle = feature_of(row, canonical, centre, scale)
    d = row.dimension
    normals = np.zeros((len(found.contacts), 3))
    if len(found.contacts):
        normals[:, :d] = middle.normals(points[found.contacts, :d])
    proof = certify(problem, found, centroid, normals, lambda: touching_points(problem, points, centre, scale, found))

    dof = len(points) * row.rows_per_point - n_free
    sigma = _sigma(answer, p, dof)
    noise, settings["noise"] = _noise(source, used, found, sigma)
    response = _chart_response(problem, proof, turn, scale, p)
    offset = _offset(criterion, material) * found.h / scale
    if offset:
        associated = middle.offset(offset)
        assert associated is not None
        response = response + _offset_response(row, middle, offset, criterion, material, proof, p)
    else:
        associated = middle
    variance = np.broadcast_to(np.asarray(noise, dtype=np.float64) ** 2, (len(found.contacts),))
    covariance = np.einsum("pkd,k,qkd->pq", response, variance, response)
    if found.status == "exact" or not math.isfinite(float(np.max(noise, initial=-math.inf))):
        covariance = np.full((p, p), math.nan)
    covariance = _with_plane(row, answer, covariance, sigma)
    columns = chart_columns(row)
    covariance = covariance[np.ix_(columns, columns)]

    status = _judge(problem, found, proof, float(np.max(noise, initial=0.0)) * scale, notes)
    if dof <= 0:
        notes.append("zero_redundancy")
        if status == "converged" and not row.exact_is_unique and not problem.radial:
            status = "non_unique"
            notes.append("non_unique")
    if material is not None:
        associated = associated.with_material(material)  # type: ignore[arg-type]
    from metrology_core.fitting.entry import _compensate

    result, covariance = _compensate(row, source, associated, covariance, notes, settings)
    covariance.setflags(write=False)
    form = (2.0 * found.high if problem.law == 1 else found.high - found.low) / scale
    form_points, form_response = _form_response(problem, points, centre, scale, found, proof, normals, middle)
    rms, extent, reach = _summary(row, problem, points, centre, scale, canonical)
    if offset:
        rms = _rms_about(associated, points[:, :d])
    original = np.arange(len(xyz)) if used is None else np.flatnonzero(used)
    fixed_columns = tuple(int(c) for c in columns if not answer.free[c])
    shown = canonical if not offset else pose_of(row, associated, centre, scale)
    return ZoneFit(
        feature=result, associated=associated, criterion=criterion, unit=unit, status=status, flags=_flags.merge(notes),
        n_points=len(xyz), n_used=len(points), dof=dof, rms=rms, sigma=sigma, form=form,
        form_kind=_form_words(row, criterion, fixed), covariance=covariance,
        optimality=_optimality(problem, found, proof, original, scale), settings=settings,
        extent=extent, reach=reach, kind=row.name,
        _evidence=Evidence(row, xyz, np.empty(0), used, shown, centre, scale, fixed_columns),
        contacts=original[found.contacts], contact_sensitivities=response[columns][:, :, :d],
        form_points=original[form_points], form_sensitivities=form_response[:, :d],
        noise=float(np.max(noise, initial=0.0)) if np.size(noise) else sigma,
    )  # fmt: skip


def _centroid(points: np.ndarray, centre: np.ndarray, scale: float) -> np.ndarray:
    """Mean of the points in scaled coordinates: sums of fixed chunks, folded in order."""
    from metrology_core.kernels import minimax_rows as rows

    chunks = (len(points) + layout.CHUNK - 1) // layout.CHUNK
    parts = np.empty((chunks, 3))
    run_blocks(lambda start, stop: rows.mean_sums(points, centre, scale, start, stop, parts), chunks)
    return np.array([math.fsum(column) for column in parts.T.tolist()]) / len(points)


def _sigma(answer: Answer, p: int, dof: int) -> float:
    total = max(0.0, float(answer.sums[p * (p + 1) - p * (p - 1) // 2]))
    return math.sqrt(total / dof) / answer.scale if dof > 0 else math.nan


def _noise(source: Any, used: np.ndarray | None, found: ZoneAnswer, sigma: float) -> tuple[Any, str]:
    """Standard deviation of the contacts' errors: declared with the points, else the residual one."""
    declared = getattr(source, "noise", None)
    if declared is None:
        return sigma, "residual standard deviation of the least-squares element"
    if np.ndim(declared) == 0:
        return float(declared), "declared"
    values = np.asarray(declared) if used is None else np.asarray(declared)[used]
    return values[found.contacts], "declared"


def _offset(criterion: str, material: str | None) -> float:
    """Side of the zone on which a one-sided element lies: outside the material is up for material below."""
    if criterion not in ("minimum_zone_outside", "minimum_zone_inside"):
        return 0.0
    up = 1.0 if material == "inside" else -1.0
    return up if criterion == "minimum_zone_outside" else -up


def _chart_response(problem: ZoneProblem, proof: Certificate, turn: np.ndarray, scale: float, p: int) -> np.ndarray:
    """(p, k, 3) change of the canonical chart per displacement of the contacts, in the data's unit."""
    local = np.zeros((p, *proof.response.shape[1:]))
    local[problem.columns] = proof.response[:-1]
    if problem.radial:
        local[p - layout.N_SIZES[problem.row.kind]] = proof.response[-1] * (1.0 if problem.plus else -1.0)
    result = np.einsum("ab,bkd->akd", turn, local)
    result[~lengths(problem.row)] *= scale
    return np.asarray(result)


def _offset_response(
    row: Row, middle: Feature, offset: float, criterion: str, material: str | None, proof: Certificate, p: int
) -> np.ndarray:
    """What moving the element to the border of its zone adds: the zone itself responds to the contacts."""
    result = np.zeros((p, *proof.response.shape[1:]))
    change = _offset(criterion, material) * proof.response[-1]
    column = {layout.PLANE: 0, layout.LINE: 0, layout.CONE: 4}.get(row.kind, p - 1)
    if row.kind == layout.CONE:
        change = change / math.cos(float(middle.parameters["half_angle"]))
    result[column] = change
    return result


def _with_plane(row: Row, answer: Answer, covariance: np.ndarray, sigma: float) -> np.ndarray:
    """Circle and ellipse in space: the plane is the least-squares one and brings its own covariance."""
    if row.dimension == 2 or row.kind not in (layout.CIRCLE, layout.ELLIPSE):
        return covariance
    from metrology_core.fitting.entry import _covariance

    _, turn = canonical_pose(row, answer.pose)
    plane = np.ix_((2, 3, 4), (2, 3, 4))
    covariance = covariance.copy()
    covariance[plane] = _covariance(row, answer, turn, sigma)[plane]
    return covariance


def _vanishes(problem: ZoneProblem, pose: np.ndarray) -> bool:
    """Whether the feature has shrunk to a line or a point."""
    if problem.row.kind == layout.CONE:  # extent of the data about 1: the widest section it can reach
        return bool(abs(pose[12]) + math.tan(abs(pose[13])) < VANISHING)
    return size_of(problem, pose) < VANISHING


def _judge(problem: ZoneProblem, found: ZoneAnswer, proof: Certificate, noise: float, notes: list[str]) -> str:
    if found.status == "unbounded":
        notes.append("degenerate")
        return "degenerate"
    if _vanishes(problem, found.pose):
        notes.append("degenerate")
        return "degenerate"
    if found.status == "exact":
        return "converged"
    if found.status != "converged" or not proof.residual <= RESIDUAL_LIMIT:
        notes.append("not_converged")
        return "not_converged"
    if not found.gap >= STABLE_GAP * noise:
        notes.append("contacts_unstable")
    if found.ties or not proof.unique:
        notes.append("non_unique")
        return "non_unique"
    return "converged"


def _form_words(row: Row, criterion: str, fixed: dict[str, Any]) -> str:
    if criterion == "minimum_zone" and not fixed:
        if row.kind == layout.LINE and row.dimension == 3:
            return "diameter of the minimum-zone cylinder (ISO 1101 form)"
        if row.kind in (layout.CIRCLE, layout.ELLIPSE) and row.dimension == 3:
            return "width of the minimum zone in the plane of the least-squares element (ISO 1101 form of that section)"
        return "width of the minimum zone (ISO 1101 form)"
    held = " with fixed parameters" if fixed else ""
    return f"peak to valley of the normal distances about the {CRITERIA[criterion][1]} {row.name}{held}"


def _form_response(
    problem: ZoneProblem,
    points: np.ndarray,
    centre: np.ndarray,
    scale: float,
    found: ZoneAnswer,
    proof: Certificate,
    normals: np.ndarray,
    middle: Feature,
) -> tuple[np.ndarray, np.ndarray]:
    """Points that the form depends on and (m, 3) its derivative with respect to each."""
    from metrology_core.kernels import minimax as kernels

    if not problem.radial:
        return found.contacts, 2.0 * (found.multipliers * found.signs)[:, None] * normals
    # the border through the contacts and the extreme point of the other side
    other = found.low_index if problem.plus else found.high_index
    if other < 0:
        return found.contacts, np.zeros((len(found.contacts), 3))
    sign = -1.0 if problem.plus else 1.0
    d = problem.row.dimension
    own = np.zeros((1, 3))
    own[:, :d] = middle.normals(points[other : other + 1, :d])
    local = np.ascontiguousarray((points[other : other + 1] - centre) * scale)
    c, at = np.empty(1), np.empty((len(problem.columns), 1))
    kernels.subset_rows(problem.row.kind, problem.law, local, found.pose, problem.columns, len(problem.columns), c, at)
    lever = proof.response[-1] + sign * np.einsum("f,fkd->kd", at[:, 0], proof.response[:-1])
    if other in found.contacts.tolist():
        return found.contacts, lever
    return np.append(found.contacts, other), np.concatenate((lever, sign * own))


def _summary(
    row: Row, problem: ZoneProblem, points: np.ndarray, centre: np.ndarray, scale: float, pose: np.ndarray
) -> tuple[float, tuple[float, float] | None, float]:
    """Root mean square distance, axial extent and reach about the element of this pose."""
    from metrology_core.kernels import minimax as kernels

    chunks = (len(points) + layout.CHUNK - 1) // layout.CHUNK
    parts = np.empty((chunks, 4))

    def work(start: int, stop: int) -> None:
        kernels.summarise(row.kind, problem.law, points, centre, scale, pose, start, stop, parts)

    run_blocks(work, chunks)
    rms = math.sqrt(math.fsum(parts[:, 0].tolist()) / len(points)) / scale
    extent = None
    if row.kind in (layout.LINE, layout.CYLINDER, layout.CONE):
        extent = (float(parts[:, 1].min()) / scale, float(parts[:, 2].max()) / scale)
    return rms, extent, math.sqrt(float(parts[:, 3].max())) / scale


def _rms_about(feature: Feature, points: np.ndarray) -> float:
    total = 0.0
    for start in range(0, len(points), 65536):
        total += float(np.sum(feature.distance(points[start : start + 65536]) ** 2))
    return math.sqrt(total / len(points))


def _optimality(
    problem: ZoneProblem, found: ZoneAnswer, proof: Certificate, original: np.ndarray, scale: float
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "residual": proof.residual,
        "contacts": original[found.contacts].tolist(),
        "signs": [int(s) for s in found.signs],
        "multipliers": found.multipliers.tolist(),
        "n_contacts": len(found.contacts),
        "unique": bool(proof.unique and not found.ties),
        "gap": found.gap / scale,
        "curvature": proof.curvature,
        "starts": found.starts,
        "ties": found.ties,
        "rounds": found.rounds,
        "iterations": found.iterations,
    }
    if found.status == "exact" and not _vanishes(problem, found.pose):
        result["reason"] = "the zone is zero to rounding: every contact condition holds trivially"
    elif _vanishes(problem, found.pose):
        result["reason"] = "the size of the feature is zero to rounding"
    elif found.status == "unbounded":
        result["reason"] = "the points do not surround an inscribed or circumscribed element"
    elif found.status == "not_converged":
        result["reason"] = "the contact conditions were not met"
    return result
