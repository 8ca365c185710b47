"""What a sampled, noisy surface says about the continuous one: form, zone sizes and associated features with intervals.

Noise widens a form and an inscribed size shrinks; sparse points miss peaks. Neither is put right by adding or
subtracting anything: here the surface between and under the points is drawn from what the points leave possible. The
form is a Matern field over the surface about a feature whose parameters are free; its standard deviation, length and
smoothness are not known: they get a grid of values weighted by the restricted likelihood of the data (log-uniform
prior), beside the case of no form at all. For each draw a surface that agrees with the data is made by conditioning
(Matheron's rule: Chiles and Delfiner, Geostatistics, 2012, 7.3), and its characteristic is evaluated: least squares by
its linear influence, zones by a linear program, over the stated region. Intervals are order statistics of the draws;
where form is not seen above the noise they begin at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.uncertainty.fields import sampling
from metrology_core.uncertainty.fields.field import CorrelatedField
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import coordinates

LENGTHS, DEVIATIONS, NODES = 7, 14, 40
SMOOTHNESS = (1.5, 2.5, 4.5)
RESOLVED = 3.841  # twice the log-likelihood that form gains over noise alone: 5 % of noise alone exceed it
_JITTER = 1e-8
BANK = 1000  # unconditioned fields of each kernel
_MOST = 3000  # points and places together: the matrix is factored whole


@dataclass(frozen=True, eq=False)
class SurfacePosterior:
    """Drawn surfaces (draws, m): deviations from the feature at the places of the model, compatible with the data.

    ``gain``: twice the log-likelihood of form above that of noise alone; ``sigma`` and ``length`` posterior medians of
    the form; ``flags``: ``form_not_resolved``.
    """

    surfaces: np.ndarray
    model: SurfaceModel
    gain: float
    sigma: float
    length: float
    flags: tuple[str, ...]

    @property
    def resolved(self) -> bool:
        """Whether form stands out of the noise."""
        return self.gain > RESOLVED

    def chart(self) -> np.ndarray:
        """(draws, p) change of the chart to the least-squares feature of each surface over the region."""
        return np.asarray(-self.surfaces @ self.model.influence.T)

    def zone(self, criterion: str) -> tuple[np.ndarray, np.ndarray]:
        """(size or width (draws,), chart (draws, p)) by ``minimum_zone`` (width of the zone), ``maximum_inscribed`` or
        ``minimum_circumscribed`` (change of the radius)."""
        from metrology_core.kernels import zonebatch

        names = self.model.feature.chart
        rows = self.model.rows
        if criterion == "minimum_zone":
            free, plus, minus = list(range(len(names))), True, True
        elif criterion in ("maximum_inscribed", "minimum_circumscribed") and "radius" in names:
            free = [i for i, name in enumerate(names) if name != "radius"]
            plus, minus = criterion == "minimum_circumscribed", criterion == "maximum_inscribed"
        else:
            raise CriterionError(
                f"no posterior of the criterion {criterion!r} for a {self.model.feature.kind}",
                expected="minimum_zone; maximum_inscribed or minimum_circumscribed for features with a radius",
            )
        # columns of one size, so that the box of the program is that of the solution
        size = np.abs(rows[:, free]).max(axis=0)
        keep = [k for k in range(len(free)) if size[k] > 1e-9 * size.max()]
        free, size = [free[k] for k in keep], size[keep]
        scaled = np.ascontiguousarray((rows[:, free] / size).T)
        out = np.empty((len(self.surfaces), len(free) + 1))
        box = np.full(len(free), 50.0)

        def work(start: int, stop: int) -> None:
            zonebatch.zones(self.surfaces, scaled, box, plus, minus, start, stop, out)

        run_blocks(work, len(out), serial_below=32)
        chart = np.zeros((len(out), len(names)))
        chart[:, free] = out[:, :-1] / size
        height = out[:, -1]
        if criterion == "minimum_zone":
            return 2.0 * height, chart
        # one-sided: the radius is what remains between the axis and the nearest (farthest) point
        change = height if plus else -height
        chart[:, names.index("radius")] = change
        return change, chart

    def interval(
        self,
        values: np.ndarray,
        p: float = 0.95,
        *,
        lower_bound: float | None = None,
        without_form: np.ndarray | None = None,
        at_mean: float | None = None,
    ) -> tuple[float, float]:
        """Coverage interval of drawn values by order statistics, probabilistically symmetric, widened where a truth at
        the edge of what is possible would fall out of it.

        Where form is not resolved it may be absent: the interval starts at ``lower_bound`` (form: 0), and covers that
        of ``without_form``, the values that the characteristic has then (one-sided sizes: the least-squares one).
        ``at_mean``: the value at the mean of what was drawn; a maximum or a length of a vector is drawn larger than
        that by a bias which is in the evaluated value too, so the lower end is moved down by twice of it.
        """
        low, high = self._ends(values, p)
        if at_mean is not None:
            low -= 2.0 * max(0.0, float(np.nanmean(values)) - at_mean)
        if not self.resolved and without_form is not None:
            other = self._ends(without_form, p)
            low, high = min(low, other[0]), max(high, other[1])
        if lower_bound is not None:
            low = lower_bound if not self.resolved else max(low, lower_bound)
        return low, high

    @staticmethod
    def _ends(values: np.ndarray, p: float) -> tuple[float, float]:
        ordered = np.sort(values[np.isfinite(values)])
        n = len(ordered)
        if n < 19 or not 0.0 < p < 1.0:
            raise ParameterError("no interval from these draws", expected="19 finite draws, 0 < p < 1", got=f"{n}, {p}")
        k = max(0, round((n + 1) * (1.0 - p) / 2.0) - 1)
        return float(ordered[k]), float(ordered[n - 1 - k])


class SurfaceModel:
    """Points on a feature, the region its surface is asked over, and the noise: shared by repeated measurements.

    ``feature``: about which deviations are given (a nominal, or the least-squares feature); ``xyz`` (n, 3) points;
    ``region`` (m, 3) places that stand for the continuous surface, so dense that a wave does not change between two of
    them, with ``weights`` (m,) of their areas in least squares; ``noise``: the declared errors. Raises
    `ParameterError` for more than 3000 points and places together.
    """

    def __init__(
        self,
        feature: Any,
        xyz: Any,
        region: Any,
        noise: CorrelatedField,
        *,
        weights: Any = None,
        metric: str = "auto",
    ) -> None:
        from metrology_core.fitting.general.rows import feature_rows

        self.feature, self.noise = feature, noise
        self.xyz = np.asarray(xyz, dtype=np.float64)
        self.region = np.asarray(region, dtype=np.float64)
        self.n, m = len(self.xyz), len(self.region)
        if self.n + m > _MOST:
            raise ParameterError("too many points for a drawn surface", expected=f"{_MOST}", got=str(self.n + m))
        both = np.concatenate([self.xyz, self.region])
        found = feature_rows(feature, both, None)
        if found.j.shape[0] != 1:
            raise ParameterError(f"a {feature.kind} has more than one deviation per point", remedy="take a surface")
        jacobian = found.j[0]
        self.design, self.rows = jacobian[: self.n], jacobian[self.n :]
        area = np.ones(m) if weights is None else np.asarray(weights, dtype=np.float64)
        if area.shape != (m,) or not (area > 0.0).all():
            raise ParameterError("weights of the region are positive", expected=f"({m},)", got=str(area.shape))
        self.influence = np.linalg.pinv(self.rows * np.sqrt(area)[:, None]) * np.sqrt(area)
        self.both, self.metric = both, metric
        self.noise_matrix = noise.on(feature, self.xyz).matrix()
        self.noise_matrix[np.diag_indices(self.n)] += 1e-12 * max(noise.total, 1e-300) ** 2
        self.noise_root = np.linalg.cholesky(self.noise_matrix)
        size = np.linalg.norm(self.design, axis=0)
        self.moving = np.flatnonzero(size > 1e-9 * size.max())
        scaled = self.design[:, self.moving] / size[self.moving]
        self.contrasts = np.linalg.svd(scaled)[0][:, len(self.moving) :]
        self.root = np.linalg.cholesky(self.contrasts.T @ self.noise_matrix @ self.contrasts)
        from scipy.spatial import cKDTree

        nearest = np.median(cKDTree(self.xyz).query(self.xyz, k=2)[0][:, 1])
        lengths = np.geomspace(0.7 * float(nearest), 0.7 * float(np.ptp(both, axis=0).max()), LENGTHS)
        self.kernels = [Kernel(float(length), nu) for nu in SMOOTHNESS for length in lengths]
        self._known: dict[int, tuple[np.ndarray, ...]] = {}
        self._fields: dict[int, np.ndarray] = {}

    def _of_kernel(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """For kernel k: correlations (n + m, n + m), their root, the spectrum of form over noise in the contrasts, and
        what takes residuals there."""
        if k not in self._known:
            kernel = self.kernels[k]
            r = sampling.dense(coordinates(self.feature, self.both, kernel, self.metric), kernel)
            r[np.diag_indices_from(r)] += _JITTER
            inner = self.contrasts.T @ r[: self.n, : self.n] @ self.contrasts
            half = np.linalg.solve(self.root, np.linalg.solve(self.root, inner).T)
            values, vectors = np.linalg.eigh((half + half.T) / 2.0)
            turn = vectors.T @ np.linalg.solve(self.root, self.contrasts.T)
            self._known[k] = (r, np.linalg.cholesky(r), np.clip(values, 0.0, None), turn)
        return self._known[k]  # type: ignore[return-value]

    def posterior(self, deviations: Any, *, draws: int = 199, seed: int = 0) -> SurfacePosterior:
        """Surfaces compatible with deviations (n,) of the points from the feature, along its normals.

        ``seed`` keys the draws (Philox); the same seed and data give the same draws.
        """
        z = np.asarray(deviations, dtype=np.float64)
        if not 19 <= draws <= BANK:
            raise ParameterError("number of draws out of range", expected=f"19 to {BANK}", got=repr(draws))
        if z.shape != (self.n,) or not np.isfinite(z).all():
            raise ParameterError("deviations do not fit the points", expected=f"({self.n},) finite", got=str(z.shape))
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        white = np.linalg.solve(self.root, self.contrasts.T @ z)
        scale = math.sqrt(float(np.mean((self.contrasts.T @ z) ** 2)))
        sigmas = scale * np.geomspace(1.0 / 20.0, 6.0, DEVIATIONS)
        count = len(self.kernels)
        weight = np.empty((count, DEVIATIONS))
        for k in range(count):
            _, _, spectrum, turn = self._of_kernel(k)
            y2 = (turn @ z) ** 2
            total = 1.0 + np.outer(sigmas**2, spectrum)
            weight[k] = -0.5 * (np.log(total).sum(axis=1) + (y2 / total).sum(axis=1))
        alone = -0.5 * float(white @ white)
        gain = 2.0 * (float(weight.max()) - alone)
        # no form at all has the prior weight of one row of the grid
        logs = np.append(weight.ravel(), alone + math.log(count))
        chance = np.exp(logs - logs.max())
        chance /= chance.sum()
        # a few draws from each of NODES systematic samples of the grid: as good, and a tenth of the factoring
        each = -(-draws // NODES)
        place = (np.arange(draws) // each + rng.uniform()) / -(-draws // each)
        chosen = np.minimum(np.searchsorted(np.cumsum(chance), place), len(chance) - 1)
        surfaces = np.empty((draws, len(self.region)))
        for node in np.unique(chosen):
            rows = np.flatnonzero(chosen == node)
            k, s = (divmod(int(node), DEVIATIONS)) if node < count * DEVIATIONS else (0, -1)
            surfaces[rows] = self._conditioned(z, k, 0.0 if s < 0 else float(sigmas[s]), len(rows), rng)
        flags = () if gain > RESOLVED else ("form_not_resolved",)
        deviation = np.append(np.tile(sigmas, count), 0.0)[chosen]
        length = np.append(np.repeat([kernel.length for kernel in self.kernels], DEVIATIONS), 0.0)[chosen]
        return SurfacePosterior(
            surfaces[rng.permutation(draws)], self, gain, float(np.median(deviation)), float(np.median(length)), flags
        )

    def _unconditioned(self, k: int, root: np.ndarray) -> np.ndarray:
        """(n + m, BANK) fields of kernel k with unit variance, the same for all data: each use takes some of them."""
        if k not in self._fields:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([19890525, k])))
            self._fields[k] = root @ rng.standard_normal((len(root), BANK))
        return self._fields[k]

    def _conditioned(self, z: np.ndarray, k: int, sigma: float, count: int, rng: np.random.Generator) -> np.ndarray:
        n = self.n
        error = self.noise_root @ rng.standard_normal((n, count))
        r, root, _, _ = self._of_kernel(k)
        if sigma > 0.0:
            drawn = sigma * self._unconditioned(k, root)[:, rng.permutation(BANK)[:count]]
        else:
            drawn = np.zeros((len(root), count))
        d = z[:, None] - drawn[:n] - error
        lower = np.linalg.cholesky(sigma**2 * r[:n, :n] + self.noise_matrix)
        j = np.linalg.solve(lower, self.design[:, self.moving])
        y = np.linalg.solve(lower, d)
        trend = np.linalg.lstsq(j, y, rcond=None)[0]
        rest = np.linalg.solve(lower.T, y - j @ trend)
        made = drawn[n:] + self.rows[:, self.moving] @ trend + sigma**2 * (r[n:, :n] @ rest)
        return np.asarray(made.T)
