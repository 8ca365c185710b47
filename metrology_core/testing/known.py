"""Data sets whose best fit is known exactly: least squares, minimum zone, maximum inscribed, minimum circumscribed.

Nothing here calls a fitting routine: the answer is chosen first and the points are built around it so that the
optimality condition holds. What remains is the rounding of the coordinates to double precision, about an ulp of the
largest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features import Feature
from metrology_core.testing.surfaces import Feet, sample_feet

_TRIES = 40000
_ENOUGH = 12
_LEAST_MULTIPLIER = 0.02  # of the sum: contacts that hardly press make a set that nobody can solve to the last digit
_WORST_CONDITION = 1e3


@dataclass(frozen=True, eq=False)
class KnownAnswer:
    """Points (n, d) and the feature that is their best fit.

    value: the width of the zone, or of the band in which all points lie (inscribed, circumscribed), or the residual
    standard deviation (least squares). contacts, signs, multipliers: the optimality certificate (empty for least
    squares). gap: distance from the border of the zone to the first point that is not a contact.
    """

    points: np.ndarray
    feature: Feature
    criterion: str
    value: float
    contacts: np.ndarray
    signs: np.ndarray
    multipliers: np.ndarray
    gap: float

    @property
    def resolution(self) -> float:
        """One ulp of the largest coordinate: what rounding alone may move a point by."""
        return float(np.spacing(np.abs(self.points).max()))


def known_least_squares(
    feature: Feature,
    n: int,
    *,
    sigma: float,
    seed: int,
    length: float | None = None,
    arc: float = 2.0 * math.pi,
) -> KnownAnswer:
    """Points whose least-squares fit is `feature`, with residual standard deviation `sigma`.

    Null-space construction (M. G. Cox and A. B. Forbes, NPL): residuals e with J'e = 0 laid off along the normals of
    exact feet leave the feature stationary, and optimal where sigma is small against it. n must exceed the number of
    parameters. length, arc: see `surfaces.sample_feet`. Raises `ParameterError` for too few points.
    """
    rng = np.random.default_rng(seed)
    feet = sample_feet(feature, n, rng, length=length, arc=arc)
    j = np.concatenate(feet.jacobians)
    rows, p = j.shape
    if rows <= p:
        raise ParameterError("too few points for residuals", expected=f"more than {p} residuals", got=str(rows))
    # unit columns: the projection is then as accurate as the columns are independent
    q, _ = np.linalg.qr(j / np.linalg.norm(j, axis=0))
    e = rng.standard_normal((rows,))
    for _ in range(3):  # repeated projection removes what rounding left
        e = e - q @ (q.T @ e)
    e = e * (sigma * math.sqrt((rows - p) / float(e @ e)))
    points = feet.points.copy()
    for k, direction in enumerate(feet.directions):
        points += e[k * n : (k + 1) * n, None] * direction
    none = np.empty(0)
    return KnownAnswer(points, feature, "least_squares", sigma, none.astype(np.int64), none, none, math.nan)


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
) -> KnownAnswer:
    """Points whose best fit by a zone criterion is `feature`.

    Contacts are chosen so that 0 = sum lambda_i s_i grad d_i with lambda > 0 (one more than there are unknowns: a
    strict minimum held by contacts alone), laid on the borders; all other points lie inside by at least gap * zone.
    minimum_zone: borders at +-zone / 2 (line in space: a cylinder of this diameter). maximum_inscribed,
    minimum_circumscribed: contacts on the feature, the others within `zone` outside or inside it. Circles and
    ellipses in space: all points in their plane. The minimum is local by construction and global where the zone is
    small against the feature. Source of the condition: Karush-Kuhn-Tucker; see also Chebyshev generators of national
    institutes. Raises `CriterionError` where the criterion does not exist, `ParameterError` where no such contacts
    were found.
    """
    rng = np.random.default_rng(seed)
    inscribed, circumscribed = criterion == "maximum_inscribed", criterion == "minimum_circumscribed"
    if criterion != "minimum_zone" and not inscribed and not circumscribed:
        raise CriterionError(
            f"no generator for {criterion!r}", expected="minimum_zone, maximum_inscribed, minimum_circumscribed"
        )
    if (inscribed or circumscribed) and feature.kind not in ("circle", "sphere", "cylinder"):
        raise CriterionError(
            f"a {feature.kind} has no inscribed or circumscribed element", expected="circle, sphere, cylinder"
        )
    in_space = feature.kind == "line" and feature.dimension == 3
    feet, normals, rows = _one_row(sample_feet(feature, n, rng, length=length, arc=arc), feature, rng)
    if inscribed or circumscribed:
        rows = rows[:, :-1]
    one_sided = inscribed or circumscribed or in_space
    contacts, signs, multipliers = _contacts(rows, rng, one_sided)
    inside = rng.uniform(-1.0, 1.0, n) * (0.5 - gap) * zone
    if in_space:
        offset = np.abs(inside)
        offset[contacts] = 0.5 * zone
        signs = np.ones(len(contacts))
    elif inscribed or circumscribed:
        side = 1.0 if inscribed else -1.0
        offset = side * (gap + (1.0 - gap) * rng.random(n)) * zone
        offset[contacts] = 0.0
        signs = np.full(len(contacts), -side)
    else:
        offset = inside
        offset[contacts] = 0.5 * zone * signs
    return KnownAnswer(
        feet + offset[:, None] * normals, feature, criterion, zone, contacts, signs, multipliers, gap * zone
    )


def _one_row(feet: Feet, feature: Feature, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feet, the direction of the one distance that the zone is about, and its derivatives."""
    if len(feet.directions) == 1:
        return feet.points, feet.directions[0], feet.jacobians[0]
    if feature.kind == "line":
        angle = rng.uniform(-math.pi, math.pi, len(feet.points))
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        return (
            feet.points,
            c * feet.directions[0] + s * feet.directions[1],
            c * feet.jacobians[0] + s * feet.jacobians[1],
        )
    moving = [i for i, name in enumerate(feature.chart) if name not in ("shift_w", "tilt_u", "tilt_v")]
    return feet.points, feet.directions[0], feet.jacobians[0][:, moving]


def _contacts(rows: np.ndarray, rng: np.random.Generator, one_sided: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p + 1 points whose derivatives have one null combination, well spread over them; its signs are the sides."""
    n, p = rows.shape
    if n < p + 1:
        raise ParameterError("too few points for the contacts", expected=f"at least {p + 1}", got=str(n))
    size = np.abs(rows).max(axis=0)
    scaled = rows / size
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    found = 0
    for _ in range(_TRIES):
        pick = rng.choice(n, p + 1, replace=False)
        _, values, vectors = np.linalg.svd(scaled[pick].T)
        if values[-1] * _WORST_CONDITION < values[0]:
            continue
        weights = vectors[-1]
        if one_sided:
            if weights.min() < 0.0 < weights.max():
                continue
            weights = np.abs(weights)
        quality = float(np.abs(weights).min() / np.abs(weights).sum())
        if quality > _LEAST_MULTIPLIER and (best is None or quality > best[0]):
            best = (quality, pick, weights)
        found += quality > _LEAST_MULTIPLIER
        if found >= _ENOUGH:
            break
    if best is None:
        raise ParameterError("no set of contacts was found", remedy="take more points, a longer arc or another seed")
    _, pick, weights = best
    order = np.argsort(pick)
    weights = weights[order]
    return pick[order], np.where(weights >= 0.0, 1.0, -1.0), np.abs(weights) / np.abs(weights).sum()
