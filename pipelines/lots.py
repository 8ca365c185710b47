"""A run as a lot of wafers: places of the measured images, and the spread by lot, wafer, field and image.

The one place that computes this; the report and ``abbe lot`` show it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrology_core.statistics.nested import NestedComponents
    from wafer.maps.frame import WaferFrame

LEVELS = ("lot", "wafer", "field")
BOTTOM = "image"
_OF_OTHERS = frozenset({"partial_result", "not_evaluated"})  # of a part: another of its characteristics has no value
LEAST = 4  # values that a decomposition is worth


@dataclass(frozen=True)
class PlacedValue:
    """A value of one image: its task, part, page order, acquisition, place in mm or None, value, noise variance (its
    type A contributions squared, in the unit of the value), verdict; `flags` of the value and its image, whether
    the verdict is `provisional`, what one value stands for (`bottom`: an image, a map), and the digest of the bytes it
    was measured from (`source`, empty where not known)."""

    task: str
    part: str
    acquisition: Mapping[str, Any]
    place: tuple[float, float] | None
    value: float | None
    noise_variance: float
    verdict: str
    flags: tuple[str, ...] = ()
    provisional: bool = False
    bottom: str = BOTTOM
    source: str = ""


def frame_of(recipe: Mapping[str, Any]) -> WaferFrame | None:
    """The wafer of a recipe (plain data, as in the plan); None where it states none."""
    from metrology_core.units import quantity
    from wafer.maps.frame import WaferFrame

    inputs = recipe.get("inputs")
    spec = inputs.get("wafer") if isinstance(inputs, Mapping) else None
    if not isinstance(spec, Mapping):
        return None

    def length(value: Any) -> float:
        return quantity(str(value), "length").to("mm")

    size = spec.get("field_size")
    return WaferFrame(
        length(spec.get("diameter") or "300 mm"),
        length(spec.get("edge_exclusion") or "0 mm"),
        spec.get("notch", "down"),
        None if not isinstance(size, Mapping) else (length(size["x"]), length(size["y"])),
    )


def placed(
    task: str,
    part: str,
    acquisition: Mapping[str, Any],
    measurement: Mapping[str, Any],
    frame: WaferFrame | None,
    flags: Sequence[str] = (),
    source: str = "",
) -> PlacedValue:
    """One recorded measurement with its place; ``flags`` are those of its part, which hold for every value of it,
    ``source`` is that of its task (`source_of`)."""
    from metrology_core.errors import AbbeError
    from wafer.maps.frame import WaferFrame, place_of

    try:
        place = place_of(acquisition, frame or WaferFrame())
    except AbbeError:  # a stated place that is no length: on the map it is nowhere
        place = None
    decision = measurement.get("decision")
    noise = sum(float(row["contribution"]) ** 2 for row in measurement.get("budget", ()) if row.get("type") == "A")
    value = measurement.get("value")
    return PlacedValue(
        task, part, acquisition, place, None if value is None else float(value), noise,
        str(decision["verdict"]) if decision else "none",
        tuple(sorted({*map(str, measurement.get("flags") or ()), *(set(map(str, flags)) - _OF_OTHERS)})),
        bool(decision and decision.get("provisional")),
        "map" if str(measurement.get("characteristic", "")).startswith("film.") else BOTTOM, source,
    )  # fmt: skip


def source_of(inputs: Sequence[Any], item: str | None = None) -> str:
    """What the bytes of a task are known by: the digests of its inputs, and which item of the file it is; empty where
    a file could not be read."""
    digests = [ref.sha256 for ref in inputs]
    return "" if None in digests or not digests else ":".join([*map(str, digests), item or ""])


def copies_in(tasks: Sequence[Any]) -> dict[str, str]:
    """Part -> the earlier part of the same plan that was made of the same bytes."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for task in tasks:
        source = source_of(task.inputs, task.item)
        if source and first.setdefault(source, task.part) != task.part:
            found[task.part] = first[source]
    return found


def copies_words(copies: Mapping[str, str]) -> str:
    """One line that names the copies; empty for none."""
    if not copies:
        return ""
    named = ", ".join(f"{part} is {first}" for part, first in list(copies.items())[:3])
    more = f" and {len(copies) - 3} more" if len(copies) > 3 else ""
    return f"{len(copies)} {'part' if len(copies) == 1 else 'parts'} made of the bytes of another: {named}{more}"


def once(values: Sequence[PlacedValue]) -> list[PlacedValue]:
    """The values of one characteristic without those from the same bytes as an earlier one: a copy repeats the noise,
    so it would pass for a repetition that agrees, and a copy under another lot or wafer for a lot that agrees."""
    first: dict[str, str] = {}  # source -> the task that came first with it
    return [row for row in values if not row.source or first.setdefault(row.source, row.task) == row.task]


def doubts(values: Sequence[PlacedValue]) -> dict[str, Any]:
    """How many of the known values a reader should look at before he reads their spread: ``flagged`` carry a flag of
    severity warning or invalid (``flags``: name -> count), ``provisional`` have a verdict that is only that."""
    from collections import Counter

    from metrology_core.flags import FLAGS

    known = [row for row in values if row.value is not None]
    each = [[f for f in row.flags if f not in FLAGS or FLAGS[f].severity != "info"] for row in known]
    counts = Counter(f for flags in each for f in flags)
    return {
        "flagged": sum(bool(flags) for flags in each),
        "provisional": sum(row.provisional for row in known),
        "flags": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    }


ALL_WARNINGS = "warnings"  # in place of the name of a flag


def leave_out(values: Sequence[PlacedValue], names: Collection[str]) -> tuple[list[PlacedValue], dict[str, Any] | None]:
    """The values that carry none of the flags ``names`` (`ALL_WARNINGS`: none of severity warning or invalid), and how
    many known ones were left out: ``values``, and ``flags`` name -> count; None where no flag is named.

    Raises `ParameterError` for a name that is no flag.
    """
    from collections import Counter

    from metrology_core.errors import ParameterError
    from metrology_core.flags import FLAGS

    if not names:
        return list(values), None
    for name in names:
        if name != ALL_WARNINGS and name not in FLAGS:
            from difflib import get_close_matches

            near = get_close_matches(name, [*FLAGS, ALL_WARNINGS], n=1)
            raise ParameterError(
                f"there is no flag {name!r}", expected=f"names of flags (docs/flags.md), or {ALL_WARNINGS}",
                remedy=f"did you mean {near[0]}?" if near else "leave the option out to see which flags there are",
            )  # fmt: skip

    def struck(row: PlacedValue) -> list[str]:
        every = ALL_WARNINGS in names
        return [f for f in row.flags if f in names or (every and (f not in FLAGS or FLAGS[f].severity != "info"))]

    each = [struck(row) for row in values]
    gone = [flags for row, flags in zip(values, each, strict=True) if flags and row.value is not None]
    counts = Counter(name for flags in gone for name in flags)
    kept = [row for row, flags in zip(values, each, strict=True) if not flags]
    return kept, {
        "values": len(gone),
        "flags": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    }


def why_no_components(values: Sequence[PlacedValue]) -> str:
    """The reason where `decompose` gives None."""
    known = [row for row in values if row.value is not None]
    if len(known) < LEAST:
        return f"fewer than {LEAST} values"
    names = [name for name in LEVELS if any(row.acquisition.get(name) for row in known)]
    if not names:
        return "the acquisitions name no lot, wafer or field (inputs.acquisition_from_name takes them from file names)"
    one = ", ".join(f"one {name} ({known[0].acquisition.get(name)})" for name in names)
    missing = " or ".join(name for name in LEVELS if name not in names)
    none = f", no {missing} named" if missing else ""
    return f"all {len(known)} values are of {one}{none}: two of a level are needed to compare"


def decompose(values: Sequence[PlacedValue], *, seed: int = 0) -> NestedComponents | None:
    """Variance components over the levels that the acquisitions name; None where there are too few values or no level.

    The noise of each value (type A) is taken off the image component.
    """
    from metrology_core.statistics.nested import nested_components

    known = [row for row in values if row.value is not None]
    names = [name for name in LEVELS if any(row.acquisition.get(name) for row in known)]
    if len(known) < LEAST or not names or len({_labels(row, names) for row in known}) < 2:
        return None
    return nested_components(
        [float(row.value) for row in known if row.value is not None],
        {name: [str(row.acquisition.get(name) or "") for row in known] for name in names},
        bottom=known[0].bottom,
        noise_variance=[row.noise_variance for row in known],
        seed=seed,
    )


def _labels(row: PlacedValue, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row.acquisition.get(name) or "") for name in names)


def by_characteristic(run: Any) -> dict[tuple[str, str, str], list[PlacedValue]]:
    """(name, characteristic, unit) -> placed values of all records of a run folder, in the order of the plan."""
    plan = run.plan()
    frame = frame_of(plan.recipe)
    found: dict[tuple[str, str, str], list[PlacedValue]] = {}
    for outcome in run.outcomes():
        if str(outcome.outcome) in ("not_run", "crashed"):
            continue
        document = run.read_record(outcome.task_id).document
        acquisition = dict(document.get("acquisition") or {})
        for m in document.get("measurements", ()):
            key = (str(m.get("name")), str(m.get("characteristic")), str(m.get("unit")))
            task = run.task(outcome.task_id)
            source = source_of(task.inputs, task.item)
            row = placed(outcome.task_id, str(outcome.part), acquisition, m, frame, tuple(outcome.flags), source)
            found.setdefault(key, []).append(row)
    return found


def components_document(found: NestedComponents | None, unit: str) -> dict[str, Any] | None:
    """The decomposition as JSON data; numbers that are not known are null."""
    if found is None:
        return None

    def known(value: float) -> float | None:
        return None if value - value != 0.0 else value

    return {
        "unit": unit, "n": found.n, "p": found.p, "mean": found.mean, "mean_u": found.mean_u,
        "mean_dof": known(found.mean_dof), "noise": found.noise, "balanced": found.balanced,
        "total": {"sd": found.total, "low": found.total_low, "high": found.total_high},
        "components": [
            {"level": c.level, "groups": c.groups, "dof": c.dof, "effective_dof": known(c.effective_dof),
             "sd": known(c.sd), "low": known(c.low), "high": known(c.high), "variance": known(c.variance),
             "share": known(c.share), "status": c.status, "reason": c.reason}
            for c in found.components
        ],
    }  # fmt: skip
