"""What the scan of an image of lines did: tilt, drift, jitter of rows, background, charging trail."""

from __future__ import annotations

import math

import numpy as np

from wafer.edges import EdgeSet
from wafer.edges.grey import StripeGrey
from wafer.lines.places import residuals
from wafer.scan import ScanFact, mean_of


def scan_facts(edges: EdgeSet, grey: StripeGrey, px: float, py: float, unit: str) -> dict[str, ScanFact]:
    """Findings with standard uncertainties from the scatter between lines (stripes); what cannot be told is absent.

    ``tilt`` (deg) of the lines against the columns. ``drift``: how far the middle of the frame lies to the right of the
    straight line through its ends (the bow that all lines share, quadratic); a drift at constant speed looks like a
    tilt. ``row_jitter``: 1 s of the shift that all lines of a row share, as far as it changes from row to row.
    ``background_across`` (left to right), ``background_over_frame`` (first to last row): change of the grey level;
    ``contrast_over_frame``: change of the step; ``charging_trail``: by how much the grey falls within a bright stripe
    and rises within a dark one along the scan (mean of both); shares of the step. A trail of blooms or of the
    detector looks the same. Smoothed images have no jitter of their own.
    """
    out: dict[str, ScanFact] = {}
    y = edges.rows - edges.middle
    shared = _lines_of(edges)
    rest = residuals(y, shared, "mean")
    found = np.isfinite(rest)
    full = found.mean(axis=1) > 0.8
    if np.count_nonzero(full) >= 3:
        t = y / (0.5 * max(y.size - 1, 1))
        kept = np.where(found, rest, 0.0)[full]
        bow = t * t - np.mean(t * t)
        for name, basis, factor, kind in (
            ("tilt", y, math.degrees(1.0) * px / py, "deg"), ("drift", bow, -px, unit)
        ):  # fmt: skip
            each = mean_of(kept @ basis / float(basis @ basis))
            if each is not None:
                out[name] = ScanFact(factor * each[0], abs(factor) * each[1], kind)
        if "tilt" in out:
            exact = math.degrees(math.atan(math.radians(out["tilt"].value)))
            out["tilt"] = ScanFact(exact, out["tilt"].u * math.cos(math.radians(exact)) ** 2, "deg")
    jitter = None if edges.smoothing else row_jitter(shared, y)
    if jitter is not None:
        out["row_jitter"] = ScanFact(jitter[0] * px, jitter[1] * px, unit)
    out.update(_background(grey))
    return out


def jumps(edges: EdgeSet) -> int:
    """Rows from which on all lines stand elsewhere: steps of their common place by more than half a pixel, and by more
    than eight times what steps usually are (a scan that was hit, or frames put together wrongly)."""
    shared = _lines_of(edges)
    step = np.diff(shared - edges.slope * (edges.rows - edges.middle), axis=1)
    found = np.isfinite(step)
    count = np.count_nonzero(found, axis=0)
    known = count >= max(2, shared.shape[0] // 2)
    if shared.shape[0] < 2 or np.count_nonzero(known) < 16:
        return 0
    common = np.where(found, step, 0.0).sum(axis=0)[known] / count[known]
    usual = float(np.median(common))
    limit = max(8.0 * 1.4826 * float(np.median(np.abs(common - usual))), 0.5)
    far = np.flatnonzero(known)[np.abs(common - usual) > limit]
    # most of the lines, not one that was found elsewhere
    return sum(abs(float(np.median(step[found[:, k], k])) - usual) > limit for k in far)


def _lines_of(edges: EdgeSet) -> np.ndarray:
    """Places of the bright stripes' middles (lines or spaces alike: both edges), or of single edges where there are
    none; (n, rows)."""
    left = np.flatnonzero((edges.polarity[:-1] > 0) & (edges.polarity[1:] < 0))
    return 0.5 * (edges.x[left] + edges.x[left + 1]) if left.size >= 3 else edges.x


def row_jitter(places: np.ndarray, y: np.ndarray) -> tuple[float, float] | None:
    """Shift of single rows common to all ``places`` (n, rows) (vibration, scan jitter), 1 s in pixels, with its
    standard uncertainty; None for less than three places or eight rows.

    From the steps between neighbouring rows of the mean place, less what independent places would show: roughness
    common to all by chance varies slowly.
    """
    rest = residuals(y, places, "linear")
    found = np.isfinite(rest)
    count = np.count_nonzero(found, axis=0)
    good = count >= 3
    if np.count_nonzero(good) < 8:
        return None
    inner = np.diff(rest[:, good], axis=1)
    if found.all():  # nothing lost: the plain means, a third of the time
        step = inner.mean(axis=0)
        spread = np.einsum("ij,ij->j", inner, inner) / inner.shape[0] - step * step
        number = float(inner.shape[0])
    else:
        mean = np.where(found, rest, 0.0)[:, good].sum(axis=0) / count[good]
        step = np.diff(mean)
        spread = np.nanvar(inner, axis=0)
        number = float(count[good].mean())
    chance = float(spread.mean()) / (number - 1.0)
    square = float(np.mean(step * step))
    variance = 0.5 * max(square - chance, 0.0)
    # Squares of neighbouring steps share a row: 3 in place of 2 in the variance of their mean.
    variance_u = 0.5 * square * math.sqrt(3.0 / step.size)
    value = math.sqrt(variance)
    return value, variance_u / (2.0 * value) if variance > variance_u else math.sqrt(variance_u)


def _background(grey: StripeGrey) -> dict[str, ScanFact]:
    """Changes of the grey level, and the trail, from the middles of the stripes."""
    out: dict[str, ScanFact] = {}
    blocks = grey.rows.size
    use = np.isfinite(grey.level).all(axis=0)
    kinds = [use & grey.bright, use & ~grey.bright]
    if min(int(np.count_nonzero(k)) for k in kinds) < 3:
        return out
    level = grey.level.mean(axis=0)
    step = float(level[kinds[0]].mean() - level[kinds[1]].mean())
    if not step > 0.0:
        return out
    index = np.flatnonzero(use)
    x = grey.centre[index]
    span = float(np.ptp(x)) * (1.0 + 1.0 / (index.size - 1))
    design = np.column_stack([grey.bright[index], ~grey.bright[index], (x - x.mean()) / span]).astype(np.float64)
    if index.size > 4:
        covariance = np.linalg.inv(design.T @ design)
        solution = covariance @ (design.T @ level[index])
        rest = level[index] - design @ solution
        u = math.sqrt(float(covariance[2, 2]) * float(rest @ rest) / (index.size - 3))
        out["background_across"] = ScanFact(float(solution[2]) / step, u / step, "1")
    if blocks >= 4:
        t = (grey.rows - grey.rows.mean()) / (blocks * (grey.rows[1] - grey.rows[0]))  # the frame is 1 long
        slope = t @ np.where(use, grey.level, 0.0) / float(t @ t)
        one, other = (mean_of(slope[k]) for k in kinds)
        if one is not None and other is not None:
            (a, a_u), (b, b_u) = one, other
            u = math.hypot(a_u, b_u) / step
            out["background_over_frame"] = ScanFact(0.5 * (a + b) / step, 0.5 * u, "1")
            out["contrast_over_frame"] = ScanFact((a - b) / step, u, "1")
    known = [np.isfinite(grey.rise[:, k]).all() for k in kinds]
    one, other = (mean_of(grey.rise[:, k].mean(axis=0)) for k in kinds) if all(known) else (None, None)
    if one is not None and other is not None:
        # the background across the field rises in both kinds alike: it drops out
        (a, a_u), (b, b_u) = one, other
        out["charging_trail"] = ScanFact(0.5 * (b - a) / step, 0.5 * math.hypot(a_u, b_u) / step, "1")
    return out
