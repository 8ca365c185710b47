"""Flags of contours of arbitrary shapes in images, and of lots of wafers."""

from __future__ import annotations

from metrology_core.flags.row import Flag

SHAPE_FLAGS = (
    # --- two images of one field
    Flag(
        "match_ambiguous",
        "warning",
        "The features of both images pair up at more than one shift, about equally well: the smallest shift counts.",
        "State a smaller search; take a field whose features differ, or the border of the array.",
    ),
    Flag(
        "match_scatter",
        "warning",
        "The differences of the diameters scatter more than the noise of both images allows (99 %).",
        "Look for charging, contamination between the scans, drift within a scan, and edges that differ in shape.",
    ),
    # --- contours of arbitrary shapes
    Flag(
        "contours_lost",
        "warning",
        "More than one vertex in a hundred has no edge within reach: it is left out.",
        "Look at the picture; check contrast, dose and focus.",
    ),
    Flag(
        "edge_noise_high",
        "warning",
        "Noise moves the vertices of the contours by more than half a pixel (1 s): single errors say little.",
        "Use a higher dose, average frames, or a wider spacing of the vertices.",
    ),
    Flag(
        "registration_ambiguous",
        "warning",
        "The design fits the image nearly as well at another place; the one nearest to the stated origin was taken.",
        "State origin and search so that one place is left.",
    ),
    Flag(
        "registration_undetermined",
        "warning",
        "No edge of the design holds one direction of the registration; along it the design stays where it was stated.",
        "Take an image with edges in both directions; do not read errors along that direction.",
    ),
    Flag(
        "registration_by_line_ends",
        "warning",
        "All edges run along one direction, so only line ends fix the design along it. Ends facing both ways fix it by "
        "their middle; ends facing one way hide a pull-back that they share: it counts as a shift of the design.",
        "Read tip to tip, which does not depend on it. For single pull-backs take an image with edges across the "
        "lines, or with line ends facing both ways.",
    ),
    Flag(
        "registration_unmodelled",
        "warning",
        "The residuals of the registration call for a rotation or a scale that was not free: place and errors lean.",
        "Give free rotation or free scale; check the pixel size and the alignment of the scan.",
    ),
    Flag(
        "missing_shapes",
        "warning",
        "Polygons of the design have no feature in the image.",
        "See the counts and the picture; check the process, or origin and polarity.",
    ),
    Flag(
        "broken_shapes",
        "warning",
        "Polygons of the design have come apart into several features.",
        "See the counts and the picture; check the process.",
    ),
    Flag(
        "bridged_shapes",
        "warning",
        "One feature covers several polygons of the design.",
        "See the counts and the picture; check the process.",
    ),
    Flag(
        "defects_without_limit",
        "warning",
        "Shapes or contacts are missing, broken or grown together, and the recipe sets no limit on their number: the "
        "verdicts on the sizes of the rest are provisional.",
        "Give sem.shape_defects or sem.contact_defects a tolerance, for example upper 0.",
    ),
    Flag(
        "extra_shapes",
        "warning",
        "The image has features that no polygon of the design asks for.",
        "See the picture; check design, layer and cell.",
    ),
    Flag(
        "unmatched_contours",
        "warning",
        "More than two in a hundred vertices have no facing design edge within the limit, so no placement error.",
        "See the picture; check design and registration, or allow larger errors with limit.",
    ),
    Flag(
        "few_line_ends",
        "info",
        "A mean over line ends rests on a single one: its scatter is not known.",
        "Read the value as that of this line end.",
    ),
)
