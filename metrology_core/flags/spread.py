"""Flags of uncertainties: what was assumed of noise, form and simulations."""

from __future__ import annotations

from metrology_core.flags.row import Flag

SPREAD_FLAGS = (
    Flag(
        "correlation_subsampled",
        "info",
        "The effect of correlated errors was evaluated on a regular subset of the points.",
        "None needed; the subset is stated in the method.",
    ),
    Flag(
        "independent_noise_assumed",
        "warning",
        "No correlation length was declared: point errors count as independent, which is optimistic for dense scans.",
        "State correlation_length in the instrument.",
    ),
    Flag(
        "tip_taken_as_exact",
        "info",
        "The simulated instrument states no uncertainty of its tip radius: sizes count the tip as exact.",
        "State tip with its u in the instrument; for a scanner there is none.",
    ),
    Flag(
        "simulated_repeats_lost",
        "warning",
        "Some simulated repeats of the measurement found no feature; its distribution rests on the others.",
        "Use more points on the feature: it is near the edge of what its points determine.",
    ),
    Flag(
        "form_not_resolved",
        "warning",
        "The form deviation is not larger than what noise alone would show.",
        "Read the interval, not the value: that of a form begins at 0. Measure with less noise (averaging, a better "
        "probe) where it must be narrower.",
    ),
    Flag(
        "noise_larger_than_declared",
        "warning",
        "Neighbouring points differ by more than the declared noise and a smooth form explain: the noise is larger, or "
        "the form is rough between the points. The interval covers both.",
        "Correct the noise of the instrument; where it is right, measure closer points, or filter.",
    ),
    Flag(
        "value_beside_interval",
        "warning",
        "The value is that of the points, the interval that of the surface: the points took part of the form for more "
        "or less than it is, and the value lies outside of the interval. U reaches from the value over the interval; "
        "where the value lies outside the limits too, the verdict is provisional.",
        "Take the middle of the interval as the best estimate, or measure more points.",
    ),
)
