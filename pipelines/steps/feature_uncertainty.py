"""Other sources of a characteristic's uncertainty: a virtual instrument, or an experiment; and risks under a process.

All three work on the measurements of `pointcloud.evaluate.entry` after the fact: the value stays that of the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.conformity import decide
from metrology_core.errors import RecipeError
from metrology_core.measurement import Measurement
from pipelines.recipe.convert import assessment, decision_rule
from pipelines.recipe.models import FeaturesMeasure

if TYPE_CHECKING:
    from metrology_core.instrument import Instrument
    from pipelines.recipe import Recipe
    from pointcloud.evaluate.types import CharacteristicRequest, DatumRequest, Evaluation

Views = tuple[dict[str, Any], ...]


def simulated(
    recipe: Recipe,
    found: Evaluation,
    requests: Sequence[CharacteristicRequest],
    datum: DatumRequest | None,
    instrument: Instrument | None,
    digest: str,
) -> tuple[tuple[Measurement, ...], Views, dict[str, np.ndarray]]:
    """The measurements with the uncertainty of a virtual instrument, and the joint distribution as a view.

    The seed is keyed by the recipe's seed; trial t is one instrument, the same for all parts of the run. What has its
    uncertainty from a calibrated workpiece is simulated too, for the correlations, and keeps that of the experiment:
    how the errors of experiment and simulation hang together nobody knows, so it is not counted in the joint
    probability.
    """
    from metrology_core.uncertainty.sampling import seed_of
    from pipelines.steps.virtual_instrument import virtual_instrument
    from pointcloud.evaluate.simulated import EXTREMES, simulate_evaluation

    measure = recipe.measure
    assert isinstance(measure, FeaturesMeasure) and measure.simulation is not None
    if instrument is None or recipe.instrument is None:
        raise RecipeError("a simulation needs an instrument", remedy="name it in the recipe, with its figures")
    machine = virtual_instrument(recipe.instrument, instrument, found.points)
    done = simulate_evaluation(
        found, requests, machine, datum=datum, rule=decision_rule(recipe.decision), trials=measure.simulation.trials,
        seed=seed_of(recipe.seed, "simulation"), scope=digest[:16],
    )  # fmt: skip
    if done.repeats is None:
        view = {
            "kind": "simulation", "name": "simulation", "instrument": instrument.id, "trials": 0, "names": [],
            "causes": [], "skipped": dict(done.skipped), "joint_conformity": None, "joint_of": [],
            "joint_left_out": dict(done.skipped),
        }  # fmt: skip
        return done.measurements, (view,), {}
    experiments = {spec.name for spec in measure.characteristics if spec.calibrated_workpiece is not None}
    measurements = tuple(
        old if new.name in experiments else new for old, new in zip(found.measurements, done.measurements, strict=True)
    )
    together, counted = np.ones(2 * int(done.repeats.good.sum()), bool), []
    left_out = {}
    for m in measurements:
        if m.tolerance is None:
            continue
        if m.name in experiments:
            left_out[m.name] = "uncertainty from a calibrated workpiece: its correlation with the others is not known"
        elif m.name in done.skipped:
            left_out[m.name] = done.skipped[m.name]
        elif m.characteristic in EXTREMES or m.measured is None or m.measured.samples is None:
            left_out[m.name] = "the largest of many points, whose noise has a bound and no joint distribution"
        else:
            limits, drawn = m.tolerance.to(m.unit), m.measured.samples
            low = -np.inf if limits.lower is None else limits.lower
            high = np.inf if limits.upper is None else limits.upper
            together &= (drawn >= low) & (drawn <= high)
            counted.append(m.name)
    view = {
        "kind": "simulation",
        "name": "simulation",
        "instrument": instrument.id,
        "trials": len(done.repeats),
        "seed": done.repeats.seed,
        "names": list(done.repeats.names),
        "correlation": "simulation/correlation",
        "causes": [{"key": cause.key, "label": cause.label} for cause in machine.causes],
        "skipped": dict(done.skipped),
        "joint_conformity": float(together.mean()) if counted else None,
        "joint_of": counted,
        "joint_left_out": left_out,
    }
    return measurements, (view,), {"simulation/correlation": done.repeats.correlation}


# the experiment was on another workpiece, or (a bias that calibration and scatter do not explain) its value is wrong
DOUBTED = ("bias_exceeds_uncertainty", "workpiece_of_another_size")


def assessed(recipe: Recipe, measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The measurements; those with an experiment on a calibrated workpiece take uncertainty and correction from it."""
    assert isinstance(recipe.measure, FeaturesMeasure)
    specs = {spec.name: spec for spec in recipe.measure.characteristics}
    out = []
    for m in measurements:
        spec = specs[m.name]
        made = None if m.measured is None else assessment(spec, m.unit)
        if made is None or m.measured is None:
            out.append(m)
            continue
        from pointcloud.evaluate.verdict import PROVISIONAL

        # the experiment is the whole uncertainty: no declared instrument is missing any more
        kept = [name for name in m.flags if name not in ("repeatability_only", "provisional_verdict")]
        measured = made.apply(m.measured.value, lower_bound=m.measured.lower_bound)
        provisional = any(name in kept for name in PROVISIONAL) or any(name in measured.flags for name in DOUBTED)
        decision = m.decision
        if m.tolerance is not None:
            decision = decide(measured, m.tolerance, decision_rule(recipe.decision), provisional=provisional)
            kept += ["provisional_verdict"] if provisional else []
        flags = _flags.merge(kept, measured.flags)
        out.append(
            replace(m, measured=measured, decision=decision, method=f"{m.method}; {made.describe()}", flags=flags)
        )
    return tuple(out)


def with_risks(recipe: Recipe, measurements: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The measurements; those with a process prior carry specific and global risks in their details (JCGM 106 9)."""
    from metrology_core.uncertainty.distributions import Normal
    from metrology_core.uncertainty.risk import global_risk, specific_risk

    assert isinstance(recipe.measure, FeaturesMeasure)
    specs = {spec.name: spec for spec in recipe.measure.characteristics}
    out = []
    for m in measurements:
        process = specs[m.name].process
        if process is None or m.measured is None or m.tolerance is None or m.decision is None or not m.measured.u > 0.0:
            out.append(m)
            continue
        prior = Normal(process.mean.to(m.unit), process.sd.to(m.unit))
        limits = m.tolerance.to(m.unit)
        acceptance = replace(limits, lower=m.decision.acceptance_lower, upper=m.decision.acceptance_upper)
        specific = specific_risk(m.measured.value, m.measured.u, limits, prior)
        risks = {
            "process_mean": prior.mean,
            "process_sd": prior.sd,
            "conformity_probability": specific.conforming,
            **global_risk(prior, m.measured.u, limits, acceptance).to_dict(),
        }
        out.append(replace(m, details={**m.details, "risk": risks}))
    return tuple(out)
