"""The wafers that a film file holds: each is a part of its own in the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.recipe import Recipe


@dataclass(frozen=True)
class Item:
    """One part of a file: ``name`` within the file (None: the file is the part), ``facts`` of its acquisition that the
    file states."""

    name: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def items_of(recipe: Recipe, file: Path) -> Sequence[Item]:
    """What of a file becomes a part: the file, or each wafer of a film map. A film file that cannot be read is one
    part: the measuring step says what is wrong with it."""
    if recipe.measure.kind != "film_map":
        return (Item(),)
    from metrology_core.errors import AbbeError
    from wafer.maps import read_film_maps, wafer_name, wafers_of

    try:
        # the unit plays no part in which wafers there are; where none is stated the step says so
        wafers = wafers_of(read_film_maps(file, unit=recipe.inputs.unit or "nm"))
    except (AbbeError, OSError):
        return (Item(),)
    out = []
    for name, maps in wafers.items():
        own = wafer_name(maps[0]) or name  # of a wafer that was measured twice: one wafer, two parts
        facts = {key: value for key, value in (("lot", maps[0].lot), ("wafer", own)) if value}
        out.append(Item(name, facts))
    return out


def named(part: str, item: Item, of: int) -> str:
    """Part id of a wafer: that of the file where it holds one."""
    return part if item.name is None or of == 1 else f"{part}#{item.name}"


def contradiction(acquisition: Mapping[str, str], path: str, of: int) -> dict[str, Any] | None:
    """Several wafers of one file cannot all be the one that the recipe or the file name states."""
    if of < 2 or not acquisition.get("wafer"):
        return None
    return {
        "code": "acquisition_wafer",
        "message": f"the file holds {of} wafers, and the recipe or the file name states one: {acquisition['wafer']}",
        "where": path,
        "remedy": "leave 'wafer' out of inputs.acquisition and acquisition_from_name: the file names its wafers",
    }
