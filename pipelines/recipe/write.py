"""Writes a recipe that was put together by a program, as a person would write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_recipe(path: Path, document: Mapping[str, Any]) -> None:
    """The plain data of a recipe as YAML, keys in their order, one line for each scalar."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(dict(document), file)
