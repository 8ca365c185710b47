"""The influences of instrument, probe, temperature and noise on one characteristic (all of type B)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from metrology_core.data import PointSet
from metrology_core.instrument import REFERENCE_TEMPERATURE, Instrument
from metrology_core.propagation import UncertainFeature
from metrology_core.quantity import Evaluation, Influence
from pointcloud.evaluate.uncertainty import Extremes, scale_sensitivity, tip_sensitivity


def instrument_influences(
    points: PointSet,
    instrument: Instrument | None,
    scope: str,
    function: Callable[..., float],
    features: Mapping[str, Any],
    reach: float,
    length: tuple[float, float] | None,
    where: str,
) -> dict[Influence, float]:
    """Contributions beside the fits: tip radius, temperature and expansion, length error within the MPE.

    ``function(features, factor)`` is the characteristic; ``length`` is (length, sensitivity) for the length error and
    ``where`` names the place it belongs to. Tip, temperature and expansion keep one id over all characteristics.
    """
    tip = tip_sensitivity(function, features, reach) if tip_u(points, instrument) else 0.0
    scale = scale_sensitivity(function, features) if acts_thermally(points, instrument) else 0.0
    return {
        **tip_contribution(points, instrument, scope, tip),
        **thermal_contribution(points, instrument, scope, scale),
        **length_contribution(instrument, length, where),
    }


def tip_u(points: PointSet, instrument: Instrument | None) -> float:
    """Standard uncertainty of the tip radius that compensates the points; 0 where no tip does."""
    if points.points_are != "ball_centre" or points.tip is None:
        return 0.0
    if points.tip.u:
        return points.tip.u
    return 0.0 if instrument is None else instrument.tip_radius_u or 0.0


def tip_contribution(
    points: PointSet, instrument: Instrument | None, scope: str, sensitivity: float
) -> dict[Influence, float]:
    """Tip radius, one cause for everything probed with it."""
    u = tip_u(points, instrument)
    if not u or abs(sensitivity) < 1e-9:  # 1e-9: what a difference quotient leaves of zero
        return {}
    row = (
        instrument.tip_influence()
        if instrument is not None
        else Influence(f"tip/{scope}", "radius of the probe tip", "B")
    )
    return {row: sensitivity * u}


def acts_thermally(points: PointSet, instrument: Instrument | None) -> bool:
    """Whether temperature or expansion have an uncertainty that acts on lengths."""
    thermal = points.thermal
    if thermal.temperature is not None and (thermal.temperature_u or thermal.expansion_u):
        return True
    return instrument is not None and bool(instrument.temperature_u or instrument.expansion_u)


def thermal_contribution(
    points: PointSet, instrument: Instrument | None, scope: str, sensitivity: float
) -> dict[Influence, float]:
    """Temperature and expansion of the part, ``sensitivity`` per relative change of all lengths.

    What was used to correct the points counts; else what the instrument declares about the part's temperature.
    """
    if abs(sensitivity) < 1e-9:
        return {}
    thermal = points.thermal
    if thermal.temperature is not None and thermal.expansion is not None:
        lift = thermal.temperature - REFERENCE_TEMPERATURE
        return {
            Influence(f"thermal/{scope}/temperature", "temperature of the part", "B"): sensitivity
            * thermal.expansion
            * thermal.temperature_u,
            Influence(f"thermal/{scope}/expansion", "expansion coefficient of the part", "B"): sensitivity
            * lift
            * thermal.expansion_u,
        }
    return {} if instrument is None else instrument.thermal_contribution(sensitivity)


def length_contribution(
    instrument: Instrument | None, length: tuple[float, float] | None, where: str
) -> dict[Influence, float]:
    """Length error within the MPE, ``length`` = (length, sensitivity)."""
    if instrument is None or length is None:
        return {}
    rows = instrument.length_contribution(length[0], where)
    return {row: part * length[1] for row, part in rows.items()}


def noise_influences(
    scope: str, name: str, effect: Extremes, factor: float, source: UncertainFeature | None
) -> dict[Influence, float]:
    """Noise on an extreme value: its spread, and the one-sided bias, rectangular between none and its bound.

    The value is reported as evaluated, not corrected, because the bias depends on how form and noise share the
    extremes; an uncorrected error that is rectangular in [0, b] has the root mean square b / sqrt(3).
    """
    kind: Evaluation = "A" if source is not None and source.kind == "A" else "B"
    dof = math.inf if source is None else source.dof
    rows = {
        Influence(f"noise/{scope}/{name}/spread", f"noise at the extremes of {name}", kind, dof): factor
        * effect.spread,
        Influence(
            f"noise/{scope}/{name}/bias",
            f"noise enlarges the range of {name} (not corrected)",
            "B",
            distribution="rectangular",
        ): factor * effect.bias / math.sqrt(3.0),
    }
    return {row: part for row, part in rows.items() if part}
