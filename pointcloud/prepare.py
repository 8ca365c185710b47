"""Recorded preparation of a point set before any fit: thermal correction to 20 degC (ISO 1). The original is kept."""

from __future__ import annotations

from metrology_core.data import PointSet
from metrology_core.data.pointset import PrepareStep, ProbeTip, ThermalState
from metrology_core.errors import ParameterError

REFERENCE_TEMPERATURE = 20.0  # degC, ISO 1


def to_reference_temperature(points: PointSet) -> PointSet:
    """Raw lengths corrected to 20 degC: ``x20 = x / (1 + expansion (T - 20))``, about the origin of the frame.

    A uniform scaling moves the part as a whole when the origin is far away, but lengths scale with it and angles do
    not change. With ball centres the radius that compensates is scaled with the coordinates: the ball keeps its
    size on the machine, so in the coordinates of 20 degC it is smaller by the same factor. Sets that are compensated
    already come back unchanged; a raw set without temperature or expansion is flagged ``thermal_raw`` and left alone.

    Raises `ParameterError` for a correction that is not physical (more than 10 %).
    """
    thermal = points.thermal
    if thermal.state == "compensated":
        return points
    if not thermal.correctable:
        return points.with_flags("thermal_raw")
    assert thermal.temperature is not None and thermal.expansion is not None  # correctable says so
    strain = thermal.expansion * (thermal.temperature - REFERENCE_TEMPERATURE)
    if not abs(strain) < 0.1:
        raise ParameterError(
            "the thermal correction is not physical",
            expected="less than 10 %",
            got=f"{strain:.3g}",
            remedy="check temperature (degC) and expansion (1/K)",
        )
    factor = 1.0 / (1.0 + strain)
    step = PrepareStep(
        "thermal",
        f"coordinates divided by 1 + {thermal.expansion:g}/K x ({thermal.temperature:g} - 20) K (ISO 1)",
        (("expansion", repr(thermal.expansion)), ("temperature", repr(thermal.temperature)), ("factor", repr(factor))),
    )
    tip = None if points.tip is None else ProbeTip(points.tip.radius * factor, points.tip.u * factor)
    noise = None if points.noise is None else points.noise * factor
    state = ThermalState(
        "compensated", thermal.temperature, thermal.temperature_u, thermal.expansion, thermal.expansion_u
    )
    return points.with_step(step, xyz=points.xyz * factor, tip=tip, noise=noise, thermal=state)
