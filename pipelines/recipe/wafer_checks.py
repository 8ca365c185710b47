"""Checks of what a recipe of images or film maps asks for: what no part could fulfil is told before the night, not by
every part of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import Amount, parse_amount
from pipelines.recipe.problems import Problem
from pipelines.recipe.source import Document, Path_, get

_DIAMETER = "300 mm"  # where the recipe states none
_WITHOUT_DESIGN = ("sem.contour_diameter_area",)  # the one of the contours that compares nothing


def check_wafer(document: Document, kind: object) -> Iterator[Problem]:
    """Faults of the wafer, of places on it, of relative uncertainties, and of contours without their design."""
    diameter = yield from _wafer(document)
    yield from _shares(document)
    if kind == "film_map" and diameter is not None:
        yield from _sites(document, diameter)
    if kind == "sem_contours":
        yield from _design(document)


def _amount(value: object, dimension: str) -> Amount | None:
    try:
        found = parse_amount(value)
    except PydanticCustomError:
        return None
    return found if found.dimension == dimension else None


def _wafer(document: Document) -> Any:
    """The diameter, None where it is faulty; yields what is wrong with the edge exclusion."""
    place: Path_ = ("inputs", "wafer")
    spec = get(document.data, place)
    spec = spec if isinstance(spec, dict) else {}
    diameter = _amount(spec.get("diameter", _DIAMETER), "length")
    edge = _amount(spec.get("edge_exclusion"), "length")
    if diameter is not None and edge is not None and not 2 * edge.base < diameter.base:
        said = diameter.text if "diameter" in spec else f"{diameter.text}, the default"
        yield document.problem(
            "recipe/out-of-range", f"an edge exclusion of {edge.text} leaves nothing of a wafer of {said}",
            (*place, "edge_exclusion"), hint="it is the width of the ring at the edge, e.g. 'edge_exclusion: 3 mm'",
        )  # fmt: skip
    return diameter


def _shares(document: Document) -> Iterator[Problem]:
    """A scale that may be off by all of itself says nothing: a per cent sign was forgotten, or a figure of ppm."""
    for place in (("measure", "pixel", "u_relative"), ("instrument", "scale_u")):
        found = _amount(get(document.data, place), "ratio")
        if found is not None and not found.base < 1:
            yield document.problem(
                "recipe/out-of-range", f"a relative uncertainty of {found.text} says that the size is not known at all",
                place, hint="write it as a share below 100 %, e.g. '0.5 %'",
            )  # fmt: skip


def _sites(document: Document, diameter: Amount) -> Iterator[Problem]:
    rows = get(document.data, ("measure", "characteristics"))
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        at = row.get("at") if isinstance(row, dict) else None
        if not isinstance(at, list) or len(at) != 2:
            continue
        x, y = (_amount(value, "length") for value in at)
        if x is not None and y is not None and 4 * (x.base**2 + y.base**2) > diameter.base**2:
            yield document.problem(
                "recipe/out-of-range", f"the place ({x.text}, {y.text}) lies off the wafer of {diameter.text}",
                ("measure", "characteristics", index, "at"), hint="places are [x, y] from the middle of the wafer",
            )  # fmt: skip


def _design(document: Document) -> Iterator[Problem]:
    measure = get(document.data, ("measure",))
    if not isinstance(measure, dict) or "design" in measure:
        return
    from wafer.characteristics import CONTOUR_IDS

    rows = measure.get("characteristics")
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        wanted = row.get("characteristic") if isinstance(row, dict) else None
        if wanted in CONTOUR_IDS and wanted not in _WITHOUT_DESIGN:
            yield document.problem(
                "recipe/contradiction", f"{wanted} compares with a design, and the recipe names none",
                ("measure", "characteristics", index, "characteristic"),
                hint="name it with measure.design, e.g. 'design: {file: design.txt, unit: nm}'; without a design: "
                + ", ".join(_WITHOUT_DESIGN),
            )  # fmt: skip
