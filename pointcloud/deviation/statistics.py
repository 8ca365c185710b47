"""Numbers about a field of deviations: mean, spread, extremes, quantiles, shares of tolerance bands, regions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.quantity import Influence, Measured
from pointcloud.deviation.field import DeviationField
from pointcloud.deviation.uncertainty import DeviationUncertainty
from pointcloud.nominal.surface import FloatArray

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BANDS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)  # of the limit on that side


@dataclass(frozen=True, eq=False)
class DeviationStatistics:
    """Statistics of the points with a deviation; lengths are `Measured` in the unit of the field.

    ``minimum`` and ``maximum`` are single points: noise widens them, which is an influence of its own and not
    corrected. ``bands``: (low, high, share) of points; ``out_low`` and ``out_high``: shares below and above the
    tolerance. All shares are of ``n``.
    """

    name: str
    n: int
    mean: Measured
    sd: Measured
    rms: Measured
    minimum: Measured
    maximum: Measured
    quantiles: tuple[tuple[float, Measured], ...]
    tolerance: tuple[float, float] | None
    bands: tuple[tuple[float, float, float], ...]
    out_low: float | None
    out_high: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form: values with standard uncertainties."""

        def plain(m: Measured) -> dict[str, float]:
            return {"value": m.value, "u": m.u}

        return {
            "name": self.name,
            "n": self.n,
            "unit": self.mean.unit,
            **{key: plain(getattr(self, key)) for key in ("mean", "sd", "rms", "minimum", "maximum")},
            "quantiles": [{"p": p, **plain(m)} for p, m in self.quantiles],
            "tolerance": None if self.tolerance is None else [_finite(x) for x in self.tolerance],
            "bands": [{"low": _finite(a), "high": _finite(b), "share": s} for a, b, s in self.bands],
            "out_low": self.out_low,
            "out_high": self.out_high,
        }


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def statistics(
    field: DeviationField, *, which: NDArray[np.bool_] | None = None, name: str = "all", tolerance: Any = None
) -> DeviationStatistics | None:
    """Statistics over the points of the mask ``which`` (default: all); None where none has a deviation."""
    mask = field.valid if which is None else field.valid & which
    index = np.flatnonzero(mask)
    n = len(index)
    if not n:
        return None
    v, foot, normal = field.value[index], field.closest.foot[index], field.closest.normal[index]
    model, unit = field.uncertainty, field.unit
    noise = _noise(model.noise, index, n)
    density = _density(field, index)
    mean = float(np.mean(v))
    centred = v - mean
    sd = float(np.sqrt(np.sum(centred * centred) / (n - 1))) if n > 1 else 0.0
    rms = float(np.sqrt(np.mean(v * v)))

    def linear(value: float, weights: FloatArray, what: str, bound: float | None = None, **rest: Any) -> Measured:
        return model.linear(
            value,
            unit,
            foot,
            normal,
            weights,
            f"{name}/{what}",
            noise=noise,
            density=density,
            lower_bound=bound,
            **rest,
        )

    def single(k: int, what: str) -> Measured:
        one = slice(k, k + 1)
        sigma = None if noise is None else noise[one]
        bias = 0.0 if sigma is None else float(sigma[0]) * expected_extreme(n)
        extra = {
            Influence(
                f"noise/{model.scope}/{name}/{what}/bias",
                f"noise widens the {what} (not corrected)",
                "B",
                distribution="rectangular",
            ): bias / math.sqrt(3.0)
        }
        return model.linear(
            float(v[k]), unit, foot[one], normal[one], np.ones(1), f"{name}/{what}", noise=sigma, extra=extra
        )

    order = np.argsort(v, kind="stable")
    band = field.tolerance if tolerance is None else tolerance
    quantiles = []
    for p in QUANTILES:
        # the quantile moves with the points around it: about the root of n of them
        half = max(1, math.isqrt(n) // 2)
        at = min(n - 1, max(0, round(p * (n - 1))))
        near = order[max(0, at - half) : at + half + 1]
        weights = np.zeros(n)
        weights[near] = 1.0 / len(near)
        quantiles.append((p, linear(float(np.interp(p * (n - 1), np.arange(n), v[order])), weights, f"q{p:g}")))
    bands, low, high = _shares(v, band)
    return DeviationStatistics(
        name, n, linear(mean, np.full(n, 1.0 / n), "mean"),
        linear(sd, centred / ((n - 1) * sd) if sd > 0.0 else np.zeros(n), "sd", 0.0),
        linear(rms, v / (n * rms) if rms > 0.0 else np.full(n, 1.0 / n), "rms", 0.0,
               extra=rms_widened(rms, model, name)),
        single(int(order[0]), "minimum"), single(int(order[-1]), "maximum"), tuple(quantiles), band, bands, low, high,
    )  # fmt: skip


def rms_widened(rms: float, model: DeviationUncertainty, name: str) -> dict[Influence, float]:
    """What a declared noise adds to a root mean square: it is not corrected, so it is a cause of its own (rectangular,
    up to all of it). Below the noise the value says nothing but "not above it"."""
    if not model.declared_instrument or model.noise is None:
        return {}
    sigma = float(np.sqrt(np.mean(np.square(model.noise))))
    bias = rms - math.sqrt(rms * rms - sigma * sigma) if rms > sigma else sigma
    row = Influence(
        f"noise/{model.scope}/{name}/rms/bias", "noise widens the root mean square (not corrected)", "B",
        distribution="rectangular",
    )  # fmt: skip
    return {row: bias / math.sqrt(3.0)}


def by_region(field: DeviationField) -> tuple[DeviationStatistics, ...]:
    """Statistics of each region of the nominal that has points, in the order of the regions."""
    rows = (statistics(field, which=field.region == k, name=label) for k, label in enumerate(field.region_names))
    return tuple(row for row in rows if row is not None)


def _noise(noise: Any, index: NDArray[np.int64], n: int) -> FloatArray | None:
    if noise is None:
        return None
    array = np.asarray(noise, dtype=np.float64)
    return array[index] if array.ndim else np.full(n, float(array))


def _density(field: DeviationField, index: NDArray[np.int64]) -> float:
    """Points per area of the faces they lie on."""
    mesh = getattr(field.nominal, "mesh", None)
    if mesh is None or not field.uncertainty.correlation_length:
        return 0.0
    faces = np.unique(field.closest.face[index])
    corners = mesh.vertices[mesh.faces[faces]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = float(0.5 * np.sqrt(np.einsum("ij,ij->i", cross, cross)).sum())
    return len(index) / area if area > 0.0 else 0.0


def expected_extreme(n: int) -> float:
    """Mean of the largest of n standard normal numbers (Blom's approximation)."""
    from scipy.special import ndtri

    return float(ndtri((n - 0.375) / (n + 0.25))) if n > 1 else 0.0


def _shares(
    v: FloatArray, band: tuple[float, float] | None
) -> tuple[tuple[tuple[float, float, float], ...], float | None, float | None]:
    if band is None:
        return (), None, None
    low, high = band
    n = len(v)
    edges = band_edges(band)
    out_low, out_high = float(np.count_nonzero(v < low) / n), float(np.count_nonzero(v > high) / n)
    if len(edges) == 2:
        return (
            ((-math.inf, low, out_low), (low, high, 1.0 - out_low - out_high), (high, math.inf, out_high)),
            out_low,
            out_high,
        )
    counts = np.histogram(v[(v >= low) & (v <= high)], bins=edges)[0]
    inner = [(a, b, float(c / n)) for a, b, c in zip(edges, edges[1:], counts)]
    return ((-math.inf, low, out_low), *inner, (high, math.inf, out_high)), out_low, out_high


def band_edges(band: tuple[float, float] | None) -> list[float]:
    """Edges between the bands of a tolerance: quarters of two limits about zero, else the limits."""
    if band is None:
        return []
    low, high = band
    if not (math.isfinite(low) and math.isfinite(high) and low < 0.0 < high):
        return [low, high]
    return [x * (-low if x < 0.0 else high) for x in _BANDS]
