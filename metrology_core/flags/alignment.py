"""Flags of alignments: of a scan to its nominal, and what they leave of a verdict."""

from __future__ import annotations

from metrology_core.flags.row import Flag

ALIGNMENT_FLAGS: tuple[Flag, ...] = (
    Flag(
        "free_motions",
        "warning",
        "The data do not determine all six degrees of freedom of the alignment; the free motions are named.",
        "Measure surfaces that lock them, or use datums; distances to the nominal do not depend on them.",
    ),
    Flag(
        "equivalent_poses",
        "warning",
        "The part fits its nominal in several poses equally well (symmetry); one of them was used, all are listed.",
        "Give a start near the right pose, or align on datums.",
    ),
    Flag(
        "mirror_image",
        "invalid",
        "The scan fits the mirror image of the nominal much better than the nominal.",
        "Check the handedness of the export, or whether the left part was compared with the right drawing.",
    ),
    Flag(
        "unit_suspect",
        "invalid",
        "The scan fits the nominal after a change of unit (factor stated), and not as it is; nothing was scaled.",
        "State the right unit of the scan and of the nominal.",
    ),
    Flag(
        "disjoint",
        "invalid",
        "Hardly any point of the scan comes near the nominal.",
        "Check units, frames and the search limit; give a start.",
    ),
    Flag(
        "points_beyond_limit",
        "info",
        "Some points have no foot within the search limit, or only on an open border; they are counted, not used.",
        "None needed where the scan holds more than the part.",
    ),
    Flag(
        "gross_outliers_left_out",
        "warning",
        "Points far from the nominal (beyond 0.3 of its radius of gyration) took no part in the alignment.",
        "Cut what is not the part, or state a search limit; the points keep their deviation and count for the verdict.",
    ),
    Flag(
        "points_trimmed",
        "info",
        "The stated share of points with the largest residuals was left out of the alignment.",
        "None needed; they are counted, and keep their deviation.",
    ),
    Flag(
        "outliers_present",
        "warning",
        "More than one point in a hundred lies beyond six standard deviations: a plain best fit is pulled by them.",
        "Cut what is not the part, or align with a robust loss or with trimming.",
    ),
    Flag(
        "steps_not_exhausted",
        "warning",
        "The alignment stopped at its limit of passes while it still improved.",
        "Raise max_iterations, or give a nearer start.",
    ),
    Flag(
        "alignment_not_redundant",
        "warning",
        "The fit of the alignment leaves too little over: few points, few places, or a point of high leverage. Its "
        "residuals hide deviations of the part.",
        "Measure more points, spread over the part; or align on datum targets.",
    ),
    Flag(
        "alignment_undetermined",
        "warning",
        "Several poses fit as well, or the part can slide, and the deviations depend on which of them is meant.",
        "Measure surfaces that tell the poses apart, or align on datum targets that lock all six motions.",
    ),
    Flag(
        "verdict_withheld",
        "warning",
        "A tolerance is given, but the data do not carry a verdict: the alignment, the coverage, or a file that "
        "contradicts itself.",
        "See the flags beside it.",
    ),
    Flag(
        "coverage_too_low",
        "warning",
        "Less of the nominal was measured than the recipe asks for: what was not measured may be out of tolerance.",
        "Measure what is missing (grey on the map), or state the share that the drawing's verdict needs.",
    ),
)
