"""Data with exactly known answers, for Abbe's own tests and for everybody who validates fitting software."""

from __future__ import annotations

from metrology_core.testing.known import KnownAnswer, known_least_squares, known_zone

__all__ = ["KnownAnswer", "known_least_squares", "known_zone"]
