"""Checks that need the whole recipe: names that must exist, characteristics, tolerances, what an input kind needs.

They work on the plain data, not on the models, so that they run beside the schema's own errors and every fault is
reported in one pass. Whatever has the wrong type here was reported by the schema and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import PydanticCustomError

from metrology_core.errors import CharacteristicError
from pipelines.recipe.amounts import Amount, parse_amount
from pipelines.recipe.exclusions import check_exclusions
from pipelines.recipe.inputs import refused_inputs
from pipelines.recipe.instrument_use import check_instrument_use
from pipelines.recipe.instruments import kind_of, missing_for_simulation
from pipelines.recipe.models import FIT_KINDS
from pipelines.recipe.problems import Problem, did_you_mean
from pipelines.recipe.source import Document, Path_, get
from pipelines.recipe.wafer_checks import check_wafer

KINDS = (*FIT_KINDS, "points")
_GIVES_TIP = ("auto", "qif")
_GIVES_POINTS = ("qif",)
_MEASURE: Path_ = ("measure",)


def check(document: Document) -> list[Problem]:
    """All semantic faults of a recipe's plain data."""
    kind = get(document.data, ("measure", "kind"))
    found = [*_inputs(document, kind), *_unique(document, ("measure", "characteristics"), "characteristic")]
    found += check_exclusions(document, kind)
    found += check_instrument_use(document, kind)
    found += check_wafer(document, kind)
    if kind == "features":
        found += _simulation(document)
        found += [*_unique(document, ("measure", "features"), "feature"), *_datum_system(document)]
    if kind in ("features", "sem_lines", "sem_contacts", "sem_contours", "deviation", "film_map"):
        found += _characteristics(document, kind)
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _items(document: Document, path: Path_) -> Iterator[tuple[Path_, dict[str, Any]]]:
    rows = get(document.data, path)
    for index, row in enumerate(rows if isinstance(rows, list) else []):
        if isinstance(row, dict):
            yield (*path, index), row


def _inputs(document: Document, kind: object) -> Iterator[Problem]:
    inputs = get(document.data, ("inputs",))
    if not isinstance(inputs, dict):
        return
    place: Path_ = ("inputs",)
    form = inputs.get("format", "auto")
    if kind in ("sem_lines", "sem_contacts", "sem_contours"):
        for key in refused_inputs(kind):
            if key in inputs:
                yield document.problem(
                    "recipe/contradiction", f"'{key}' belongs to point clouds, not to images", (*place, key), key=True
                )
        if form not in ("auto", "image"):
            yield document.problem(
                "recipe/contradiction", f"{kind} measures images", (*place, "format"), hint="format: image"
            )
    if kind == "film_map":
        yield from _film_inputs(document, inputs)
    if kind in ("features", "deviation"):
        if form == "image":
            yield document.problem(
                "recipe/contradiction", f"{kind} is measured in point clouds, not in images", (*place, "format")
            )
        if "unit" not in inputs:
            yield document.problem(
                "recipe/missing-key",
                "missing key 'unit'",
                place,
                key=True,
                hint="point clouds need their unit, e.g. 'unit: mm'",
            )
        if "points_are" not in inputs and form not in _GIVES_POINTS:
            yield document.problem(
                "recipe/missing-key",
                "missing key 'points_are'",
                place,
                key=True,
                hint="say 'points_are: surface', 'ball_centre' or 'unknown'",
            )
        balls = inputs.get("points_are") == "ball_centre"
        if balls and "tip_radius" not in inputs and form not in _GIVES_TIP:
            yield document.problem(
                "recipe/missing-key",
                "missing key 'tip_radius'",
                (*place, "points_are"),
                hint="ball centres need the radius of the tip, e.g. 'tip_radius: 1.5 mm'",
            )
        for key in ("tip_radius", "tip_radius_u"):
            if key in inputs and inputs.get("points_are") in ("surface", "unknown"):
                yield document.problem(
                    "recipe/contradiction", f"'{key}' belongs to points_are: ball_centre", (*place, key), key=True
                )


def _film_inputs(document: Document, inputs: dict[str, Any]) -> Iterator[Problem]:
    for key in refused_inputs("film_map"):
        if key in inputs:
            yield document.problem(
                "recipe/contradiction", f"'{key}' belongs to point clouds, not to film maps", ("inputs", key), key=True
            )
    if inputs.get("format", "auto") not in ("auto", "text"):
        yield document.problem(
            "recipe/contradiction", "film maps are text", ("inputs", "format"), hint="leave 'format' out"
        )


def _film_site(document: Document, place: Path_, row: dict[str, Any], definition: Any) -> Iterator[Problem]:
    """A single site has a place, and nothing else has."""
    if definition.uses_position and "at" not in row:
        yield document.problem(
            "recipe/missing-key", "missing key 'at'", place,
            hint=f"{definition.id} needs its place on the wafer, e.g. 'at: [0 mm, 49 mm]'",
        )  # fmt: skip
    if not definition.uses_position and "at" in row:
        yield document.problem("recipe/contradiction", f"{definition.id} has no place", (*place, "at"), key=True)


def _simulation(document: Document) -> Iterator[Problem]:
    """A simulation needs an instrument with the figures that it is made from."""
    if not isinstance(get(document.data, ("measure", "simulation")), dict):
        return
    instrument = get(document.data, ("instrument",))
    if isinstance(instrument, dict) and "file" in instrument:
        return  # its content is checked in its own file, and here once it is known
    given = instrument if isinstance(instrument, dict) else {}
    kind, points = kind_of(given.get("type")), get(document.data, ("inputs", "points_are"))
    if kind != "cmm" and points == "ball_centre":
        yield document.problem(
            "recipe/contradiction", f"a {kind} gives points of the surface, not ball centres", ("inputs", "points_are"),
            hint="write 'points_are: surface', or name the CMM that probed",
        )  # fmt: skip
    for message, hint in missing_for_simulation(given):
        yield document.problem("recipe/missing-key", message, ("measure", "simulation"), key=True, hint=hint)


def _unique(document: Document, path: Path_, what: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for place, row in _items(document, path):
        name = _text(row.get("name"))
        if name is None:
            continue
        if name in first:
            yield document.problem(
                "recipe/duplicate-name",
                f"two {what}s are called '{name}'",
                (*place, "name"),
                hint=f"first in line {first[name]}",
            )
        else:
            first[name] = document.span((*place, "name")).line


def _feature_kinds(document: Document) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for _, row in _items(document, ("measure", "features")):
        name = _text(row.get("name"))
        if name is not None:
            kinds.setdefault(name, str(row.get("feature")))
    return kinds


def _datum_system(document: Document) -> Iterator[Problem]:
    system = get(document.data, ("measure", "datum_system"))
    if not isinstance(system, dict):
        return
    kinds = _feature_kinds(document)
    used: dict[str, str] = {}
    for key in ("primary", "secondary", "tertiary"):
        name = _text(system.get(key))
        if name is None:
            continue
        place: Path_ = ("measure", "datum_system", key)
        if name not in kinds:
            yield document.problem(
                "recipe/unknown-feature",
                f"there is no feature '{name}'",
                place,
                hint=did_you_mean(name, kinds, otherwise="features"),
            )
        elif kinds[name] == "points":
            yield document.problem(
                "recipe/wrong-feature", f"'{name}' is points without a fit and cannot be a datum", place
            )
        elif name in used:
            yield document.problem("recipe/contradiction", f"'{name}' is already the {used[name]} datum", place)
        used[name] = key


def _row(name: str) -> Any:
    """Row of the registry; raises `CharacteristicError`."""
    # importing registers their rows, whatever else the process has loaded
    import pointcloud.deviation.characteristics  # noqa: F401
    import wafer.characteristics  # noqa: F401
    from metrology_core import characteristics

    return characteristics.get(name)


def _characteristics(document: Document, kind: str) -> Iterator[Problem]:
    kinds = _feature_kinds(document)
    system = get(document.data, ("measure", "datum_system", "name"))
    for place, row in _items(document, ("measure", "characteristics")):
        names = _inputs_of(row)
        if kind == "features":
            for position, name in enumerate(names):
                if name not in kinds:
                    where: Path_ = (*place, "of", position) if isinstance(row.get("of"), list) else (*place, "of")
                    hint = did_you_mean(name, kinds, otherwise="features")
                    yield document.problem("recipe/unknown-feature", f"there is no feature '{name}'", where, hint=hint)
            used = _text(row.get("in"))
            if used is not None and used != system:
                known = [system] if isinstance(system, str) else []
                yield document.problem(
                    "recipe/unknown-datum-system",
                    f"there is no datum system '{used}'",
                    (*place, "in"),
                    hint=did_you_mean(used, known, otherwise="datum system") or "define measure.datum_system",
                )
        wanted = _text(row.get("characteristic"))
        if wanted is None:
            continue
        try:
            definition = _row(wanted)
        except CharacteristicError as error:
            vague = error.expected is not None
            code = "recipe/ambiguous-characteristic" if vague else "recipe/unknown-characteristic"
            hint = "; ".join(part for part in (error.expected, error.remedy) if part)
            if not vague:
                hint = did_you_mean(wanted, _ids_of(kind), most=40) or hint
            yield document.problem(code, error.what, (*place, "characteristic"), hint=hint or None)
            yield from _limits(document, place, row, None)
            continue
        yield from _applies(document, place, row, definition, kinds, names, kind)
        yield from _limits(document, place, row, definition)


def _inputs_of(row: dict[str, Any]) -> list[str]:
    of = row.get("of")
    if isinstance(of, str):
        return [of]
    return [name for name in of if isinstance(name, str)] if isinstance(of, list) else []


def _applies(
    document: Document,
    place: Path_,
    row: dict[str, Any],
    definition: Any,
    kinds: dict[str, str],
    names: list[str],
    kind: str,
) -> Iterator[Problem]:
    here: Path_ = (*place, "characteristic")
    home = _home(definition)
    if home != kind:
        yield document.problem("recipe/wrong-feature", f"{definition.id} is not a characteristic of {kind}", here)
        return
    if home == "film_map":
        yield from _film_site(document, place, row, definition)
    if home != "features":
        return
    wanted = definition.inputs
    if "of" in row and names and len(names) != len(wanted):
        count = "one feature" if len(wanted) == 1 else f"{len(wanted)} features, e.g. 'of: [a, b]'"
        yield document.problem(
            "recipe/wrong-feature", f"{definition.id} takes {count}, got {len(names)}", (*place, "of")
        )
    else:
        for position, (name, allowed) in enumerate(zip(names, wanted, strict=False)):
            if kinds.get(name) in KINDS and kinds[name] not in allowed:
                where: Path_ = (*place, "of", position) if isinstance(row.get("of"), list) else (*place, "of")
                yield document.problem(
                    "recipe/wrong-feature",
                    f"{definition.id} does not apply to '{name}', a {kinds[name]}",
                    where,
                    hint=f"it takes: {', '.join(_recipe_kinds(allowed))}",
                )
    if definition.uses_position and "at" not in row:
        yield document.problem(
            "recipe/missing-key",
            "missing key 'at'",
            place,
            hint=f"{definition.id} needs its exact location, e.g. 'at: [30 mm, 0 mm]'",
        )
    if not definition.uses_position and "at" in row:
        yield document.problem(
            "recipe/contradiction", f"{definition.id} has no exact location", (*place, "at"), key=True
        )
    if not definition.uses_datum_system and "in" in row:
        yield document.problem(
            "recipe/contradiction", f"{definition.id} does not depend on a datum system", (*place, "in"), key=True
        )
    if definition.needs == "points" and "nominal_curve" not in row:
        yield document.problem(
            "recipe/missing-key",
            "missing key 'nominal_curve'",
            place,
            hint="e.g. 'nominal_curve: {file: nominal/section.csv, unit: mm}'",
        )
    if definition.needs != "points" and "nominal_curve" in row:
        yield document.problem(
            "recipe/contradiction", f"{definition.id} does not use a nominal curve", (*place, "nominal_curve"), key=True
        )


def _home(definition: Any) -> str:
    """The measure that a characteristic belongs to."""
    home = {"image": "sem_lines", "surface": "deviation", "map": "film_map"}.get(definition.needs, "features")
    if home == "sem_lines":
        from wafer.characteristics import CONTACT_IDS, CONTOUR_IDS

        if definition.id in CONTACT_IDS:
            home = "sem_contacts"
        if definition.id in CONTOUR_IDS:
            home = "sem_contours"
    return home


def _ids_of(kind: str) -> list[str]:
    """The characteristics of one measure: those of the others are no answer to a wrong name."""
    from metrology_core import characteristics

    return [name for name, row in characteristics.available().items() if _home(row) == kind]


def _recipe_kinds(kinds: tuple[str, ...]) -> list[str]:
    return [name for name in kinds if not name.endswith("_2d")]


def _amount(value: object) -> Amount | None:
    try:
        return parse_amount(value)
    except PydanticCustomError:
        return None


def _less(one: Amount | None, other: Amount | None) -> bool:
    """Whether both are there, of one dimension, and in this order."""
    return one is not None and other is not None and one.dimension == other.dimension and one.base < other.base


def _limits(document: Document, place: Path_, row: dict[str, Any], definition: Any) -> Iterator[Problem]:
    """Tolerance and nominal against each other and against the dimension of the characteristic."""
    nominal = _amount(row.get("nominal"))
    limits = row.get("tolerance")
    written: list[tuple[Path_, Amount]] = []
    if nominal is not None:
        written.append(((*place, "nominal"), nominal))
    if isinstance(limits, dict):
        for key, value in limits.items():
            found = _amount(value)
            if found is not None:
                written.append(((*place, "tolerance", key), found))
    for key, members in (("process", ("mean", "sd")), ("calibrated_workpiece", ("value",))):
        part = row.get(key)
        for member in members:
            found = _amount(part.get(member)) if isinstance(part, dict) else None
            if found is not None:
                written.append(((*place, key, member), found))
    dimension = None if definition is None else definition.dimension
    if dimension is None and nominal is not None:
        dimension = nominal.dimension
    for where, value in written:
        if dimension is not None and value.dimension != dimension:
            subject = row.get("characteristic") if definition is not None else "the nominal"
            yield document.problem(
                "recipe/wrong-dimension",
                f"'{value.text}' is a {value.dimension.replace('_', ' ')}, but {subject} is a {dimension}",
                where,
            )
        elif definition is not None and definition.id in _counts() and value.unit != "1":
            yield document.problem(
                "recipe/wrong-dimension", f"'{value.text}': {definition.id} is a number of defects, not a share", where,
                hint="write a plain number, e.g. 'upper: 0'",
            )  # fmt: skip
    if not isinstance(limits, dict):
        if isinstance(row.get("process"), dict):
            yield document.problem(
                "recipe/contradiction", "the risks of a process need a tolerance", (*place, "process"), key=True
            )
        return
    if {"plus_minus", "minus", "plus"} & limits.keys() and "nominal" not in row:
        yield document.problem(
            "recipe/tolerance",
            "deviations need a nominal to which they refer",
            (*place, "tolerance"),
            key=True,
            hint="add 'nominal: ...', or write limits: {lower: ..., upper: ...} or {max: ...}",
        )
    bound = None if definition is None else definition.lower_bound
    top = _amount(limits.get("max", limits.get("upper")))
    can_be_zero = definition is not None and definition.id in _counts()  # a size of 0 is measured never, a count often
    if bound is not None and top is not None and bound >= 0 and (top.exact < 0 or (top.exact == 0 and not can_be_zero)):
        key = "max" if "max" in limits else "upper"
        yield document.problem(
            "recipe/tolerance",
            f"'{top.text}' can never be met: {definition.id} is never below {bound:g}",
            (*place, "tolerance", key),
        )
    low, high = _amount(limits.get("lower")), _amount(limits.get("upper"))
    below = _less(nominal, low)
    if nominal is not None and (below or _less(high, nominal)):
        yield document.problem(
            "recipe/tolerance",
            f"the nominal '{nominal.text}' lies {'below the lower' if below else 'above the upper'} limit",
            (*place, "nominal"),
            hint="correct one of them; limits that leave the nominal out on purpose, as of a fit, are written as "
            "deviations: 'tolerance: {minus: 14 um, plus: -5 um}'",
        )
    one_sided = definition is not None and (
        definition.needs in ("form", "points") or definition.id.startswith("iso1101.")
    )
    if one_sided and {"plus_minus", "minus", "plus", "min", "lower"} & limits.keys():
        yield document.problem(
            "recipe/tolerance",
            f"{definition.id} has an upper limit only",
            (*place, "tolerance"),
            key=True,
            hint="write 'tolerance: {max: ...}'",
        )


def _counts() -> tuple[str, ...]:
    from wafer.characteristics import COUNT_IDS

    return COUNT_IDS
