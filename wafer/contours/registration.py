"""A design on an image: coarse place by correlation of areas, fine by robust least squares of the edge distances.

A design place q lies at P = t + (1 + k) M R(a) (q - o) in lengths from the middle of the image, y down: o design place
named as the middle, M mirrors y, t and a (counterclockwise as seen) and k are found. An outward offset common to all
edges (bias of the process, offset of the criterion) is fitted beside them, so that it does not pull at the place where
contours are cut by the border; it stays in the edge placement errors. Where line ends must hold a direction, their
common pull-back is fitted as well: ends that face both ways hold it, ends that face one way do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import DataError, ParameterError
from wafer.contours.corners import Zone
from wafer.contours.design import Edges
from wafer.contours.trace import Trace

NAMES = ("x", "y", "rotation", "scale", "offset", "end_offset")
FACING = 0.5  # least cosine between the normals of a contour and of the edge it is compared with
_AMBIGUOUS = 0.93  # a second place with this share of the best correlation
_LEAST_FIT = 0.4  # correlation of the areas
_BORDER_DROP = 0.02  # share of the correlation lost from the border of the search to its middle: no flat ridge
_LEAST_PART = 0.02  # share of the vertices that must hold a direction
_TUKEY = 5.0  # in robust standard deviations
_PIECE = 32.0  # px of an edge, at least, that count as one in the scatter of residuals
_PIECES = 4.0  # ... and this many decay lengths of the residuals, so that pieces are independent
_LEAST_REST = 0.05  # of a residual that a piece leaves to itself: one that holds a direction alone says nothing of it
_MOST_DECAY = 256.0  # px, longest decay that is looked for


@dataclass(frozen=True, eq=False)
class Matches:
    """Contour vertices against design edges, lengths in the unit of the image: ``edge`` (n,) index or -1, ``along``
    (n,), ``epe`` (n,) signed distance, positive outside the design, ``from_corner`` (n,) along the boundary, of which
    ``corner`` (n,) is the kind and ``corner_number`` (n,) the number; ``boundary``, ``place`` (n,) and ``around``
    as `Edges.boundaries` has them."""

    edge: np.ndarray
    along: np.ndarray
    epe: np.ndarray
    from_corner: np.ndarray
    corner: np.ndarray
    corner_number: np.ndarray
    boundary: np.ndarray
    place: np.ndarray
    around: np.ndarray


@dataclass(frozen=True, eq=False)
class Registration:
    """The place of the design.

    ``values`` (6,) of `NAMES` (lengths in the unit of the image, radian, 1); x to the right, y *down*. ``fitted`` names
    of those that were free. ``sampling`` (6, 6) covariance by the scatter of the edges, beyond noise, with ``dof``;
    ``solve`` (6, n) change of the values per change of a vertex's distance, for the noise; ``used`` (n,) vertices that
    decided; ``rms`` their residual. ``correlation`` of the areas at the start. ``flags``.
    """

    values: np.ndarray
    fitted: tuple[str, ...]
    sampling: np.ndarray
    dof: int
    solve: np.ndarray
    used: np.ndarray
    rms: float
    correlation: float
    flags: tuple[str, ...]
    origin: np.ndarray

    def transform(self) -> tuple[np.ndarray, np.ndarray]:
        """(turn, place): P = turn @ q + place, in lengths from the middle of the image, y down."""
        return transform_of(self.values, self.origin)


def transform_of(values: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c, s = math.cos(values[2]), math.sin(values[2])
    turn = (1.0 + values[3]) * np.array(((c, -s), (-s, -c)))
    return turn, values[:2] - turn @ origin


def middle_of(shape: tuple[int, ...]) -> np.ndarray:
    """Pixel coordinates (x, y) of the middle of an image."""
    return np.array((0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1)))


def places_of(trace: Trace, shape: tuple[int, ...], pixel: tuple[float, float]) -> np.ndarray:
    """(n, 2) vertices as lengths from the middle of the image."""
    result: np.ndarray = (np.column_stack((trace.x, trace.y)) - middle_of(shape)) * np.array(pixel)
    return result


def raster(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """(ny, nx) share of pixels inside polygons in pixel coordinates, counterclockwise as seen (holes clockwise); not
    clipped to 1."""
    from wafer.kernels.polygons import polygon_coverage

    ny, nx = shape
    out = np.zeros((ny, nx + 1))
    first = np.concatenate(([0], np.cumsum([len(p) for p in polygons]))).astype(np.int64)
    x, y = (np.ascontiguousarray(np.concatenate([p[:, k] for p in polygons])) + 0.5 for k in (0, 1))
    polygon_coverage(x, y, first, 0, len(polygons), out)
    total: np.ndarray = -np.cumsum(out, axis=1)[:, :nx]  # the kernel counts clockwise ones
    return total


@dataclass(frozen=True)
class Start:
    """Coarse place: ``shift`` in lengths (y down), ``correlation``, whether features are ``bright``, ``ambiguous``."""

    shift: tuple[float, float]
    correlation: float
    bright: bool
    ambiguous: bool


def coarse(
    above: np.ndarray, rings: Sequence[np.ndarray], origin: np.ndarray, pixel: tuple[float, float], search: float,
    polarity: str,
) -> Start:  # fmt: skip
    """Best shift within ``search`` (length) between the bright class of the image and the area of the design."""
    ny, nx = above.shape
    sx, sy = (max(1, math.ceil(search / p)) for p in pixel)
    big = (ny + 2 * sy, nx + 2 * sx)
    turn, place = transform_of(np.zeros(6), origin)
    mapped = [((ring @ turn.T + place) / np.array(pixel) + middle_of(above.shape) + (sx, sy)) for ring in rings]
    area = raster(mapped, big)
    # a ring that lies only partly in another one counts as its hole: what reaches out is covered less than not at all
    if area.max() > 1.01 or area.min() < -0.01:
        _refuse_overlap(area, origin, pixel)
    if not area.max() > 0.01:
        raise DataError(
            "the design does not lie in the image", expected="polygons near the middle of the image",
            remedy="state the design place in the middle of the image (origin)",
        )  # fmt: skip
    seen = above.astype(np.float64) - above.mean()
    mean, square = _window_means(area, seen.shape), _window_means(area * area, seen.shape)
    deviation = np.sqrt(np.maximum(square - mean**2, 1e-4))
    score = _products(area, seen) / (seen.size * deviation * max(float(seen.std()), 1e-9))
    if polarity == "auto":
        bright = bool(score.max() >= -score.min())
    else:
        bright = polarity == "bright"
    score = score if bright else -score
    best = float(score.max())
    if not best > _LEAST_FIT:
        raise DataError(
            "the design does not fit the image", expected="areas that correlate", got=f"correlation {best:.2f}",
            remedy="check design, pixel size, origin, polarity and search",
        )  # fmt: skip
    peaks = _peaks(score, _AMBIGUOUS * best)
    # the design moves by minus the displacement of the window
    distance = np.hypot((peaks[:, 0] - sy) * pixel[1], (peaks[:, 1] - sx) * pixel[0])
    k = int(np.argmin(distance))
    row, column = peaks[k]
    _refuse_border(score, int(row), int(column), search)
    return Start((-(column - sx) * pixel[0], -(row - sy) * pixel[1]), float(score[row, column]), bright, len(peaks) > 1)


def _window_means(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Means of ``values`` over all windows of ``shape`` that lie in them."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    np.cumsum(np.cumsum(values, axis=0), axis=1, out=sums[1:, 1:])
    h, w = shape
    total: np.ndarray = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    return total / (h * w)


def _products(area: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Sums of products of ``window`` with all parts of ``area`` of its size, by Fourier transforms of the size of the
    area: what would wrap round belongs to windows that reach out of it."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    size = tuple(next_fast_len(n, real=True) for n in area.shape)
    found: np.ndarray = irfft2(rfft2(area, size) * np.conj(rfft2(window, size)), size)
    return found[: area.shape[0] - window.shape[0] + 1, : area.shape[1] - window.shape[1] + 1]


def _refuse_overlap(area: np.ndarray, origin: np.ndarray, pixel: tuple[float, float]) -> None:
    """`ParameterError` that says where in the design its polygons overlap."""
    row, column = np.unravel_index(int(np.argmax(np.abs(area - 0.5))), area.shape)
    at = (np.array((column, row)) - middle_of(area.shape)) * pixel * (1.0, -1.0) + origin
    covered = float(area[row, column])
    raise ParameterError(
        "polygons of the design overlap",
        expected="polygons apart from each other, or one wholly inside another (a hole)",
        got=f"covered {covered:.3g} times" if covered > 1.0 else "a polygon that lies partly in another one",
        where=f"near x {at[0]:.6g}, y {at[1]:.6g} of the design",
        remedy="merge them first",
    )


def _refuse_border(score: np.ndarray, row: int, column: int, search: float) -> None:
    """`DataError` where the correlation still rises at the border of the search. A flat ridge (straight lines along a
    direction that nothing holds) does not rise."""
    ny, nx = score.shape
    here = float(score[row, column])
    for at, size, inner in ((column, nx, score[row, nx // 2]), (row, ny, score[ny // 2, column])):
        if at in (0, size - 1) and here - float(inner) > _BORDER_DROP * here:
            raise DataError(
                "the best place of the design lies at the border of the search", expected="a best place within it",
                got=f"search {search:.4g}", remedy="state another origin, or a wider search",
            )  # fmt: skip


def _peaks(score: np.ndarray, least: float) -> np.ndarray:
    """(k, 2) local maxima above a level; of those closer than 6 px the highest. Along a ridge (design of straight
    lines) only one counts: places that a path above the level joins are one peak."""
    from scipy import ndimage

    labels, count = ndimage.label(score >= least)
    found = ndimage.maximum_position(score, labels, range(1, count + 1))
    return np.array(found, np.int64).reshape(-1, 2)


def match(
    trace: Trace, edges: Edges, place: np.ndarray, normal: np.ndarray, values: np.ndarray, origin: np.ndarray,
    limit: float,
) -> tuple[Matches, np.ndarray]:  # fmt: skip
    """Nearest facing design edge of each vertex, and the (m, 6) design edges in the image."""
    from wafer.kernels.polygons import nearest_edges

    turn, shift = transform_of(values, origin)
    rows = edges.mapped(shift, turn)
    n = len(place)
    good = trace.state == 0
    edge, along, out = np.full(n, -1, np.int64), np.full(n, np.nan), np.full(n, np.nan)
    index = np.flatnonzero(good)
    found_edge, found_along, found_out = np.empty(index.size, np.int64), np.empty(index.size), np.empty(index.size)
    x, y, ux, uy = (np.ascontiguousarray(a[index]) for a in (*place.T, *normal.T))
    nearest_edges(x, y, ux, uy, rows, FACING, limit, 0, index.size, found_edge, found_along, found_out)
    edge[index], along[index], out[index] = found_edge, found_along, found_out
    scale = 1.0 + values[3]
    boundary, at, around = edges.boundaries(edge, along / scale)
    from_corner, kind, number = edges.nearest_corner(edge, along / scale)
    return Matches(edge, along, out, from_corner * scale, kind, number, boundary, at * scale, around * scale), rows


def sensitivities(
    rows: np.ndarray, matches: Matches, place: np.ndarray, centre: np.ndarray, line_end: np.ndarray
) -> np.ndarray:
    """(n, 6) change of a vertex's distance per change of `NAMES` (of the design), zero rows where there is no edge.

    Turning and scaling are about ``centre`` (2,). The offsets are the distance itself, of edges and of line ends
    ``line_end`` (m,): 1 and 0.
    """
    k = np.maximum(matches.edge, 0)
    place = place - centre
    n = rows[k, 4:6]
    ends = line_end[k].astype(np.float64)
    out = np.column_stack((
        -n[:, 0], -n[:, 1],
        # turning counterclockwise as seen: (x, y) moves by (y, -x) where y points down
        -(n[:, 0] * place[:, 1] - n[:, 1] * place[:, 0]), -(n[:, 0] * place[:, 0] + n[:, 1] * place[:, 1]),
        1.0 - ends, ends,
    ))  # fmt: skip
    result: np.ndarray = np.where((matches.edge >= 0)[:, None], np.nan_to_num(out), 0.0)
    return result


def register(
    trace: Trace, edges: Edges, shape: tuple[int, int], pixel: tuple[float, float], origin: np.ndarray, start: Start,
    *, zone: Zone, limit: float, free: Sequence[str] = (),
) -> tuple[Registration, Matches, np.ndarray]:  # fmt: skip
    """Fit the place of the design to the found contours; ``free`` may name ``rotation`` and ``scale``.

    Vertices within the ``zone`` of a design corner do not count, those on line ends only where nothing else holds a
    direction. Returns the registration, the matches at it, and the design edges in the image.
    """
    place = places_of(trace, shape, pixel)
    normal = np.column_stack((trace.seeds.ux * pixel[0], trace.seeds.uy * pixel[1]))
    normal /= np.hypot(*normal.T)[:, None]
    values = np.array((*start.shift, 0.0, 0.0, 0.0, 0.0))
    columns = [0, 1, *(NAMES.index(name) for name in ("rotation", "scale") if name in free), 4]
    radius = 0.5 * math.hypot(shape[1] * pixel[0], shape[0] * pixel[1])
    unit = np.array((1.0, 1.0, 1.0 / radius, 1.0 / radius, 1.0, 1.0))
    flags: set[str] = {"registration_ambiguous"} if start.ambiguous else set()
    by_ends = False
    for _ in range(12):
        matches, rows = match(trace, edges, place, normal, values, origin, limit)
        j = sensitivities(rows, matches, place, values[:2], edges.line_end)
        plain = zone.outside(matches, edges)
        ends = plain & edges.line_end[np.maximum(matches.edge, 0)]
        used = plain & ~ends
        if not by_ends and _weakest(j, used) < _LEAST_PART * max(plain.sum(), 1) < _weakest(j, plain):
            by_ends = True
            columns.append(NAMES.index("end_offset"))
        used = plain if by_ends or not used.any() else used
        if used.sum() < 2 * len(columns):
            raise DataError(
                "too little contour lies along the design to register it", got=f"{int(used.sum())} vertices",
                remedy="check design, pixel size and origin; allow larger errors (limit)",
            )  # fmt: skip
        weight = _weights(matches.epe, j, used, columns)
        root, undetermined = _inverse_root(j, weight, columns, unit)
        inverse = root @ root.T
        residual = np.where(used, matches.epe, 0.0)
        # the distances that are there are what the design's own motion would make: e + J dp + offset = 0
        solve = inverse @ (j * weight[:, None]).T
        solve[:4] *= -1.0
        step = solve @ np.nan_to_num(residual)
        values[:4] += step[:4]
        values[4:] = step[4:]
        if float(np.abs(step[:4] / unit[:4]).max()) < 1e-6 * pixel[0]:
            break
    matches, rows = match(trace, edges, place, normal, values, origin, limit)
    j = sensitivities(rows, matches, place, values[:2], edges.line_end)
    left = np.where(used & (weight > 0.0), np.nan_to_num(matches.epe) - j[:, 4:] @ values[4:], 0.0)
    sampling, dof = _scatter(root, j, left, weight, matches, pixel[0])
    turned = np.array((-1.0, -1.0, -1.0, -1.0, 1.0, 1.0))
    sampling = sampling * np.outer(turned, turned)
    if by_ends:
        flags.add("registration_by_line_ends")
    if undetermined:
        flags.add("registration_undetermined")
    rms = math.sqrt(float(np.sum(weight * left**2) / np.sum(weight)))
    fitted = tuple(NAMES[c] for c in columns)
    return (
        Registration(values, fitted, sampling, dof, solve, weight > 0.0, rms, start.correlation, tuple(sorted(flags)),
                     origin), matches, rows,
    )  # fmt: skip


def _weakest(j: np.ndarray, used: np.ndarray) -> float:
    """Least eigenvalue of the sum of n n' over vertices: how many hold the direction that is held worst."""
    n = j[used, :2]
    return float(np.linalg.eigvalsh(n.T @ n)[0]) if len(n) else 0.0


def _weights(epe: np.ndarray, j: np.ndarray, used: np.ndarray, columns: list[int]) -> np.ndarray:
    """Tukey's biweights of the residuals of a plain fit, edges and line ends each against their own spread: round ends
    are no outliers among straight edges, and may alone hold a direction."""
    weight = used.astype(np.float64)
    value = np.nan_to_num(epe)
    ends = j[:, 5] > 0.0
    groups = [g for g in (used & ~ends, used & ends) if g.any()]
    for _ in range(4):
        a = j[:, columns] * np.sqrt(weight)[:, None]
        fitted = np.linalg.lstsq(a, value * np.sqrt(weight), rcond=1e-6)[0]
        residual = value - j[:, columns] @ fitted
        for group in groups:
            spread = 1.4826 * float(np.median(np.abs(residual[group]))) + 1e-9
            z = residual[group] / (_TUKEY * spread)
            weight[group] = np.where(np.abs(z) < 1.0, (1.0 - z * z) ** 2, 0.0)
    return weight


def _inverse_root(j: np.ndarray, weight: np.ndarray, columns: list[int], unit: np.ndarray) -> tuple[np.ndarray, bool]:
    """(6, k) root R of the inverse R R' of the normal matrix on the free columns; directions that nothing holds stay
    where they are."""
    u = unit[columns]
    a = j[:, columns] * u
    normal = (a * weight[:, None]).T @ a
    value, vector = np.linalg.eigh(normal)
    held = value > 0.003 * float(weight.sum())
    root = np.zeros((6, int(held.sum())))
    root[columns] = u[:, None] * vector[:, held] / np.sqrt(value[held])
    return root, not bool(held.all())


def one_step(
    j: np.ndarray, matches: Matches, used: np.ndarray, columns: list[int], shape: tuple[int, int],
    pixel: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray, float]:  # fmt: skip
    """One robust step on ``columns`` of `NAMES`: (6,) values, (6, n) change of them per change of a vertex's distance,
    and the half diagonal of the image."""
    radius = 0.5 * math.hypot(shape[1] * pixel[0], shape[0] * pixel[1])
    unit = np.array((1.0, 1.0, 1.0 / radius, 1.0 / radius, 1.0, 1.0))
    weight = _weights(matches.epe, j, used, columns)
    root, _ = _inverse_root(j, weight, columns, unit)
    solve = root @ (root.T @ (j * weight[:, None]).T)
    epe = np.where(used, np.nan_to_num(matches.epe), 0.0)
    return solve @ epe, solve, radius


def _scatter(
    root: np.ndarray, j: np.ndarray, residual: np.ndarray, weight: np.ndarray, matches: Matches, px: float
) -> tuple[np.ndarray, int]:
    """Covariance of the values ``root root' j' weight distance`` by the scatter of pieces of edges (cluster-robust:
    Liang and Zeger, Biometrika 73 (1986) 13): residuals within a piece may be alike, pieces are independent. Contains
    the noise.

    A piece draws the fit to itself, so that its residual is too small, and most where it holds much of a direction (the
    outer ones of a rotation). Each is undone by (1 - H)^(-1/2) of its share H of the fit, which makes the covariance
    unbiased for residuals that are alike everywhere (Bell and McCaffrey, Survey Methodology 28 (2002) 169).
    """
    index = np.flatnonzero(weight > 0.0)
    cluster = pieces(matches.boundary[index], matches.place[index], residual[index], px)
    count = int(cluster.max()) + 1
    rows = j[index] @ root
    k = root.shape[1]
    scores = np.zeros((count, k))
    np.add.at(scores, cluster, rows * (weight[index] * residual[index])[:, None])
    shares = np.zeros((count, k, k))
    np.add.at(shares, cluster, rows[:, :, None] * (rows * weight[index][:, None])[:, None, :])
    value, vector = np.linalg.eigh(shares)
    factor = 1.0 / np.sqrt(np.maximum(1.0 - value, _LEAST_REST))
    scores = np.einsum("gab,gb,gcb,gc->ga", vector, factor, vector, scores)
    whole: np.ndarray = root @ (scores.T @ scores) @ root.T
    return whole, max(count - k, 1)


def pieces(boundary: np.ndarray, place: np.ndarray, residual: np.ndarray, px: float) -> np.ndarray:
    """(n,) numbers of pieces of boundaries that are long against the decay of the residuals along them."""
    length = max(_PIECE * px, _PIECES * decay_length(boundary, place, residual, px))
    # the pieces of a boundary are equally long: a short rest would be no piece of its own
    near, far = np.full(int(boundary.max(initial=0)) + 1, np.inf), np.zeros(int(boundary.max(initial=0)) + 1)
    np.minimum.at(near, boundary, place)
    np.maximum.at(far, boundary, place)
    span = np.where(np.isfinite(near), np.maximum(far - near, 1e-12), 1.0)
    count = np.maximum(np.round(span / length), 1.0)
    key = boundary * 1_000_003 + np.minimum(
        np.floor((place - near[boundary]) / span[boundary] * count[boundary]), count[boundary] - 1.0
    ).astype(np.int64)
    result: np.ndarray = np.unique(key, return_inverse=True)[1]
    return result


def decay_length(boundary: np.ndarray, place: np.ndarray, residual: np.ndarray, px: float) -> float:
    """Distance along a boundary at which the covariance of residuals falls to a tenth of what it is near zero; 0 where
    they do not hang together. The covariance near zero leaves single vertices out: those hold noise."""
    order = np.lexsort((place, boundary))
    e, s, r = boundary[order], place[order], residual[order] - residual.mean()
    if e.size < 20:
        return 0.0
    bins = np.arange(0.0, _MOST_DECAY + 4.0, 4.0) * px
    total, count = np.zeros(bins.size), np.zeros(bins.size)
    for lag in range(2, min(e.size, int(_MOST_DECAY)) + 1):
        same = e[lag:] == e[:-lag]
        distance = (s[lag:] - s[:-lag])[same]
        if not distance.size or float(np.median(distance)) > bins[-1]:
            break
        k = np.digitize(distance, bins) - 1
        inside = k < bins.size - 1
        np.add.at(total, k[inside], (r[lag:] * r[:-lag])[same][inside])
        np.add.at(count, k[inside], 1.0)
    seen = count > 0.0
    covariance = np.where(seen, total / np.maximum(count, 1.0), np.nan)
    near = covariance[seen][:3]
    spread = float(np.mean(r * r))
    if not near.size or not float(near.mean()) > max(
        0.1 * spread, 3.0 * spread / math.sqrt(float(count[seen][:3].sum()))
    ):
        return 0.0
    at = np.flatnonzero(seen & (np.nan_to_num(covariance, nan=-1.0) < 0.1 * float(near.mean())))
    return float(bins[at[0]]) if at.size else float(bins[-1])


def beyond_noise(sampling: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What the scatter holds beyond noise, as a covariance (negative parts left out)."""
    value, vector = np.linalg.eigh(0.5 * ((sampling - noise) + (sampling - noise).T))
    result: np.ndarray = (vector * np.maximum(value, 0.0)) @ vector.T
    return result


def summary(found: Registration, covariance: np.ndarray, unit: str) -> dict[str, Any]:
    """The registration in numbers for people: x to the right, y up, counterclockwise.

    ``x_u``, ``y_u`` are None where nothing holds the direction.
    """
    held = np.any(found.solve != 0.0, axis=1)  # rounding is no uncertainty of what nothing holds
    u = np.where(held, np.sqrt(np.maximum(np.diag(covariance), 0.0)), 0.0)
    v = found.values
    return {
        "unit": unit, "x": float(v[0]), "x_u": float(u[0]) or None, "y": float(-v[1]),
        "y_u": float(u[1]) or None,
        "rotation_deg": math.degrees(v[2]), "rotation_u_deg": math.degrees(u[2]), "scale": float(v[3]),
        "scale_u": float(u[3]), "offset": float(v[4]), "offset_u": float(u[4]), "end_offset": float(v[5]),
        "end_offset_u": float(u[5]), "fitted": list(found.fitted),
        "correlation": found.correlation, "residual_rms": found.rms, "vertices": int(found.used.sum()),
        "origin": [float(c) for c in found.origin],
    }  # fmt: skip
