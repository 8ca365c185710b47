"""Data sets whose best fit is known exactly, for every criterion: the answer is chosen first, the points are built
around it so that the optimality condition holds.

Nothing here calls a fitting routine. What remains is the rounding of the coordinates to double precision, half an ulp
of each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features import Feature
from metrology_core.testing.answer import KnownAnswer, free_columns, sensitivity_of
from metrology_core.testing.contacts import balanced, interpolated, supported
from metrology_core.testing.surfaces import Feet, sample_feet

_NONE = np.empty(0)
_NO_CONTACTS = np.empty(0, np.int64)
# The size that an inscribed or circumscribed element makes as large or as small as it can be.
EXTREMAL_SIZE = {
    "circle": "radius", "sphere": "radius", "cylinder": "radius", "cone": "radius", "torus": "minor_radius",
    "parallel_planes": "width", "slot": "width",
}  # fmt: skip
_SIDED = {
    "minimum_zone_outside": "outside", "minimum_zone_inside": "inside",
    "least_squares_outside": "outside", "least_squares_inside": "inside",
}  # fmt: skip
_PLANE_COLUMNS = ("shift_w", "tilt_u", "tilt_v")


def known_answer(
    feature: Feature,
    n: int,
    *,
    criterion: str,
    spread: float,
    seed: int,
    gap: float = 0.05,
    material: str | None = None,
    fixed: tuple[str, ...] = (),
    length: float | None = None,
    arc: float = 2.0 * math.pi,
) -> KnownAnswer:
    """n points whose best fit by `criterion` is `feature`: one door to all generators of this module.

    spread: residual standard deviation (least squares), width of the zone or band (zone criteria), size of the
    largest residual (the others). material: ``inside`` or ``outside``, for the one-sided criteria (default inside).
    fixed: names of parameters that the fit is told. length, arc: see `surfaces.sample_feet`. Raises `CriterionError`
    where the criterion does not exist for the feature, `ParameterError` where no such points were found.
    """
    shape: dict[str, Any] = {"seed": seed, "fixed": fixed, "length": length, "arc": arc}
    if criterion == "least_squares":
        return known_least_squares(feature, n, sigma=spread, **shape)
    if criterion == "least_absolute":
        return known_least_absolute(feature, n, spread=spread, gap=gap, **shape)
    if criterion in ("least_squares_outside", "least_squares_inside"):
        return known_constrained(feature, n, spread=spread, criterion=criterion, material=material or "inside", **shape)
    return known_zone(feature, n, zone=spread, criterion=criterion, gap=gap, material=material, **shape)


def known_least_squares(
    feature: Feature,
    n: int,
    *,
    sigma: float,
    seed: int,
    length: float | None = None,
    arc: float = 2.0 * math.pi,
    fixed: tuple[str, ...] = (),
    weights: np.ndarray | None = None,
    covariances: np.ndarray | None = None,
) -> KnownAnswer:
    """Points whose least-squares fit is `feature`, with residual standard deviation `sigma` (of unit weight).

    Null-space construction (M. G. Cox and A. B. Forbes, NPL): residuals e with J'e = 0 laid off along the normals of
    exact feet leave the feature stationary, and optimal where sigma is small against it. weights (n,): J'We = 0.
    covariances (n, d, d) of the points (features with one residual per point): displacements t V n with J't = 0 are
    stationary for the sum of (x - foot)' V^-1 (x - foot), the errors-in-variables estimate. n must exceed the number
    of parameters. length, arc: see `surfaces.sample_feet`. Raises `ParameterError` for too few points.
    """
    rng = np.random.default_rng(seed)
    feet = sample_feet(feature, n, rng, length=length, arc=arc)
    free, held = free_columns(feature, fixed)
    j = np.concatenate(feet.jacobians)[:, free]
    rows, p = j.shape
    if rows <= p:
        raise ParameterError("too few points for residuals", expected=f"more than {p} residuals", got=str(rows))
    root = np.ones(rows) if weights is None else np.sqrt(np.tile(weights, len(feet.jacobians)))
    if covariances is not None:
        if len(feet.directions) != 1:
            raise ParameterError("covariances need a feature with one residual per point", got=feature.kind)
        normal = feet.directions[0]
        toward = np.einsum("nij,nj->ni", covariances, normal)
        root = 1.0 / np.sqrt(np.einsum("ni,ni->n", normal, toward))
    weighted = j * root[:, None]
    # unit columns: the projection is then as accurate as the columns are independent
    q, _ = np.linalg.qr(weighted / np.linalg.norm(weighted, axis=0))
    e = rng.standard_normal((rows,))
    for _ in range(3):  # repeated projection removes what rounding left
        e = e - q @ (q.T @ e)
    e = e * (sigma * math.sqrt((rows - p) / float(e @ e)))
    if covariances is not None:
        points = feet.origin + (feet.local + (e * root)[:, None] * toward)
    else:
        e = e / root
        points = feet.displaced(*(e[k * n : (k + 1) * n] for k in range(len(feet.directions))))
    response = np.zeros((len(feature.chart), rows))
    response[free] = np.linalg.pinv(weighted) * root
    return KnownAnswer(
        points, feature, "least_squares", sigma, _NO_CONTACTS, _NONE, _NONE, math.nan, fixed=held, weights=weights,
        covariances=covariances, sensitivity=sensitivity_of(feature, points, response),
    )  # fmt: skip


def known_zone(
    feature: Feature,
    n: int,
    *,
    zone: float,
    seed: int,
    criterion: str = "minimum_zone",
    gap: float = 0.05,
    length: float | None = None,
    arc: float = 2.0 * math.pi,
    material: str | None = None,
    fixed: tuple[str, ...] = (),
) -> KnownAnswer:
    """Points whose best fit by a zone criterion is `feature`.

    Contacts are chosen so that 0 = sum lambda_i s_i grad d_i with lambda > 0 (one more than there are unknowns: a
    strict minimum held by contacts alone), laid on the borders; all other points lie inside by at least gap * zone.
    minimum_zone: borders at +-zone / 2 (line in space: a cylinder of this diameter); minimum_zone_outside and
    _inside: one border is the feature itself, on the side that `material` (default inside) tells; maximum_inscribed,
    minimum_circumscribed: contacts on the feature, the others within `zone` outside or inside it. Circles, ellipses
    and slots in space: all points in their plane. The minimum is local by construction, and global where the zone is
    small against the feature; contacts of a circle then alternate in angle, those of a line along it, since the
    condition leaves no other order (Radon). Source of the condition: Karush-Kuhn-Tucker. Raises `CriterionError`
    where the criterion does not exist, `ParameterError` where no such contacts were found.
    """
    rng = np.random.default_rng(seed)
    inscribed, circumscribed = criterion == "maximum_inscribed", criterion == "minimum_circumscribed"
    sided = _SIDED.get(criterion) if criterion.startswith("minimum_zone_") else None
    radial = inscribed or circumscribed
    if criterion != "minimum_zone" and not radial and sided is None:
        raise CriterionError(
            f"no generator for {criterion!r}",
            expected="minimum_zone, minimum_zone_outside, minimum_zone_inside, maximum_inscribed, "
            "minimum_circumscribed",
        )
    if radial and feature.kind not in EXTREMAL_SIZE:
        raise CriterionError(
            f"a {feature.kind} has no inscribed or circumscribed element", expected=", ".join(EXTREMAL_SIZE)
        )
    middle, side = feature, 0.0
    if sided is not None:
        material = material or "inside"
        side = 1.0 if (sided == "outside") == (material == "inside") else -1.0  # of the feature, seen from the zone
        if not fixed:
            moved = feature.offset(-0.5 * side * zone)
            if moved is None:
                raise CriterionError(f"a one-sided zone of a {feature.kind} is not bounded by features of its kind")
            middle = moved
    in_space = feature.kind == "line" and feature.dimension == 3
    feet = sample_feet(middle, n, rng, length=length, arc=arc)
    free, held = free_columns(feature, fixed)
    normals, rows, moving = _one_row(feet, feature, rng, free)
    if radial:
        size = feature.chart.index(EXTREMAL_SIZE[feature.kind])
        if size not in moving:
            raise CriterionError(f"the {EXTREMAL_SIZE[feature.kind]} of this criterion is its result")
        gain = np.abs(rows[:, moving.index(size)])
        rows = np.delete(rows, moving.index(size), axis=1)
    if sided is not None and fixed:
        raise CriterionError("one-sided zones with fixed parameters have no generator")
    one_sided = radial or in_space
    contacts, signs, multipliers = balanced(rows, rng, one_sided)
    inside = rng.uniform(-1.0, 1.0, n) * (0.5 - gap) * zone
    if in_space:
        offset = np.abs(inside)
        offset[contacts] = 0.5 * zone
        signs = np.ones(len(contacts))
    elif radial:
        toward = 1.0 if inscribed else -1.0
        offset = toward * (gap + (1.0 - gap) * rng.random(n)) * zone
        offset[contacts] = 0.0
        signs = np.full(len(contacts), -toward)
    else:
        offset = inside
        offset[contacts] = 0.5 * zone * signs
    points = feet.origin + (feet.local + offset[:, None] * normals)
    response = np.zeros((len(feature.chart), n + (n if len(feet.jacobians) > 1 else 0)))
    system = np.column_stack((rows[contacts] * signs[:, None], -np.ones(len(contacts))))
    solved = np.linalg.inv(system)
    rest = [i for i in moving if not (radial and i == size)]
    response[np.ix_(np.array(rest), contacts)] = solved[:-1]
    if radial:
        response[size, contacts] = solved[-1] / gain[contacts]
    elif sided is not None:  # the border moves with the zone
        response[_offset_column(feature), contacts] += solved[-1]
    if len(feet.jacobians) > 1 and not in_space:
        held_by_heights = [feature.chart.index(name) for name in _PLANE_COLUMNS]
        response[held_by_heights, n:] = np.linalg.pinv(feet.jacobians[1][:, held_by_heights])
    sensitivity = sensitivity_of(feature, points, response)
    sensitivity["zone"] = 2.0 * float(np.linalg.norm(solved[-1]))
    return KnownAnswer(
        points, feature, criterion, zone, contacts, signs, multipliers, gap * zone, material=material, fixed=held,
        sensitivity=sensitivity,
    )  # fmt: skip


def known_least_absolute(
    feature: Feature,
    n: int,
    *,
    spread: float,
    seed: int,
    gap: float = 0.05,
    length: float | None = None,
    arc: float = 2.0 * math.pi,
    fixed: tuple[str, ...] = (),
) -> KnownAnswer:
    """Points whose least-absolute-deviations fit is `feature`, residuals up to `spread`.

    As many points as there are unknowns lie on the feature; the signs of the others balance with subgradients below
    0.9 in size there: 0 is in the subdifferential of sum |d_i|, with room, so the minimum is strict (and global where
    the spread is small against the feature, since the problem is then convex). Line in space: points in pairs on
    opposite sides, where the unit vectors of their distances cancel. Raises `ParameterError` where no such signs
    were found.
    """
    rng = np.random.default_rng(seed)
    free, held = free_columns(feature, fixed)
    if feature.kind == "line" and feature.dimension == 3:
        return _paired_line(feature, n, spread, rng, gap, length, held)
    feet = sample_feet(feature, n, rng, length=length, arc=arc)
    normals, rows, moving = _one_row(feet, feature, rng, free)
    pick, signs, load = interpolated(rows, rng)
    offset = signs * rng.uniform(gap, 1.0, n) * spread
    points = feet.origin + (feet.local + offset[:, None] * normals)
    response = np.zeros((len(feature.chart), 2 * n))
    response[np.ix_(np.array(moving), pick)] = np.linalg.inv(rows[pick])
    if len(feet.jacobians) > 1:
        plane = [feature.chart.index(name) for name in _PLANE_COLUMNS]
        response[plane, n:] = np.linalg.pinv(feet.jacobians[1][:, plane])
    return KnownAnswer(
        points, feature, "least_absolute", float(np.abs(offset).sum()), pick, np.sign(load), np.abs(load),
        gap * spread, fixed=held, sensitivity=sensitivity_of(feature, points, response),
    )  # fmt: skip


def _paired_line(
    feature: Feature,
    n: int,
    spread: float,
    rng: np.random.Generator,
    gap: float,
    length: float | None,
    held: dict[str, Any],
) -> KnownAnswer:
    half = (n + 1) // 2
    feet = sample_feet(feature, half, rng, length=length)
    angle = rng.uniform(-math.pi, math.pi, half)
    across = np.cos(angle)[:, None] * feet.directions[0] + np.sin(angle)[:, None] * feet.directions[1]
    first, second = (rng.uniform(gap, 1.0, (half, 1)) * spread for _ in range(2))
    points = feet.origin + np.concatenate((feet.local + first * across, feet.local - second * across))
    total = float(first.sum() + second.sum())
    j = np.concatenate(feet.jacobians)
    sensitivity = sensitivity_of(feature, points, np.linalg.pinv(j))
    return KnownAnswer(
        points, feature, "least_absolute", total, _NO_CONTACTS, _NONE, _NONE, gap * spread, fixed=held,
        sensitivity=sensitivity,
    )  # fmt: skip


def known_constrained(
    feature: Feature,
    n: int,
    *,
    spread: float,
    seed: int,
    criterion: str = "least_squares_outside",
    material: str = "inside",
    length: float | None = None,
    arc: float = 2.0 * math.pi,
    fixed: tuple[str, ...] = (),
) -> KnownAnswer:
    """Points whose one-sided least-squares fit (GE outside, GI inside the material) is `feature`, residuals about
    `spread`.

    Active points lie on the feature, all others on one side of it, with J'e = sum mu_i grad d_i, mu > 0: the
    Karush-Kuhn-Tucker condition of least squares under d_i >= 0 (or <= 0). Raises `ParameterError` where no such set
    was found.
    """
    if criterion not in ("least_squares_outside", "least_squares_inside"):
        raise CriterionError(f"no generator for {criterion!r}", expected="least_squares_outside, least_squares_inside")
    if feature.kind == "line" and feature.dimension == 3:
        raise CriterionError("a line in space has no sides")
    rng = np.random.default_rng(seed)
    feet = sample_feet(feature, n, rng, length=length, arc=arc)
    free, held = free_columns(feature, fixed)
    normals, rows, moving = _one_row(feet, feature, rng, free)
    pick, press, residual = supported(rows, rng)
    side = -1.0 if (_SIDED[criterion] == "outside") == (material == "inside") else 1.0
    offset = side * residual * (spread / residual.max())
    local = feet.local + offset[:, None] * normals
    response = np.zeros((len(feature.chart), 2 * n))
    others = np.delete(np.arange(n), pick)
    inner, active = rows[others], rows[pick]
    k, p = active.shape
    system = np.block([[inner.T @ inner, active.T], [active, np.zeros((k, k))]])
    right = np.zeros((p + k, n))
    right[:p, others] = inner.T
    right[p + np.arange(k), pick] = 1.0
    response[moving, :n] = np.linalg.lstsq(system, right, rcond=None)[0][:p]
    if len(feet.jacobians) > 1:
        plane = [feature.chart.index(name) for name in _PLANE_COLUMNS]
        response[plane, n:] = np.linalg.pinv(feet.jacobians[1][:, plane])
    points = feet.origin + local
    return KnownAnswer(
        points, feature, criterion, float(np.abs(offset).max()), pick, np.full(k, side), press / press.sum(),
        float(np.abs(offset[others]).min()), material=material, fixed=held,
        sensitivity=sensitivity_of(feature, points, response),
    )  # fmt: skip


def _one_row(
    feet: Feet, feature: Feature, rng: np.random.Generator, free: list[int]
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Direction of the one distance that the criterion is about, its derivatives, and the chart columns they stand
    for."""
    if len(feet.directions) == 1:
        return feet.directions[0], feet.jacobians[0][:, free], free
    if feature.kind == "line" or hasattr(feature, "sample_feet"):
        angle = rng.uniform(-math.pi, math.pi, len(feet.local))
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        rows = c * feet.jacobians[0] + s * feet.jacobians[1]
        return c * feet.directions[0] + s * feet.directions[1], rows[:, free], free
    moving = [i for i in free if feature.chart[i] not in _PLANE_COLUMNS]
    return feet.directions[0], feet.jacobians[0][:, moving], moving


def _offset_column(feature: Feature) -> int:
    """Chart column that moves a feature along its normal."""
    names = feature.chart
    return next(names.index(name) for name in ("shift", "radius", "minor_radius", "width") if name in names)
