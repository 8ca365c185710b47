"""From a measured value to its verdict, and when nobody should sign it unseen."""

from __future__ import annotations

from metrology_core import flags as _flags
from metrology_core.conformity import Decision, DecisionRule, Tolerance, decide
from metrology_core.quantity import Measured

# flags with which a verdict waits for somebody who knows better
PROVISIONAL = ("repeatability_only", "thermal_raw", "points_are_unknown", "ball_centre_uncompensated", "non_unique")


def decided(
    measured: Measured, tolerance: Tolerance | None, rule: DecisionRule, flags: tuple[str, ...]
) -> tuple[Decision | None, tuple[str, ...]]:
    """The decision, if there is a tolerance, and the flags with those of value and verdict."""
    beside = _lies_beside(measured)
    if beside:
        flags = _flags.merge(flags, ["value_beside_interval"])
    if tolerance is None:
        return None, flags
    # points and surface on either side of a limit: nobody should sign that unseen
    provisional = any(name in flags for name in PROVISIONAL) or (beside and not _within(measured.value, tolerance))
    decision = decide(measured, tolerance, rule, provisional=provisional)
    return decision, _flags.merge(flags, ["provisional_verdict"]) if provisional else flags


def _lies_beside(measured: Measured) -> bool:
    """Whether the value is not in its own interval."""
    if measured.samples is None:
        return False
    low, high = measured.coverage_interval()
    return not low <= measured.value <= high


def _within(value: float, tolerance: Tolerance) -> bool:
    return (tolerance.lower is None or value >= tolerance.lower) and (
        tolerance.upper is None or value <= tolerance.upper
    )
