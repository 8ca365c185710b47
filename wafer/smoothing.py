"""Named smoothing of an image before its edges are found: off by default, for places and widths only.

It averages neighbours, so the edges of neighbouring rows share their noise, and roughness shorter than the filter is
gone: nothing that is said about roughness may come from such edges.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from metrology_core.errors import ParameterError

KINDS = {"gaussian": (True, True), "gaussian_x": (True, False), "gaussian_y": (False, True)}
CRITERIA = ("threshold", "max_gradient")  # the others weigh several pixels as if their noise were independent
SIGMAS = (0.3, 20.0)
_FORM = re.compile(r"\s*(gaussian(?:_[xy])?)\s+([0-9]*\.?[0-9]+)\s*(?:px|pixels?)?\s*", re.IGNORECASE)


ROUGHNESS = ("sem.lwr", "sem.ler", "sem.left_right_correlation")  # beginnings of what smoothed edges cannot tell


@dataclass(frozen=True)
class Smoothing:
    """A Gaussian of ``sigma`` pixels, cut at four of them: ``gaussian`` over both directions, ``gaussian_x`` across the
    lines only, ``gaussian_y`` along them. The image goes on as its mirror image about the outer pixels."""

    kind: str
    sigma: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ParameterError(f"unknown smoothing {self.kind!r}", expected=" | ".join(KINDS), got=repr(self.kind))
        if not SIGMAS[0] <= self.sigma <= SIGMAS[1]:
            raise ParameterError(
                "the smoothing is too weak or too strong", expected=f"{SIGMAS[0]:g} to {SIGMAS[1]:g} px",
                got=f"{self.sigma:g} px",
            )  # fmt: skip

    @property
    def text(self) -> str:
        """Name for results."""
        where = {"gaussian": "both directions", "gaussian_x": "across the lines", "gaussian_y": "along the lines"}
        return f"Gaussian of {self.sigma:g} px, {where[self.kind]}"

    def refuse_criterion(self, criterion: str) -> None:
        """Raise `ParameterError` for a criterion that weighs single pixels."""
        if criterion not in CRITERIA:
            raise ParameterError(
                f"criterion {criterion} is not for smoothed images: it weighs pixels as if they shared no noise",
                expected=" | ".join(CRITERIA), got=f"{criterion}, {self.text}", remedy="leave smoothing out",
            )  # fmt: skip

    @functools.cached_property
    def taps(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights from the middle outward across and along the lines, single precision; one weight where untouched."""
        reach = int(4.0 * self.sigma + 0.5)
        half = np.exp(-0.5 * (np.arange(reach + 1) / self.sigma) ** 2)
        half /= 2.0 * half.sum() - half[0]
        both = tuple((half if on else np.ones(1)).astype(np.float32) for on in KINDS[self.kind])
        return both[0], both[1]

    def noise(self, correlation: float) -> tuple[float, np.ndarray, float]:
        """What the filter does to noise whose neighbours in a row are correlated by powers of ``correlation``.

        Returns (variance after over before, correlations over 0 to 4 pixels of a row afterwards, how many times the
        variance of a mean over rows exceeds that of independent rows).
        """
        across, along = (np.concatenate([t[:0:-1], t]).astype(np.float64) for t in self.taps)
        own = np.correlate(across, across, "full")
        lags = np.arange(own.size) - across.size + 1
        rho = min(max(correlation, 0.0), 0.99)
        shared = np.array([own @ rho ** np.abs(lags - shift) for shift in range(5)])
        columns = float(along @ along)
        return float(shared[0]) * columns, shared / shared[0], float(along.sum()) ** 2 / columns

    @property
    def reach(self) -> int:
        """Pixels across the lines that enter to either side."""
        return int(self.taps[0].size - 1)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, m) of one grey along the lines, filtered across; (n, m - 2 reach): the ends are used up."""
        half, reach = self.taps[0].astype(np.float64), self.reach
        size = rows.shape[-1] - 2 * reach
        out = half[0] * rows[:, reach : reach + size]
        for j in range(1, reach + 1):
            out += half[j] * (rows[:, reach - j : reach - j + size] + rows[:, reach + j : reach + j + size])
        return np.asarray(out)

    def profile(self, grey: np.ndarray, per_pixel: float) -> np.ndarray:
        """A profile with ``per_pixel`` samples in a pixel as the filtered image shows it, mirrored at its ends (the
        middles of the stripes)."""
        if not KINDS[self.kind][0]:
            return grey
        sd = self.sigma * per_pixel
        reach = min(int(4.0 * sd + 0.5), grey.size - 1)
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd) ** 2)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(grey, reach, mode="symmetric"), taps.size)
        return np.asarray(windows @ (taps / taps.sum()))


def parse_smoothing(text: str | Smoothing | None) -> Smoothing | None:
    """``gaussian 2 px``, ``gaussian_x 1.5``, ``gaussian_y 3 px``; None, an empty text and ``none`` stand for nothing.

    Raises `ParameterError` for anything else.
    """
    if text is None or isinstance(text, Smoothing):
        return text
    if text.strip().lower() in ("", "none"):
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise ParameterError(
            "this is no smoothing", expected="gaussian SIGMA px, gaussian_x SIGMA px or gaussian_y SIGMA px",
            got=repr(text),
        )  # fmt: skip
    return Smoothing(found[1].lower(), float(found[2]))


def named(smoothing: Smoothing | None) -> str:
    """What a text that names the criterion says about the image."""
    return "; unfiltered image" if smoothing is None else f"; image smoothed with a {smoothing.text}"
