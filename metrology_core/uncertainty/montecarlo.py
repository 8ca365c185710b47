"""Propagation of distributions by Monte Carlo (JCGM 101:2008, JCGM 102:2011), with a fixed or an adaptive number of
trials, and the validation of the GUM result by it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Measured
from metrology_core.uncertainty.gum import GumResult
from metrology_core.uncertainty.intervals import (
    IntervalKind,
    Region,
    RegionKind,
    coverage_interval,
    coverage_region,
    numerical_tolerance,
    tail_sorted,
)
from metrology_core.uncertainty.model import Model
from metrology_core.uncertainty.sampling import Simulation

MAX_TRIALS = 20_000_000
BATCHES = 20
"""Batches of `MonteCarloResult.end_errors`: a standard error is then known to 1 / sqrt(38), a sixth of itself."""


@dataclass(frozen=True)
class EndErrors:
    """Standard errors of the ends of a Monte Carlo interval of ``trials`` trials, which fall with their ``power``-th
    root."""

    low: float
    high: float
    trials: int
    power: int

    def needed(self, wanted: float) -> int | None:
        """About how many trials bring both standard errors to ``wanted`` (one digit, upward); None for not known."""
        worst = max(self.low, self.high)
        if not (math.isfinite(worst) and wanted > 0.0):
            return None
        count = max(self.trials * (worst / wanted) ** self.power, 1.0)
        unit = 10.0 ** math.floor(math.log10(count))
        return int(math.ceil(count / unit - 1e-9) * unit)


@dataclass(frozen=True, eq=False)
class MonteCarloResult:
    """The drawn output values and what follows from them.

    ``samples`` (m, M), in trial order; ``mean``, ``u`` (m,), ``covariance`` (m, m) (JCGM 101 7.6, JCGM 102 7.6).
    ``tolerances`` are the numerical tolerances of the adaptive procedure, ``spread`` what it reached (twice the
    standard deviation of each average); ``converged`` says whether it ended below them (True for a fixed number).
    """

    names: tuple[str, ...]
    samples: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    seed: int
    p: float
    kind: IntervalKind
    adaptive: bool = False
    converged: bool = True
    runs: int = 1
    tolerances: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    finite_variance: bool = True

    @property
    def trials(self) -> int:
        return self.samples.shape[1]

    @property
    def u(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> np.ndarray:
        u = np.where(self.u > 0.0, self.u, 1.0)
        r = self.covariance / np.outer(u, u)
        np.fill_diagonal(r, 1.0)
        return r

    @property
    def flags(self) -> tuple[str, ...]:
        found = () if self.converged else ("monte_carlo_not_converged",)
        return found if self.finite_variance else (*found, "no_finite_variance")

    def index(self, name: str | int) -> int:
        if isinstance(name, int):
            return name
        if name not in self.names:
            raise ParameterError(f"there is no output {name!r}", expected=", ".join(self.names))
        return self.names.index(name)

    def interval(
        self, name: str | int = 0, p: float | None = None, kind: IntervalKind | None = None
    ) -> tuple[float, float]:
        """Coverage interval of one output (default: the probability and kind of the run)."""
        p = self.p if p is None else p
        return coverage_interval(tail_sorted(self.samples[self.index(name)], p), p, kind or self.kind)

    def region(self, p: float | None = None, kind: RegionKind = "ellipsoid", *, cells: int = 50) -> Region:
        """Coverage region of all outputs together (JCGM 102 7.7)."""
        return coverage_region(self.samples, self.p if p is None else p, kind, cells=cells)

    def standard_error(self, name: str | int = 0) -> tuple[float, float]:
        """Standard deviations of the estimates of mean and standard uncertainty, from the fourth moment."""
        y = self.samples[self.index(name)]
        d = y - y.mean()
        variance = float(np.mean(d * d))
        fourth = float(np.mean(d**4))
        u = math.sqrt(variance)
        spread = math.sqrt(max(fourth - variance**2, 0.0) / len(y)) / (2.0 * u) if u > 0.0 else 0.0
        return u / math.sqrt(len(y)), spread

    def end_errors(self, name: str | int = 0, p: float | None = None, kind: IntervalKind | None = None) -> EndErrors:
        """Standard errors of the ends of `interval`, from the scatter of the intervals of `BATCHES` equal batches.

        The ends of the symmetric interval are quantiles and converge with the square root of the trials; the place of
        the shortest interval is that of a minimum, and converges with the cube root (Kim and Pollard 1990). Infinite
        where a batch is too small to have an interval of this probability.
        """
        p, kind = self.p if p is None else p, kind or self.kind
        y = self.samples[self.index(name)]
        size = len(y) // BATCHES
        power = 2 if kind == "symmetric" else 3
        if not 0 < int(p * size + 0.5) < size:
            return EndErrors(math.inf, math.inf, len(y), power)
        batches = y[: size * BATCHES].reshape(BATCHES, size)
        ends = np.array([coverage_interval(tail_sorted(one, p), p, kind) for one in batches])
        low, high = np.std(ends, axis=0, ddof=1) / BATCHES ** (1.0 / power)
        return EndErrors(float(low), float(high), len(y), power)

    def measured(self, name: str | int = 0, unit: str = "1") -> Measured:
        """One output as `Measured` with its samples (asymmetric intervals; no contributions)."""
        k = self.index(name)
        return Measured(float(self.mean[k]), unit, samples=self.samples[k], flags=self.flags)


def monte_carlo(
    model: Model,
    *,
    trials: int | str = 1_000_000,
    p: float = 0.95,
    seed: int = 1,
    digits: int = 2,
    interval: IntervalKind = "shortest",
    tolerance_factor: float = 1.0,
    max_trials: int = MAX_TRIALS,
    region: bool | None = None,
) -> MonteCarloResult:
    """Propagate the distributions of ``model``'s inputs.

    ``trials``: a number, or ``"adaptive"``: JCGM 101 7.9.4 for one output, JCGM 102 7.8 for several, until twice the
    standard deviation of every average is within the numerical tolerance of ``digits`` digits times
    ``tolerance_factor`` (JCGM 101 8.2 advises 1/5 for a validation). For several outputs the estimates, the standard
    uncertainties, the largest eigenvalue of the correlation matrix and (``region``, default yes) the factor of the
    coverage ellipsoid are watched. The same seed gives the same bits on any number of threads.
    """
    if not 0.0 < p < 1.0:
        raise ParameterError("a coverage probability lies between 0 and 1", got=repr(p))
    simulation = Simulation(model, seed)
    names = tuple(model.output_names(simulation.outputs))
    if trials == "adaptive":
        watched = region if region is not None else True
        found = _adaptive(simulation, names, p, seed, digits, interval, tolerance_factor, max_trials, watched)
        return replace(found, finite_variance=_finite_variance(model))
    if not isinstance(trials, int) or trials < 100:
        raise ParameterError("number of trials", expected="a whole number from 100 on, or 'adaptive'", got=repr(trials))
    count = int(trials) + int(trials) % 2
    samples, sums, products = simulation.run(0, count)
    mean, covariance = _combine(simulation.center, sums, products, count)
    samples.setflags(write=False)
    found = MonteCarloResult(names, samples, mean, covariance, seed, p, interval)
    return replace(found, finite_variance=_finite_variance(model))


def _finite_variance(model: Model) -> bool:
    joined = {int(place) for block in model.blocks for place in block.places}
    alone = (row.distribution for i, row in enumerate(model.base.values()) if i not in joined)
    return all(block.chi_dof > 2.0 for block in model.blocks) and all(math.isfinite(d.sd) for d in alone)


def _combine(center: np.ndarray, sums: np.ndarray, products: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance from the partial sums, folded in block order."""
    total, square = np.zeros_like(sums[0]), np.zeros_like(products[0])
    for one, two in zip(sums, products):
        total += one
        square += two
    shift = total / count
    return center + shift, (square - count * np.outer(shift, shift)) / (count - 1)


def run_length(p: float) -> int:
    """Trials of one run of the adaptive procedure: the larger of 1e4 and 100/(1-p) (JCGM 101 7.9.4 b), even."""
    least = math.ceil(100.0 / (1.0 - p) * (1.0 - 1e-12))
    length = max(least, 10_000)
    return length + length % 2


def _adaptive(
    simulation: Simulation,
    names: tuple[str, ...],
    p: float,
    seed: int,
    digits: int,
    interval: IntervalKind,
    factor: float,
    max_trials: int,
    region: bool,
) -> MonteCarloResult:
    m = len(names)
    length = run_length(p)
    runs: list[np.ndarray] = []
    watched: list[np.ndarray] = []
    labels = _labels(names, region and m > 1)
    tolerances: dict[str, float] = {}
    spread: dict[str, float] = {}
    mean, covariance = simulation.center, np.zeros((m, m))
    converged = False
    batch = 4
    while not converged and (len(runs) + batch) * length <= max(max_trials, 2 * length):
        fresh, _, _ = simulation.run(len(runs) * length, batch * length)
        for k in range(batch):
            one = fresh[:, k * length : (k + 1) * length]
            runs.append(one)
            watched.append(_estimates(one, p, interval, region and m > 1))
            h = len(runs)
            if h < 2:
                continue
            deviation = np.std(np.array(watched), axis=0, ddof=1) / math.sqrt(h)
            so_far = np.concatenate(runs, axis=1) if h <= 8 or h % 8 == 0 else None
            if so_far is None and np.any(2.0 * deviation > np.array([*tolerances.values()])):
                continue  # far away: the tolerances follow u, which is known well enough by now
            if so_far is None:
                so_far = np.concatenate(runs, axis=1)
            mean, covariance = so_far.mean(axis=1), np.atleast_2d(np.cov(so_far))
            whole = _sources(names, so_far, p, covariance, region and m > 1)
            tolerances = {
                label: factor * numerical_tolerance(whole[source], digits) for label, source in labels.items()
            }
            spread = {label: float(2.0 * d) for label, d in zip(labels, deviation)}
            if all(spread[label] <= tolerances[label] for label in labels):
                converged = True
                break
        batch = min(2 * batch, 64)
    samples = np.concatenate(runs, axis=1)
    mean, covariance = samples.mean(axis=1), np.atleast_2d(np.cov(samples))
    samples.setflags(write=False)
    return MonteCarloResult(
        names, samples, mean, covariance, seed, p, interval, True, converged, len(runs), tolerances, spread
    )


def _labels(names: tuple[str, ...], region: bool) -> dict[str, str]:
    """What is watched -> which number its tolerance follows."""
    if len(names) == 1:
        u = f"u({names[0]})"
        return {names[0]: u, u: u, "low": u, "high": u}
    labels = {}
    for name in names:
        labels[name] = f"u({name})"
    for name in names:
        labels[f"u({name})"] = f"u({name})"
    labels["largest eigenvalue"] = "largest eigenvalue"
    if region:
        labels["k"] = "k"
    return labels


def _estimates(y: np.ndarray, p: float, interval: IntervalKind, region: bool) -> np.ndarray:
    """What the adaptive procedure watches, of one run."""
    mean, u = y.mean(axis=1), y.std(axis=1, ddof=1)
    if len(y) == 1:
        return np.array([mean[0], u[0], *coverage_interval(tail_sorted(y[0], p), p, interval)])
    parts = [*mean, *u, float(np.linalg.eigvalsh(np.corrcoef(y))[-1])]
    if region:
        parts.append(coverage_region(y, p, "ellipsoid").k)
    return np.array(parts)


def _sources(names: tuple[str, ...], y: np.ndarray, p: float, covariance: np.ndarray, region: bool) -> dict[str, float]:
    """The numbers that tolerances follow, from all trials so far."""
    u = np.sqrt(np.diag(covariance))
    found = {f"u({name})": float(value) for name, value in zip(names, u)}
    if len(names) > 1:
        found["largest eigenvalue"] = float(np.linalg.eigvalsh(covariance / np.outer(u, u))[-1])
        if region:
            found["k"] = coverage_region(y, p, "ellipsoid").k
    return found


SIGMAS = 4.0
"""Standard errors of a Monte Carlo end beyond which a difference is none of the trials; more than the three of a known
standard deviation, since they are known to a sixth."""


@dataclass(frozen=True)
class Validation:
    """Comparison of a GUM interval with a Monte Carlo one (JCGM 101 8.1.3): endpoints, not uncertainties.

    ``errors`` are the standard errors (low, high) of the Monte Carlo ends. JCGM 101 8.2 wants them small against the
    tolerance, a fifth of it. Where they are not, and a difference beyond the tolerance lies within `SIGMAS` of them,
    the trials are too few to say no: ``decided`` is False, and ``needed`` about how many it takes (None: not known).
    """

    name: str
    gum: tuple[float, float]
    monte_carlo: tuple[float, float]
    tolerance: float
    d_low: float
    d_high: float
    valid: bool
    p: float
    digits: int
    errors: tuple[float, float] = (0.0, 0.0)
    decided: bool = True
    needed: int | None = None
    needed_symmetric: int | None = None

    def describe(self) -> str:
        verdict = "validated" if self.valid else "NOT validated"
        numbers = (
            f"|d_low| = {self.d_low:.3g}, |d_high| = {self.d_high:.3g}, "
            f"tolerance {self.tolerance:.3g} ({self.digits} digits of u)"
        )
        if self.decided:
            return f"{self.name}: GUM result {verdict} by Monte Carlo at p = {self.p:g} (JCGM 101 8.1.3): {numbers}"
        few = "too few trials"
        if self.needed is not None:
            few += f" (needs about {self.needed:.0e})".replace("e+0", "e").replace("e+", "e")
        if self.needed_symmetric is not None:
            fewer = f"{self.needed_symmetric:.0e}".replace("e+0", "e").replace("e+", "e")
            few += f"; with the symmetric interval about {fewer}"
        return (
            f"{self.name}: not decided whether Monte Carlo validates the GUM result at p = {self.p:g} "
            f"(JCGM 101 8.1.3): {few}. {numbers}, standard errors of the Monte Carlo ends "
            f"{self.errors[0]:.2g} and {self.errors[1]:.2g} (JCGM 101 8.2 wants "
            f"{self.tolerance / 5.0:.2g})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "output": self.name,
            "p": self.p,
            "digits": self.digits,
            "gum_interval": list(self.gum),
            "monte_carlo_interval": list(self.monte_carlo),
            "tolerance": self.tolerance,
            "d_low": self.d_low,
            "d_high": self.d_high,
            "valid": self.valid if self.decided else None,
            "decided": self.decided,
            "standard_errors_of_ends": [None if math.isinf(e) else e for e in self.errors],
            "trials_needed": self.needed,
            "trials_needed_symmetric": self.needed_symmetric,
        }


def validate(
    gum: GumResult, drawn: MonteCarloResult, *, digits: int = 2, p: float | None = None, output: str | int = 0
) -> Validation:
    """Validate a GUM result by Monte Carlo (JCGM 101 8.1.3). The tolerance follows the GUM's standard uncertainty.
    A no that may be noise of the trials is no verdict: see `Validation`.

    Raises `ParameterError` where that is zero: there is nothing to validate at a stationary point.
    """
    p = drawn.p if p is None else p
    row = gum[output]
    tolerance = numerical_tolerance(row.u, digits)
    low, high = row.interval(p)
    a, b = drawn.interval(output, p)
    d_low, d_high = abs(low - a), abs(high - b)
    valid = max(d_low, d_high) <= tolerance
    errors = drawn.end_errors(output, p)
    fine = tolerance / 5.0  # JCGM 101 8.2
    noise = max(errors.low, errors.high)
    beyond = d_low > tolerance + SIGMAS * errors.low or d_high > tolerance + SIGMAS * errors.high
    decided = valid or beyond or noise <= fine
    needed = symmetric = None
    if not decided:
        needed = errors.needed(fine)
        if drawn.kind != "symmetric":
            symmetric = drawn.end_errors(output, p, "symmetric").needed(fine)
    both = errors.low, errors.high
    return Validation(
        row.name, (low, high), (a, b), tolerance, d_low, d_high, valid, p, digits, both, decided, needed, symmetric
    )
