"""The continuous surface behind a declared field of noise: drawn surfaces in place of a budget for form.

Used only where the instrument states how its noise is correlated (`Instrument.correlation_kernel`), for planes,
cylinders and circles of a known normal (in their plane) of up to `MOST_POINTS` points; everything else keeps the budget
of `evaluate_uncertainty`. One set of drawn surfaces serves all associations of the same points, and form, size and
place of each: what noise and form do to them is counted once and jointly.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.features import Circle2D, Cylinder, Plane
from metrology_core.fitting.general.rows import feature_rows
from metrology_core.provenance import digest_bytes
from metrology_core.quantity import Influence
from metrology_core.uncertainty.fields.field import CorrelatedField

FloatArray = NDArray[np.float64]
MOST_POINTS = 1000
PLACES = 400  # of the region
DRAWS = 399
KINDS = ("plane", "cylinder", "circle")
CRITERIA = ("least_squares", "minimum_zone", "maximum_inscribed", "minimum_circumscribed")
ONE_SIDED = CRITERIA[2:]
# Positions enter the correlations of form and noise in such steps of the extent and of the turn: parts that one
# programme measures then share their matrices, and a correlation over a tenth of the extent changes by 3e-3
_STEPS = 2880
_REMEMBERED = 1 << 25  # numbers that the layouts keep between two parts: 256 MB


@dataclass(frozen=True, eq=False)
class DrawnChart:
    """What a feature can be: ``chart`` (draws, p), changes from the feature that is evaluated to those of the drawn
    surfaces, associated by the same criterion. ``middle`` (p,): that of the mean surface, from which the mean of
    inscribed and circumscribed ones differs. ``without_form`` (draws, p): what they are if there is no form at all;
    None where form stands out of the noise, or makes no difference. ``geometry``: the feature that is changed, a circle
    in its plane where it was associated there."""

    chart: FloatArray
    middle: FloatArray
    without_form: FloatArray | None
    flags: tuple[str, ...]
    geometry: Any = None

    def covariance(self) -> FloatArray:
        """(p, p) second moment about the evaluated feature: the value is not corrected (JCGM 100 F.2.4.5)."""
        rows = self.chart if self.without_form is None else np.concatenate([self.chart, self.without_form])
        return np.asarray(np.einsum("da,db->ab", rows, rows) / len(rows))


@dataclass(frozen=True, eq=False)
class DrawnForm:
    """Values (draws,) in rising order that the form of the continuous surface can have, and flags."""

    samples: FloatArray
    flags: tuple[str, ...]


class DrawnSurface:
    """Surfaces over the measured region that agree with the points of one feature.

    ``base``: the least-squares feature of the points, about which heights are given along its normal; ``places`` (m, 3)
    on it with ``weights`` (m,) of their areas; ``found``: the posterior.
    """

    def __init__(self, base: Any, places: FloatArray, weights: FloatArray, found: Any) -> None:
        self.base, self.places, self.found = base, places, found
        self._root = np.sqrt(weights)
        self._zones: dict[str, tuple[Any, FloatArray, FloatArray]] = {}

    def _about(self, geometry: Any) -> Any:
        """The posterior with heights and derivatives about another association of the same points."""
        side = 1.0
        if geometry.kind == "plane" and float(geometry.normal @ self.base.normal) < 0.0:
            side = -1.0
        rows = feature_rows(geometry, self.places, None).j[0]
        influence = np.linalg.pinv(rows * self._root[:, None]) * self._root
        heights = side * self.found.surfaces + geometry.distance(self.places)
        model: Any = SimpleNamespace(feature=geometry, rows=rows, influence=influence)
        return replace(self.found, surfaces=heights, model=model)

    def chart(self, geometry: Any, criterion: str) -> DrawnChart:
        """The drawn features of a criterion as changes of ``geometry``, the one that the points have by it."""
        about = self._about(geometry)
        flags = tuple(name for name in self.found.flags if name != "form_not_resolved")
        if criterion == "least_squares":
            chart = about.chart()
            return DrawnChart(chart, chart.mean(axis=0), None, flags, geometry)
        size, chart = self._zone(geometry, criterion)
        chart = _finite(chart, np.isfinite(size))
        height, middle = _mean(about).zone(criterion)
        middle = middle[0] if np.isfinite(height[0]) else chart.mean(axis=0)
        if criterion in ONE_SIDED and not self.found.resolved:
            # without form the inscribed feature of the surface is the least-squares one
            return DrawnChart(chart, middle, about.chart(), (*flags, "form_not_resolved"), geometry)
        return DrawnChart(chart, middle, None, flags, geometry)

    def form(self, geometry: Any, criterion: str) -> DrawnForm:
        """Width of the zone, or range about the least-squares element, of each surface."""
        if criterion == "minimum_zone":
            samples = self._zone(geometry, criterion)[0]
        else:
            samples = _range(self._about(geometry))
        samples = np.sort(samples[np.isfinite(samples)])
        middle = _mean(self._about(geometry))
        centre = float(middle.zone(criterion)[0][0] if criterion == "minimum_zone" else _range(middle)[0])
        centre = centre if math.isfinite(centre) else float(samples.mean())
        # where whole ridges are highest (lobes) a range is drawn larger than that of the mean surface, and that one is
        # as much larger than the true range
        bias = max(0.0, float(samples.mean()) - centre)
        place = (np.arange(len(samples)) + 0.5) / len(samples)
        samples = np.clip(samples - 2.0 * bias * np.clip(1.0 - 2.0 * place, 0.0, None), 0.0, None)
        if not self.found.resolved:
            samples[: math.ceil(0.05 * len(samples))] = 0.0  # form may be absent: 95 % intervals begin at zero
        return DrawnForm(samples, self.found.flags)

    def _zone(self, geometry: Any, criterion: str) -> tuple[FloatArray, FloatArray]:
        """Sizes (draws,) and charts (draws, p) of `SurfacePosterior.zone`, for size and form of one feature once."""
        if criterion not in self._zones or self._zones[criterion][0] is not geometry:
            self._zones[criterion] = (geometry, *self._about(geometry).zone(criterion))
        return self._zones[criterion][1:]

    def words(self) -> str:
        """How the surfaces were drawn."""
        found = self.found
        words = (
            f"the surface between and under the points drawn {len(found.surfaces)} times ({len(self.places)} places, "
            f"form of about {found.sigma:.3g} over {found.length:.3g}, declared noise)"
        )
        if found.noise_factor > 1.0:
            words += f", half of the prior for {found.noise_factor:g} times of it, which the points suggest"
        return words


class Surfaces:
    """The drawn surfaces of one evaluation, each made once: by kind and points, whatever associations need them.

    ``seed``: the run's. The same points and seed give the same surfaces.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._made: dict[tuple[str, str], DrawnSurface | None] = {}

    def of(self, xyz: FloatArray, base: Any, tip: float, field: CorrelatedField) -> DrawnSurface | None:
        """Surfaces through the points (n, 3; of a circle (n, 2) in its plane) of ``base``, their least-squares feature,
        moved by ``tip`` into the material where ball centres were compensated. None where there are none for such a
        feature or so many points."""
        if base.kind not in KINDS or xyz.shape[1] != base.dimension or len(xyz) > MOST_POINTS:
            return None
        digest = digest_bytes(np.ascontiguousarray(xyz).tobytes())
        key = base.kind, digest
        if key not in self._made:
            seed = int(digest_bytes(f"{self.seed}/surface/{base.kind}/{digest}".encode())[:12], 16)
            self._made[key] = _draw(xyz, base, tip, field, seed)
        return self._made[key]


def surface_influence(scope: str, name: str) -> Influence:
    """The cause that drawn surfaces stand for."""
    return Influence(f"surface/{scope}/{name}", f"noise and the surface between the points of {name} (drawn)", "B")


def levels(count: int, seed: int, id: str) -> FloatArray:
    """(count,) equal steps of probability in a random order that belongs to ``id``."""
    key = int(digest_bytes(f"{seed}/draws/{id}".encode())[:12], 16)
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).permutation(count)
    return np.asarray((order + 0.5) / count)


def normal_levels(count: int, seed: int, id: str) -> FloatArray:
    """The same as values of the standard normal distribution."""
    from scipy.special import ndtri

    return np.asarray(ndtri(levels(count, seed, id)))


def _mean(about: Any) -> Any:
    """The posterior's mean as its only surface."""
    return replace(about, surfaces=about.surfaces.mean(axis=0, keepdims=True))


def _range(about: Any) -> FloatArray:
    """(draws,) highest less lowest place about the least-squares element of each surface."""
    return np.asarray(np.ptp(about.surfaces + about.chart() @ about.model.rows.T, axis=1))


def _finite(chart: FloatArray, good: NDArray[np.bool_]) -> FloatArray:
    """Draws whose linear program has no solution get the result of another one."""
    if good.all():
        return chart
    there = np.flatnonzero(good)
    if not len(there):
        return np.zeros_like(chart)
    return np.asarray(chart[np.where(good, np.arange(len(good)), there[np.arange(len(good)) % len(there)])])


def _draw(xyz: FloatArray, base: Any, tip: float, field: CorrelatedField, seed: int) -> DrawnSurface | None:
    outward = -1.0 if base.material_side == "outside" else 1.0
    heights = base.distance(xyz) - outward * tip
    layout = _layout(base, xyz)
    if layout is None:
        return None
    sigma = np.asarray(field.sigma, dtype=np.float64)
    noise = (sigma.shape, sigma.tobytes(), field.kernel, field.nugget, field.metric)
    shared = _shared(layout, noise)
    if shared is None:
        return None
    with shared.lock:
        found = shared.model.posterior(heights, draws=DRAWS, seed=seed)
    _forget()
    return DrawnSurface(base, _placed(base, xyz, shared.coordinates), shared.weights, replace(found, model=None))


# --- layouts: positions along the surface, in steps
@dataclass(frozen=True)
class _Layout:
    """Points of a feature in its own coordinates, in whole steps: (angle, height) of a cylinder, two lengths of a
    plane, (angle, 0) of a circle. ``size``: steps of lengths in the unit of the points, of angles in rad."""

    kind: str
    steps: bytes
    size: tuple[float, float]
    radius: float

    def coordinates(self) -> FloatArray:
        return np.frombuffer(self.steps, dtype=np.int32).reshape(-1, 2).astype(np.float64)


def _frame(axis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions u, v square to an axis that do not jump where noise tilts it about a direction of the machine."""
    k = int(np.argmin(np.round(np.abs(axis), 1)))
    u = np.eye(3)[k] - axis[k] * axis
    u = u / np.linalg.norm(u)
    return u, np.cross(axis, u)


def _own(base: Any, xyz: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coordinates (n,), (n,) of points in the feature's own frame."""
    if base.kind == "circle":
        y = xyz - base.center
        return np.mod(np.arctan2(y[:, 1], y[:, 0]), 2.0 * np.pi), np.zeros(len(xyz))
    y = xyz - base.point
    u, v = _frame(base.normal if base.kind == "plane" else base.axis)
    if base.kind == "plane":
        return y @ u, y @ v
    return np.mod(np.arctan2(y @ v, y @ u), 2.0 * np.pi), y @ base.axis


def _layout(base: Any, xyz: FloatArray) -> _Layout | None:
    a, b = _own(base, xyz)
    if base.kind == "plane":
        spans = float(np.ptp(a)), float(np.ptp(b))
        if not min(spans) > 1e-6 * max(spans):
            return None
        size = tuple(_rounded(span) / _STEPS for span in spans)
        columns = [np.rint((x - x.min()) / span * _STEPS) for x, span in zip((a, b), spans, strict=True)]
        return _Layout("plane", np.stack(columns, axis=1).astype(np.int32).tobytes(), (size[0], size[1]), 0.0)
    span = float(np.ptp(b))
    columns = [np.mod(np.rint(a / (2.0 * np.pi) * _STEPS), _STEPS)]
    if base.kind == "circle":
        steps = np.stack([*columns, b], axis=1).astype(np.int32).tobytes()
        return _Layout("circle", steps, (2.0 * math.pi / _STEPS, 0.0), _rounded(float(base.radius)))
    if not span > 1e-6 * float(base.radius):
        return None
    columns.append(np.rint((b - b.min()) / span * _STEPS))
    size = 2.0 * math.pi / _STEPS, _rounded(span) / _STEPS
    return _Layout("cylinder", np.stack(columns, axis=1).astype(np.int32).tobytes(), size, _rounded(float(base.radius)))


def _rounded(x: float) -> float:
    """To about three digits, in steps that the round lengths of drawings do not lie between."""
    step = 10.0 ** (math.floor(math.log10(x / 8.3)) - 1) * 0.3
    return max(1.0, round(x / step)) * step


def _placed(base: Any, xyz: FloatArray, coordinates: FloatArray) -> FloatArray:
    """Places (m, 3) on the feature from coordinates (m, 2) in steps of its layout."""
    if base.kind == "circle":
        t = coordinates[:, 0] * (2.0 * np.pi / _STEPS)
        return np.asarray(base.center + base.radius * np.stack([np.cos(t), np.sin(t)], axis=1))
    a, b = _own(base, xyz)
    u, v = _frame(base.normal if base.kind == "plane" else base.axis)
    if base.kind == "plane":
        x = [w.min() + c / _STEPS * np.ptp(w) for w, c in zip((a, b), coordinates.T, strict=True)]
        return np.asarray(base.point + x[0][:, None] * u + x[1][:, None] * v)
    t, h = coordinates[:, 0] * (2.0 * np.pi / _STEPS), b.min() + coordinates[:, 1] / _STEPS * np.ptp(b)
    round_it = np.cos(t)[:, None] * u + np.sin(t)[:, None] * v
    return np.asarray(base.point + base.radius * round_it + h[:, None] * base.axis)


@dataclass(frozen=True, eq=False)
class _Shared:
    """Model of a layout, coordinates (m, 2) of its region in steps, their weights, what keeps two threads out of it."""

    model: Any
    coordinates: FloatArray
    weights: FloatArray
    lock: threading.Lock


_layouts: OrderedDict[Any, _Shared] = OrderedDict()
_layouts_lock = threading.Lock()


def _shared(layout: _Layout, noise: tuple[Any, ...]) -> _Shared | None:
    """The model of a layout and a noise, remembered: what is drawn does not depend on whether it was."""
    key = layout, noise
    with _layouts_lock:
        if key in _layouts:
            _layouts.move_to_end(key)
            return _layouts[key]
    made = _model(layout, noise)
    if made is not None:
        with _layouts_lock:
            _layouts[key] = made
    return made


def _forget() -> None:
    """Drop the layouts that were not used for longest where all together hold too much; the last one stays."""
    with _layouts_lock:
        sizes = {key: one.model.grid.remembered() for key, one in _layouts.items()}
        total = sum(sizes.values())
        while total > _REMEMBERED and len(_layouts) > 1:
            total -= sizes[_layouts.popitem(last=False)[0]]


def _model(layout: _Layout, noise: tuple[Any, ...]) -> _Shared | None:
    from metrology_core.uncertainty.fields.posterior import SurfaceModel

    shape, sigma, kernel, nugget, metric = noise
    values = np.frombuffer(sigma, dtype=np.float64).reshape(shape)
    field = CorrelatedField(float(values) if values.ndim == 0 else values, kernel, nugget, metric)
    steps = layout.coordinates()
    found = _plane_region(steps, layout.size) if layout.kind == "plane" else _round_region(steps, layout)
    if found is None:
        return None
    coordinates, weights = found
    origin, up = np.zeros(3), np.array([0.0, 0.0, 1.0])
    feature: Any
    if layout.kind == "circle":
        feature = Circle2D(np.zeros(2), layout.radius)
    else:
        feature = Plane(origin, up) if layout.kind == "plane" else Cylinder(origin, up, layout.radius)

    def placed(x: FloatArray) -> FloatArray:
        x = x * np.asarray(layout.size)
        if layout.kind == "plane":
            return np.stack([x[:, 0], x[:, 1], np.zeros(len(x))], axis=1)
        r = layout.radius
        if layout.kind == "circle":
            return np.stack([r * np.cos(x[:, 0]), r * np.sin(x[:, 0])], axis=1)
        return np.stack([r * np.cos(x[:, 0]), r * np.sin(x[:, 0]), x[:, 1] - 0.5 * _STEPS * layout.size[1]], axis=1)

    model = SurfaceModel(feature, placed(steps), placed(coordinates), field, weights=weights)
    return _Shared(model, coordinates, weights, threading.Lock())


# --- regions
def _ends(n: int) -> FloatArray:
    """Weights (n,) over equal steps, ends included: Gregory's rule, or the trapezoid for fewer than six."""
    if n < 6:
        return np.r_[0.5, np.ones(n - 2), 0.5]
    ends = np.array([3.0 / 8.0, 7.0 / 6.0, 23.0 / 24.0])
    return np.r_[ends, np.ones(n - 6), ends[::-1]]


def _round_region(steps: FloatArray, layout: _Layout) -> tuple[FloatArray, FloatArray] | None:
    """Sector and length of the points: coordinates (m, 2) in steps, weights (m,); None where it has no extent."""
    angle = np.sort(steps[:, 0])
    gaps = np.diff(angle, append=angle[0] + _STEPS)
    widest = int(np.argmax(gaps))
    whole = gaps[widest] < _STEPS / 4
    sector = float(_STEPS if whole else _STEPS - gaps[widest])
    if sector <= 0.0:
        return None
    first = 0.0 if whole else float(angle[(widest + 1) % len(angle)])
    if layout.kind == "circle":
        theta = first + np.linspace(0.0, sector, PLACES // 2, endpoint=not whole)
        weights = np.ones(len(theta)) if whole else _ends(len(theta))
        return np.stack([theta, np.zeros(len(theta))], axis=1), weights
    arc, length = sector * layout.size[0] * layout.radius, _STEPS * layout.size[1]
    # lobes have shorter waves than what runs along an axis
    around = min(PLACES // 3, max(12, round(1.5 * math.sqrt(PLACES * arc / length))))
    along = max(6, min(PLACES // 12, PLACES // around))
    theta = first + np.linspace(0.0, sector, around, endpoint=not whole)
    t, g = (x.ravel() for x in np.meshgrid(theta, np.linspace(0.0, _STEPS, along), indexing="ij"))
    weights = np.outer(np.ones(around) if whole else _ends(around), _ends(along)).ravel()
    return np.stack([t, g], axis=1), weights


def _plane_region(steps: FloatArray, size: tuple[float, float]) -> tuple[FloatArray, FloatArray] | None:
    """Convex hull of the points: coordinates (m, 2) in steps, weights (m,), borders included."""
    from scipy.spatial import ConvexHull, QhullError, cKDTree

    flat = steps * np.asarray(size)
    try:
        hull = ConvexHull(flat)
    except QhullError:
        return None
    corners = flat[hull.vertices]
    edges = np.roll(corners, -1, axis=0) - corners
    # the smallest rectangle about a hull has a side along one of its edges
    boxes = []
    for edge in edges / np.linalg.norm(edges, axis=1)[:, None]:
        across = np.array([-edge[1], edge[0]])
        boxes.append((float(np.ptp(corners @ edge) * np.ptp(corners @ across)), tuple(edge)))
    smallest = min(area for area, _ in boxes)
    turn = np.array(next(edge for area, edge in boxes if area <= (1.0 + 1e-9) * smallest))
    turn = np.stack([turn, [-turn[1], turn[0]]])
    low, span = (corners @ turn.T).min(axis=0), np.ptp(corners @ turn.T, axis=0)
    share = float(hull.volume) / float(span[0] * span[1])
    step = math.sqrt(float(hull.volume) / PLACES)
    count = [max(6, min(PLACES // 6, math.ceil(float(s) / step) + 1)) for s in span]
    axes = [np.linspace(low[k], low[k] + span[k], count[k]) for k in (0, 1)]
    a, b = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
    places = np.stack([a, b], axis=1) @ turn
    if share > 0.98:  # a rectangle
        return places / np.asarray(size), np.outer(_ends(count[0]), _ends(count[1])).ravel()

    def inside(x: FloatArray) -> NDArray[np.bool_]:
        slack = 1e-9 * float(span.max())
        return np.asarray((x @ hull.equations[:, :2].T + hull.equations[:, 2] <= slack).all(axis=1))

    places = np.concatenate([places[inside(places)], corners])
    # the area nearest to each place, by a fine grid of midpoints
    fine = [low[k] + span[k] * (np.arange(12 * count[k]) + 0.5) / (12 * count[k]) for k in (0, 1)]
    a, b = (x.ravel() for x in np.meshgrid(*fine, indexing="ij"))
    midpoints = np.stack([a, b], axis=1) @ turn
    nearest = cKDTree(places).query(midpoints[inside(midpoints)])[1]
    weights = np.bincount(nearest, minlength=len(places)).astype(np.float64)
    kept = weights > 0.0
    kept[-len(corners) :] = True  # the border counts for zones, with next to no area
    return places[kept] / np.asarray(size), np.maximum(weights[kept], 1e-3)
