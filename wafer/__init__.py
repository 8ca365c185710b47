"""Wafer microscopy: sub-pixel edges, linewidth and roughness with uncertainty. Importing it loads no heavy library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wafer.contours.design import Design, read_design
    from wafer.contours.evaluate import ContourResult, ContourSettings, measure_contours
    from wafer.edges import EdgeSet, find_edges
    from wafer.lines.evaluate import SemLineResult, SemLineSettings, measure_sem_lines
    from wafer.readers import read_image

_HOME = {
    "ContourResult": "wafer.contours.evaluate",
    "ContourSettings": "wafer.contours.evaluate",
    "Design": "wafer.contours.design",
    "measure_contours": "wafer.contours.evaluate",
    "read_design": "wafer.contours.design",
    "EdgeSet": "wafer.edges",
    "find_edges": "wafer.edges",
    "SemLineResult": "wafer.lines.evaluate",
    "SemLineSettings": "wafer.lines.evaluate",
    "measure_sem_lines": "wafer.lines.evaluate",
    "read_image": "wafer.readers",
}

__all__ = [
    "ContourResult",
    "ContourSettings",
    "Design",
    "EdgeSet",
    "SemLineResult",
    "SemLineSettings",
    "find_edges",
    "measure_contours",
    "measure_sem_lines",
    "read_design",
    "read_image",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'wafer' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
