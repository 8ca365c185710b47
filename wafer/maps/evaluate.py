"""Characteristics of a film map with their uncertainty: mean, extremes, range, non-uniformity, single sites.

The file holds one value for each site and no budget, so the instrument states it: a value is the true one plus an
offset and a relative error that all sites share, plus noise of its own. The sites are fixed: what lies between them is
not part of any measurand here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metrology_core import flags as _flags
from metrology_core import spreads
from metrology_core.errors import DataError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured
from wafer.characteristics import FILM_SITE
from wafer.maps.doubts import doubts
from wafer.maps.frame import WaferFrame
from wafer.maps.sites import SiteMap

REACH = 1.0  # mm: a stated place names the site that lies within this distance
_UNRESOLVED = 0.025  # of the distribution at zero: a two-sided interval of 95 % then begins there


@dataclass(frozen=True)
class FilmResult:
    """``measurements`` by id of the registry, in ``unit`` (ratios in ``1``); ``sites`` one for each place asked for, or
    the reason why not; ``missing`` id -> reason; ``used`` (n,) which sites count; ``counts`` of the others; ``flags``
    of the map; ``differences`` of the file's own figures (name -> theirs, ours)."""

    unit: str
    measurements: Mapping[str, Measured]
    sites: tuple[Measured | str, ...]
    missing: Mapping[str, str]
    methods: Mapping[str, str]
    used: np.ndarray
    counts: Mapping[str, int]
    flags: tuple[str, ...]
    differences: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def measure_film_map(
    found: SiteMap, frame: WaferFrame, *, instrument: Instrument | None = None,
    places: Sequence[tuple[float, float]] = (), scope: str = "map",
) -> FilmResult:  # fmt: skip
    """Evaluate one map. ``instrument`` states ``noise``, ``offset_u`` and ``scale_u``, its lengths in the map's unit;
    ``places`` (mm) name single sites; ``scope`` names the map in the ids of its influences.

    Sites off the wafer, in its edge exclusion, or without a value do not count. Raises `DataError` where none is left.
    """
    holds = np.array([frame.holds(float(x), float(y)) for x, y in zip(found.x, found.y, strict=True)], bool)
    inside = np.array([frame.counts(float(x), float(y)) for x, y in zip(found.x, found.y, strict=True)], bool)
    known = np.isfinite(found.value)
    used = inside & known
    counts = {
        "sites": int(found.value.size), "used": int(used.sum()), "off_wafer": int((~holds).sum()),
        "excluded": int((holds & ~inside).sum()), "without_value": int((inside & ~known).sum()),
    }  # fmt: skip
    if not used.any():
        raise DataError(
            "no site of the map counts", expected="values inside the edge exclusion of the wafer",
            got=", ".join(f"{key.replace('_', ' ')}: {n}" for key, n in counts.items() if n) + _texts(found),
            remedy="measure the wafer again, or find out why the file holds no values" if not known.any() else
            "check inputs.wafer (diameter, edge_exclusion) and that X and Y are in mm from the middle",
        )  # fmt: skip
    differences = found.differences() if known.any() else {}
    model = _Model(instrument, scope)
    flags = [*model.flags, *doubts(found)]
    flags += ["sites_off_wafer"] if counts["off_wafer"] else []
    flags += ["sites_without_value"] if counts["without_value"] else []
    flags += ["summary_not_reproduced"] if differences else []
    values = found.value[used]
    measurements, missing = _measurements(values, model, found.unit)
    words = _sites_in_words(counts, frame) + _texts(found) + f"; {model.words}"
    merged = _flags.merge(flags)
    sites = tuple(_site(found, place, holds, model, k) for k, place in enumerate(places))
    return FilmResult(
        found.unit,
        {name: value.with_flags(*merged) for name, value in measurements.items()},
        tuple(s if isinstance(s, str) else s.with_flags(*merged) for s in sites),
        missing,
        dict.fromkeys(measurements, words) | {FILM_SITE: model.words},
        used, counts, merged, differences,
    )  # fmt: skip


class _Model:
    """What the instrument states: contributions of the common errors, and the noise of one value."""

    def __init__(self, declared: Instrument | None, scope: str) -> None:
        self.scope = scope
        self.noise = (declared.noise if declared else None) or 0.0
        self.offset = (declared.offset_u if declared else None) or 0.0
        self.scale = (declared.scale_u if declared else None) or 0.0
        name = declared.id if declared else ""
        self.offset_row = Influence(f"instrument/{name}/offset", f"offset of {name}, common to all values", "B")
        self.scale_row = Influence(f"instrument/{name}/scale/value", f"scale of {name}, common to all values", "B")
        missing = []
        if not (self.offset or self.scale):
            missing.append("repeatability_only")
        if not self.noise:
            missing.append("repeatability_missing")
        self.flags = tuple(missing)
        self.words = (
            "the file states one value for each site, without uncertainty; "
            + ("noise of a value" if self.noise else "no noise")
            + ", "
            + (" and ".join(w for w, u in (("offset", self.offset), ("scale", self.scale)) if u) or "no common error")
            + (f" as declared for {name}" if declared else ": no instrument is declared")
        )

    def value(
        self, value: float, unit: str, *, offset: float, scale: float, noise: float, what: str, bias: float = 0.0,
        quantiles: np.ndarray | None = None, bound: float | None = None,
    ) -> Measured:  # fmt: skip
        """``offset`` and ``scale``: derivatives by the common errors; ``noise``, ``bias``: standard uncertainty by the
        noise and half width of what it widens, in the value's unit; ``quantiles``: distribution by both of them."""
        own = Influence(f"noise/{self.scope}/{what}", "noise of the values", "B")
        wide = Influence(
            f"noise/{self.scope}/{what}/bias", "noise widens it (not corrected)", "B", distribution="rectangular"
        )
        common = math.hypot(offset * self.offset, scale * self.scale)
        parts = {
            self.offset_row: offset * self.offset, self.scale_row: scale * self.scale, own: noise,
            wide: bias / math.sqrt(3.0),
        }  # fmt: skip
        kept = {row: part for row, part in parts.items() if part}
        made = Measured(value, unit, {row.id: part for row, part in kept.items()}, {row.id: row for row in kept}, bound)
        return made if quantiles is None else dataclasses.replace(made, samples=spreads.widened(quantiles, common))


def _measurements(v: np.ndarray, model: _Model, unit: str) -> tuple[dict[str, Measured], dict[str, str]]:
    n, mean, noise = v.size, float(v.mean()), model.noise
    mean_u = noise / math.sqrt(n)
    out = {
        "film.mean": model.value(mean, unit, offset=1.0, scale=mean, noise=mean_u, what="mean"),
        "film.minimum": _extreme(v, model, unit, 1.0),
        "film.maximum": _extreme(v, model, unit, -1.0),
    }
    missing: dict[str, str] = {}
    if n < 2:
        return out, dict.fromkeys(_SPREADS, "a spread needs two sites")
    wide = float(np.ptp(v))
    quantiles, bias = spreads.range_spread(v, noise) if noise else (None, 0.0)
    reading = math.sqrt(2.0) * noise
    out["film.range"] = model.value(
        wide, unit, offset=0.0, scale=wide, noise=reading, what="range", bias=bias, quantiles=quantiles, bound=0.0
    )
    out |= _nonuniformity(v, model, unit)
    if not mean > 0.0:
        reason = f"a ratio to the mean needs a mean above zero, not {mean:g} {unit}"
        return out, dict.fromkeys(_RATIOS, reason)
    # the scale cancels; mean and spread of normal noise are independent
    half = wide / (2.0 * mean)
    out["film.nonuniformity_half_range"] = model.value(
        half, "1", offset=-half / mean, scale=0.0, noise=math.hypot(reading / (2.0 * mean), half * mean_u / mean),
        what="half_range", bias=bias / (2.0 * mean),
        quantiles=None if quantiles is None else spreads.widened(quantiles / (2.0 * mean), half * mean_u / mean),
        bound=0.0,
    )  # fmt: skip
    for name in ("nonuniformity", "nonuniformity_biased"):
        spread = out[f"film.{name}_1s"]
        share = spread.value / mean
        relative = model.value(
            share, "1", offset=-share / mean, scale=0.0,
            noise=math.hypot(_noise_part(spread) / mean, share * mean_u / mean), what=f"{name}_relative",
            quantiles=None if not noise else spreads.widened(_own(v, model, name) / mean, share * mean_u / mean),
            bound=0.0,
        )  # fmt: skip
        relative = relative.with_flags(*spread.flags)
        out[f"film.{name}_relative_1s"], out[f"film.{name}_relative_3s"] = relative, 3.0 * relative
    return out, missing


def _extreme(v: np.ndarray, model: _Model, unit: str, sign: float) -> Measured:
    """The smallest value (``sign`` 1), or the largest (-1)."""
    value = sign * float(np.min(sign * v))
    quantiles, bias = None, 0.0
    if model.noise:
        found, bias = spreads.smallest_spread(sign * v, model.noise)
        quantiles = np.sort(sign * found)
    return model.value(
        value, unit, offset=1.0, scale=value, noise=model.noise, what="minimum" if sign > 0 else "maximum", bias=bias,
        quantiles=quantiles,
    )  # fmt: skip


def _nonuniformity(v: np.ndarray, model: _Model, unit: str) -> dict[str, Measured]:
    """Standard deviation over the sites: as the values have it, and with the noise of one value taken off."""
    dof, noise = v.size - 1, model.noise
    seen = float(v.var(ddof=1))
    clean = math.sqrt(max(seen - noise**2, 0.0))
    # of fixed values: var(s^2) = (4 s_true^2 noise^2 + 2 noise^4) / dof
    u_square = math.sqrt((4.0 * clean**2 * noise**2 + 2.0 * noise**4) / dof)
    out: dict[str, Measured] = {}
    for name, value in (("nonuniformity", clean), ("nonuniformity_biased", math.sqrt(seen))):
        quantiles = _own(v, model, name) if noise else None
        # at zero the first order fails: there the root of the error of the square is the size of the value's
        u = 0.0 if not noise else u_square / (2.0 * value) if value**2 > u_square else math.sqrt(u_square)
        made = model.value(value, unit, offset=0.0, scale=value, noise=u, what=name, quantiles=quantiles, bound=0.0)
        if name == "nonuniformity" and noise and float((_own(v, model, name) <= 0.0).mean()) > _UNRESOLVED:
            made = made.with_flags("nonuniformity_not_resolved")
        out[f"film.{name}_1s"], out[f"film.{name}_3s"] = made, 3.0 * made
    return out


def _own(v: np.ndarray, model: _Model, name: str) -> np.ndarray:
    """Distribution of a standard deviation over the sites by the noise alone."""
    quantiles = spreads.fixed_spread(float(v.var(ddof=1)), v.size - 1, model.noise**2)
    return quantiles if name == "nonuniformity" else np.hypot(quantiles, model.noise)


def _noise_part(measured: Measured) -> float:
    return math.hypot(*(part for key, part in measured.contributions.items() if key.startswith("noise/")))


def _site(found: SiteMap, place: tuple[float, float], holds: np.ndarray, model: _Model, k: int) -> Measured | str:
    """The value at a place, or why there is none."""
    away = np.hypot(found.x - place[0], found.y - place[1])
    at = int(np.argmin(away))
    where = f"({place[0]:g}, {place[1]:g}) mm"
    if not away[at] <= REACH:
        return f"no site within {REACH:g} mm of {where}; the nearest is ({found.x[at]:g}, {found.y[at]:g}) mm"
    if not holds[at]:
        return f"the site at {where} lies off the wafer"
    value = float(found.value[at])
    if not math.isfinite(value):
        return f"the site at {where} has no value"
    return model.value(value, found.unit, offset=1.0, scale=value, noise=model.noise, what=f"site/{k}")


def _sites_in_words(counts: Mapping[str, int], frame: WaferFrame) -> str:
    left = [
        f"{counts[key]} {words}"
        for key, words in (
            ("excluded", f"in the edge exclusion of {frame.edge_exclusion:g} mm"),
            ("off_wafer", f"off the wafer of {frame.diameter:g} mm"),
            ("without_value", "without a value"),
        )
        if counts[key]
    ]
    return f"{counts['used']} of {counts['sites']} sites" + (f" ({', '.join(left)} left out)" if left else "")


def _texts(found: SiteMap) -> str:
    """What stands in the file in the place of values."""
    said = sorted(set(found.unread.values()))
    return "; no number: " + ", ".join(map(repr, said[:3])) + (", ..." if len(said) > 3 else "") if said else ""


_RATIOS = (
    "film.nonuniformity_half_range",
    *(f"film.nonuniformity{kind}_relative_{k}s" for kind in ("", "_biased") for k in (1, 3)),
)
_SPREADS = (
    "film.range",
    *(f"film.nonuniformity{kind}_{k}s" for kind in ("", "_biased") for k in (1, 3)),
    *_RATIOS,
)
