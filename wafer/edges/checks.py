"""Is there anything to measure, and where: the image area, the direction of the lines, the windows of the edges."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import DataError, ParameterError
from wafer.drawn import refuse_drawn_rows
from wafer.edges import linescan
from wafer.edges.result import CRITERIA
from wafer.recording import refuse_absurd

ACROSS = "the lines run along the rows of the image"


def image_area(
    pixels: np.ndarray, criterion: str, level: float, rows: tuple[int, int] | None
) -> tuple[np.ndarray, int]:
    """The rows to measure as float64, and the number of the first; raises for wrong arguments and useless images."""
    array = np.asarray(pixels)
    if array.ndim != 2 or array.dtype.kind not in "uif":
        raise ParameterError(
            "edges are found in a grey image", expected="a real (ny, nx) array", got=f"{array.dtype} {array.shape}"
        )
    if criterion not in CRITERIA:
        raise ParameterError(
            f"unknown edge criterion {criterion!r}", expected=" | ".join(CRITERIA), got=repr(criterion)
        )
    if not 0.05 <= level <= 0.95:
        raise ParameterError("a threshold level lies between 5 % and 95 %", got=f"{level:.4g}")
    first, end = (0, array.shape[0]) if rows is None else (int(rows[0]), int(rows[1]))
    if not 0 <= first < end <= array.shape[0]:
        raise ParameterError(
            "the rows do not lie in the image",
            expected=f"0 <= first < end <= {array.shape[0]}",
            got=f"[{first}, {end})",
            remedy="correct rows (--rows on the command line)",
        )
    if end - first < 16 or array.shape[1] < 16:
        raise DataError(
            "the image is too small for line edges",
            expected="at least 16 rows and 16 columns",
            got=f"{end - first} rows, {array.shape[1]} columns",
            remedy="choose a larger image area",
        )
    refuse_drawn_rows(array[first:end])
    area = np.ascontiguousarray(array[first:end], dtype=np.float64)
    if array.dtype.kind == "f" and not np.isfinite(area).all():
        raise DataError(
            "the image holds NaN or infinite grey values",
            expected="finite grey values",
            got=f"{int(np.count_nonzero(~np.isfinite(area)))} others",
            remedy="export the image again",
        )
    refuse_absurd(area if array.dtype.kind == "f" else array)
    return area, first


def orientation(area: np.ndarray) -> tuple[float, float]:
    """Slope and straightness of the lines; raises `DataError` where there are none along the columns."""
    scans, middle = linescan.block_scans(area)
    seen = linescan.structure(area, scans)
    # 8 standard deviations of a block mean: the range of pure noise over 2000 samples stays below it.
    needed = max(8.0 * seen.block_noise, 1e-9 * (1.0 + abs(float(area.mean()))))
    if max(seen.vertical, seen.horizontal) <= needed:
        spread = float(area[:: max(1, area.shape[0] // 256)].std())
        if spread > 3.0 * seen.pixel_noise and spread > 1e-9:
            raise DataError(
                "the image has structure but no straight lines along its columns or rows",
                expected="lines within about 6 degrees of the columns",
                got=f"spread of {spread:.3g} grey levels at a pixel noise of {seen.pixel_noise:.3g}",
                remedy="rotate the scan at the microscope, or choose an image area with lines only",
            )
        raise DataError(
            "the image is blank",
            expected="a step between lines and spaces above the noise",
            got=f"stripes of {seen.vertical:.3g} grey levels at a pixel noise of {seen.pixel_noise:.3g}",
            remedy="check focus, position and dose; take the image again",
        )
    if seen.across > 0.45 and seen.across * max(seen.vertical, seen.horizontal) > needed:
        raise DataError(
            "the image has structure in both directions",
            expected="lines and spaces along the columns",
            got=f"contrast across the stripes is {seen.across:.0%} of that of the stripes",
            remedy="this looks like contacts, text or bands of brightness: choose an image area with lines only",
        )
    if seen.horizontal > 1.5 * seen.vertical:
        raise DataError(
            ACROSS,
            expected="lines along the columns",
            got=f"stripes of {seen.horizontal:.3g} grey levels along the rows, {seen.vertical:.3g} along the columns",
            remedy="set orientation: horizontal (--orientation horizontal), or rotate the scan",
        )
    slope, straightness = linescan.tilt(scans, middle)
    if abs(slope) > linescan.MAX_SLOPE:
        raise DataError(
            "the lines are tilted too far to be followed",
            expected=f"a slope within +-{linescan.MAX_SLOPE:g} px per row",
            got=f"{slope:.3g}",
            remedy="rotate the scan at the microscope",
        )
    return slope, straightness


def as_looked_at(error: DataError, horizontal: bool) -> DataError:
    """The error of a turned image in the words of the image that the user sees."""
    if not horizontal or error.what != ACROSS:
        return error
    return DataError(
        "the lines run along the columns of the image",
        expected="lines along the rows, as orientation: horizontal says",
        got=(error.got or "").replace("rows", "\0").replace("columns", "rows").replace("\0", "columns"),
        remedy="leave orientation: horizontal (--orientation horizontal) out",
    )


def windows(seeds: linescan.Seeds, slope: float, ny: int, nx: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which seeds stay inside the image over all rows, and how far each edge is looked for to the left and right."""
    x = seeds.x
    if x.size == 0:
        none = np.empty(0)
        return np.empty(0, dtype=bool), none, none
    run = 0.5 * abs(slope) * (ny - 1)
    gaps = np.diff(x)
    cap = 20.0 + 2.0 * seeds.rise
    before = np.concatenate([[x[0] - run], 0.5 * gaps])
    after = np.concatenate([0.5 * gaps, [nx - 1 - x[-1] - run]])
    # An outer half stripe counts when about its middle is in the image: only then is its grey level known. The stripes
    # of its kind are every other gap, counted from that border.
    margin = np.maximum(3.0, 1.5 * seeds.rise)
    for i, room, alike in ((0, before, gaps[1::2]), (x.size - 1, after, gaps[::-1][1::2])):
        full = 3.0 * float(seeds.rise[i])
        margin[i] = max(3.0, min(0.4 * float(np.median(alike)), full) if alike.size else full)
        room[i] = min(room[i], cap[i])
    keep = (x - run >= margin) & (x + run <= nx - 1 - margin)
    return keep, np.minimum(before, cap), np.minimum(after, cap)


def stripes(
    x: np.ndarray, polarity: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, half of the central part, and brightness of all stripes, the outer halves included."""
    bounds = np.concatenate([[x[0] - 2.0 * left[0]], x, [x[-1] + 2.0 * right[-1]]])
    centre = 0.5 * (bounds[:-1] + bounds[1:])
    half = 0.2 * np.diff(bounds)
    bright = np.concatenate([polarity < 0, [polarity[-1] > 0]])
    return centre, half, bright


def saturated_share(pixels: np.ndarray, area: np.ndarray, level: float | None) -> float:
    """Share of the pixels at either end of the grey scale."""
    array = np.asarray(pixels)
    kind = array.dtype
    if kind.kind == "u" and array.size == area.size and (level is None or float(level).is_integer()):
        top = int(np.iinfo(kind).max) if level is None else int(level)
        ends = np.count_nonzero(array == 0) + (np.count_nonzero(array >= top) if top <= np.iinfo(kind).max else 0)
        return float(ends) / area.size
    if level is None:
        if kind.kind not in "ui":
            return 0.0
        level = float(np.iinfo(kind).max)
    return float(np.count_nonzero((area >= level) | (area <= 0.0))) / area.size
