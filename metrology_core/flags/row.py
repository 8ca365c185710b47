"""One row of the registry of flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "invalid"]


@dataclass(frozen=True)
class Flag:
    """One row of the registry."""

    name: str
    severity: Severity
    summary: str
    remedy: str
