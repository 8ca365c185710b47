"""What form a surface can have: a grid of random surfaces of unknown lengths, smoothness and size, weighted by data.

Three families (`form_modes` has the last two): Matern fields, waves up to a wave number, and lobes or polynomials times
polynomials. Form is rarely as long along a feature as across it: lobes run round a bore, taper and barrel along it, a
lay along one edge of a plane. A correlation that is alike in all directions takes the shorter length everywhere and
makes the surface between the points of the other direction far too uncertain. So lengths along the axis of a cylinder,
or along the longest direction of the points of a plane, are stretched by a factor that is not known either. Other
features have Matern fields of one length. The size of a form is the standard deviation of what the points see of it
beside the feature: data can tell no more, and a long or low polynomial form is mostly a shift and a tilt. The prior is
uniform in it (Gelman, Bayesian Analysis 1 (2006) 515: a log-uniform one favours its absence) and over the logarithms of
the others, with more for rough Matern fields and less for sums of modes; the weight is that times the restricted
likelihood of the data (Patterson and Thompson, Biometrika 58 (1971) 545), what the feature explains left out.

A rough form and a larger noise look alike where points are sparse. Where smooth form would need a larger noise than
declared, both explanations stay in the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.uncertainty.fields import sampling
from metrology_core.uncertainty.fields.form_modes import POLYNOMIALS, WAVES, Modes, Unrolled, unrolled
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import coordinates

LENGTHS, DEVIATIONS = 7, 14
SMOOTHNESS = (1.5, 2.5, math.inf)
STRETCHES = tuple(2.0 ** (k / 2.0) for k in range(-2, 5))
WAVE_STRETCHES = STRETCHES[:6]
# polynomials: to which order, or number of lobes, the variance falls by a half or so
ORDERS = (0.7, 1.1, 1.7, 2.6, 4.0)
NOISES = (1.19, 1.41, 2.0, 2.83, 4.0)  # how many times the declared noise the points may show
# twice the log-likelihood that a larger noise gains over the declared one beside smooth form: noise as declared reaches
# it in 0 to 5 % of cases
LARGER_NOISE = 4.0
_SMOOTH, _SMOOTH_NU = 0.7, 2.0  # smooth form correlates neighbours at least so, and has a slope
LIKELIHOOD_POINTS = 300  # the likelihood of the grid looks at so many points at most
_SHUFFLE = 20161227
_JITTER = 1e-8
# prior weights: where data cannot tell, form may be rough between the points; where they can, these do not matter
_OF_MODES, _OF_ROUGH = 0.2, 5.0
_SEEN = 1e-3  # share of the variance of a form beside the feature, below which it is none
_WAVES = 500.0  # waves of the shortest length over the surface, or so
_REMEMBERED = 1 << 26  # numbers kept of drawn fields and correlations: half a GB
BANK = 64  # fields drawn of a kernel at once


@dataclass(frozen=True)
class FormKernel:
    """A random form: ``family`` ``matern`` (with smoothness ``nu``), ``waves`` or ``polynomials``; its ``length``
    across, and ``stretch`` times that along the direction of the grid."""

    family: str
    length: float
    stretch: float
    nu: float = math.inf


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
        self.direction = None if metric == "chordal" else _direction(feature, both[:n])
        distance, neighbour = cKDTree(both[:n]).query(both[:n], k=2)
        nearest = float(np.median(distance[:, 1]))
        lengths = np.geomspace(0.7 * nearest, 0.7 * float(np.ptp(both, axis=0).max()), LENGTHS)
        stretches = (1.0,) if self.direction is None else STRETCHES
        self.kernels = [FormKernel("matern", float(v), s, nu) for s in stretches for nu in SMOOTHNESS for v in lengths]
        # a random part keeps short and long distances
        shuffled = np.random.Generator(np.random.Philox(_SHUFFLE)).permutation(n)
        self.seen = np.sort(shuffled[:LIKELIHOOD_POINTS])
        part = design[self.seen]
        part = part / np.linalg.norm(part, axis=0)
        self.contrasts = np.linalg.qr(part, mode="complete")[0][:, part.shape[1] :]
        self._modes: dict[str, Modes] = {}
        surface = None if self.direction is None else unrolled(feature, both, self.direction)
        if surface is not None:
            self._add_modes(surface, nearest)
        root = cholesky(self.contrasts.T @ noise[np.ix_(self.seen, self.seen)] @ self.contrasts, lower=True)
        self.whitening = solve_triangular(root, self.contrasts.T, lower=True)  # of the points seen
        rough = min(SMOOTHNESS)
        self.prior = np.log(
            [_OF_MODES if f.family != "matern" else _OF_ROUGH if f.nu == rough else 1.0 for f in self.kernels]
        )
        self._size: dict[int, float] = {}
        self._spectra: tuple[np.ndarray, np.ndarray] | None = None
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        some = self.seen[:: max(1, len(self.seen) // 60)]  # neighbours of some points are enough
        self.smooth = np.array([self._is_smooth(form, nearest, some, neighbour[some, 1]) for form in self.kernels])

    def _add_modes(self, surface: Unrolled, nearest: float) -> None:
        """The families of waves and polynomials."""
        across, along = surface.extents
        # no more waves than a few hundred: shorter ones than that are left to the Matern fields
        shortest = max(0.5 * nearest, math.sqrt(across * along / _WAVES))
        scale = surface.scale
        waves = [
            FormKernel(WAVES, float(v), s)
            for s in WAVE_STRETCHES
            for v in np.geomspace(shortest, max(2.0 * shortest, scale), LENGTHS)
        ]
        polynomials = [
            FormKernel(POLYNOMIALS, scale / a, (along / (math.pi * b)) / (scale / a)) for a in ORDERS for b in ORDERS
        ]
        for family, forms in ((WAVES, waves), (POLYNOMIALS, polynomials)):
            least = (min(f.length for f in forms), min(f.length * f.stretch for f in forms))
            self._modes[family] = Modes(family, surface, least)
            # what only shifts and tilts the feature is no form of it
            self.kernels += [form for form in forms if self._seen_share(form) > _SEEN]

    def _seen_share(self, form: FormKernel) -> float:
        """Variance that the points see beside the feature, as a share of all."""
        modes, variance = self._modes[form.family].of(form.length, form.stretch, self.seen)
        rest = self.contrasts.T @ modes
        return float(np.sum(rest**2, axis=0) @ variance) / float(np.sum(modes**2, axis=0) @ variance)

    def _is_smooth(self, form: FormKernel, nearest: float, some: np.ndarray, neighbours: np.ndarray) -> bool:
        """Whether it has a slope and correlates neighbours well."""
        if form.family == "matern":
            return form.nu > _SMOOTH_NU and float(Kernel(form.length, form.nu)(nearest)) >= _SMOOTH
        family = self._modes[form.family]
        a, variance = family.of(form.length, form.stretch, some)
        b = family.of(form.length, form.stretch, neighbours)[0]
        both = np.sqrt((a**2 @ variance) * (b**2 @ variance))
        return float(np.median((a * b) @ variance / both)) >= _SMOOTH

    def _raw(self, k: int, rows: np.ndarray | slice) -> np.ndarray:
        """Covariances of kernel k among ``rows`` of the points and places before they are scaled."""
        form = self.kernels[k]
        if form.family != "matern":
            modes, variance = self._modes[form.family].of(form.length, form.stretch, rows)
            return np.asarray((modes * variance) @ modes.T)
        xyz = self.both[rows]
        if form.stretch != 1.0 and self.direction is not None:
            xyz = xyz + np.outer(xyz @ self.direction, (1.0 / form.stretch - 1.0) * self.direction)
        kernel = Kernel(form.length, form.nu)
        return np.asarray(sampling.dense(coordinates(self.feature, xyz, kernel, self.metric), kernel))

    def size(self, k: int) -> float:
        """Mean variance, in the contrasts of the points, of kernel k before it is scaled."""
        if k not in self._size:
            self._size[k] = self._mean_variance(self._raw(k, self.seen))
        return self._size[k]

    def _mean_variance(self, seen: np.ndarray) -> float:
        return float(np.sum((seen @ self.contrasts) * self.contrasts)) / self.contrasts.shape[1]

    def correlation(self, k: int, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Covariances of kernel k among ``rows`` of the points and places, for a mean variance of 1 in the contrasts,
        a trace of independence added."""
        r = self._raw(k, rows) / self.size(k)
        r[np.diag_indices_from(r)] += _JITTER
        return r

    def spectra(self) -> tuple[np.ndarray, np.ndarray]:
        """Ratios (kernels, q) of form to noise in the contrasts that each kernel makes independent, and these contrasts
        (kernels, q, q) of the whitened ones."""
        if self._spectra is None:
            q = len(self.whitening)
            values, vectors = np.empty((len(self.kernels), q)), np.empty((len(self.kernels), q, q))
            independent = _JITTER * (self.whitening @ self.whitening.T)
            for k in range(len(self.kernels)):
                seen = self._raw(k, self.seen)
                self._size.setdefault(k, self._mean_variance(seen))
                half = self.whitening @ seen @ self.whitening.T / self._size[k] + independent
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
            near, root = self._root(k)
            blocks = []
            for block in range(-(-count // BANK)):  # of one size: the same products, to the bit
                rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([19890525, k, block])))
                blocks.append(root @ rng.standard_normal((root.shape[1], BANK)))
            found = near, np.concatenate(blocks, axis=1)
            if sum(a.size + b.size for a, b in self._kept.values()) + near.size + found[1].size > _REMEMBERED:
                self._kept.clear()
            self._kept[k] = found
        return found

    def remembered(self) -> int:
        """How many numbers it holds between two uses."""
        kept = sum(a.size + b.size for a, b in self._kept.values())
        return kept + (0 if self._spectra is None else self._spectra[1].size)

    def _root(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Covariances (n + m, n) with the points, and a root (n + m, ...) of those of all."""
        form = self.kernels[k]
        if form.family == "matern":
            from scipy.linalg import cholesky

            r = self.correlation(k)
            near = np.ascontiguousarray(r[:, : self.n])
            return near, cholesky(r, lower=True, overwrite_a=True, check_finite=False)
        modes, variance = self._modes[form.family].of(form.length, form.stretch)
        root = modes * np.sqrt(variance / self.size(k))
        near = root @ root[: self.n].T
        near[np.arange(self.n), np.arange(self.n)] += _JITTER  # far below what a draw could show
        return near, root


def _direction(feature: Any, xyz: np.ndarray) -> np.ndarray | None:
    """Along which lengths may differ: the axis of a cylinder, the longest extent of the points of a plane."""
    if feature.kind == "cylinder":
        return np.asarray(feature.axis, dtype=np.float64)
    if feature.kind != "plane":
        return None
    centred = xyz - xyz.mean(axis=0)
    centred = centred - np.outer(centred @ feature.normal, feature.normal)
    return np.asarray(np.linalg.svd(centred, full_matrices=False)[2][0])
