"""How far frames of one field moved against each other, from all that they show.

A lattice of lines looks the same one pitch further on. What tells a drift from the same drift and a pitch is the rest
of the image: the roughness of the edges, along the lines too, and whatever defects there are. So the whole pixels come
from the correlation of what is left when the mean profile of the lines is taken off, the fraction across the lines
from the mean profiles, which know it best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metrology_core.data import Image

REACH = 4  # the drift is looked for up to this part of each side of the image
_SOFT = (1.5, 3.0)  # px, x and y: smoothing of the residuals, about the width of an edge and a stretch of roughness
_SLOW = 16.0  # px across the lines: longer waves are illumination and charging, which stay where they are
_NEAR = 2.5  # px from a place of the lattice that a drift may lie: rough lines shift by less
_LATTICE = 0.8  # of the best correlation of profiles: other maxima above are the lattice one or more pitches off
_STANDS_OUT = 1.4  # times the next best place: two maxima of noise alone differ by that much once in 1000 cases
_SEEN = (5.5, 4.5)  # standard deviations of the correlation: among all places, among those of the lattice
_APART = (4.0, 10.0)  # px, x and y: places nearer than this belong to one maximum


@dataclass(frozen=True, eq=False)
class FrameDrift:
    """Places of the frames against the first in pixels, (frames, 2): x and y. ``shifted`` whole pixels taken off before
    averaging; ``smear`` the rms of what is left, per axis. ``known`` (frames,): whether the content of the image tells
    the place; where it does not, it is known but for whole pitches and any shift along the lines, and the smallest
    counts."""

    shift: np.ndarray
    shifted: np.ndarray
    smear: tuple[float, float]
    known: np.ndarray


def frame_drift(frames: Sequence[Image], *, orientation: Literal["vertical", "horizontal"] = "vertical") -> FrameDrift:
    """Drift of every frame against the first, sub-pixel; lines run as ``orientation`` says.

    Frames that do not stand out against the first are compared with the mean of those that do, whose noise is less.
    """
    from wafer.edges.linescan import MAX_SLOPE, block_scans, tilt

    turned = orientation == "horizontal"
    first = _seen(frames[0], turned)
    slope = float(np.clip(tilt(*block_scans(first))[0], -MAX_SLOPE, MAX_SLOPE)) if min(first.shape) >= 16 else 0.0
    plan = _Plan(first.shape, slope)
    start = plan.prepared(first)
    found = np.zeros((len(frames), 2))
    known = np.ones(len(frames), bool)
    total, count = start.residual.copy(), 1
    doubtful = []
    for k, frame in enumerate(frames[1:], start=1):
        one = plan.prepared(_seen(frame, turned))
        found[k], known[k] = plan.place(start, one)
        if known[k]:
            total += plan.moved_back(one.residual, np.rint(found[k]))
            count += 1
        else:
            doubtful.append(k)
    if count > 1:
        mean = _Prepared(total / count, start.profile)
        for k in doubtful:
            found[k], known[k] = plan.place(mean, plan.prepared(_seen(frames[k], turned)))
    if turned:
        found = found[:, ::-1].copy()
    whole = np.rint(found).astype(np.int64)
    rest = (found - whole) - (found - whole).mean(axis=0)
    smear = np.sqrt(np.mean(rest**2, axis=0))
    return FrameDrift(found, whole, (float(smear[0]), float(smear[1])), known)


def _seen(frame: Image, turned: bool) -> np.ndarray:
    pixels = frame.pixels.T if turned else frame.pixels
    return np.ascontiguousarray(pixels, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A frame ready to be compared: spectrum of its smoothed residuals (padded), mean profile of its lines."""

    residual: np.ndarray
    profile: np.ndarray


class _Plan:
    """What all comparisons of frames of one size share."""

    def __init__(self, shape: tuple[int, ...], slope: float) -> None:
        from scipy.fft import next_fast_len

        ny, nx = shape
        self.shape, self.slope = (ny, nx), slope
        self.reach = max(1, ny // REACH), max(1, nx // REACH)
        self.size = tuple(next_fast_len(s + r + 1, real=True) for s, r in zip(self.shape, self.reach, strict=True))
        fy, fx = np.fft.fftfreq(self.size[0])[:, None], np.fft.rfftfreq(self.size[1])[None, :]
        self.frequency = fy, fx
        soft = np.exp(-2.0 * math.pi**2 * ((fx * _SOFT[0]) ** 2 + (fy * _SOFT[1]) ** 2))
        self.filter = soft * (1.0 - np.exp(-2.0 * math.pi**2 * (fx * _SLOW) ** 2))
        self.rows, self.columns = (np.arange(-r, r + 1) for r in self.reach)
        # fewer pixels meet in a far shift: its correlation is smaller, and scatters less
        self.overlap = np.outer(1.0 - np.abs(self.rows) / ny, 1.0 - np.abs(self.columns) / nx)

    def prepared(self, image: np.ndarray) -> _Prepared:
        from wafer.edges.linescan import sheared_blocks

        ny, nx = self.shape
        profile = sheared_blocks(image, self.slope).mean()
        x = np.arange(nx, dtype=np.float64)
        sound = np.isfinite(profile)
        profile = np.interp(x, x[sound], profile[sound])
        if self.slope:
            at = x - self.slope * (np.arange(ny) - 0.5 * (ny - 1))[:, None]
            rest = image - np.interp(at, x, profile)
        else:
            rest = image - profile
        rest -= rest.mean(axis=1, keepdims=True)  # rows that are brighter as a whole
        return _Prepared(np.fft.rfft2(rest, s=self.size) * self.filter, profile - profile.mean())

    def moved_back(self, spectrum: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Spectrum of the residuals of a frame laid on the first."""
        fy, fx = self.frequency
        moved: np.ndarray = spectrum * (np.exp(2j * math.pi * fx * shift[0]) * np.exp(2j * math.pi * fy * shift[1]))
        return moved

    def place(self, one: _Prepared, other: _Prepared) -> tuple[np.ndarray, bool]:
        """(x, y) of the other frame against one, and whether what they show tells it."""
        ridges = self._lattice(one.profile, other.profile)
        correlation = np.fft.irfft2(np.conj(one.residual) * other.residual, s=self.size)
        window = correlation[np.ix_(self.rows, self.columns)] / np.sqrt(self.overlap)
        spread = 1.482602 * float(np.median(np.abs(window)))  # of zero mean; its one peak hardly moves a median
        if not spread > 0.0:
            return self._least(ridges), False
        # where the lines lie on lines: their places move along their tilt
        away = np.abs(self.columns[None, :, None] - ridges - self.slope * self.rows[:, None, None])
        near = (away < _NEAR).any(axis=2)
        for allowed, needed in ((None, _SEEN[0]), (near, _SEEN[1])):
            values = window if allowed is None else np.where(allowed, window, 0.0)
            i, j = (int(v) for v in np.unravel_index(int(np.argmax(values)), values.shape))
            if not near[i, j] or values[i, j] < needed * spread:
                continue
            rest = values.copy()
            rest[
                max(0, i - int(_APART[1])) : i + int(_APART[1]) + 1, max(0, j - int(_APART[0])) : j + int(_APART[0]) + 1
            ] = 0.0
            if values[i, j] < _STANDS_OUT * float(rest.max()):
                continue
            y = self.rows[i] + vertex(window[:, j], i)
            places = ridges + self.slope * y
            return np.array((float(places[int(np.argmin(np.abs(places - self.columns[j])))]), y)), True
        return self._least(ridges), False

    def _least(self, ridges: np.ndarray) -> np.ndarray:
        return np.array((float(ridges[int(np.argmin(np.abs(ridges)))]), 0.0))

    def _lattice(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Shifts at the middle row that lay the mean profiles on each other: one, and others by whole pitches."""
        n = one.size
        size = 2 * n
        product = np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size)
        value = np.fft.irfft(product, size)[self.columns] / (1.0 - np.abs(self.columns) / n)
        inner = value[1:-1]
        tops = 1 + np.flatnonzero((inner > value[:-2]) & (inner >= value[2:]) & (inner >= _LATTICE * value.max()))
        if not tops.size:
            return np.zeros(1)
        return np.array([self.columns[k] + vertex(value, int(k)) for k in tops])


def vertex(values: np.ndarray, k: int) -> float:
    """Where the parabola through a maximum and its neighbours has its top, from -0.5 to 0.5 beside it."""
    if not 0 < k < values.size - 1:
        return 0.0
    before, peak, after = (float(v) for v in values[k - 1 : k + 2])
    curvature = 2.0 * peak - before - after
    return float(np.clip(0.5 * (after - before) / curvature, -0.5, 0.5)) if curvature > 0.0 else 0.0
