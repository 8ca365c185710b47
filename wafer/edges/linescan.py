"""What the averaged linescan tells before any edge is measured: structure, direction, tilt, seeds, grey levels.

Averages serve these only; the reported edges come from the raw rows (`wafer.edges`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wafer.kernels.blocks import lagged_products
from wafer.kernels.linescan import sheared_sum

# The cross-correlation of row blocks follows lines up to this slope (dx/dy); steeper ones must be rotated at the tool.
MAX_SLOPE = 0.12
_SHEARED = 8  # blocks of rows whose grey levels are told apart
_SEED_BLUR = 1.5  # px, Gaussian, of the averaged linescan before its turning points are read


@dataclass(frozen=True, eq=False)
class Structure:
    """Contrast of stripes along y (``vertical``) and along x (``horizontal``), in grey levels, against the noise.

    ``across`` is the contrast that is left along the other direction when a quarter of the image is averaged, relative
    to the stronger one: near 0 for lines, even rough ones, 0.5 and more for contacts and other lattices.
    """

    vertical: float
    horizontal: float
    across: float
    pixel_noise: float
    block_noise: float


@dataclass(frozen=True, eq=False)
class Seeds:
    """Edges of the averaged linescan: place at the middle row, polarity (+1 dark to bright), grey levels beside it."""

    x: np.ndarray
    polarity: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rise: np.ndarray


def pixel_noise(image: np.ndarray) -> float:
    """Robust noise of a pixel from differences of vertical neighbours (1 s, grey levels); lines hardly enter."""
    step = max(1, image.shape[0] // 32)
    upper = image[:-1:step]
    difference = image[1::step][: upper.shape[0]] - upper
    # 1.4826 MAD of the differences; with whole grey levels the median can be 0 in a quiet image, so take the larger
    # of it and the trimmed standard deviation.
    flat = np.abs(difference).ravel()
    most = max(1, int(0.9 * flat.size))
    flat.partition(most - 1)
    kept = flat[:most]
    low, high = min((flat.size - 1) // 2, most - 1), min(flat.size // 2, most - 1)
    kept.partition(sorted({low, high}))
    mad = 1.4826 * 0.5 * float(kept[low] + kept[high])
    # A normal sample cut at its 90 % point of |x| keeps 0.790 of its standard deviation.
    trimmed = math.sqrt(float(kept @ kept) / most) / 0.790
    return max(mad, trimmed) / math.sqrt(2.0)


def block_scans(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linescans averaged over up to 16 equal groups of rows: (blocks, nx), and the middle row of each group."""
    ny = image.shape[0]
    blocks = min(16, max(1, ny // 8))
    rows = max(1, ny // blocks)
    blocks = ny // rows
    scans = image[: blocks * rows].reshape(blocks, rows, -1).mean(axis=1)
    return scans, (np.arange(blocks) + 0.5) * rows - 0.5


def column_scans(image: np.ndarray, blocks: int) -> np.ndarray:
    """As `block_scans` of the transposed image, read along its rows: (blocks, ny)."""
    columns = max(1, image.shape[1] // blocks)
    blocks = image.shape[1] // columns
    return np.ascontiguousarray(image[:, : blocks * columns].reshape(image.shape[0], blocks, columns).mean(axis=2).T)


def smooth(scan: np.ndarray, sigma: float = _SEED_BLUR) -> np.ndarray:
    """Gaussian smoothing along the last axis, borders repeated."""
    half = max(1, math.ceil(4.0 * sigma))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    taps /= taps.sum()
    padded = _longer(scan, half)
    n = scan.shape[-1]
    out = taps[half] * padded[..., half : half + n]
    for k in range(1, half + 1):
        out += taps[half + k] * (padded[..., half - k : half - k + n] + padded[..., half + k : half + k + n])
    return np.asarray(out)


def flatten(scan: np.ndarray) -> np.ndarray:
    """Least-squares parabola over five points: takes noise off a linescan and leaves the height of its peaks."""
    return np.convolve(_longer(scan, 2), np.array([-3.0, 12.0, 17.0, 12.0, -3.0]) / 35.0, mode="valid")


def _longer(scan: np.ndarray, by: int) -> np.ndarray:
    """``scan`` with its ends repeated ``by`` times along the last axis (a fifth of the time of `numpy.pad`)."""
    return np.concatenate([scan[..., :1].repeat(by, axis=-1), scan, scan[..., -1:].repeat(by, axis=-1)], axis=-1)


def structure(image: np.ndarray, by_row: np.ndarray) -> Structure:
    """Measure the contrast of stripes along y and along x in blocks narrow enough for tilted lines.

    ``by_row`` are the linescans of the blocks of rows (`block_scans`).
    """
    noise = pixel_noise(image)
    blocks = by_row.shape[0]
    by_column = column_scans(image, min(16, max(1, image.shape[1] // 8)))
    vertical, horizontal = _contrast(by_row), _contrast(by_column)
    strong = max(vertical, horizontal)
    across = _contrast(_quarters(by_column if vertical >= horizontal else by_row)) / strong if strong > 0.0 else 0.0
    # noise left in a block scan after averaging its rows and smoothing (2 sqrt(pi) s pixels)
    rows = max(1, image.shape[0] // blocks)
    block = noise / math.sqrt(rows * 2.0 * math.sqrt(math.pi) * _SEED_BLUR)
    return Structure(vertical, horizontal, across, noise, block)


def _quarters(scans: np.ndarray) -> np.ndarray:
    """The scans averaged into four groups, or as they are where there are fewer than eight."""
    size = scans.shape[0] // 4
    return scans if size < 2 else scans[: 4 * size].reshape(4, size, -1).mean(axis=1)


def _contrast(scans: np.ndarray) -> float:
    """Median over the ``scans`` of blocks of their range (2 % to 98 %), without a straight slope."""
    flat = smooth(scans)
    x = np.arange(flat.shape[1]) - 0.5 * (flat.shape[1] - 1)
    flat = flat - flat.mean(axis=1, keepdims=True) - np.outer(flat @ x / float(x @ x), x)
    inner = max(1, round(0.02 * (flat.shape[1] - 1)))
    flat.partition([inner, flat.shape[1] - 1 - inner], axis=1)
    return float(np.median(flat[:, -1 - inner] - flat[:, inner]))


def period(scan: np.ndarray) -> float:
    """Strongest period of the rows of ``scan`` in pixels, from their mean power spectrum."""
    nx = scan.shape[1]
    centred = (scan - scan.mean(axis=1, keepdims=True)) * np.hanning(nx)
    power = np.mean(np.abs(np.fft.rfft(centred, axis=1)) ** 2, axis=0)
    power[:2] = 0.0
    best = int(np.argmax(power))
    return nx / best if best else float(nx)


def tilt(scans: np.ndarray, middle: np.ndarray) -> tuple[float, float]:
    """Slope of the lines (dx/dy in pixels, about the middle row) and the rms departure of the blocks from it in pixels.

    Sub-pixel cross-correlation of neighbouring row blocks (`block_scans`), then of every block with the sheared mean.
    """
    if scans.shape[0] < 2:
        return 0.0, 0.0
    spacing = float(middle[1] - middle[0])
    # Not further than half a period: a lattice looks the same one pitch later.
    limit = max(1.0, min(0.45 * period(scans), MAX_SLOPE * spacing + 3.0))
    steps = _shifts(scans[:-1], scans[1:], limit)
    slope = float(np.median(steps)) / spacing
    rest = np.zeros(scans.shape[0])
    for _ in range(2):
        shift = slope * (middle - middle.mean())
        level = _moved(scans, shift)
        rest = _shifts(level.mean(axis=0, keepdims=True), level, limit)
        y = middle - middle.mean()
        change = float(y @ rest / (y @ y))
        slope += change
        rest = rest - rest.mean() - change * y
    return slope, float(np.sqrt(np.mean(rest**2)))


def _moved(scans: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Each row of ``scans`` read ``shift`` pixels further on, by straight lines; beyond the ends as at them."""
    n = scans.shape[1]
    at = np.clip(np.arange(n) + shift[:, None], 0.0, n - 1.0)
    k = np.minimum(at.astype(np.int64), n - 2)
    before, after = np.take_along_axis(scans, k, axis=1), np.take_along_axis(scans, k + 1, axis=1)
    return np.asarray(before + (at - k) * (after - before))


def _shifts(a: np.ndarray, b: np.ndarray, limit: float) -> np.ndarray:
    """How far each row of ``b`` (k, n) lies to the right of its row of ``a``, or of its only one: parabola through the
    correlation peak."""
    n = a.shape[1]
    window = np.hanning(n)
    reach = min(max(1, int(limit)), n // 2)
    values = np.empty((b.shape[0], 2 * reach + 1))
    lagged_products(
        (a - a.mean(axis=1, keepdims=True)) * window, (b - b.mean(axis=1, keepdims=True)) * window, reach, values
    )
    k = np.clip(np.argmax(values, axis=1), 1, 2 * reach - 1)
    row = np.arange(k.size)
    before, peak, after = values[row, k - 1], values[row, k], values[row, k + 1]
    curvature = 2.0 * peak - before - after
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(curvature > 0.0, 0.5 * (after - before) / curvature, 0.0)
    # a maximum at the end of the range has no vertex between its neighbours
    return np.asarray(k - reach + np.clip(part, -1.0, 1.0))


@dataclass(frozen=True, eq=False)
class ShearedBlocks:
    """Linescans along the lines, at the middle row, of up to eight equal blocks of ``size`` rows: sums ``total`` and
    numbers of rows ``weight`` (blocks, nx); ``rest`` (2, nx) the same of the rows that are left over."""

    total: np.ndarray
    weight: np.ndarray
    rest: np.ndarray
    size: int
    rows: int

    def mean(self) -> np.ndarray:
        """The averaged linescan; (nx,), NaN where less than a quarter of the rows contribute."""
        total, weight = self.total.sum(axis=0) + self.rest[0], self.weight.sum(axis=0) + self.rest[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight >= 0.25 * self.rows, total / weight, np.nan)


def sheared_blocks(image: np.ndarray, slope: float) -> ShearedBlocks:
    """Sum the rows along lines of this slope, block by block."""
    ny, nx = image.shape
    count = max(1, min(_SHEARED, ny // 8))
    size = ny // count
    total, weight, rest = np.zeros((count, nx)), np.zeros((count, nx)), np.zeros((2, nx))
    for b in range(count):
        sheared_sum(image, b * size, (b + 1) * size, slope, 0.5 * (ny - 1), total[b], weight[b])
    sheared_sum(image, count * size, ny, slope, 0.5 * (ny - 1), rest[0], rest[1])
    return ShearedBlocks(total, weight, rest, size, ny)


def find_seeds(scan: np.ndarray) -> Seeds:
    """Edges of an averaged linescan between turning points that differ by half of its range, and their grey levels.

    ``low`` and ``high`` are the minimum and maximum of the stripes on both sides (after `flatten`), ``rise`` the
    distance in pixels in which the steepest slope would climb from one to the other.
    """
    valid = np.flatnonzero(np.isfinite(scan))
    if valid.size < 8:
        return _no_seeds()
    offset = int(valid[0])
    part = scan[valid[0] : valid[-1] + 1]
    soft = smooth(part)
    outer = round(0.01 * (soft.size - 1))
    ordered = np.partition(soft, [outer, soft.size - 1 - outer])
    turns = _turning_points(soft, 0.5 * float(ordered[-1 - outer] - ordered[outer]))
    if len(turns) < 2:
        return _no_seeds()
    x, polarity = [], []
    for a, b in zip(turns[:-1], turns[1:], strict=True):
        level = 0.5 * (soft[a] + soft[b])
        sign = 1 if soft[b] > soft[a] else -1
        inside = sign * (soft[a : b + 1] - level)
        k = int(np.flatnonzero(inside < 0.0)[-1])
        x.append(a + k + inside[k] / (inside[k] - inside[k + 1]))
        polarity.append(sign)
    bounds = [0, *(int(round(v)) for v in x), part.size - 1]
    mean3 = flatten(part)
    lows, highs, rises = [], [], []
    gradient = np.abs(np.gradient(mean3))
    for i, sign in enumerate(polarity):
        before = mean3[bounds[i] : bounds[i + 1] + 1]
        after = mean3[bounds[i + 1] : bounds[i + 2] + 1]
        dark, bright = (before, after) if sign > 0 else (after, before)
        lows.append(float(dark.min()))
        highs.append(float(bright.max()))
        near = gradient[max(0, bounds[i + 1] - 3) : bounds[i + 1] + 4]
        rises.append((highs[-1] - lows[-1]) / max(float(near.max()), 1e-12))
    return Seeds(
        np.array(x) + offset,
        np.array(polarity, dtype=np.int64),
        np.array(lows),
        np.array(highs),
        np.array(rises),
    )


def _no_seeds() -> Seeds:
    none = np.empty(0)
    return Seeds(none, np.empty(0, dtype=np.int64), none, none, none)


def _turning_points(scan: np.ndarray, hysteresis: float) -> list[int]:
    """Indices of alternating minima and maxima that differ by at least ``hysteresis`` (the borders count)."""
    if hysteresis <= 0.0:
        return []
    low = high = 0
    turns: list[int] = []
    rising: bool | None = None
    values: list[float] = scan.tolist()
    for i, v in enumerate(values):
        if rising is None:
            low = i if v < values[low] else low
            high = i if v > values[high] else high
            if v - values[low] >= hysteresis:
                turns.append(low)
                rising, high = True, i
            elif values[high] - v >= hysteresis:
                turns.append(high)
                rising, low = False, i
        elif rising:
            if v > values[high]:
                high = i
            elif values[high] - v >= hysteresis:
                turns.append(high)
                rising, low = False, i
        else:
            if v < values[low]:
                low = i
            elif v - values[low] >= hysteresis:
                turns.append(low)
                rising, high = True, i
    if rising is not None:
        turns.append(high if rising else low)
    return turns
