"""Flags of how an image was recorded, stored and repeated, before anything of the sample is read from it."""

from __future__ import annotations

from metrology_core.flags.row import Flag

RECORDING_FLAGS = (
    Flag(
        "dead_rows",
        "warning",
        "Rows of the image hold one grey level all along: edges there and beside them are wrong.",
        "Export the image again, or choose rows without them.",
    ),
    Flag(
        "dead_columns",
        "warning",
        "Columns of the image hold one grey level all along: edges there and beside them are wrong.",
        "Export the image again, or choose columns without them.",
    ),
    Flag(
        "rows_repeated",
        "warning",
        "Rows of the image are exact copies of others (enlarged, or a fault): uncertainties are too small.",
        "Use the image as it was scanned.",
    ),
    Flag(
        "row_banding",
        "warning",
        "Rows differ in brightness by more than a tenth of the step: thresholds move from row to row.",
        "Check current and detector; do not use roughness, local uniformity and elongation from this image.",
    ),
    Flag(
        "stripes_uneven",
        "warning",
        "Stripes of one kind differ in brightness, by a tenth of the step (1 s) or by how it falls across them.",
        "Look for a wave along the lines (hum, moire) or for a pattern of several kinds of lines.",
    ),
    Flag(
        "plateau_missed",
        "warning",
        "Stripes are narrower than twice the rise of their edges (blur, defocus): widths lean towards half the pitch.",
        "Check the focus, or use a finer beam; do not read widths from this image.",
    ),
    Flag(
        "lines_bent",
        "warning",
        "The lines depart from straight ones by more than a pixel (rms over the frame): drift, a jump, or distortion.",
        "Look at the image; measure rows before or after a jump.",
    ),
    Flag(
        "periodic_pattern",
        "warning",
        "A wave runs through the image that is none of the lines' (hum, moire, a resampled screen): it moves edges.",
        "Take the image again; do not use its roughness.",
    ),
    Flag(
        "grey_levels_few",
        "warning",
        "The image has fewer than eight grey levels to a step, and too little noise to make up for it.",
        "Export with 8 bits and more, without palette or posterising.",
    ),
    Flag(
        "polarity_assumed",
        "info",
        "Nobody said whether lines are bright or dark; bright was taken, and lines and spaces are about as wide.",
        "State lines: bright or dark.",
    ),
    Flag(
        "frames_not_independent",
        "warning",
        "Frames share noise: that of two frames correlates, or products of frames give more roughness than the fit.",
        "Use single frames that were scanned and stored apart, not running averages; do not use the cross figures.",
    ),
    Flag(
        "frames_differ",
        "warning",
        "Products of frames give less roughness than the fit without noise: the frames do not show the same edges.",
        "Check that all frames are of one field, and their drift along the lines; do not use their average.",
    ),
    Flag(
        "frame_drift_ambiguous",
        "warning",
        "Nothing in a frame but the lattice tells its drift: whole pitches and shifts along the lines are not known.",
        "Take frames with a higher dose or a defect in them; do not use roughness of the average or of products.",
    ),
)
