"""Coverage of the uncertainties of film maps, on simulated tools with known truth.

    python -m benchmarks.accuracy.film_maps [--trials 2000] [--seed 1] [--json]

Each trial is one tool (its offset and scale drawn once) that reads one wafer: 49 sites on four circles, a film of known
shape, noise of its own at each site. Truth is the film at the sites. Counted: how often the 95 % interval holds it.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from metrology_core.instrument import Instrument
from wafer.maps import SiteMap, WaferFrame, measure_film_map

RINGS = ((1, 0.0), (8, 49.0), (16, 98.0), (24, 147.0))
IDS = (
    "film.mean", "film.minimum", "film.maximum", "film.range", "film.nonuniformity_1s", "film.nonuniformity_biased_1s",
    "film.nonuniformity_relative_1s", "film.nonuniformity_half_range",
)  # fmt: skip
# name -> (how a film of 10 nm lies over the wafer, in nm, noise of one value, offset, relative scale)
CASES: dict[str, tuple[str, float, float, float]] = {
    "bowl, low noise": ("bowl", 0.005, 0.03, 0.003),
    "bowl, noise a third of it": ("bowl", 0.05, 0.03, 0.003),
    "tilt": ("tilt", 0.02, 0.03, 0.003),
    "flat: noise alone": ("flat", 0.05, 0.03, 0.003),
    "edge ring alike": ("ring", 0.05, 0.03, 0.003),
    "scale alone matters": ("bowl", 0.002, 0.0, 0.02),
}


def places() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the 49 sites, mm."""
    angle = [2.0 * np.pi * k / n for n, _ in RINGS for k in range(n)]
    radius = [r for n, r in RINGS for _ in range(n)]
    return radius * np.cos(angle), radius * np.sin(angle)


def film(shape: str) -> np.ndarray:
    """True thickness at the sites, nm."""
    x, y = places()
    r2 = (x * x + y * y) / 147.0**2
    add = {"bowl": 0.4 * r2, "tilt": 0.3 * x / 147.0, "flat": 0.0 * x, "ring": np.where(r2 > 0.9, 0.3, 0.0)}[shape]
    return np.asarray(10.0 + add, np.float64)


def truth(values: np.ndarray, noise: float) -> dict[str, float]:
    """What the characteristics are of; the biased spread contains the noise."""
    s, mean = float(values.std(ddof=1)), float(values.mean())
    return {
        "film.mean": mean, "film.minimum": float(values.min()), "film.maximum": float(values.max()),
        "film.range": float(np.ptp(values)), "film.nonuniformity_1s": s,
        "film.nonuniformity_biased_1s": float(np.hypot(s, noise)), "film.nonuniformity_relative_1s": s / mean,
        "film.nonuniformity_half_range": float(np.ptp(values)) / (2.0 * mean),
    }  # fmt: skip


def coverage(case: str, trials: int, seed: int) -> dict[str, dict[str, float]]:
    """id -> share of the 95 % intervals that hold the truth, below, above it; mean half width over the noise."""
    shape, noise, offset, scale = CASES[case]
    true = film(shape)
    known = truth(true, noise)
    x, y = places()
    tool = Instrument("F", "ellipsometer", unit="nm", noise=noise, offset_u=offset or None, scale_u=scale)
    rng = np.random.default_rng(seed)
    held = {name: np.zeros(4) for name in IDS}
    for _ in range(trials):
        read = true * (1.0 + scale * rng.normal()) + offset * rng.normal() + noise * rng.normal(size=true.size)
        found = measure_film_map(SiteMap(x, y, read, "nm"), WaferFrame(), instrument=tool).measurements
        for name in IDS:
            low, high = found[name].coverage_interval(0.95)
            held[name] += (
                low <= known[name] <= high,
                known[name] < low,
                known[name] > high,
                0.5 * (high - low) / noise,
            )
    return {
        name: dict(zip(("holds", "below", "above", "half_width"), (sums / trials).tolist(), strict=True))
        for name, sums in held.items()
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    found: dict[str, Any] = {
        case: coverage(case, chosen.trials, chosen.seed + 1000 * k) for k, case in enumerate(CASES)
    }
    if chosen.json:
        sys.stdout.write(json.dumps({"trials": chosen.trials, "seed": chosen.seed, "cases": found}) + "\n")
        return 0
    sys.stdout.write("share of 95 % intervals that hold the truth\n")
    sys.stdout.write(f"{'':28}" + "".join(f"{name.removeprefix('film.')[-16:]:>18}" for name in IDS) + "\n")
    for case, rows in found.items():
        sys.stdout.write(f"{case:28}" + "".join(f"{rows[name]['holds']:18.3f}" for name in IDS) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
