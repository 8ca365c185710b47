"""Simulated SEM images of arbitrary shapes with known truth: line ends, elbows, holes, pillars, with defects.

Another model than the evaluation's: exact area coverage of the true polygons on a grid finer than the pixels, edge
brightness by distance from the contour, Gaussian beam, mean over each pixel, charging, noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from wafer.simulate.disturb import charged, distorted, expose
from wafer.simulate.roughness import rough_edges

FINE = 4  # points per pixel along each axis
Polygon = np.ndarray  # (n, 2) vertices in nm


@dataclass(frozen=True)
class ShapeModel:
    """What turns a design into an image. Lengths in nm, grey levels in counts.

    True shape: design edges moved outward by ``bias``, line ends (edges up to ``end_width`` between two convex corners)
    moved back by ``pullback``, corners rounded with ``corner_radius``, edges rough with ``roughness`` (1 s) and
    ``correlation_length``, ``hurst``. Place: design coordinates (x right, y up) turned by ``rotation`` (degrees,
    counterclockwise) and scaled by ``1 + scale`` about the origin, which lies
    ``shift`` from the middle of the image (x right, y up).
    Image: ``blur`` of the beam, ``bloom`` and ``bloom_length`` of the edge brightness on the bright side, ``charging``
    (share of the step) with ``charging_length``, ``distortion`` (x, y) in nm at the borders of the field,
    ``electrons_per_grey`` and ``read_noise``. Defects: ``missing`` polygon numbers; ``bridges`` and ``breaks`` bars
    (x0, y0, x1, y1, width) in design coordinates, added and taken away.
    """

    shape: tuple[int, int] = (512, 512)
    pixel: tuple[float, float] = (0.8, 0.8)
    bright: bool = True
    bias: float = 0.0
    pullback: float = 0.0
    end_width: float = 0.0
    corner_radius: float = 0.0
    roughness: float = 0.0
    correlation_length: float = 15.0
    hurst: float = 0.7
    rotation: float = 0.0
    scale: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    blur: float = 1.6
    low_level: float = 50.0
    high_level: float = 140.0
    bloom: float = 0.0
    bloom_length: float = 2.5
    charging: float = 0.0
    charging_length: float = 40.0
    distortion: tuple[float, float] = (0.0, 0.0)
    electrons_per_grey: float = 1.0
    read_noise: float = 2.0
    bits: int = 8
    missing: tuple[int, ...] = ()
    bridges: tuple[tuple[float, float, float, float, float], ...] = ()
    breaks: tuple[tuple[float, float, float, float, float], ...] = ()

    def check(self) -> None:
        """Raise `ParameterError` where the model cannot be drawn."""
        if min(self.shape) < 16 or min(self.pixel) <= 0.0 or self.blur <= 0.0 or self.bits not in (8, 16):
            raise ParameterError(
                "the image needs 16 x 16 pixels, a pixel size, a blur, 8 or 16 bits", got=f"{self.shape}"
            )


@dataclass(frozen=True, eq=False)
class ShapeImage:
    """A simulated image and its truth: ``pixels``; ``polygons`` the true contours as dense (n, 2) vertices in pixels
    (first pixel's centre at 0, 0), without the bars of bridges and breaks; ``design`` as given, in nm."""

    pixels: np.ndarray
    polygons: tuple[np.ndarray, ...]
    design: tuple[Polygon, ...]
    model: ShapeModel
    seed: int
    truth: dict[str, Any] = field(default_factory=dict)


def simulate_shapes(
    design: Sequence[Polygon], model: ShapeModel | None = None, *, seed: int, **changes: Any
) -> ShapeImage:
    """Draw polygons (nm, x right, y up); ``changes`` replace fields of the model; fixed by ``seed``. Polygons must not
    overlap; clockwise ones (y up) are holes in the others."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    model = replace(model or ShapeModel(), **changes)
    model.check()
    rough_stream, noise_stream = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2)
    )
    given = tuple(np.asarray(p, np.float64) for p in design)
    step = 0.5 * min(model.pixel)
    true = [_true_shape(p, model, step, rough_stream) for p in given]
    kept = [p for i, p in enumerate(true) if i not in model.missing]
    pixels = [to_pixels(p, model) for p in kept]
    ny, nx = model.shape
    px, py = model.pixel
    pad = math.ceil((4.0 * model.blur + (6.0 * model.bloom_length if model.bloom else 0.0)) / min(px, py)) + 2
    fine = coverage([_fine(p, pad) for p in pixels], ((ny + 2 * pad) * FINE, (nx + 2 * pad) * FINE))
    for bars, keep in ((model.bridges, True), (model.breaks, False)):
        for bar in bars:
            area = coverage([_fine(to_pixels(_bar(bar), model), pad)], fine.shape)
            fine = np.maximum(fine, area) if keep else np.minimum(fine, 1.0 - area)
    if model.bloom:
        sampling = (py / FINE, px / FINE)
        high = fine if model.bright else 1.0 - fine  # edge brightness lies on the high side
        into = distance_transform_edt(high > 0.5, sampling=sampling)
        high = high * (1.0 + model.bloom * np.exp(-into / model.bloom_length))
        fine = high if model.bright else 1.0 - high
    blurred = gaussian_filter(fine, (model.blur / py * FINE, model.blur / px * FINE), truncate=5.0)
    inner = blurred[pad * FINE : -pad * FINE, pad * FINE : -pad * FINE]
    level = inner.reshape(ny, FINE, nx, FINE).mean(axis=(1, 3))
    span = model.high_level - model.low_level
    signal = model.low_level + span * level if model.bright else model.high_level - span * level
    signal = charged(signal, model.charging, model.charging_length / px, span)
    image = expose(signal, model.electrons_per_grey, model.read_noise, model.bits, noise_stream)
    truth = {"unit": "nm", "bias": model.bias, "pullback": model.pullback, "shift": list(model.shift),
             "rotation_deg": model.rotation, "scale": model.scale}  # fmt: skip
    return ShapeImage(image, tuple(pixels), given, model, seed, truth)


def to_pixels(place: np.ndarray, model: ShapeModel) -> np.ndarray:
    """(n, 2) design coordinates to pixels of the image, distortion included."""
    ny, nx = model.shape
    px, py = model.pixel
    turn = math.radians(model.rotation)
    c, s = math.cos(turn), math.sin(turn)
    u = (1.0 + model.scale) * (c * place[:, 0] - s * place[:, 1]) + model.shift[0]
    v = (1.0 + model.scale) * (s * place[:, 0] + c * place[:, 1]) + model.shift[1]
    x = distorted(0.5 * nx * px + u, nx * px, model.distortion[0]) / px - 0.5
    y = distorted(0.5 * ny * py - v, ny * py, model.distortion[1]) / py - 0.5
    return np.column_stack((x, y))


def coverage(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(ny, nx) exact share of each pixel inside polygons given in pixels whose first pixel is the square (0, 0) to
    (1, 1); the sign of the area of the first polygon counts positive, others of opposite sense are holes."""
    from wafer.kernels.polygons import polygon_coverage

    ny, nx = shape
    out = np.zeros((ny, nx + 1))
    if not polygons:
        return out[:, :nx]
    first = np.concatenate(([0], np.cumsum([len(p) for p in polygons]))).astype(np.int64)
    x, y = (np.ascontiguousarray(np.concatenate([p[:, k] for p in polygons])) for k in (0, 1))
    polygon_coverage(x, y, first, 0, len(polygons), out)
    total = np.cumsum(out, axis=1)[:, :nx]
    largest = max(polygons, key=lambda p: abs(signed_area(p)))
    result: np.ndarray = np.clip(total if signed_area(largest) > 0.0 else -total, 0.0, 1.0)
    return result


def signed_area(polygon: np.ndarray) -> float:
    """Area of a polygon (n, 2), positive counterclockwise where y points up (clockwise where it points down)."""
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def _fine(pixels: np.ndarray, pad: int) -> np.ndarray:
    return (pixels + 0.5 + pad) * FINE


def _bar(bar: tuple[float, float, float, float, float]) -> np.ndarray:
    x0, y0, x1, y1, width = bar
    along = np.array((x1 - x0, y1 - y0)) / math.hypot(x1 - x0, y1 - y0)
    across = 0.5 * width * np.array((-along[1], along[0]))
    a, b = np.array((x0, y0)), np.array((x1, y1))
    return np.array((a - across, b - across, b + across, a + across))


def _true_shape(polygon: Polygon, model: ShapeModel, step: float, stream: np.random.Generator) -> np.ndarray:
    """Dense vertices of the shape that is there: moved, rounded and rough edges."""
    moved = _moved(polygon, model)
    if model.corner_radius > 0.0:
        moved = rounded(moved, model.corner_radius, step)
    if model.roughness <= 0.0:
        return dense(moved, step)
    points = dense(moved, step)
    out = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    sense = 1.0 if signed_area(points) > 0.0 else -1.0
    normal = sense * np.column_stack((out[:, 1], -out[:, 0])) / np.hypot(*out.T)[:, None]
    n = len(points)
    # a rough edge is no ring: its last piece goes over into its first
    blend = min(n // 4, math.ceil(4.0 * model.correlation_length / step))
    rough = rough_edges(
        1,
        n + blend,
        sigma=model.roughness,
        correlation_length=model.correlation_length / step,
        hurst=model.hurst,
        rng=stream,
    )[0]
    t = 0.5 * math.pi * (np.arange(blend) + 0.5) / blend
    rough[:blend] = np.sin(t) * rough[:blend] + np.cos(t) * rough[n:]
    return points + rough[:n, None] * normal


def _moved(polygon: Polygon, model: ShapeModel) -> np.ndarray:
    """Each edge moved along its outward normal; corners where the moved edges meet."""
    if not model.bias and not model.pullback:
        return polygon
    n = len(polygon)
    sense = 1.0 if signed_area(polygon) > 0.0 else -1.0
    along = np.roll(polygon, -1, axis=0) - polygon
    length = np.hypot(*along.T)
    along = along / length[:, None]
    normal = sense * np.column_stack((along[:, 1], -along[:, 0]))
    convex = sense * (np.roll(along, 1, axis=0)[:, 0] * along[:, 1] - np.roll(along, 1, axis=0)[:, 1] * along[:, 0]) > 0
    shift = np.full(n, model.bias)
    ends = (length <= model.end_width) & convex & np.roll(convex, -1)
    shift[ends] -= model.pullback
    result = np.empty_like(polygon)
    for i in range(n):
        j = i - 1
        system = np.stack((normal[j], normal[i]))
        right = np.array((normal[j] @ polygon[i] + shift[j], normal[i] @ polygon[i] + shift[i]))
        parallel = abs(np.linalg.det(system)) < 1e-9
        result[i] = polygon[i] + shift[i] * normal[i] if parallel else np.linalg.solve(system, right)
    return result


def rounded(polygon: np.ndarray, radius: float, step: float) -> np.ndarray:
    """A polygon whose corners are arcs of ``radius`` (less where an edge is too short)."""
    n = len(polygon)
    parts = []
    for i in range(n):
        before, here, after = polygon[i - 1], polygon[i], polygon[(i + 1) % n]
        a, b = before - here, after - here
        la, lb = math.hypot(*a), math.hypot(*b)
        a, b = a / la, b / lb
        half = 0.5 * math.acos(min(1.0, max(-1.0, float(a @ b))))
        if half > 0.5 * math.pi - 1e-6 or half < 1e-6:
            parts.append(here[None])
            continue
        reach = min(radius / math.tan(half), 0.5 * la, 0.5 * lb)
        r = reach * math.tan(half)
        centre = here + (a + b) / math.hypot(*(a + b)) * (r / math.sin(half))
        start, end = here + reach * a - centre, here + reach * b - centre
        turn = math.atan2(start[0] * end[1] - start[1] * end[0], float(start @ end))
        count = max(4, math.ceil(abs(turn) * r / step))
        angle = math.atan2(start[1], start[0]) + turn * np.linspace(0.0, 1.0, count + 1)
        parts.append(centre + r * np.column_stack((np.cos(angle), np.sin(angle))))
    return np.concatenate(parts)


def dense(polygon: np.ndarray, step: float) -> np.ndarray:
    """The polygon with further vertices, at most ``step`` apart; its own are kept."""
    parts = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        count = max(1, math.ceil(math.hypot(*(b - a)) / step))
        t = np.arange(count)[:, None] / count
        parts.append(a + t * (b - a))
    return np.concatenate(parts)


# --- patterns: designs in nm, middle at the origin
def rectangle(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """A rectangle, counterclockwise."""
    return np.array(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), np.float64)


def line_ends(
    lines: int = 5, width: float = 24.0, pitch: float = 56.0, gap: float = 30.0, length: float = 500.0
) -> list[Polygon]:
    """Vertical lines cut in two by a gap in the middle: tip to tip."""
    found = []
    for i in range(lines):
        x = (i - 0.5 * (lines - 1)) * pitch
        found += [
            rectangle(x - 0.5 * width, 0.5 * gap, x + 0.5 * width, 0.5 * gap + length),
            rectangle(x - 0.5 * width, -0.5 * gap - length, x + 0.5 * width, -0.5 * gap),
        ]
    return found


def elbows(count: int = 4, width: float = 24.0, pitch: float = 56.0, length: float = 400.0) -> list[Polygon]:
    """Nested lines with a right-angled bend."""
    found = []
    for i in range(count):
        at = (i - 0.5 * (count - 1)) * pitch
        low, high = at - 0.5 * width, at + 0.5 * width
        found.append(
            np.array(
                (
                    (low, low),
                    (low + length, low),
                    (low + length, high),
                    (high, high),
                    (high, low + length),
                    (low, low + length),
                )
            )
        )
    return found


def holes(columns: int = 4, rows: int = 4, size: float = 36.0, pitch: float = 80.0) -> list[Polygon]:
    """Squares on a lattice: contacts or pillars as drawn."""
    h = 0.5 * size
    return [
        rectangle(x - h, y - h, x + h, y + h)
        for y in (np.arange(rows) - 0.5 * (rows - 1)) * pitch
        for x in (np.arange(columns) - 0.5 * (columns - 1)) * pitch
    ]


def disc(radius: float, x: float = 0.0, y: float = 0.0, count: int = 720) -> Polygon:
    """A circle as polygon whose area is that of the circle."""
    angle = 2.0 * math.pi * np.arange(count) / count
    r = radius * math.sqrt(2.0 * math.pi / (count * math.sin(2.0 * math.pi / count)))
    return np.column_stack((x + r * np.cos(angle), y + r * np.sin(angle)))
