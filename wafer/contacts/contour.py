"""The contour of one closed feature: a Fourier series of the radius, fitted to the grey values around it.

Strips along all rays give the mean radial profile; the edge criterion is applied to *that*, so that noise of single
rays does not decide where the edge is; the shape follows from the shifts of the rays against a template pooled over the
features of the image (one Gauss-Newton step each, offset free, gain that of the feature), iterated until the contour
stands still. Everything estimated at the end is a linear combination of pixels, so its noise follows from theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wafer.contours import GreyNoise, Strips, Window, pixel_weights, strips_along, weights_covariance
from wafer.kernels.shifts import template_shift

Criterion = Literal["threshold", "sigmoid", "model"]
MODES = 8  # highest Fourier mode of the radius
LEAST_RAYS = 180
_PASSES = 24
_STILL = 2e-3  # px: largest change of a parameter in the last pass ...
_STILL_NOISE = 0.1  # ... or this share of what noise does to a parameter, where that is more
_MOST_STEP = 1.5  # px a pass may move


@dataclass(frozen=True)
class Edge:
    """What the contour fit needs to know of edges in this image.

    ``window`` reach of the strips; ``plateau`` distance in pixels from which the grey level counts as plateau;
    ``level`` of the threshold; ``sign`` +1 where grey rises outward (dark feature), -1 where it falls; ``crowded``:
    other features may lie within reach on any side; the grey level of a ray is then that of the feature, not its own.
    """

    window: Window
    plateau: float
    level: float
    sign: float
    crowded: bool = False


@dataclass(frozen=True, eq=False)
class Template:
    """Mean edge over the distance, 0 at the 50 % point of its plateaus, grey rising outward from 0 to 1."""

    distance: np.ndarray
    grey: np.ndarray

    @property
    def width(self) -> float:
        """Width of the edge in pixels, 10 % to 90 % of a Gaussian's whose slope is half its largest as far apart."""
        from wafer.contours.trace import slope_width

        return slope_width(self.distance, np.gradient(self.grey, self.distance))


@dataclass(frozen=True, eq=False)
class Contour:
    """A fitted feature; lengths in pixels of x, places in pixels (``aspect`` is the pixel size in x over that in y).

    ``centre`` (2,), ``radius`` mean over the angle, ``modes`` (K, 2) cosine and sine amplitudes from n = 2 on
    (``modes[0]`` is n = 2); ``covariance`` (2K + 3, 2K + 3) by noise, of (radius, x, y, modes...); ``theta``,
    ``edge`` (n,) the rays and the radius at each, ``edge_u`` (n,) its standard uncertainty by noise; ``contrast`` and
    ``slope`` grey levels and grey levels per pixel; ``rms`` residual grey level; ``state`` ok | lost | border |
    not_converged.
    """

    centre: np.ndarray
    radius: float
    modes: np.ndarray
    covariance: np.ndarray
    theta: np.ndarray
    edge: np.ndarray
    edge_u: np.ndarray
    contrast: float
    slope: float
    rms: float
    state: str
    profile: np.ndarray
    aspect: float = 1.0

    @property
    def diameter(self) -> float:
        """Mean diameter over all angles."""
        return 2.0 * self.radius

    @property
    def diameter_u(self) -> float:
        """Standard uncertainty of the mean diameter by noise."""
        return 2.0 * math.sqrt(max(float(self.covariance[0, 0]), 0.0))

    @property
    def area(self) -> float:
        """Area in the contour; the area that noise of the modes adds on average is taken off."""
        noise = float(np.trace(self.covariance[3:, 3:]))
        return math.pi * (self.radius**2 + 0.5 * (float(np.sum(self.modes**2)) - noise))

    def vertices(self) -> np.ndarray:
        """(n, 2) the contour as polyline, measured ray by ray."""
        return self.centre + self.edge[:, None] * np.column_stack(
            (np.cos(self.theta), self.aspect * np.sin(self.theta))
        )


def radius_at(radius: float, modes: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Radius of the Fourier series at angles."""
    n = np.arange(2, len(modes) + 2)
    phase = theta[:, None] * n
    result: np.ndarray = radius + np.cos(phase) @ modes[:, 0] + np.sin(phase) @ modes[:, 1]
    return result


def _design(theta: np.ndarray, k: int) -> np.ndarray:
    """(n, 2k + 3) columns: 1, cos, sin (the centre), then pairs from n = 2."""
    n = np.arange(1, k + 2)
    phase = theta[:, None] * n
    out = np.empty((theta.size, 2 * k + 3))
    out[:, 0] = 1.0
    out[:, 1::2], out[:, 2::2] = np.cos(phase), np.sin(phase)
    return out


def _rays(radius: float) -> np.ndarray:
    count = max(LEAST_RAYS, math.ceil(2.0 * math.pi * radius / 0.75))
    return 2.0 * math.pi * np.arange(count) / count


def fit_contour(
    image: np.ndarray,
    centre: np.ndarray,
    radius: float,
    edge: Edge,
    noise: GreyNoise,
    criterion: Criterion,
    template: Template | None = None,
    aspect: float = 1.0,
) -> Contour:
    """Fit the contour of one feature in ``image`` (float64) from a rough centre and radius.

    ``aspect`` is the pixel size in x over that in y: lengths are in pixels of x, places in pixels of either axis.
    Without a ``template`` only the centre, the radius and the second mode are fitted: enough to pool one.
    """
    from wafer.kernels.strips import strip_shifts

    k = 1 if template is None else _mode_count(radius)
    modes = np.zeros((k, 2))
    start = np.array(centre, np.float64)
    place, r0 = start.copy(), float(radius)
    state = "not_converged"
    theta = _rays(radius)
    design = _design(theta, k)
    inverse = (2.0 / theta.size) * design.T  # the columns are orthogonal on evenly spaced rays
    inverse[0] *= 0.5
    direction = np.cos(theta), aspect * np.sin(theta)
    found: _Place | None = None
    strips: Strips | None = None
    shifts = np.empty((theta.size, 4))
    for turn in range(_PASSES):
        reach = radius_at(r0, modes, theta)
        x, y = place[0] + reach * direction[0], place[1] + reach * direction[1]
        strips = strips_along(image, x, y, *direction, edge.window)
        if not strips.complete:
            return _nothing(place, r0, modes, theta, "border", aspect)
        mean = strips.grey.mean(axis=0)
        found = _criterion(strips.distance, mean, edge, criterion, template)
        if found is None:
            return _nothing(place, r0, modes, theta, "lost", aspect)
        model, slope = found.model, found.slope_of_model
        if edge.crowded:
            shifts[:, 0] = (strips.grey - model) @ _local(slope)
        else:
            strip_shifts(strips.grey, model, slope, False, 0, theta.size, shifts)
        moved = np.where(np.isfinite(shifts[:, 0]), shifts[:, 0], 0.0)
        step = inverse @ np.clip(moved, -_MOST_STEP, _MOST_STEP)
        step[0] = min(max(found.at, -_MOST_STEP), _MOST_STEP)  # the criterion on the mean profile sets the mean radius
        if turn >= _PASSES // 2:
            step *= 0.5  # noise between the pixels can make two contours alternate
        r0 += step[0]
        place = place + step[1:3] * (1.0, aspect)
        modes = modes + step[3:].reshape(k, 2)
        change = float(np.abs(step).max())
        still = max(_STILL, _STILL_NOISE * float(moved.std()) * math.sqrt(2.0 / theta.size))
        if r0 < 1.5 or r0 > 2.5 * radius + 4.0 or float(np.hypot(*(place - start))) > max(radius, 4.0):
            return _nothing(start, radius, np.zeros((k, 2)), theta, "lost", aspect)
        if change < still:
            state = "ok"
            break
    assert found is not None and strips is not None
    return _finish(
        image, place, r0, modes, theta, design, inverse, strips, shifts, edge.crowded, found, noise, state, aspect
    )


def _local(slope: np.ndarray) -> np.ndarray:
    """Shift of a ray per grey value of its samples against a profile of this slope, offset that of the profile: only
    samples on the edge count."""
    return np.asarray(-slope / (slope @ slope))


def _mode_count(radius: float) -> int:
    """Modes that the beam can resolve: half a wave along the contour not shorter than about 3 px."""
    return int(min(MODES, max(2, 2.0 * math.pi * radius / 6.0))) - 1


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the criterion puts the edge on a mean profile: ``at`` px from the contour; ``weights`` (m,) d at / d grey.

    ``model`` and ``slope_of_model`` (m,): the profile that the rays are compared with, and its derivative; ``contrast``
    between the plateaus, ``slope`` at the edge.
    """

    at: float
    weights: np.ndarray
    model: np.ndarray
    slope_of_model: np.ndarray
    contrast: float
    slope: float


def plateaus(distance: np.ndarray, plateau: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the means over the inner and the outer plateau."""
    inside, outside = distance <= -plateau, distance >= plateau
    if not inside.any():
        inside = distance == distance[0]
    if not outside.any():
        outside = distance == distance[-1]
    return inside / inside.sum(), outside / outside.sum()


def _criterion(
    distance: np.ndarray, mean: np.ndarray, edge: Edge, criterion: Criterion, template: Template | None
) -> _Place | None:
    rising = edge.sign * mean
    inner, outer = plateaus(distance, edge.plateau)
    low, high = float(inner @ rising), float(outer @ rising)
    contrast = high - low
    if not contrast > 0.0:
        return None
    pooled = None if template is None else _model_place(distance, rising, template, edge, contrast)
    if template is not None and (pooled is None or criterion == "model"):
        return pooled
    at = _crossing(distance, rising, low + edge.level * contrast)
    if at is None:
        return None
    j, t, steep = at
    step = distance[1] - distance[0]
    weights = (1.0 - edge.level) * inner + edge.level * outer
    weights = weights / steep
    weights[j] -= (1.0 - t) / steep
    weights[j + 1] -= t / steep
    where = float(distance[j] + t * step)
    if criterion == "sigmoid":
        better = _logistic(distance, rising, where, low, high)
        if better is None:
            return None
        where, weights = better
    if pooled is not None:
        model, slope = pooled.model, pooled.slope_of_model
    else:  # the mean profile itself, its slope over three pixels: a template that follows noise chases its own tail
        model = edge.sign * np.convolve(np.pad(rising, 3, mode="edge"), np.full(7, 1.0 / 7.0), mode="same")[3:-3]
        slope = np.gradient(model, distance)
    return _Place(where, edge.sign * weights, model, slope, contrast, float(steep))


def _crossing(distance: np.ndarray, rising: np.ndarray, level: float) -> tuple[int, float, float] | None:
    """(sample, fraction, slope) where the profile rises through a level, nearest to the contour."""
    up = np.flatnonzero((rising[:-1] < level) & (rising[1:] >= level))
    if not up.size:
        return None
    j = int(up[np.argmin(np.abs(distance[up]))])
    rise = rising[j + 1] - rising[j]
    return j, float((level - rising[j]) / rise), float(rise / (distance[1] - distance[0]))


def _logistic(
    distance: np.ndarray, rising: np.ndarray, where: float, low: float, high: float
) -> tuple[float, np.ndarray] | None:
    """Centre of the least-squares logistic step (four parameters) and its derivative to the samples."""
    p = np.array((where, math.log(1.5), low, high - low))
    for _ in range(40):
        width = math.exp(p[1])
        z = np.clip((distance - p[0]) / width, -60.0, 60.0)
        s = 1.0 / (1.0 + np.exp(-z))
        ds = s * (1.0 - s)
        j = np.column_stack((-p[3] * ds / width, -p[3] * ds * z, np.ones_like(s), s))
        inverse = np.linalg.pinv(j)
        step = inverse @ (rising - p[2] - p[3] * s)
        step[:2] = np.clip(step[:2], -1.0, 1.0)
        p = p + step
        if not np.isfinite(p).all() or abs(p[0]) > 20.0 or not -3.0 < p[1] < 3.0:
            return None
        if abs(step[0]) < 1e-9:
            return float(p[0]), inverse[0]
    return None


def _model_place(
    distance: np.ndarray, rising: np.ndarray, template: Template, edge: Edge, contrast: float
) -> _Place | None:
    """Shift of the pooled template that fits the mean profile best, offset and gain free."""
    steepness = np.gradient(template.grey, template.distance)
    start, spacing = float(template.distance[0]), float(template.distance[1] - template.distance[0])
    found = np.empty(3)
    if not template_shift(distance, rising, start, spacing, template.grey, steepness, found):
        return None
    at, gain, offset = (float(v) for v in found)
    t = np.interp(distance - at, template.distance, template.grey)
    d = np.interp(distance - at, template.distance, steepness)
    j = np.stack((-gain * d, np.ones_like(t), t))
    normal = j @ j.T
    inverse = np.linalg.solve(normal, j)
    model, slope = edge.sign * (offset + gain * t), edge.sign * gain * d
    steep = float(gain * np.interp(0.0, template.distance, steepness))
    return _Place(at, edge.sign * inverse[0], model, slope, contrast, steep)


def _finish(
    image: np.ndarray,
    place: np.ndarray,
    r0: float,
    modes: np.ndarray,
    theta: np.ndarray,
    design: np.ndarray,
    inverse: np.ndarray,
    strips: Strips,
    shifts: np.ndarray,
    crowded: bool,
    found: _Place,
    noise: GreyNoise,
    state: str,
    aspect: float,
) -> Contour:
    """Edge at each ray, and the covariance of all parameters by the noise of the pixels."""
    jacobian = np.column_stack((-found.slope_of_model, np.ones_like(found.model)))
    # shift of a ray per grey value of its samples
    ray = _local(found.slope_of_model) if crowded else np.linalg.pinv(jacobian)[0]
    n = theta.size
    mean = (np.tile(found.weights / n, (n, 1)), np.ones((1, n)))
    shape = (np.tile(ray, (n, 1)), inverse[1:])
    weights = pixel_weights(strips, [mean, shape], image.shape)
    covariance = weights_covariance(weights, image, noise)
    radius = radius_at(r0, modes, theta)
    fitted = design[:, 1:] @ (inverse[1:] @ shifts[:, 0])
    local = shifts[:, 0] - float(shifts[:, 0].mean())
    edge = radius + (local - (fitted - fitted.mean()))
    # one ray: neighbours share pixels, a ray of its own does not
    own = np.sqrt(noise.variance(strips.grey))
    edge_u = np.sqrt(np.mean(own**2, axis=1) * _correlated(ray))
    rms = math.sqrt(float(np.mean((strips.grey - found.model) ** 2)))
    return Contour(
        place, r0, modes, covariance, theta, edge, edge_u, found.contrast, found.slope, rms, state,
        strips.grey.mean(axis=0), aspect,
    )  # fmt: skip


def _correlated(ray: np.ndarray) -> float:
    """Variance of ``ray @ samples`` per unit variance of a pixel, for samples interpolated half a pixel apart along a
    row of pixels: mean over the phase of the grid."""
    from wafer.contours.strips import STEP

    total, phases = 0.0, 8
    for q in range(phases):
        at = q / phases + STEP * np.arange(ray.size)
        base = np.floor(at).astype(int)
        t = at - base
        s = 1.0 - t
        w = np.stack((-0.5 * t * s * s, 1 + t * t * (1.5 * t - 2.5), 1 + s * s * (1.5 * s - 2.5), -0.5 * s * t * t))
        pixel = np.zeros(int(base[-1]) + 4)
        for a in range(4):
            np.add.at(pixel, base + a, w[a] * ray)
        total += float(np.sum(pixel**2))
    return total / phases


def pool(contours: list[Contour], edges: list[Edge]) -> Template | None:
    """The mean edge of features, each scaled to its plateaus and laid so that half of the step is at 0.

    Features of different reach meet on the widest of them; where a short one ends, the others go on alone.
    """
    rows, weights = [], []
    distance = max((edge.window.distances() for edge in edges), key=len, default=np.empty(0))
    for found, edge in zip(contours, edges, strict=True):
        own = edge.window.distances()
        if found.state not in ("ok", "not_converged") or found.profile.shape != own.shape:
            continue
        inner, outer = plateaus(own, edge.plateau)
        rising = edge.sign * found.profile
        low, high = float(inner @ rising), float(outer @ rising)
        at = _crossing(own, rising, 0.5 * (low + high))
        if at is None or not high > low:
            continue
        where = own[at[0]] + at[1] * (own[1] - own[0])
        if abs(where) < 1.0:
            row = np.interp(distance, own - where, (rising - low) / (high - low))
            rows.append(np.where((distance >= own[0]) & (distance <= own[-1]), row, np.nan))
            weights.append((high - low) ** 2 * found.theta.size)
    if not rows:
        return None
    grey, weight = np.array(rows), np.array(weights)[:, None] * np.isfinite(rows)
    total = weight.sum(axis=0)
    seen = np.flatnonzero(total > 0.0)
    mean = np.nansum(weight * np.nan_to_num(grey), axis=0) / np.where(total > 0.0, total, 1.0)
    return Template(distance, np.interp(distance, distance[seen], mean[seen]))


def _nothing(place: np.ndarray, r0: float, modes: np.ndarray, theta: np.ndarray, state: str, aspect: float) -> Contour:
    k = 2 * len(modes) + 3
    none = np.full(theta.size, math.nan)
    return Contour(
        place, r0, modes, np.full((k, k), math.nan), theta, none, none, math.nan, math.nan, math.nan, state,
        np.empty(0), aspect,
    )  # fmt: skip
