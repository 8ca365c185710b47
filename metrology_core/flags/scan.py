"""Flags of what the scan did to a microscope image besides imaging."""

from __future__ import annotations

from metrology_core.flags.row import Flag

SCAN_FLAGS = (
    Flag(
        "background_uneven",
        "info",
        "Grey level or contrast change by a tenth of the step and more over the field; edges follow across, not along.",
        "Look at the scan's figures; let the charge settle, or use a lower dose.",
    ),
    Flag(
        "charging_trail",
        "info",
        "The grey falls within bright stripes and recovers within dark ones, a tenth of the step and more: charging.",
        "Left and right edges differ: use a lower dose or another scan direction, and compare.",
    ),
    Flag(
        "scan_jump",
        "warning",
        "From one row to the next all lines stand elsewhere: the scan was hit, or pieces were put together.",
        "Take the image again, or choose rows on one side of it; tilt, roughness and jitter are those of the jump.",
    ),
)
