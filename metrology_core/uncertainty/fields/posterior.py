"""What a sampled, noisy surface says about the continuous one: form, zone sizes and associated features with intervals.

Noise widens a form and an inscribed size shrinks; sparse points miss peaks. Neither is put right by adding or
subtracting anything: here the surface between and under the points is drawn from what the points leave possible. The
form is a random surface about a feature whose parameters are free: a Matern field, waves up to a wave number, or lobes
and polynomials. Its standard deviation, lengths in two directions and smoothness are not known: they get a grid of
values weighted by the restricted likelihood of the data (`form_grid`), beside the case of no form at all. Where smooth
form would need a larger noise than the declared one, both noises are drawn with, and a flag is set. For each draw a
surface that agrees with the data is made by conditioning (Matheron's rule: Chiles and Delfiner, Geostatistics, 2012,
7.3), and its characteristic is evaluated: least squares by its linear influence, zones by a linear program, over the
stated region. Intervals are order statistics of the draws; where form is not seen above the noise they begin at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import CriterionError, ParameterError
from metrology_core.uncertainty.fields.field import CorrelatedField
from metrology_core.uncertainty.fields.form_grid import BANK, DEVIATIONS, FormGrid, Weighted

NODES = 40
# twice the log-likelihood that the best form gains over noise alone: 3 to 7 % of noise alone exceed it, by design
RESOLVED = 4.6
MOST_DRAWS = 1000
_MOST = 3000  # points and places together: the matrix is factored whole


@dataclass(frozen=True, eq=False)
class SurfacePosterior:
    """Drawn surfaces (draws, m): deviations from the feature at the places of the model, compatible with the data.

    ``gain``: twice the log-likelihood of form above that of noise alone; ``sigma`` and ``length`` posterior medians of
    the form (standard deviation that the points see beside the feature, length across); ``noise_factor``: the larger
    noise beside the declared one, as a multiple, where the points ask for it, or 1; ``flags``: ``form_not_resolved``,
    ``noise_larger_than_declared``.
    """

    surfaces: np.ndarray
    model: SurfaceModel
    gain: float
    sigma: float
    length: float
    noise_factor: float
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
        self.noise_matrix = noise.on(feature, self.xyz).matrix()
        self.noise_matrix[np.diag_indices(self.n)] += 1e-12 * max(noise.total, 1e-300) ** 2
        self.noise_root = np.linalg.cholesky(self.noise_matrix)
        size = np.linalg.norm(self.design, axis=0)
        self.moving = np.flatnonzero(size > 1e-9 * size.max())
        self.grid = FormGrid(feature, both, self.n, self.design[:, self.moving], self.noise_matrix, metric)

    def posterior(self, deviations: Any, *, draws: int = 199, seed: int = 0) -> SurfacePosterior:
        """Surfaces compatible with deviations (n,) of the points from the feature, along its normals.

        ``seed`` keys the draws (Philox); the same seed and data give the same draws.
        """
        z = np.asarray(deviations, dtype=np.float64)
        if not 19 <= draws <= MOST_DRAWS:
            raise ParameterError("number of draws out of range", expected=f"19 to {MOST_DRAWS}", got=repr(draws))
        if z.shape != (self.n,) or not np.isfinite(z).all():
            raise ParameterError("deviations do not fit the points", expected=f"({self.n},) finite", got=str(z.shape))
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        found = self.grid.weighted(z)
        gain = self._gain(z, found)
        flags = ["noise_larger_than_declared"] if len(found.factors) > 1 else []
        if gain <= RESOLVED:
            flags.append("form_not_resolved")
        # per noise: the grid of forms, and no form at all with the prior weight of one row of the grid
        count, rows_of = len(self.grid.kernels), found.logs[0].size + 1
        weight = float(np.exp(self.grid.prior).sum())
        logs = found.logs + self.grid.prior[:, None] + np.log(found.sigmas) - np.mean(np.log(found.sigmas))
        flat = np.concatenate(
            [np.append(w.ravel(), a + math.log(weight)) for w, a in zip(logs, found.alone, strict=True)]
        )
        chance = np.exp(flat - flat.max())
        chance /= chance.sum()
        # a few draws from each of NODES systematic samples of the grid: as good, and a tenth of the factoring
        each = -(-draws // NODES)
        place = (np.arange(draws) // each + rng.uniform()) / -(-draws // each)
        chosen = np.minimum(np.searchsorted(np.cumsum(chance), place), len(chance) - 1)
        surfaces = np.empty((draws, len(self.region)))
        for node in np.unique(chosen):
            rows = np.flatnonzero(chosen == node)
            noise, form = divmod(int(node), rows_of)
            k, s = divmod(form, DEVIATIONS) if form < rows_of - 1 else (0, -1)
            sigma = 0.0 if s < 0 else float(found.sigmas[s])
            surfaces[rows] = self._conditioned(z, k, sigma, found.factors[noise], len(rows), rng)
        chosen %= rows_of
        deviation = np.append(np.tile(found.sigmas, count), 0.0)[chosen]
        length = np.append(np.repeat([form.length for form in self.grid.kernels], DEVIATIONS), 0.0)[chosen]
        return SurfacePosterior(
            surfaces[rng.permutation(draws)], self, gain, float(np.median(deviation)), float(np.median(length)),
            found.factors[-1], tuple(flags),
        )  # fmt: skip

    def _gain(self, z: np.ndarray, found: Weighted) -> float:
        """Twice the log-likelihood of all points that the best form gains over noise alone, the larger where two."""
        logs = found.logs[-1]
        if len(self.grid.seen) == self.n:
            return 2.0 * (float(logs.max()) - float(found.alone[-1]))
        best = np.argsort(logs, axis=None)[::-1][:3]
        every = np.arange(self.n)
        noise = found.factors[-1] ** 2 * self.noise_matrix
        values = []
        for node in best:
            k, s = divmod(int(node), DEVIATIONS)
            values.append(self._restricted(z, noise + found.sigmas[s] ** 2 * self.grid.correlation(k, every)))
        return 2.0 * (max(values) - self._restricted(z, noise))

    def _restricted(self, z: np.ndarray, covariance: np.ndarray) -> float:
        """Restricted log-likelihood of all points, but for a constant."""
        lower = np.linalg.cholesky(covariance)
        white = np.linalg.solve(lower, np.column_stack([self.design[:, self.moving], z]))
        q, r = np.linalg.qr(white[:, :-1])
        rest = white[:, -1] - q @ (q.T @ white[:, -1])
        logdet = float(np.sum(np.log(np.diag(lower)))) + float(np.sum(np.log(np.abs(np.diag(r)))))
        return -logdet - 0.5 * float(rest @ rest)

    def _conditioned(
        self, z: np.ndarray, k: int, sigma: float, factor: float, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        """(count, m) surfaces of form kernel k and deviation sigma, the declared noise taken ``factor`` times."""
        from scipy.linalg import cholesky, solve_triangular

        n = self.n
        error = factor * (self.noise_root @ rng.standard_normal((n, count)))
        covariance = factor**2 * self.noise_matrix
        d = z[:, None] - error
        if sigma > 0.0:
            near, bank = self.grid.fields(k, count)
            drawn = sigma * bank[:, rng.permutation(-(-count // BANK) * BANK)[:count]]
            covariance = covariance + sigma**2 * near[:n]
            d = d - drawn[:n]
        lower = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
        both = solve_triangular(
            lower, np.concatenate([self.design[:, self.moving], d], axis=1), lower=True, check_finite=False
        )
        p = len(self.moving)
        trend = np.linalg.lstsq(both[:, :p], both[:, p:], rcond=None)[0]
        made = self.rows[:, self.moving] @ trend
        if sigma > 0.0:
            rest = solve_triangular(lower, both[:, p:] - both[:, :p] @ trend, lower=True, trans=1, check_finite=False)
            made += drawn[n:] + sigma**2 * (near[n:] @ rest)
        return np.asarray(made.T)
