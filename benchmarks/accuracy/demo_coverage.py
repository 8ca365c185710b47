"""How often the stated interval holds the truth: simulated blade rings, each measured by another machine.

    python -m benchmarks.accuracy.demo_coverage [--parts 100] [--seed 1] [--json]

Three budgets are judged. *declared*: the whole budget of the demo's recipe; it holds bounds (MPE), so its coverage is
above 95 % by design. *points only*: noise with its correlation length, the tip and the temperature of the drawn
machines but no MPE; scale, squareness and the lobing of the probe are then in the errors and not in the budget. There
the mean u should be near the rms error, and coverage near 95 %. *simulated*: the virtual CMM made from the declared
instrument, `--trials` repeats of each part; the machines that really measured are others (scale, squareness, three
lobes, noise along the path; no waves of the guideways), so this coverage is of the
model and its bound. Extremes (form, profile) carry a one-sided bound for
what noise adds, so their u is larger than their error on purpose.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from metrology_core.data import PointSet, ProbeTip
from metrology_core.data.pointset import concatenate_labels
from metrology_core.instrument import Instrument
from metrology_core.units import convert
from metrology_core.virtual import VirtualCMM
from pipelines.recipe import parse_recipe
from pipelines.steps.features import feature_request
from pointcloud.evaluate.entry import CharacteristicRequest, DatumRequest, evaluate
from pointcloud.evaluate.simulated import simulate_evaluation
from pointcloud.nominal.curve import NominalCurve
from pointcloud.simulate import simulate_part
from pointcloud.simulate.drawing import DATUMS, FEATURES, REQUIREMENTS, recipe_text
from pointcloud.simulate.part import nominal_section_points

DECLARED = Instrument(
    "CMM-07", "cmm", mpe_constant=1.5e-3, mpe_per_length=3e-6, noise=4e-4, correlation_length=2.0, tip_radius_u=3e-4,
    temperature=20.0, temperature_u=0.2, expansion=11.5e-6, expansion_u=0.5e-6,
)  # fmt: skip
POINTS_ONLY = replace(DECLARED, mpe_constant=None, mpe_per_length=None)


def requests() -> tuple[list[Any], list[CharacteristicRequest]]:
    """The features and characteristics of the simulated drawing, in mm and rad."""
    text = recipe_text().replace(", nominal_curve: {file: nominal/section.csv, unit: mm}", "")
    assert "nominal_curve" not in text and set(FEATURES)
    curve = NominalCurve(nominal_section_points(), "mm", name="section")
    plain = "\n".join(line for line in text.splitlines() if "iso1101.line_profile" not in line) + "\n"
    measure = parse_recipe(plain).recipe.measure
    assert measure.kind == "features"
    rows = []
    for row in REQUIREMENTS:
        of = (row.of,) if row.to is None else (row.of, row.to)
        at = tuple(float(text.split()[0]) for text in row.at) or None
        rows.append(
            CharacteristicRequest(row.name, row.characteristic, of, row.datum, at, curve=curve if row.curve else None)
        )
    return [feature_request(spec, "mm") for spec in measure.features], rows


VOLUME = ((0.0, 0.0, 0.0), (700.0, 600.0, 500.0))


def run(parts: int, seed: int, trials: int) -> dict[str, Any]:
    """Coverage and mean |error| / u by budget and characteristic."""
    features, characteristics = requests()
    tables: dict[str, dict[str, list[tuple[bool, float, float]]]] = {"declared": {}, "points only": {}, "simulated": {}}
    machine = VirtualCMM.from_instrument(DECLARED, VOLUME)
    datum = DatumRequest("ABC", *DATUMS)
    for index in range(parts):
        made = simulate_part(index, seed)
        labels, names = concatenate_labels(made.scan.labels)
        points = PointSet.from_array(
            made.scan.xyz, unit="mm", frame="machine", points_are="ball_centre", tip=ProbeTip(1.5, 3e-4),
            labels=labels, label_names=names,
        )  # fmt: skip
        for name, instrument in (("declared", DECLARED), ("points only", POINTS_ONLY)):
            found = evaluate(points, features, characteristics, datum=datum, instrument=instrument, seed=seed)
            judged = [(name, m) for m in found.measurements]
            if instrument is DECLARED and trials:
                done = simulate_evaluation(
                    found, characteristics, machine, datum=datum, trials=trials, seed=seed, scope=str(index)
                )
                judged += [("simulated", m) for m in done.measurements if m.name not in done.skipped]
            for budget, m in judged:
                assert m.measured is not None, m.method
                true = made.truth.values[m.name]
                low, high = m.measured.coverage_interval(0.95)
                tables[budget].setdefault(m.name, []).append(
                    (low <= true <= high, m.measured.value - true, m.measured.u)
                )
    result: dict[str, Any] = {"parts": parts, "seed": seed, "budgets": {}}
    for name, table in tables.items():
        result["budgets"][name] = {
            key: {
                "coverage": float(np.mean([hit for hit, _, _ in rows])),
                "mean_error_um": _um(key, float(np.mean([e for _, e, _ in rows]))),
                "rms_error_um": _um(key, math.sqrt(float(np.mean([e * e for _, e, _ in rows])))),
                "mean_u_um": _um(key, float(np.mean([u for _, _, u in rows]))),
            }
            for key, rows in table.items()
        }
    return result


def _um(name: str, value: float) -> float:
    """In um, or in urad for the angle."""
    return value * 1e6 if name == "cone angle" else convert(value, "mm", "um")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=1000, help="simulated repeats of each part; 0: none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.parts, options.seed, options.trials)
    if options.json:
        print(json.dumps(result))
        return 0
    for name, table in result["budgets"].items():
        print(f"\n{name}: {options.parts} parts, each with its own machine; um (cone angle: urad)")
        print(f"{'characteristic':24s} {'coverage':>8s} {'mean error':>11s} {'rms error':>10s} {'mean u':>8s}")
        for key, row in table.items():
            print(
                f"{key:24s} {100 * row['coverage']:7.1f}% {row['mean_error_um']:11.3f} {row['rms_error_um']:10.3f} "
                f"{row['mean_u_um']:8.3f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
