"""Coverage end to end: simulated points in, measurements of `pointcloud.evaluate` with their intervals out.

    python -m benchmarks.accuracy.coverage_evaluate [--trials 200] [--forms 40] [--ratios 0,10,100] [--seed 1]

Surfaces, errors and true values are those of `benchmarks.accuracy.coverage`; the instrument declares exponential
correlation over 2 mm with a share of 0.3 independent. Diameter and place of the axis come from the fit's covariance
with the form beyond the noise (decision 0008); forms from drawn surfaces (decisions 0032, 0035), so fewer of them.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from benchmarks.accuracy.coverage import OFFSET, RADIUS, SIGMA, Part, Truth, errors
from metrology_core.data import PointSet
from metrology_core.instrument import Instrument
from pointcloud.evaluate.entry import CharacteristicRequest, FeatureRequest, evaluate

SCANNER = Instrument(
    "S", "scanner", noise=SIGMA, correlation_length=2.0, correlation_kernel="exponential",
    noise_independent=SIGMA * math.sqrt(0.3),
)  # fmt: skip
NAMES = {"bore": ("iso14405.GG", "coordinate.x", "iso1101.cylindricity"), "plane": ("iso1101.flatness",)}
FORMS = ("iso1101.cylindricity", "iso1101.flatness")


def run(
    trials: int, forms: int, ratio: float, seed: int, truths: dict[str, Truth]
) -> dict[str, tuple[int, int, float]]:
    """(hits, measurements, sum of widths in um) of each characteristic."""
    parts = {"bore": Part("bore", 16, 5), "plane": Part("plane", 9, 7)}
    roots = {kind: errors(part.xyz) for kind, part in parts.items()}
    table: dict[str, tuple[int, int, float]] = {}
    for t in range(trials):
        for kind, part in parts.items():
            names = [name for name in NAMES[kind] if name not in FORMS or t < forms]
            if not names:
                continue
            rng = np.random.default_rng([seed, 11, kind == "bore", t, round(1000 * ratio)])
            truth, size = truths[kind], ratio * SIGMA
            z = size / truth.scale[t] * truth.forms[t](part.u, part.v) + roots[kind] @ rng.standard_normal(len(part.u))
            xyz = part.xyz + z[:, None] * part.feature.normals(part.xyz) + np.r_[OFFSET, 0.0]
            points = PointSet.from_array(xyz, unit="mm", frame="part", points_are="surface")
            feature = FeatureRequest("f", "cylinder" if kind == "bore" else "plane", direction=(0.0, 0.0, 1.0))
            asked = [CharacteristicRequest(name, name, ("f",)) for name in names]
            true = {"iso1101.cylindricity": size, "iso1101.flatness": size}
            if kind == "bore":
                chart = size * truth.chart[t]
                true |= {"iso14405.GG": 2.0 * (RADIUS + chart[4]), "coordinate.x": OFFSET[0] + chart[0]}
            for m in evaluate(points, [feature], asked, instrument=SCANNER).measurements:
                if m.measured is None:  # a zone that did not converge is said to be so, and counts here
                    hits, count, width = table.get("lost", (0, 0, 0.0))
                    table["lost"] = hits, count + 1, width
                    continue
                low, high = m.measured.coverage_interval(0.95)
                hits, count, width = table.get(m.name, (0, 0, 0.0))
                table[m.name] = hits + (low <= true[m.name] <= high), count + 1, width + 1e3 * (high - low)
    return table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--forms", type=int, default=40)
    parser.add_argument("--ratios", default="0,10,100")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    ratios = [float(text) for text in chosen.ratios.split(",")]
    truths = {kind: Truth(kind, chosen.trials, chosen.seed, "waves") for kind in NAMES}
    tables = {ratio: run(chosen.trials, chosen.forms, ratio, chosen.seed, truths) for ratio in ratios}
    sys.stdout.write("% of 95 % intervals that hold the truth (mean width, um), by form over noise\n\n")
    sys.stdout.write("| characteristic | n | " + " | ".join(f"{r:g}" for r in ratios) + " |\n")
    sys.stdout.write("|---|---|" + "---|" * len(ratios) + "\n")
    for name in (*NAMES["bore"], *NAMES["plane"]):
        cells = [tables[r].get(name, (0, 1, 0.0)) for r in ratios]
        row = " | ".join(f"{100 * hits / n:.1f} ({width / n:.2g})" for hits, n, width in cells)
        sys.stdout.write(f"| {name} | {cells[0][1]} | {row} |\n")
    lost = ", ".join(f"{tables[r].get('lost', (0, 0, 0.0))[1]} at {r:g}" for r in ratios)
    sys.stdout.write(f"not evaluated (a minimum zone did not converge): {lost}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
