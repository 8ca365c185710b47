"""Alignments that make the worst as small as possible: minimum-maximum, and the tolerance fit.

Minimise over the motions the largest |d_i| (Chebyshev), or the largest share |d_i - m_i| / t_i of the tolerance zone
[m_i - t_i, m_i + t_i] of each point. Sequential linear programs within a box that trusts the linear model, each solved
by the exchange method (`metrology_core.kernels.minimax_lp`); only points that can become the worst within the box enter
a program, and the answer is checked on all points. At the end the contacts (points of the same worst value) and their
multipliers show that no motion makes all of them better: first order, so local to the basin of the start, the
least-squares pose. Source: K. Madsen, J. Inst. Maths Applics 16 (1975)
321, for the method of boxes; multipliers after E. W. Cheney, Introduction to Approximation Theory (1966), ch. 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.errors import ParameterError
from metrology_core.flags import merge
from pointcloud.registration.fine import Basis
from pointcloud.registration.normal import Data, Rules, State, evaluate, twist_of
from pointcloud.registration.result import Registration
from pointcloud.registration.se3 import Pose, displacement_rows
from pointcloud.registration.target import Surface

FloatArray = NDArray[np.float64]
_PASSES = 80
_DONE = 1e-12  # relative step, and relative fall promised, at which it ends
_WORST = 20_000  # points of the first program


@dataclass(frozen=True, eq=False)
class Zone:
    """Middle and half width of the tolerance zone of each point (n,)."""

    middle: FloatArray
    half: FloatArray


def zone_of(tolerance: Any, order: NDArray[np.int64], n: int) -> Zone:
    """The zones of the points ``order`` of a scan of n points: from +-t, (lower, upper), (n,) of +-t, or (n, 2)."""
    array = np.asarray(tolerance, dtype=np.float64)
    if array.shape == ():
        lower, upper = -np.full(n, array), np.full(n, array)
    elif array.shape == (2,) and n != 2:
        lower, upper = np.full(n, array[0]), np.full(n, array[1])
    elif array.shape == (n,):
        lower, upper = -array, array
    elif array.shape == (n, 2):
        lower, upper = array[:, 0], array[:, 1]
    else:
        raise ParameterError("the tolerance does not fit the scan", expected=f"t, (l, u), ({n},) or ({n}, 2)",
                             got=str(array.shape))  # fmt: skip
    lower, upper = lower[order], upper[order]
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (upper > lower).all()):
        raise ParameterError("a tolerance zone has a width", expected="lower < upper, finite")
    return Zone(0.5 * (lower + upper), 0.5 * (upper - lower))


@dataclass(eq=False)
class _Worst:
    """Shares of a set of points at a pose: index (m,) into the data, signed shares, the worst."""

    index: NDArray[np.int64]
    share: FloatArray
    state: State
    worst: float


def minimise(
    base: Registration, data: Data, surface: Surface, pose: Pose, basis: Basis, zone: Zone | None, rules: Rules,
    noise: float | None, residuals: Any,
) -> Registration:  # fmt: skip
    """The minimum-maximum (``zone`` None) or tolerance-fit alignment, from the least-squares one."""
    length = float(base.details["length"])
    method = "minimum_maximum" if zone is None else "tolerance_fit"
    middle = zone.middle if zone is not None else np.zeros(data.n)
    half = zone.half if zone is not None else np.ones(data.n)
    centre = data.xyz.mean(axis=0)
    plain = Rules(limit=rules.limit)

    def look(at: Pose, index: NDArray[np.int64]) -> _Worst:
        part = Data(
            np.ascontiguousarray(data.xyz[index]), data.prior[index], data.offset,
            None if data.normals is None else data.normals[index],
        )  # fmt: skip
        pivot = at.rotation @ (centre - at.source) + at.target
        state = evaluate(part, surface, at, plain, pivot, length)
        share = np.where(state.weight != 0.0, (state.residual - middle[index]) / half[index], 0.0)
        return _Worst(index, share, state, float(np.abs(share).max(initial=0.0)))

    everything = np.arange(data.n)
    whole = look(pose, everything)
    start_worst = whole.worst
    passes, converged, contacts = 1, False, None
    index = everything if data.n <= _WORST else np.sort(np.argsort(-np.abs(whole.share), kind="stable")[:_WORST])
    for _ in range(6):  # usually one or two: until no point outside the program is the worst
        here, passes, converged, contacts = _descend(look, pose, index, basis, half, length, passes)
        pose = here.state.pose
        if len(index) == data.n:
            break
        whole = look(pose, everything)
        passes += 1
        if whole.worst <= here.worst * (1.0 + 1e-12):
            break
        index = np.union1d(index, np.argsort(-np.abs(whole.share), kind="stable")[:_WORST])
    here, contacts = _polished(look, here, contacts, index, basis, half, length, everything)
    pose = here.state.pose
    pivot = here.state.pivot
    flags = [name for name in base.flags if name not in ("outliers_present", "not_converged", "steps_not_exhausted")]
    covariance, unstable = _covariance(contacts, basis(pivot), half, length, noise if noise is not None else base.sigma)
    if not converged:
        flags.append("not_converged")
    if unstable:
        flags.append("contacts_unstable")
    details = {**base.details, "worst": here.worst, "worst_before": start_worst, "contacts": contacts}
    details["worst_is"] = "share of the tolerance" if zone is not None else f"distance in {base.unit}"
    status = "not_converged" if not converged else ("degenerate" if base.free else "converged")
    return replace(
        base, target_from_source=pose.rigid, method=method, status=status, flags=merge(flags), pivot=pivot,
        covariance_determined=covariance, iterations=base.iterations + passes, details=details,
        alignment="tolerance_fit" if zone is not None else "best_fit", rms=_rms(look(pose, everything).state),
        _residuals=residuals(pose),
    )  # fmt: skip


def _polished(
    look: Any, here: _Worst, contacts: list[dict[str, Any]] | None, index: NDArray[np.int64], basis: Basis,
    half: FloatArray, length: float, everything: NDArray[np.int64],
) -> tuple[_Worst, list[dict[str, Any]] | None]:  # fmt: skip
    """The optimum's last digits; what there was, where these do not hold for all points."""
    from pointcloud.registration.minimax_end import gradient_left, polish

    if not contacts:
        return here, contacts
    touching = np.array([c["index"] for c in contacts])
    side = np.array([float(c["side"]) for c in contacts])

    def scaled(state: State, which: NDArray[np.int64]) -> FloatArray:
        rows = displacement_rows(state.moved, state.direction, state.pivot)
        rows[:, :3] /= length
        return np.asarray(rows @ basis(state.pivot) * (length / half[which])[:, None])

    def rows_at(pose: Pose) -> tuple[FloatArray, FloatArray]:
        there = look(pose, touching)
        return side * there.share, side[:, None] * scaled(there.state, touching)

    def moved(pose: Pose, step: FloatArray) -> Pose:
        state = look(pose, touching[:1]).state
        return pose.moved(twist_of(basis(state.pivot) @ step, length), state.pivot)

    pose, weights, left = polish(here.state.pose, rows_at, moved)
    before = gradient_left(
        np.array([c["side"] * c["row"] for c in contacts]), np.array([c["multiplier"] for c in contacts])
    )
    whole = look(pose, everything)
    if left >= before or weights.min() < 0.0 or whole.worst > here.worst * (1.0 + 1e-11):
        return here, contacts
    there = look(pose, index)
    rows = side[:, None] * rows_at(pose)[1]
    return there, [
        {**c, "point": whole.state.moved[i], "multiplier": float(w), "share": whole.share[i], "row": row}
        for c, i, w, row in zip(contacts, touching, weights, rows)
    ]


def _rms(state: State) -> float:
    used = state.residual[state.weight != 0.0]
    return math.sqrt(float(np.mean(used**2))) if len(used) else math.nan


def _descend(
    look: Any, pose: Pose, index: NDArray[np.int64], basis: Basis, half: FloatArray, length: float, passes: int
) -> tuple[_Worst, int, bool, list[dict[str, Any]]]:
    from pointcloud.kernels import registration as k

    here = look(pose, index)
    typical = float(np.median(half))
    unit = here.worst * typical / length  # a step that changes shares by about the worst of them
    box = max(2.0 * unit, 1e-15)
    converged = False
    contacts: list[dict[str, Any]] = []
    first = passes
    while passes - first < _PASSES:
        motions = basis(here.state.pivot)
        nf = motions.shape[1]
        if nf == 0 or here.worst <= 1e-15 * length / typical:
            converged = True
            break
        rows = displacement_rows(here.state.moved, here.state.direction, here.state.pivot)
        rows[:, :3] /= length
        rows = rows @ motions * (length / half[here.index])[:, None]
        rows[here.state.weight == 0.0] = 0.0
        reach = box * np.abs(rows).sum(axis=1).max()
        can = np.flatnonzero(np.abs(here.share) + reach >= here.worst - reach)
        scaled = np.ascontiguousarray((rows[can] * (box / here.worst)).T)
        values = np.ascontiguousarray(here.share[can] / here.worst)
        edge, code = np.ones(nf), np.zeros(nf + 1, dtype=np.int64)
        multipliers, z = np.zeros(nf + 1), np.zeros(nf + 1)
        k.minimax_step(scaled, values, edge, code, multipliers, z)
        promised = 1.0 - float(z[nf])
        step = motions @ (z[:nf] * box)
        size = float(np.linalg.norm(step))
        contacts = _contacts(code, multipliers, can, here, rows)
        if promised <= _DONE or size <= _DONE:
            converged = True
            break
        there = look(here.state.pose.moved(twist_of(step, length), here.state.pivot), index)
        passes += 1
        gain = 1.0 - there.worst / here.worst
        at_edge = bool(np.max(np.abs(z[:nf])) > 0.999)
        if gain > 0.0:
            here = there
        if gain < 0.25 * promised:
            box = 0.25 * min(box, max(size, 1e-300))
        elif gain > 0.75 * promised and at_edge:
            box *= 2.0
        if box < 1e-14:
            converged = promised * here.worst <= 1e-9 * max(here.worst, 1e-300) or gain <= 1e-12
            break
    return here, passes, converged, contacts


def _contacts(
    code: NDArray[np.int64], multipliers: FloatArray, can: NDArray[np.int64], here: _Worst, rows: FloatArray
) -> list[dict[str, Any]]:
    found = []
    for c, m in zip(code.tolist(), multipliers.tolist()):
        if c >= 0 and m > 1e-12:
            i = int(can[c >> 1])
            found.append(
                {"point": here.state.moved[i], "side": -1 if c & 1 else 1, "multiplier": m, "share": here.share[i],
                 "row": rows[i], "index": int(here.index[i])}
            )  # fmt: skip
    return found


def _covariance(
    contacts: list[dict[str, Any]] | None, motions: FloatArray, half: FloatArray, length: float, sigma: float
) -> tuple[FloatArray, bool]:
    """(6, 6) of the pose for noise in the contacts, and whether the contacts do not pin it (fewer than k + 1)."""
    nf = motions.shape[1]
    nothing = np.full((6, 6), math.nan)
    if contacts is None or nf == 0:
        return (nothing if nf else np.zeros((6, 6))), False
    if len(contacts) != nf + 1:
        return nothing, True
    a = np.array([[*c["row"], -float(c["side"])] for c in contacts])
    if not np.linalg.cond(a) < 1e12:
        return nothing, True
    # share_i + row_i x - side_i h = 0: noise e_i in the distance moves x by -A^-1 e / half
    gain = np.linalg.inv(a)[:nf] / half[[c["index"] for c in contacts]]
    scaled = motions @ gain
    scale = np.r_[np.ones(3), np.full(3, length)][:, None]
    full = scaled * scale * sigma
    return full @ full.T, False
