"""Fit of a given nominal B-spline to points by rigid motion: least squares, or the minimum zone of a profile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import CriterionError, FitError, ParameterError
from metrology_core.freeform.splines import BSplineCurve2D, BSplineSurface, Feet, rotation_of

CRITERIA = ("least_squares", "minimum_zone")
_ROUNDS = 120
_CONDITION = 1e8  # of J with unit columns: above, the nominal can slide along itself (a plane, a sphere, a cylinder)


@dataclass(frozen=True, eq=False)
class FreeformFit:
    """A nominal carried to the points.

    feature: the moved nominal; rotation (d, d), translation (d,): nominal point x goes to rotation x + translation.
    residuals (n,): signed normal distances (NaN where a point is not finite). form: extreme to extreme of them;
    profile: twice the largest size (the zone is symmetric about the nominal). covariance (p, p) in the chart of the
    moved feature; zone: NaN (its contacts are in `optimality`). status, flags: as `Fit`. optimality: least squares:
    gradient (cosine), condition; minimum zone: residual, contacts, signs, multipliers.
    """

    feature: Any
    criterion: str
    status: str
    flags: tuple[str, ...]
    rotation: np.ndarray
    translation: np.ndarray
    residuals: np.ndarray
    form: float
    profile: float
    rms: float
    sigma: float
    dof: int
    n_used: int
    covariance: np.ndarray
    optimality: dict[str, Any]

    def require(self) -> FreeformFit:
        """This fit, if it converged; else `FitError`."""
        if self.status == "converged":
            return self
        raise FitError(
            f"the fit of the nominal is {self.status}", got=", ".join(self.flags),
            remedy="check that the points belong to the nominal, lie near it, and hold all its directions",
        )  # fmt: skip


def _rows(feature: Any, array: np.ndarray, centre: np.ndarray, size: float) -> tuple[Feet, np.ndarray, np.ndarray]:
    """Feet, normal distances (the surface continued by its tangent at edges), derivatives in scaled motion."""
    feet = feature.feet(array)
    normal, y = feet.normal, (feet.point - centre) / size
    c = np.einsum("ij,ij->i", array - feet.point, normal)
    if feature.dimension == 2:
        turn = (y[:, 0] * normal[:, 1] - y[:, 1] * normal[:, 0])[:, None]
    else:
        turn = np.cross(y, normal)
    return feet, c, -np.column_stack((normal, turn))


def _moved(feature: Any, centre: np.ndarray, size: float, step: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    """The feature moved by scaled motion about `centre`; the motion as rotation and translation."""
    from dataclasses import replace

    d = feature.dimension
    rotation = rotation_of(step[d:] / size)
    shift = centre + step[:d] - rotation @ centre
    return replace(feature, control=(feature.control - centre) @ rotation.T + centre + step[:d]), rotation, shift


def fit_nominal(
    points: Any, nominal: BSplineCurve2D | BSplineSurface, *, criterion: str = "least_squares"
) -> FreeformFit:
    """Move a nominal curve (n, 2) or surface (n, 3) rigidly so that it fits the points best. It starts where it is.

    least_squares: sum of squared normal distances; minimum_zone: least largest distance (profile of a line or surface,
    zone symmetric about the nominal: ISO 1101), by sequential linear programs to a vertex. Beyond an open edge the
    nominal counts as continued by its tangent. Wrong use raises; bad points give a status: insufficient, degenerate
    (the nominal can slide along itself), not_converged.
    """
    if criterion not in CRITERIA:
        raise CriterionError(f"{criterion!r} is not available for a nominal", expected=" or ".join(CRITERIA))
    if not isinstance(nominal, (BSplineCurve2D, BSplineSurface)):
        raise ParameterError("a nominal is a plane curve or a surface", got=type(nominal).__name__)
    xyz = np.asarray(points, dtype=np.float64)
    d = nominal.dimension
    if xyz.ndim != 2 or xyz.shape[1] != d:
        raise ParameterError("not an array of points", expected=f"shape (n, {d})", got=str(xyz.shape))
    finite = np.asarray(np.isfinite(xyz).all(axis=1))
    array = np.ascontiguousarray(xyz[finite])
    notes = [] if finite.all() else ["non_finite_points"]
    p = 3 if d == 2 else 6
    if len(array) < p + int(criterion == "minimum_zone"):
        return _none(nominal, criterion, "insufficient", notes, len(xyz), len(array), p)
    centre = array.mean(axis=0)
    size = float(np.abs(array - centre).max()) or 1.0
    feature, rotation, translation = nominal, np.eye(d), np.zeros(d)
    _, c, j = _rows(feature, array, centre, size)
    values = np.linalg.svd(j / np.linalg.norm(j, axis=0).clip(1e-300), compute_uv=False)
    if not values[-1] * _CONDITION > values[0]:
        return _none(nominal, criterion, "degenerate", notes, len(xyz), len(array), p)
    solver = _Squares() if criterion == "least_squares" else _Zone(p)
    status = "not_converged"
    best, trust, last = solver.value(c), 1.0, math.inf
    floor = 64.0 * np.finfo(float).eps * float(np.abs(array).max())
    for _ in range(_ROUNDS):
        step = solver.step(c, j, trust * size)
        length = float(np.abs(step).max())
        trial, turn, shift = _moved(feature, centre, size, step)
        _, c_new, j_new = _rows(trial, array, centre, size)
        value = solver.value(c_new)
        small = length <= 1e-7 * size
        # far away the objective judges; near the end it is flat to rounding and the step size judges
        if value > best and not (small and value <= best * (1.0 + 1e-9) + floor):
            trust = 0.25 * min(trust, length / size)
            if trust < 1e-14:
                break
            continue
        done = length <= floor or (small and length >= 0.5 * last)
        feature, c, j, best, last = trial, c_new, j_new, value, length
        rotation, translation = turn @ rotation, turn @ translation + shift
        trust = min(1.0, 2.0 * trust)
        if done:
            status = "converged"
            break
    return _finish(feature, criterion, status, notes, (rotation, translation), xyz, finite, array, centre, size, solver)


class _Squares:
    """Gauss-Newton steps."""

    def value(self, c: np.ndarray) -> float:
        return float(np.sqrt(np.mean(c * c)))

    def step(self, c: np.ndarray, j: np.ndarray, trust: float) -> np.ndarray:
        step = -np.linalg.lstsq(j, c, rcond=None)[0]
        largest = float(np.abs(step).max())
        return np.asarray(step * min(1.0, trust / largest)) if largest > 0.0 else step


class _Zone:
    """Linear programs: the least largest distance of the linearised problem within the trust region."""

    def __init__(self, p: int) -> None:
        self.basis, self.multipliers, self.z = np.zeros(p + 1, np.int64), np.zeros(p + 1), np.zeros(p + 1)

    def value(self, c: np.ndarray) -> float:
        return float(np.abs(c).max())

    def step(self, c: np.ndarray, j: np.ndarray, trust: float) -> np.ndarray:
        from metrology_core.kernels.minimax_step import minimax_step

        unit = max(float(np.abs(c).max()), 1e-300)
        box = np.full(j.shape[1], trust / unit)
        minimax_step(np.ascontiguousarray(j.T), c / unit, box, self.basis, self.multipliers, self.z)
        return np.asarray(self.z[:-1] * unit)


def _none(nominal: Any, criterion: str, status: str, notes: list[str], n: int, m: int, p: int) -> FreeformFit:
    d = nominal.dimension
    return FreeformFit(
        None, criterion, status, _flags.merge([*notes, status]), np.eye(d), np.zeros(d), np.full(n, math.nan), math.nan,
        math.nan, math.nan, math.nan, max(0, m - p), m, np.full((p, p), math.nan), {},
    )  # fmt: skip


def _finish(
    feature: Any,
    criterion: str,
    status: str,
    notes: list[str],
    motion: tuple[np.ndarray, np.ndarray],
    xyz: np.ndarray,
    finite: np.ndarray,
    array: np.ndarray,
    centre: np.ndarray,
    size: float,
    solver: Any,
) -> FreeformFit:
    own = feature._reference()
    feet, c, j = _rows(feature, array, own, 1.0)
    n, p = j.shape
    norm = np.linalg.norm(j, axis=0)
    dof = n - p
    sigma = math.sqrt(float(c @ c) / dof) if dof > 0 else math.nan
    covariance = np.full((p, p), math.nan)
    if criterion == "least_squares":
        largest = max(float(np.linalg.norm(c)), 1e-300)
        optimality: dict[str, Any] = {
            "gradient": float(np.max(np.abs(j.T @ c) / norm / largest)),
            "condition": float(np.linalg.cond(j / norm)),
        }
        covariance = sigma**2 * np.linalg.pinv(j.T @ j)
    else:
        codes, lam = solver.basis, solver.multipliers
        inside = codes >= 0
        contacts, signs = codes[inside] >> 1, np.where(codes[inside] & 1, -1.0, 1.0)
        lam = np.maximum(lam[inside], 0.0)
        lam = lam / max(float(lam.sum()), 1e-300)
        pull = np.abs((lam * signs) @ (j[contacts] / norm)) * math.sqrt(n)
        held = signs * c[contacts]
        rounding = 16.0 * np.finfo(float).eps * float(np.abs(array).max())
        scatter = max(0.0, float(np.abs(c).max() - held.min(initial=np.inf)) - rounding) / max(
            float(np.abs(c).max()), 1e-300
        )
        residual = max(float(pull.max()), scatter)
        rows = np.flatnonzero(finite)
        optimality = {
            "residual": residual, "contacts": rows[contacts].tolist(), "signs": signs.astype(int).tolist(),
            "multipliers": lam.tolist(), "n_contacts": int(inside.sum()),
        }  # fmt: skip
        if status == "converged" and not residual <= 1e-9:
            status = "not_converged"
    if status != "converged":
        notes = [*notes, status]
    if dof <= 0:
        notes = [*notes, "zero_redundancy"]
    if feet.at_edge.any():
        notes = [*notes, "beyond_edge"]
    residuals = np.full(len(xyz), math.nan)
    residuals[finite] = c
    return FreeformFit(
        feature, criterion, status, _flags.merge(notes), *motion, residuals, float(np.ptp(c)),
        2.0 * float(np.abs(c).max()), math.sqrt(float(np.mean(c * c))), sigma, dof, n, covariance, optimality,
    )  # fmt: skip
