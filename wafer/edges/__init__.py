"""Sub-pixel edges of lines and spaces, row by row: criteria, their noise, and what is wrong with single edges."""

from __future__ import annotations

from wafer.edges.find import find_edges
from wafer.edges.result import CRITERIA, STATES, Criterion, EdgeSet

__all__ = ["CRITERIA", "STATES", "Criterion", "EdgeSet", "find_edges"]
