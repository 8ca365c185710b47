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
from metrology_core.features import Feature, basis
from metrology_core.testing.answer import KnownAnswer, free_columns, sensitivity_of, tied
from metrology_core.testing.contacts import balanced, interpolated, supported
from metrology_core.testing.surfaces import Feet, sample_feet

_NONE = np.empty(0)
_NO_CONTACTS = np.empty(0, np.int64)
# The size that an inscribed or circumscribed element makes as large or as small as it can be.
EXTREMAL_SIZE = {
    "circle": "radius", "sphere": "radius", "cylinder": "radius", "cone": "radius", "torus": "minor_radius",
    "parallel_planes": "width", "ellipse": "semi_major",
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
    feet = tied(feature, sample_feet(feature, n, rng, length=length, arc=arc), fixed)
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
    q, triangle = np.linalg.qr(weighted / np.maximum(np.linalg.norm(weighted, axis=0), 1e-300))
    if np.linalg.svd(triangle, compute_uv=False)[-1] < 1e-10:  # such as a slot of known width seen at one end
        raise ParameterError("the points do not determine the feature", remedy="take another seed, or more points")
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
    feet = tied(middle, sample_feet(middle, n, rng, length=length, arc=arc), fixed)
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
    if radial and feature.kind == "cone":
        rows = rows + _section_lever(feature, feet.points, gain, moving, size)
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
        if feature.kind == "cone":  # the section is that of the points' own centroid
            points = feet.origin + (feet.local + offset[:, None] * normals)
            rows = np.delete(feet.jacobians[0][:, moving], moving.index(size), axis=1)
            rows = rows + _section_lever(feature, points, gain, moving, size)
            weight = np.linalg.svd(rows[contacts].T)[2][-1]
            if weight.min() < 0.0 < weight.max():
                raise ParameterError("no set of contacts was found", remedy="take another seed")
            multipliers = weight / weight.sum()
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
    """Points whose least-absolute-deviations fit is `feature`, residuals up to `spread`: least sum of distances.

    As many points as determine the unknowns lie on the feature; the directions of the others' residuals balance with
    subgradients shorter than 0.9 there: 0 is in the subdifferential of the sum, with room, so the minimum is strict
    (and global where the spread is small against the feature, since the problem is then convex). Lines, circles,
    ellipses and slots in space: the distance is that of both residuals together. Raises `ParameterError` where no
    such points were found.
    """
    rng = np.random.default_rng(seed)
    free, held = free_columns(feature, fixed)
    feet = tied(feature, sample_feet(feature, n, rng, length=length, arc=arc), fixed)
    rows = np.array(feet.jacobians)[:, :, free]
    pick, unit, load = interpolated(rows, rng)
    offset = unit * (rng.uniform(gap, 1.0, n) * spread)[:, None]
    points = feet.displaced(*offset.T)
    response = np.zeros((len(feature.chart), rows.shape[0] * n))
    columns = np.concatenate([pick + k * n for k in range(rows.shape[0])])
    on_feature = rows[:, pick].reshape(len(columns), len(free))
    if len(columns) == len(free):
        response[np.ix_(np.array(free), columns)] = np.linalg.inv(on_feature)
    else:  # the rest is held by curvature of the others' distances: about as firmly as by least squares
        response[free] = 2.0 * np.linalg.pinv(rows.reshape(-1, len(free)))
    size = np.linalg.norm(load, axis=1)
    return KnownAnswer(
        points, feature, "least_absolute", float(np.linalg.norm(offset, axis=1).sum()), pick,
        np.sign(load[:, 0]), size, gap * spread, fixed=held, sensitivity=sensitivity_of(feature, points, response),
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
    feet = tied(feature, sample_feet(feature, n, rng, length=length, arc=arc), fixed)
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


def _section_lever(feature: Feature, points: np.ndarray, gain: np.ndarray, moving: list[int], size: int) -> np.ndarray:
    """(n, p - 1) what keeping the radius of the section through the foot of the centroid adds to the derivatives.

    A tilt moves that foot along the axis, so the radius at the feature's own point changes with it.
    """
    u, v = basis(feature.parameters["axis"])
    offset = points.mean(axis=0) - feature.parameters["point"]
    slope = math.tan(feature.parameters["half_angle"])
    names = [feature.chart[i] for i in moving if i != size]
    levers = {"tilt_u": slope * float(offset @ u), "tilt_v": slope * float(offset @ v)}
    return np.asarray(gain[:, None] * np.array([levers.get(name, 0.0) for name in names]))
