"""Characteristics of a QIF file: definition, nominal, item and measurements joined by their ids."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from types import MappingProxyType

from pointcloud.readers._raw import FileBytes
from pointcloud.readers.qif_features import by_id
from pointcloud.readers.qif_model import QifCharacteristic, QifFeature, QifResult, QifUnits
from pointcloud.readers.qif_xml import Node

_STAGES = re.compile(r"Characteristic(Definition|Nominal|Item|Measurement)$")
_SIGNED = ("PointProfile",)  # the value is a signed deviation about the middle of the zone


def characteristics(
    source: FileBytes,
    tree: Node,
    results: Node | None,
    units: QifUnits,
    features: tuple[QifFeature, ...],
    notes: list[str],
) -> tuple[QifCharacteristic, ...]:
    """All characteristic items in the order of the file, each with every answer the file gives."""
    definitions = by_id(source, tree, "Characteristics", "CharacteristicDefinitions")
    nominals = by_id(source, tree, "Characteristics", "CharacteristicNominals")
    by_item = {feature.item_id: feature.name for feature in features}
    by_measurement = {feature.measurement_id: feature.name for feature in features if feature.measurement_id}
    answers: dict[str, list[QifResult]] = {}
    for node in results.each("MeasuredCharacteristics", "CharacteristicMeasurements") if results else ():
        item_id = node.text_of("CharacteristicItemId") or ""
        ids = [child.text for child in node.each("FeatureMeasurementIds")]
        answers.setdefault(item_id, []).append(
            QifResult(
                value=_number(source, node.first("Value")),
                status=node.text_of("Status", "CharacteristicStatusEnum"),
                features=tuple(by_measurement.get(key, f"measurement {key}") for key in ids),
                measurement_id=node.attributes.get("id", ""),
            )
        )
    rows = []
    items = by_id(source, tree, "Characteristics", "CharacteristicItems")
    for item_id, item in items.items():
        nominal = nominals.get(item.text_of("CharacteristicNominalId") or "")
        definition = definitions.get(nominal.text_of("CharacteristicDefinitionId") or "" if nominal else "")
        name = item.text_of("Name") or f"characteristic {item_id}"
        kind = _STAGES.sub("", item.name)
        target = _number(source, nominal.first("TargetValue") if nominal else None)
        lower, upper, zone = _limits(source, name, kind, definition, target, notes)
        rows.append(
            QifCharacteristic(
                name=name,
                kind=kind,
                item_id=item_id,
                unit=units.angular if "Angle" in kind or "Angular" in kind or "Angularity" in kind else units.linear,
                nominal=target,
                lower=lower,
                upper=upper,
                zone=zone,
                features=tuple(by_item.get(child.text, f"item {child.text}") for child in item.each("FeatureItemIds")),
                results=tuple(answers.pop(item_id, ())),
                details=MappingProxyType(_details(definition, nominal)),
            )
        )
    for item_id in answers:
        notes.append(f"an answer belongs to characteristic item {item_id}, which the file does not hold")
    return tuple(rows)


def _limits(
    source: FileBytes, name: str, kind: str, definition: Node | None, target: float | None, notes: list[str]
) -> tuple[float | None, float | None, float | None]:
    """Limits of the value, and the width of the zone for a geometrical tolerance."""
    if definition is None:
        return None, None, None
    zone = _number(source, definition.first("ToleranceValue"))
    if zone is not None:
        if zone < 0.0:
            node = definition.first("ToleranceValue") or definition
            source.fail("a tolerance zone is negative", node.place, "repair the value", got=repr(zone))
        return (-0.5 * zone, 0.5 * zone, zone) if kind in _SIGNED else (0.0, zone, zone)
    tolerance = definition.first("Tolerance")
    if tolerance is None:
        return None, None, None
    low, high = (_number(source, tolerance.first(tag)) for tag in ("MinValue", "MaxValue"))
    if tolerance.text_of("DefinedAsLimit") not in ("true", "1"):
        if target is None:
            notes.append(f"{name}: deviations are toleranced but no target value is given")
            return None, None, None
        low, high = (None if value is None else _decimal_sum(target, value) for value in (low, high))
    if low is not None and high is not None and low > high:
        source.fail(f"{name}: the lower limit is above the upper", tolerance.place, "repair the tolerance")
    return low, high, None


def _decimal_sum(target: float, deviation: float) -> float:
    """Sum as on the drawing: -33.05 - 0.05 is -33.1, not the -33.099999999999994 of binary addition."""
    return float(Decimal(repr(target)) + Decimal(repr(deviation)))


def _details(*nodes: Node | None) -> dict[str, str]:
    """Short texts that say how the characteristic is meant, by snake_case names."""
    found: dict[str, str] = {}
    for node in nodes:
        for child in node.children if node else ():
            if child.name in ("Tolerance", "ToleranceValue", "TargetValue", "CharacteristicDefinitionId"):
                continue
            key = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", child.name.removesuffix("Id")).lower()
            text = child.text or ", ".join(grandchild.name for grandchild in child.children)
            if text:
                found[key] = text
    return found


def _number(source: FileBytes, node: Node | None) -> float | None:
    if node is None:
        return None
    try:
        value = float(node.text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        source.fail("is not a finite number", node.place, "repair the value", got=repr(node.text[:40]))
    return value
