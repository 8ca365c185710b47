"""What form a surface can have: a grid of Matern fields of unknown lengths, smoothness and size, weighted by data.

Form is rarely as long along a feature as across it: lobes run round a bore, taper and barrel along it, a lay along one
edge of a plane. A correlation that is alike in all directions takes the shorter length everywhere and makes the
surface between the points of the other direction far too uncertain. So lengths along the axis of a cylinder, or along
the longest direction of the points of a plane, are stretched by a factor that is not known either. The prior is uniform
in the standard deviation of the form (Gelman, Bayesian Analysis 1 (2006) 515: a log-uniform one favours its absence)
and over the logarithms of the others; the weight is that times the restricted likelihood of the data (Patterson and
Thompson, Biometrika 58 (1971) 545), what the feature explains left out.

A rough form and a larger noise look alike where points are sparse. Where smooth form would need a larger noise than
declared, both explanations stay in the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.uncertainty.fields import sampling
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import coordinates

LENGTHS, DEVIATIONS = 7, 14
SMOOTHNESS = (1.5, 2.5, 4.5, math.inf)
STRETCHES = tuple(2.0 ** (k / 2.0) for k in range(-3, 4))
NOISES = (1.19, 1.41, 2.0, 2.83, 4.0)  # how many times the declared noise the points may show
# twice the log-likelihood that a larger noise gains over the declared one beside smooth form: noise as declared reaches
# it in 0 to 5 % of cases
LARGER_NOISE = 4.0
_SMOOTH, _SMOOTH_NU = 0.7, 2.0  # smooth form correlates neighbours at least so, and has a slope
LIKELIHOOD_POINTS = 300  # the likelihood of the grid looks at so many points at most
_SHUFFLE = 20161227
_JITTER = 1e-8
_REMEMBERED = 1 << 26  # numbers kept of drawn fields and correlations: half a GB
BANK = 64  # fields drawn of a kernel at once


@dataclass(frozen=True)
class FormKernel:
    """A correlation of form: a kernel, along the direction of the grid ``stretch`` times as long."""

    kernel: Kernel
    stretch: float


@dataclass(frozen=True, eq=False)
class Weighted:
    """The grid seen by data: log weights (noises, kernels, deviations) of form, (noises,) without, and the deviations.

    One noise, the declared one; a second, ``factors[1]`` times it, where a smooth form and the declared noise do not
    explain how neighbouring points differ.
    """

    logs: np.ndarray
    alone: np.ndarray
    sigmas: np.ndarray
    factors: tuple[float, ...]


class FormGrid:
    """Correlations of form over points (the first n of ``both``) and the region behind them.

    ``design`` (n, p): what the feature explains, of full rank; ``noise`` (n, n) covariance of the declared errors.
    """

    def __init__(
        self, feature: Any, both: np.ndarray, n: int, design: np.ndarray, noise: np.ndarray, metric: str
    ) -> None:
        from scipy.linalg import cholesky, solve_triangular
        from scipy.spatial import cKDTree

        self.feature, self.both, self.n, self.metric = feature, both, n, metric
        self.direction = _direction(feature, both[:n])
        nearest = np.median(cKDTree(both[:n]).query(both[:n], k=2)[0][:, 1])
        lengths = np.geomspace(0.7 * float(nearest), 0.7 * float(np.ptp(both, axis=0).max()), LENGTHS)
        stretches = (1.0,) if self.direction is None or metric == "chordal" else STRETCHES
        self.kernels = [FormKernel(Kernel(float(v), nu), s) for s in stretches for nu in SMOOTHNESS for v in lengths]
        alike = [float(form.kernel(nearest)) for form in self.kernels]
        self.smooth = np.array(
            [r >= _SMOOTH and f.kernel.nu > _SMOOTH_NU for r, f in zip(alike, self.kernels, strict=True)]
        )
        # a random part keeps short and long distances
        shuffled = np.random.Generator(np.random.Philox(_SHUFFLE)).permutation(n)
        self.seen = np.sort(shuffled[:LIKELIHOOD_POINTS])
        part = design[self.seen]
        part = part / np.linalg.norm(part, axis=0)
        self.contrasts = np.linalg.qr(part, mode="complete")[0][:, part.shape[1] :]
        root = cholesky(self.contrasts.T @ noise[np.ix_(self.seen, self.seen)] @ self.contrasts, lower=True)
        self.whitening = solve_triangular(root, self.contrasts.T, lower=True)  # of the points seen
        self._spectra: tuple[np.ndarray, np.ndarray] | None = None
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def correlation(self, k: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Correlations of kernel k among ``rows`` of the points and places, a trace of independence added."""
        form = self.kernels[k]
        xyz = self.both[rows]
        if form.stretch != 1.0 and self.direction is not None:
            xyz = xyz + np.outer(xyz @ self.direction, (1.0 / form.stretch - 1.0) * self.direction)
        r = sampling.dense(coordinates(self.feature, xyz, form.kernel, self.metric), form.kernel)
        r[np.diag_indices_from(r)] += _JITTER
        return r

    def spectra(self) -> tuple[np.ndarray, np.ndarray]:
        """Ratios (kernels, q) of form to noise in the contrasts that each kernel makes independent, and these contrasts
        (kernels, q, q) of the whitened ones."""
        if self._spectra is None:
            q = len(self.whitening)
            values, vectors = np.empty((len(self.kernels), q)), np.empty((len(self.kernels), q, q))
            for k in range(len(self.kernels)):
                half = self.whitening @ self.correlation(k, self.seen) @ self.whitening.T
                values[k], vectors[k] = np.linalg.eigh((half + half.T) / 2.0)
            self._spectra = np.clip(values, 0.0, None), vectors
        return self._spectra

    def weighted(self, z: np.ndarray) -> Weighted:
        """Restricted log-likelihood of every value of the grid for deviations z (n,)."""
        seen = z[self.seen]
        scale = math.sqrt(float(np.mean((self.contrasts.T @ seen) ** 2)))
        sigmas = scale * np.geomspace(1.0 / 20.0, 6.0, DEVIATIONS)
        white = self.whitening @ seen
        values, vectors = self.spectra()
        square = np.einsum("kab,a->kb", vectors, white) ** 2
        form = sigmas[None, :, None] ** 2 * values[:, None, :]

        def with_form(factor: float, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
            total = form[rows] + factor**2
            return np.asarray(-0.5 * (np.log(total).sum(axis=2) + (square[rows, None, :] / total).sum(axis=2)))

        def without(factor: float) -> float:
            return -0.5 * (len(white) * math.log(factor**2) + float(white @ white) / factor**2)

        logs, alone = [with_form(1.0)], [without(1.0)]
        best = max(float(logs[0][self.smooth].max()), alone[0])
        others = [max(float(with_form(f, self.smooth).max()), without(f)) for f in NOISES]
        which = int(np.argmax(others))
        factors: tuple[float, ...] = (1.0,)
        if 2.0 * (others[which] - best) > LARGER_NOISE:
            factors = (1.0, NOISES[which])
            logs.append(with_form(NOISES[which]))
            alone.append(without(NOISES[which]))
        return Weighted(np.array(logs), np.array(alone), sigmas, factors)

    def fields(self, k: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Correlations (n + m, n) of kernel k with the points, and at least ``count`` fields (n + m, ...) of unit
        variance, the same for all data: each use takes some of them. Many or few, the first are the same."""
        found = self._kept.get(k)
        if found is None or found[1].shape[1] < count:
            from scipy.linalg import cholesky

            r = self.correlation(k)
            near = np.ascontiguousarray(r[:, : self.n])
            root = cholesky(r, lower=True, overwrite_a=True, check_finite=False)
            blocks = []
            for block in range(-(-count // BANK)):  # of one size: the same products, to the bit
                rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([19890525, k, block])))
                blocks.append(root @ rng.standard_normal((len(root), BANK)))
            found = near, np.concatenate(blocks, axis=1)
            if sum(a.size + b.size for a, b in self._kept.values()) + near.size + found[1].size > _REMEMBERED:
                self._kept.clear()
            self._kept[k] = found
        return found

    def remembered(self) -> int:
        """How many numbers it holds between two uses."""
        kept = sum(a.size + b.size for a, b in self._kept.values())
        return kept + (0 if self._spectra is None else self._spectra[1].size)


def _direction(feature: Any, xyz: np.ndarray) -> np.ndarray | None:
    """Along which lengths may differ: the axis of a cylinder, the longest extent of the points of a plane."""
    if feature.kind == "cylinder":
        return np.asarray(feature.axis, dtype=np.float64)
    if feature.kind != "plane":
        return None
    centred = xyz - xyz.mean(axis=0)
    centred = centred - np.outer(centred @ feature.normal, feature.normal)
    return np.asarray(np.linalg.svd(centred, full_matrices=False)[2][0])
