"""Other sources of a characteristic's uncertainty: a virtual machine, or an experiment; and risks under a process.

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
    """The measurements with the uncertainty of a virtual machine, and the joint distribution as a view.

    The seed is keyed by the recipe's seed; trial t is one machine, the same for all parts of the run.
    """
    from metrology_core.uncertainty.sampling import seed_of
    from pointcloud.evaluate.simulated import machine_for, simulate_evaluation

    measure = recipe.measure
    assert isinstance(measure, FeaturesMeasure) and measure.simulation is not None
    if instrument is None:
        raise RecipeError("a simulation needs an instrument", remedy="name it in the recipe, with its MPE")
    machine = machine_for(instrument, found.points.xyz)
    done = simulate_evaluation(
        found, requests, machine, datum=datum, rule=decision_rule(recipe.decision), trials=measure.simulation.trials,
        seed=seed_of(recipe.seed, "simulation"), scope=digest[:16],
    )  # fmt: skip
    if done.repeats is None:
        return done.measurements, (), {}
    limits = {
        m.name: (m.tolerance.to(m.unit), m.measured.samples)
        for m in done.measurements
        if m.tolerance is not None and m.measured is not None and m.name not in done.skipped
    }
    together = np.ones(int(done.repeats.good.sum()), bool)
    for tolerance, drawn in limits.values():
        assert drawn is not None  # a simulated measurement has samples
        low = -np.inf if tolerance.lower is None else tolerance.lower
        high = np.inf if tolerance.upper is None else tolerance.upper
        together &= (drawn >= low) & (drawn <= high)
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
        "joint_conformity": float(together.mean()) if limits else None,
    }
    return done.measurements, (view,), {"simulation/correlation": done.repeats.correlation}


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
        from pointcloud.evaluate.entry import PROVISIONAL

        # the experiment is the whole uncertainty: no declared instrument is missing any more
        kept = [name for name in m.flags if name not in ("repeatability_only", "provisional_verdict")]
        measured = made.apply(m.measured.value, lower_bound=m.measured.lower_bound)
        provisional = any(name in kept for name in PROVISIONAL)
        decision = m.decision
        if m.tolerance is not None:
            decision = decide(measured, m.tolerance, decision_rule(recipe.decision), provisional=provisional)
            kept += ["provisional_verdict"] if provisional else []
        flags = _flags.merge(kept, made.flags)
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
