"""Which figures of an instrument a measure has a use for. What it has none for is a fault: a stated uncertainty that
enters no budget makes every U too small, and nobody would see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import Amount, parse_amount
from pipelines.recipe.problems import Problem
from pipelines.recipe.source import Document, Path_, get

_WORDS = ("id", "type", "environment", "certificate", "valid_until", "file")  # no figures
_SEM = ("scale_u", "edge_offset_u")
_USED = {
    "film_map": ("noise", "offset_u", "scale_u"),
    "sem_lines": _SEM,
    "sem_contacts": _SEM,
    "sem_contours": _SEM,
}
_HINTS = {
    ("film_map", "edge_offset_u"): "an offset that all values of a film tool share is 'offset_u'",
    ("sem", "offset_u"): "an offset of every edge by the edge criterion is 'edge_offset_u'",
    ("sem", "noise"): "the noise of an image is found in the image itself",
    ("sem", "distortion_u"): "state it in 'scale_u', as what it does to a length",
    ("sem", "linearity_u"): "state it in 'scale_u', as what it does to a length",
    ("features", "offset_u"): "'offset_u' is of film tools; a machine states 'mpe' or 'tip: {value: ..., u: ...}'",
}


def check_instrument_use(document: Document, kind: object) -> Iterator[Problem]:
    """Figures of an instrument written in the recipe that its measure has no use for, and two that say one thing."""
    given = get(document.data, ("instrument",))
    if not isinstance(given, Mapping) or not isinstance(kind, str):
        return
    for key, message, hint in _unused(given, kind):
        yield document.problem("recipe/contradiction", message, ("instrument", key), key=True, hint=hint)
    yield from _two_scales(document, given, ("instrument", "scale_u"))


def check_file_use(document: Document, instrument: object) -> list[Problem]:
    """The same of an instrument taken from a file, told where the recipe names the file."""
    kind = get(document.data, ("measure", "kind"))
    place: Path_ = ("instrument", "file")
    named = isinstance(get(document.data, place), str)
    if not named or not isinstance(instrument, Mapping) or not isinstance(kind, str):
        return []
    rows = list(_unused(instrument, kind))
    found = [
        document.problem(
            "recipe/contradiction", "; ".join(message for _, message, _ in rows), place,
            hint="in the file, " + "; ".join(hint for _, _, hint in rows),
        )
    ] if rows else []  # fmt: skip
    return found + list(_two_scales(document, instrument, place))


def _unused(instrument: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str, str]]:
    """Key, message and remedy of each figure that the measure does not take."""
    if kind in ("features", "deviation"):
        if "offset_u" in instrument:
            yield (
                "offset_u",
                f"{kind} has no use for 'offset_u': it would enter no uncertainty",
                _HINTS[("features", "offset_u")],
            )
        return
    used = _USED.get(kind)
    if used is None:
        return
    group = "sem" if kind.startswith("sem_") else kind
    for key in instrument:
        if key in used or key in _WORDS or key not in _figures():
            continue  # an unknown key is a fault of its own
        hint = _HINTS.get((group, key), "take it out")
        yield (
            key,
            f"{kind} has no use for '{key}': it would enter no uncertainty",
            f"{hint}; {kind} takes " + ", ".join(used),
        )


def _figures() -> frozenset[str]:
    from pipelines.recipe.inputs import InstrumentSpec

    return frozenset(InstrumentSpec.model_fields)


def _two_scales(document: Document, instrument: Mapping[str, Any], place: Path_) -> Iterator[Problem]:
    """The pixel size has one calibration: two different figures for it leave open which one holds."""
    pixel = _ratio(get(document.data, ("measure", "pixel", "u_relative")))
    scale = _ratio(instrument.get("scale_u"))
    if pixel is not None and scale is not None and pixel.base != scale.base:
        yield document.problem(
            "recipe/contradiction",
            f"the pixel size has two uncertainties: scale_u {scale.text}, and u_relative {pixel.text}",
            place,
            hint="both state the one calibration of the pixel size: write the one that holds, or both alike; two "
            "independent causes are added in squares to one figure",
        )


def _ratio(value: object) -> Amount | None:
    try:
        found = parse_amount(value)
    except PydanticCustomError:
        return None
    return found if found.dimension == "ratio" else None
