"""From recipe models to the types of metrology_core: instrument, tolerance, decision rule, calibration validity."""

from __future__ import annotations

import datetime
from fractions import Fraction
from typing import TYPE_CHECKING

from pipelines.recipe.amounts import Amount
from pipelines.recipe.models import (
    DecisionSpec,
    FeatureCharacteristicSpec,
    InstrumentSpec,
    Recipe,
    ResultSpec,
    VolumeSpec,
)

if TYPE_CHECKING:
    from metrology_core.conformity import DecisionRule, Tolerance
    from metrology_core.instrument import Instrument
    from metrology_core.uncertainty.calibrated import Assessment


def decision_rule(spec: DecisionSpec) -> DecisionRule:
    """The rule of `metrology_core.conformity`."""
    from metrology_core.conformity import DecisionRule

    if spec.rule == "simple_acceptance":
        return DecisionRule.simple_acceptance()
    factor = 1.0 if spec.guard_factor is None else spec.guard_factor
    if spec.rule == "guard_band":
        return DecisionRule.guard_band(factor)
    if spec.rule == "guarded_rejection":
        return DecisionRule.guarded_rejection(factor)
    if spec.rule == "non_binary":
        return DecisionRule.non_binary(factor)
    return DecisionRule.iso14253(spec.proving or "conformity", 0.95 if spec.probability is None else spec.probability)


def tolerance(spec: ResultSpec, unit: str) -> Tolerance | None:
    """Limits of a characteristic as `Tolerance` in ``unit``; None where the recipe states no tolerance.

    Deviations are added to the nominal exactly and rounded once.
    """
    from metrology_core.conformity import Tolerance
    from metrology_core.units import unit as unit_row

    limits = spec.tolerance
    if limits is None:
        return None
    factor = Fraction(repr(unit_row(unit).factor))
    nominal = None if spec.nominal is None else spec.nominal.to(unit)
    lower: float | None = None
    upper: float | None = None
    if limits.about_nominal:
        assert spec.nominal is not None  # the semantic check refuses the recipe otherwise
        minus = limits.plus_minus if limits.plus_minus is not None else limits.minus
        plus = limits.plus_minus if limits.plus_minus is not None else limits.plus
        assert minus is not None and plus is not None  # the form was checked with the model
        lower = float((spec.nominal.base - minus.base) / factor)
        upper = float((spec.nominal.base + plus.base) / factor)
    else:
        low = limits.lower if limits.lower is not None else limits.min
        high = limits.upper if limits.upper is not None else limits.max
        lower = None if low is None else low.to(unit)
        upper = None if high is None else high.to(unit)
    return Tolerance(lower, upper, unit, nominal)


def instrument(spec: InstrumentSpec | None, unit: str = "mm") -> Instrument | None:
    """The instrument with its lengths in ``unit``; None stays None (repeatability only, provisional verdicts)."""
    if spec is None:
        return None
    from metrology_core.instrument import Instrument

    def length(value: Amount | None) -> float | None:
        return None if value is None else value.to(unit)

    return Instrument(
        id=spec.id,
        type=spec.type,
        mpe_constant=length(spec.mpe.constant) if spec.mpe else None,
        mpe_per_length=spec.mpe.per_length.to("1") if spec.mpe and spec.mpe.per_length else None,
        noise=length(spec.noise),
        correlation_length=length(spec.correlation_length),
        correlation_kernel=spec.correlation_kernel,
        noise_independent=length(spec.noise_independent),
        tip_radius=length(spec.tip.value) if spec.tip else None,
        tip_radius_u=length(spec.tip.u) if spec.tip else None,
        temperature=spec.temperature.value.to("degC") if spec.temperature else None,
        temperature_u=spec.temperature.u.to("K") if spec.temperature else None,
        expansion=spec.expansion.value.to("1/K") if spec.expansion else None,
        expansion_u=spec.expansion.u.to("1/K") if spec.expansion else None,
        scale_u=spec.scale_u.to("1") if spec.scale_u else None,
        edge_offset_u=length(spec.edge_offset_u),
        offset_u=length(spec.offset_u),
        probing_mpe=length(spec.mpe.probing) if spec.mpe else None,
        linearity_u=length(spec.linearity_u),
        flatness_u=length(spec.flatness_u),
        distortion_u=length(spec.distortion_u),
        volume=None if spec.volume is None else _corners(spec.volume, unit),
        environment=spec.environment,
        certificate=spec.certificate,
        valid_until=spec.valid_until,
        unit=unit,
    )


def contradiction_of_cmm(spec: InstrumentSpec) -> tuple[str, str | None] | None:
    """Why the figures of a CMM belong to no machine that can be simulated (message, hint); None where they can.

    Without a ``volume`` that of the points counts, which a recipe does not know: a cube of 10 m stands for it, more
    than any part, and shorter lengths leave less room. So what is refused here fails for every part.
    """
    from metrology_core.errors import ParameterError
    from metrology_core.virtual.cmm import VirtualCMM
    from pipelines.recipe.instruments import kind_of

    made = instrument(spec, "mm")
    if made is None or kind_of(spec.type) != "cmm":
        return None
    try:
        VirtualCMM.from_instrument(made, made.volume or ((0.0, 0.0, 0.0), (1e4, 1e4, 1e4)))
    except ParameterError as error:
        expected = f": expected {error.expected}, got {error.got}" if error.expected and error.got else ""
        return f"{error.what}{expected}", error.remedy
    return None


def _corners(spec: VolumeSpec, unit: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(x.to(unit) for x in spec.lower), tuple(x.to(unit) for x in spec.upper)


def assessment(spec: FeatureCharacteristicSpec, unit: str) -> Assessment | None:
    """The experiment on a calibrated workpiece (ISO 15530-3) of a characteristic, in ``unit``."""
    from metrology_core.quantity import Influence, Measured
    from metrology_core.uncertainty.calibrated import assess

    given = spec.calibrated_workpiece
    if given is None:
        return None
    row = Influence(f"calibrated_workpiece/{spec.name}/certificate", "calibration of the workpiece", "B")
    known = Measured.from_standard(given.value.to(unit), given.u.to(unit), unit, row)
    return assess(
        spec.name,
        [reading.to(unit) for reading in given.readings],
        known,
        u_w=0.0 if given.u_workpiece is None else given.u_workpiece.to(unit),
        u_b=0.0 if given.u_bias is None else given.u_bias.to(unit),
        correct=given.correct,
    )


def calibration_flags(recipe: Recipe, acquired: str | None) -> tuple[str, ...]:
    """Flags about the calibration of a recipe's instrument: a pure function of two dates, no clock is asked.

    ``acquired`` is the time of acquisition (ISO 8601), None where nobody stated it. Flags ``calibration_expired``,
    ``calibration_date_unknown``.
    """
    made = instrument(recipe.instrument)
    if made is None:
        return ()
    try:
        time = None if acquired is None else datetime.datetime.fromisoformat(acquired)
    except ValueError:
        time = None
    return made.calibration_flags(time)
