"""What the edge finder returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from wafer.edges.grey import StripeGrey
from wafer.edges.profiles import EdgeProfile
from wafer.edges.resample import EdgeNoise
from wafer.noise import NoiseModel

Criterion = Literal["threshold", "max_gradient", "sigmoid", "linear_approximation", "model"]
CRITERIA: tuple[str, ...] = get_args(Criterion)  # in the order of the codes in `wafer.kernels.edges`
STATES = ("ok", "lost", "spike", "merged", "broken", "saturated")


@dataclass(frozen=True, eq=False)
class EdgeSet:
    """Edges of one image in pixels.

    ``x`` and ``u`` are (n_edges, n_rows): place and its standard deviation by propagation of the noise of the image
    (first order), NaN where the edge was not found; ``state`` holds the codes of `STATES` (spikes keep their place).
    ``rows`` are the rows of the image, ``polarity`` is +1 from dark to bright. ``slope`` is dx/dy of the lines,
    ``seed`` the edge of the averaged linescan at row ``middle``; ``level``, ``low``, ``high`` the grey levels each edge
    was measured with. ``profiles``, ``noise_sd`` (the estimator resampled) and ``level_u`` (standard uncertainty of the
    place of all edges through the grey levels of the plateaus, 0 for criteria that use none) are by polarity, +1 and
    -1. ``smoothing`` names what was done to the image before the edges were found, empty for nothing; ``noise`` and
    ``profiles`` are those after it. ``grey``: levels in the middles of the
    stripes, over blocks of rows. The mean of an edge over rows has ``row_repeats`` times the variance that
    independent rows would give.
    """

    x: np.ndarray
    u: np.ndarray
    state: np.ndarray
    rows: np.ndarray
    polarity: np.ndarray
    seed: np.ndarray
    slope: float
    middle: float
    level: np.ndarray
    low: np.ndarray
    high: np.ndarray
    criterion: str
    criterion_text: str
    noise: NoiseModel
    profiles: Mapping[int, EdgeProfile]
    noise_sd: Mapping[int, EdgeNoise]
    level_u: Mapping[int, float]
    linescan: np.ndarray
    straightness: float
    dropped_at_border: int
    grey: StripeGrey
    flags: tuple[str, ...] = ()
    details: dict[str, float] = field(default_factory=dict)
    smoothing: str = ""
    row_repeats: float = 1.0

    @property
    def contrast_to_noise(self) -> float:
        """Step between space and line over the noise of the darker side and brighter side (root mean square)."""
        sigma = math.sqrt(0.5 * (self.noise.sigma_dark**2 + self.noise.sigma_bright**2))
        return float(np.median(self.high - self.low)) / sigma if sigma > 0 else math.inf
