"""Features of a QIF file: definition, nominal, item and measurement joined by their ids."""

from __future__ import annotations

import math
import re
from types import MappingProxyType

from pointcloud.readers._raw import FileBytes
from pointcloud.readers.qif_model import QifFeature, QifPointSet, QifReference
from pointcloud.readers.qif_xml import Node

_STAGES = re.compile(r"Feature(Definition|Nominal|Item|Measurement)$")


def features(
    source: FileBytes, tree: Node, results: Node | None, sets: tuple[QifPointSet, ...], notes: list[str]
) -> tuple[tuple[QifFeature, ...], set[str]]:
    """All feature items in the order of the file, and the flags that their references earn."""
    definitions = by_id(source, tree, "Features", "FeatureDefinitions")
    nominals = by_id(source, tree, "Features", "FeatureNominals")
    measured = {node.text_of("FeatureItemId"): node for node in (results.each("MeasuredFeatures") if results else ())}
    known = {row.id: len(row.xyz) for row in sets}
    flags: set[str] = set()
    rows = []
    for item_id, item in by_id(source, tree, "Features", "FeatureItems").items():
        nominal = nominals.get(item.text_of("FeatureNominalId") or "")
        definition = definitions.get(nominal.text_of("FeatureDefinitionId") or "" if nominal else "")
        measurement = measured.get(item_id)
        name = item.text_of("FeatureName") or f"feature {item_id}"
        if nominal is None:
            notes.append(f"{name}: no nominal is given")
        kind = _kind(item.name)
        values = _values(source, measurement)
        if kind == "line" and "normal" in values and "direction" not in values:
            values["direction"] = values.pop("normal")  # some exporters write the direction of a line as <Normal>
        references = _references(source, name, measurement, known, notes, flags)
        determination = item.first("DeterminationMode")
        words = [node.name.lower() for node in determination.walk() if not node.children] if determination else []
        rows.append(
            QifFeature(
                name=name,
                kind=kind,
                item_id=item_id,
                nominal=MappingProxyType({**_values(source, definition), **_values(source, nominal)}),
                measured=None if measurement is None else MappingProxyType(values),
                side=_side(definition),
                determination=words[0] if words else None,
                references=references,
                measurement_id=measurement.attributes.get("id") if measurement else None,
            )
        )
    return tuple(rows), flags


def by_id(source: FileBytes, tree: Node, *path: str) -> dict[str, Node]:
    """Elements of a list by their id; an id twice is refused."""
    rows: dict[str, Node] = {}
    for node in tree.each(*path):
        key = node.attributes.get("id")
        if key is None:
            continue
        if key in rows:
            source.fail(f"the id {key} occurs twice", node.place, "export the file again")
        rows[key] = node
    return rows


def _kind(tag: str) -> str:
    """``CircleFeatureItem`` -> ``circle``; ``ExtrudedCrossSectionFeatureItem`` -> ``extruded_cross_section``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _STAGES.sub("", tag)).lower()


def _side(definition: Node | None) -> str | None:
    text = definition.text_of("InternalExternal") if definition else None
    return text.lower() if text in ("INTERNAL", "EXTERNAL") else None


def _values(source: FileBytes, node: Node | None) -> dict[str, float | tuple[float, ...]]:
    """Numbers and vectors below an element, by snake_case names; ids, names and point lists are not values."""
    values: dict[str, float | tuple[float, ...]] = {}
    for child in node.children if node else ():
        if child.name == "Axis":
            point, direction = child.first("AxisPoint"), child.first("Direction")
            if point and direction:
                values["axis_point"], values["axis"] = _vector(source, point), _vector(source, direction)
        elif child.name.endswith(("Id", "Ids", "Name")) or child.children:
            continue
        elif re.match(r"[+-]?(?:\d|\.\d)", child.text):
            numbers = _vector(source, child)
            values[_snake(child.name)] = numbers[0] if len(numbers) == 1 else numbers
    return values


def _snake(tag: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", tag).lower()


def _vector(source: FileBytes, node: Node) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in node.text.split())
    except ValueError:
        numbers = ()
    if not numbers or not all(math.isfinite(value) for value in numbers):
        source.fail("is not a list of finite numbers", node.place, "repair the value", got=repr(node.text[:60]))
    return numbers


def _references(
    source: FileBytes, name: str, measurement: Node | None, known: dict[str, int], notes: list[str], flags: set[str]
) -> tuple[QifReference, ...]:
    """What a feature says about its points; references to nothing are kept, marked and flagged."""
    rows = []
    for node in measurement.each("PointList") if measurement else ():
        set_id = node.text
        if node.name == "WholePointSetId":
            start = stop = None
        elif node.name == "SinglePointSetId":
            start = stop = _whole(source, node, node.attributes.get("index"))
        elif node.name == "RangePointSetId":
            words = node.attributes.get("range", "").split()
            if len(words) != 2:
                source.fail("range is not two numbers", node.place, "repair the range", got=repr(" ".join(words)))
            start, stop = (_whole(source, node, word) for word in words)
        else:
            notes.append(f"{name}: <{node.name}> in the point list is not understood")
            flags.add("points_missing_in_file")
            continue
        found = set_id in known
        if not found:
            notes.append(f"{name}: refers to point set {set_id}, which the file does not hold")
        elif start is not None and stop is not None and not 1 <= start <= stop <= known[set_id]:
            notes.append(f"{name}: refers to points {start} to {stop} of the {known[set_id]} in set {set_id}")
            found = False
        if not found:
            flags.add("points_missing_in_file")
        rows.append(QifReference(set_id, start, stop, found))
    return tuple(rows)


def _whole(source: FileBytes, node: Node, text: str | None) -> int:
    if text is None or not re.fullmatch(r"\d{1,12}", text):
        source.fail("the index of a point is not a whole number", node.place, "repair the index", got=repr(text))
    return int(text)
