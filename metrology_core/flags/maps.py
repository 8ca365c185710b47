"""Flags of maps of values over a wafer."""

from __future__ import annotations

from metrology_core.flags.row import Flag

MAP_FLAGS = (
    Flag(
        "repeatability_missing",
        "warning",
        "The file holds one value for each site and nobody stated how it repeats: extremes, range and non-uniformity "
        "lack the noise of the values.",
        "State noise in the instrument of the recipe: the standard deviation of one value from repeated measurements.",
    ),
    Flag(
        "sites_off_wafer",
        "warning",
        "Sites lie farther from the middle than the wafer reaches; they are left out and counted. The diameter or the "
        "places are wrong, so which sites count is open.",
        "Correct inputs.wafer.diameter, or the places: X and Y are in mm from the middle of the wafer.",
    ),
    Flag(
        "sites_without_value",
        "warning",
        "Planned sites have no value; they are left out and counted, and the figures hold for the others.",
        "Measure them again, or see why the tool gave nothing there.",
    ),
    Flag(
        "sites_repeated",
        "warning",
        "Two values stand at one place of the wafer; both count, so that place weighs double.",
        "See which of them holds, and take the other out of the file.",
    ),
    Flag(
        "thickness_negative",
        "warning",
        "A value of thickness lies below zero, which no film has.",
        "See whether the fit of the tool failed at that site, or the file holds differences.",
    ),
    Flag(
        "wafer_name_repeated",
        "warning",
        "The file gives several wafers one name: a wafer that was measured again, or a wrong name. They are parts of "
        "their own and one wafer in the lot.",
        "Correct the name in the file where they are two wafers.",
    ),
    Flag(
        "file_cut",
        "warning",
        "The file stops in the midst of its last table: the last value may lack digits and sites may be missing. "
        "Verdicts are provisional.",
        "Export or copy the file again.",
    ),
    Flag(
        "summary_not_reproduced",
        "warning",
        "The file's own summary is not that of its sites, beyond what rounding explains: values were changed, lost or "
        "mixed up after the tool wrote them. No verdict is given.",
        "Export the file again, and compare it with the one that was measured.",
    ),
    Flag(
        "nonuniformity_not_resolved",
        "warning",
        "The spread over the sites is not larger than what the declared noise of a value explains.",
        "Read the interval, not the value: it begins at 0. Average repeats, or check the declared noise.",
    ),
)
