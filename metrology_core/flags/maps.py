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
