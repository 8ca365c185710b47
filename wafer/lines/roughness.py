"""Unbiased roughness of the lines of one image: spectra of widths and edges, fitted, with their uncertainties."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.quantity import Influence, Measured
from metrology_core.spreads import bounded_spread, log_error, log_normal_spread
from wafer.edges import EdgeSet
from wafer.lines import places as _lines
from wafer.lines.budget import Budget, Scale
from wafer.roughness import (
    HURST_BOUNDS,
    Pairs,
    Roughness,
    Traces,
    autocorrelation,
    fit_roughness,
    height_height,
    psd_curves,
    traces,
)

COMMON_MODE_EDGES = 8  # edges from which the common shift of each row is taken off
_MISFIT_LIMIT = 5.0  # standard deviations of the misfit of a model that holds
_SPECTRUM = "roughness spectrum: finite number of independent pieces of edge, and noise"


@dataclass(eq=False)
class RoughnessReport:
    """What `measure_roughness` found; the fields are those of `wafer.lines.evaluate.SemLineResult`."""

    measurements: dict[str, Measured] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    views: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Residuals:
    """Detrended edges of the complete lines in pixels, NaN where lost.

    ``width`` is (lines, rows); ``edges`` (2 lines, rows) the left edges, then the right ones; ``shifted`` tells whether
    the common shift of each row was taken off them. ``products`` (lines,): mean product of the two edges of a line
    without what that shift took, in squared pixels; no noise is in it.
    """

    width: np.ndarray
    edges: np.ndarray
    shifted: bool
    products: np.ndarray


def residuals_of(found: EdgeSet, left: np.ndarray, detrend: str) -> Residuals:
    """Residuals of the complete lines whose left edges are ``left``."""
    y = found.rows - found.middle
    x = found.x
    width = _lines.residuals(y, x[left + 1] - x[left], detrend)
    both = _lines.residuals(y, np.concatenate([x[left], x[left + 1]]), detrend)
    n = both.shape[0]
    common = n >= COMMON_MODE_EDGES
    if common:
        good = np.isfinite(both)
        count = np.maximum(good.sum(axis=0), 1)
        both = both - np.where(good, both, 0.0).sum(axis=0) / count
    a, b = both[: n // 2], both[n // 2 :]
    products = np.nanmean(a * b, axis=1)
    variance = float(np.nanmean(both * both))
    if common and variance > 0.0:
        # The mean of n edges holds (1 + c) / n of their variance where the pairs are correlated by c. Noise is not
        # shared by a pair: c against the total variance is what counts here.
        seen = float(np.mean(products)) / variance
        share = 1.0 / n
        for _ in range(3):
            share = (1.0 + seen * (1.0 - share) + share) / n
        products = products + share * variance / (1.0 - share)
    return Residuals(width, both, common, products)


def refuse_smoothed(found: EdgeSet) -> None:
    """Raise `ParameterError` for the edges of a smoothed image."""
    if found.smoothing:
        raise ParameterError(
            "roughness is not measured in a smoothed image", expected="edges of unfiltered rows",
            got=found.smoothing, remedy="leave smoothing out",
        )  # fmt: skip


def measure_roughness(
    found: EdgeSet, left: np.ndarray, detrend: str, budget: Budget, row: float, along: Scale | None,
    common: str,
) -> RoughnessReport:  # fmt: skip
    """Unbiased LWR and LER, correlation length, Hurst exponent, noise floor, left-right correlation.

    ``left``: indices of the left edges of complete lines; ``row``: distance of two rows along the line in the unit of
    the budget; ``along``: uncertainty of the pixel size along the lines. What cannot be had is
    in ``missing``. Raises `ParameterError` for the edges of a smoothed image. Flags: ``roughness_model_misfit``,
    ``short_for_roughness``.
    """
    out = RoughnessReport()
    names = _names()
    if left.size == 0:
        out.missing = dict.fromkeys([*names, CORRELATION], "no complete line in the image")
        return out
    refuse_smoothed(found)
    rest = residuals_of(found, left, detrend)
    noise_lags = np.array(found.noise.vertical) if found.noise.vertical else None
    rows = found.rows.size
    box = f"{rows} rows, box length {rows * row:.4g} {budget.unit}"
    near: tuple[float, float, float] | None = None
    for stem, residual, what in (("lwr", rest.width, "line widths"), ("ler", rest.edges, "edges of complete lines")):
        given = traces(residual, detrend)
        fit = None
        if given is not None and rows >= 64:
            pairs = None
            if stem == "ler":
                products = rest.products[np.isfinite(rest.products)]
                pairs = Pairs(float(np.mean(products)) if products.size else 0.0, rest.shifted)
            fit = fit_roughness(given, noise_lags=noise_lags, pairs=pairs, start=near)
        if given is None or fit is None or fit.status != "converged":
            reason = "fewer than 64 rows, or too many lost" if fit is None else f"spectrum fit {fit.status}"
            out.missing |= {name: reason for name in names if name.startswith(f"sem.{stem}")}
            continue
        # widths have twice the noise of edges
        near = float(fit.parameters[1]), float(fit.parameters[2]), float(fit.parameters[3]) * math.sqrt(0.5)
        gain, gain_u = edge_gain(found, float(fit.parameters[0]) * (1.0 if stem == "ler" else math.sqrt(0.5)))
        if gain < 1.0:
            fit = _followed(fit, gain, gain_u)
            out.facts[f"{stem}_gain"], out.facts[f"{stem}_gain_u"] = gain, gain_u
        noise = "white noise" if noise_lags is None else "noise with the measured correlation of the rows"
        follows = (
            f"; divided by {gain:.4f}, the share of its wander that an edge shows in this noise" if gain < 1 else ""
        )
        shift = "; common shift of each row taken off" if stem == "ler" and rest.shifted else ""
        words = what[:-1] if fit.traces == 1 and what.endswith("widths") else what
        method = (
            f"debiased-Whittle likelihood of the mean periodogram of {fit.traces} {words}, stretched-exponential "
            f"autocorrelation and {noise}; {detrend} detrend, {box}{shift}{follows}; {common}"
        )
        _characteristics(out, stem, fit, budget, row, along, method)
        spread = math.sqrt((2.0 + 6.0 / fit.traces) / fit.expected.size)
        if fit.misfit > 1.0 + _MISFIT_LIMIT * spread:
            out.flags.add("roughness_model_misfit")
        if rows < 10.0 * fit.parameters[1]:
            out.flags.add("short_for_roughness")
        out.facts[f"{stem}_spectrum_misfit"] = fit.misfit
        _view(out, stem, given, fit, budget, row)
        if stem == "ler":
            _correlation(out, rest, fit, gain, budget, common)
    return out


def refused(reason: str) -> RoughnessReport:
    """A report without roughness, for one reason."""
    return RoughnessReport(missing=dict.fromkeys([*_names(), CORRELATION], reason))


def _names() -> list[str]:
    return [f"sem.{stem}_{what}" for stem in ("lwr", "ler") for what in NAMES]


NAMES = (
    "unbiased_1s", "unbiased_3s", "unbiased_box_1s", "unbiased_box_3s", "correlation_length", "hurst", "noise_1s",
)  # fmt: skip
CORRELATION = "sem.left_right_correlation"


def edge_gain(found: EdgeSet, seen: float) -> tuple[float, float]:
    """Share of the wander of the edges that their found places show, and its standard uncertainty; ``seen`` (pixels)
    is the standard deviation of the wander that they show. Both polarities count alike, as their draws do."""
    sides = list(found.noise_sd.values())
    gain, gain_u = 1.0, 0.0
    for _ in range(4):
        each = [side.gain(seen / gain) for side in sides]
        gain = float(np.mean([g for g, _ in each])) if each else 1.0
        gain_u = float(np.mean([u for _, u in each])) if each else 0.0
    return gain, gain_u


def _followed(fit: Roughness, gain: float, gain_u: float) -> Roughness:
    """The fit of edges that show ``gain`` of their wander: sigma and the spectrum of the roughness, not the noise."""
    scale = np.array([1.0 / gain, 1.0, 1.0, 1.0])
    covariance = fit.covariance * np.outer(scale, scale)
    spectrum = math.sqrt(covariance[0, 0])
    covariance[0, 0] += (fit.parameters[0] / gain * gain_u / gain) ** 2
    shape = fit.shape.beside(np.array([spectrum / math.sqrt(covariance[0, 0]), 1.0, 1.0, 1.0]))
    return replace(
        fit, parameters=fit.parameters * scale, covariance=covariance, shape=shape, box=fit.box / gain,
        box_gradient=fit.box_gradient / gain / scale, clean=fit.clean / gain**2,
    )  # fmt: skip


def _characteristics(
    out: RoughnessReport, stem: str, fit: Roughness, budget: Budget, row: float, along: Scale | None,
    method: str,
) -> None:  # fmt: skip
    sigma, xi, hurst, noise = fit.parameters
    # Independent causes of the four correlated parameters: a triangular root of their covariance.
    scale = np.sqrt(np.diag(fit.covariance))
    root = np.linalg.cholesky(fit.covariance / np.outer(scale, scale) + 1e-12 * np.eye(4)) * scale[:, None]
    causes = [Influence(f"{budget.scope}/{stem}/spectrum/{j}", _SPECTRUM, "A") for j in range(4)]
    across = budget.scale
    along_u = 0.0 if along is None else along.relative
    across_u = 0.0 if budget.scale_row is None else budget.scale_row.relative
    # the scale adds to what the spectrum knows about the logarithms
    known = np.sqrt(np.diag(fit.covariance)) / fit.parameters
    shape = fit.shape.beside(known / np.hypot(known, [across_u, along_u, 0.0, across_u]))
    errors = {i: log_error(float(shape.bend[i]), float(shape.dof[i])) for i in (0, 1, 3)}

    def add(
        name: str, value: float, parts: np.ndarray, unit: str, extra: list[tuple[Influence, float]], words: str,
        error: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        contributions = {c.id: float(p) for c, p in zip(causes, parts, strict=True)}
        rows = {c.id: c for c in causes}
        for influence, part in extra:
            contributions[influence.id] = part
            rows[influence.id] = influence
        found = Measured(value, unit, contributions, rows, 0.0)
        # fitted as logarithms, and distributed like that; H as a logit
        if error is None:
            found = replace(found, samples=bounded_spread(value, found.u, *HURST_BOUNDS))
        elif value > 0.0:
            found = replace(found, samples=log_normal_spread(value, found.u, error))
        out.measurements[f"sem.{stem}_{name}"] = found
        out.methods[f"sem.{stem}_{name}"] = f"{words}; {method}"

    def scale_x(value: float) -> list[tuple[Influence, float]]:
        return [] if budget.scale_row is None else [(budget.scale_row.influence, value * budget.scale_row.relative)]

    for factor in (1, 3):
        f = factor * across
        add(f"unbiased_{factor}s", sigma * f, root[0] * f, budget.unit, scale_x(sigma * f),
            f"{factor} sigma of an infinitely long line, noise excluded", errors[0])  # fmt: skip
        add(f"unbiased_box_{factor}s", fit.box * f, fit.box_gradient @ root * f, budget.unit, scale_x(fit.box * f),
            f"{factor} sigma expected within the measured length after detrending, noise excluded",
            errors[0])  # fmt: skip
    y_scale = [] if along is None else [(along.influence, xi * row * along.relative)]
    add("correlation_length", xi * row, root[1] * row, budget.unit, y_scale,
        "xi of exp(-(t/xi)^(2H)) along the line", errors[1])  # fmt: skip
    add("hurst", float(hurst), root[2], "1", [], "H of exp(-(t/xi)^(2H))")
    add("noise_1s", noise * across, root[3] * across, budget.unit, scale_x(noise * across),
        "standard deviation of the noise of one row, from the spectrum", errors[3])  # fmt: skip


def _correlation(
    out: RoughnessReport, rest: Residuals, fit: Roughness, gain: float, budget: Budget, common: str
) -> None:
    """Correlation of the edges of a line: mean product of their residuals (noise is not shared) over the variance."""
    products = rest.products[np.isfinite(rest.products)]
    variance = (fit.box * gain) ** 2  # as the products: of what the found edges show
    if products.size < 3:
        out.missing[CORRELATION] = "fewer than three complete lines"
        return
    value = float(products.mean()) / variance
    scatter = float(products.std(ddof=1)) / math.sqrt(products.size) / variance
    spread = 2.0 * value * math.sqrt(float(fit.box_gradient @ fit.covariance @ fit.box_gradient)) / fit.box
    rows = [
        (Influence(f"{budget.scope}/correlation/sampling", "scatter of the products between lines", "A",
                   float(products.size - 1)), scatter),
        (Influence(f"{budget.scope}/correlation/variance", "unbiased variance of the edges", "A"), spread),
    ]  # fmt: skip
    out.measurements[CORRELATION] = Measured(value, "1", {r.id: c for r, c in rows}, {r.id: r for r, _ in rows})
    out.methods[CORRELATION] = (
        f"mean product of the residuals of both edges of {products.size} lines over the unbiased variance of the edges "
        f"within the measured length; {common}"
    )


def _view(out: RoughnessReport, stem: str, given: Traces, fit: Roughness, budget: Budget, row: float) -> None:
    pixel = budget.scale
    curves = psd_curves(given, fit, row, pixel)
    for name, values in curves.items():
        out.arrays[f"sem/{stem}/psd/{name}"] = values
    half = given.rows // 2
    out.arrays[f"sem/{stem}/lag"] = np.arange(half + 1) * row
    out.arrays[f"sem/{stem}/autocorrelation"] = autocorrelation(given) * pixel**2
    out.arrays[f"sem/{stem}/height_height"] = height_height(given) * pixel**2
    out.views.append(
        {
            "kind": "sem_psd",
            "name": stem,
            "unit": budget.unit,
            "curves": {name: f"sem/{stem}/psd/{name}" for name in curves},
            "lag": f"sem/{stem}/lag",
            "autocorrelation": f"sem/{stem}/autocorrelation",
            "height_height": f"sem/{stem}/height_height",
            "traces": fit.traces,
            "sigma": float(fit.parameters[0]) * pixel,
            "correlation_length": float(fit.parameters[1]) * row,
            "hurst": float(fit.parameters[2]),
            "noise": float(fit.parameters[3]) * pixel,
            "misfit": fit.misfit,
        }
    )
