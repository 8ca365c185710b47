"""Public names of a package that are loaded from their modules on first use: imports stay light."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any


def load(package: str, home_of: Mapping[str, str], name: str) -> Any:
    """The attribute ``name`` of ``package`` from the module that ``home_of`` names; `AttributeError` for others."""
    home = home_of.get(name)
    if home is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{package}.{home}"), name)
    setattr(sys.modules[package], name, value)  # the second look costs nothing
    return value
