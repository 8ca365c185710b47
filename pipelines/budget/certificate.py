"""Digital calibration certificates (DCC, PTB schema 2.x and 3.x) as inputs of a budget: quantities with U and k.

Reads `si:real`, `si:realListXMLList` and the first part of `si:hybrid`; uncertainties in the D-SI 1 form
(`expandedUnc`) and the D-SI 2 form (`measurementUncertaintyUnivariate`). Signatures and schema are not checked here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrology_core.errors import ReaderError
from pipelines.budget.unit_algebra import conversion
from pointcloud.readers._raw import FileBytes
from pointcloud.readers.qif_xml import Node, parse

MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class CertifiedQuantity:
    """A quantity of a certificate: how it can be named, ``values`` in ``unit`` (as written there), standard
    uncertainties ``u`` (None where the certificate states none), and how they were stated."""

    id: str | None
    types: tuple[str, ...]
    name: str
    result: str
    unit: str
    values: tuple[float, ...]
    u: tuple[float, ...] | None
    k: float | None
    p: float | None
    distribution: str
    line: int

    def answers_to(self, key: str) -> bool:
        return key in (self.id, self.name, *self.types)


@dataclass(frozen=True)
class Certificate:
    """A read certificate: identifier, last day of the calibration, laboratory, schema version, quantities."""

    path: str
    identifier: str
    performed: str | None
    laboratory: str
    schema: str
    quantities: tuple[CertifiedQuantity, ...]

    def find(self, key: str) -> list[CertifiedQuantity]:
        """The measured quantities with this id, name or refType; an id is unique and goes before the others."""
        exact = [q for q in self.quantities if q.id == key]
        return exact or [q for q in self.quantities if q.answers_to(key)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "certificate": self.identifier,
            "performed": self.performed,
            "laboratory": self.laboratory,
            "schema_version": self.schema,
            "quantities": [
                {
                    "id": q.id,
                    "types": list(q.types),
                    "name": q.name,
                    "result": q.result,
                    "unit": q.unit,
                    "values": list(q.values),
                    "u": None if q.u is None else list(q.u),
                    "k": q.k,
                    "p": q.p,
                }
                for q in self.quantities
            ],
        }


def read_certificate(path: str | Path) -> Certificate:
    """Read a DCC. Raises `ReaderError` with file and line for what is no certificate, for broken XML, for a document
    type or entity, and for numbers that are none."""
    source = Path(path)
    shown = str(path)
    try:
        size = source.stat().st_size
        if size > MAX_BYTES:
            raise ReaderError("is too large for a certificate", path=shown, place="", remedy="give the DCC itself")
        data = source.read_bytes()
    except OSError as error:
        raise ReaderError(f"cannot be read: {error.strerror}", path=shown, place="", remedy="check the path") from None
    file = FileBytes(source, shown, data)
    root = parse(file, kind="DCC")
    if root.name != "digitalCalibrationCertificate":
        file.fail(f"is no DCC: its root is <{root.name}>", "line 1", "give a digital calibration certificate (PTB)")
    results = root.first("measurementResults")
    found: list[CertifiedQuantity] = []
    for result in [] if results is None else [n for n in results.walk() if n.name == "result"]:
        title = _name(result) or ""
        data_node = result.first("data")
        for node in [] if data_node is None else _quantities(data_node):
            one = _quantity(file, node, title)
            if one is not None:
                found.append(one)
    core = root.first("administrativeData", "coreData")
    laboratory = root.first("administrativeData", "calibrationLaboratory", "contact")
    return Certificate(
        shown,
        (core.text_of("uniqueIdentifier") if core else None) or "",
        (core.text_of("endPerformanceDate") or core.text_of("beginPerformanceDate")) if core else None,
        (_name(laboratory) if laboratory else None) or "",
        root.attributes.get("schemaVersion", ""),
        tuple(found),
    )


def _quantities(data: Node) -> list[Node]:
    """The quantities of a result and of its lists; those in metadata (limits, nominal points) are no results."""
    rows: list[Node] = []
    for child in data.children:
        if child.name == "quantity":
            rows.append(child)
        elif child.name == "list":
            rows += _quantities(child)
    return rows


def _name(node: Node) -> str | None:
    contents = [child for child in node.each("name") if child.name == "content"]
    english = next((c.text for c in contents if c.attributes.get("lang") == "en"), None)
    return english or (contents[0].text if contents else None)


def _quantity(file: FileBytes, node: Node, result: str) -> CertifiedQuantity | None:
    value = next((c for c in node.children if c.name in ("real", "realListXMLList", "hybrid")), None)
    while value is not None and value.name == "hybrid":
        value = next((c for c in value.children if c.name in ("real", "realListXMLList")), None)
    if value is None:
        return None  # text, complex numbers, constants: nothing that a budget could take
    tail = "" if value.name == "real" else "XMLList"
    values = _numbers(file, value, f"value{tail}")
    unit = value.text_of(f"unit{tail}")
    if not values or unit is None:
        file.fail("a quantity has no value or no unit", value.place, "the certificate is damaged; ask for it again")
    expanded, k, p, kind = _uncertainty(file, value, tail, len(values))
    label = value.text_of("label")
    return CertifiedQuantity(
        node.attributes.get("id"),
        tuple(node.attributes.get("refType", "").split()),
        _name(node) or label or "",
        result,
        unit,
        values,
        expanded,
        k,
        p,
        kind,
        node.line,
    )


def _numbers(file: FileBytes, node: Node, *path: str) -> tuple[float, ...]:
    text = node.text_of(*path)
    try:
        numbers = tuple(float(word) for word in (text or "").split())
    except ValueError:
        numbers = (math.nan,)
    if not all(math.isfinite(x) for x in numbers):
        file.fail(f"<{path[-1]}> holds something that is not a number", node.place, "the certificate is damaged")
    return numbers


def _uncertainty(
    file: FileBytes, value: Node, tail: str, count: int
) -> tuple[tuple[float, ...] | None, float | None, float | None, str]:
    """Standard uncertainties, coverage factor and probability, distribution in words."""
    old = value.first(f"expandedUnc{tail}")
    new = value.first(f"measurementUncertaintyUnivariate{tail}")
    if old is not None:
        node, name = old, f"uncertainty{tail}"
    elif new is not None and new.first(f"expandedMU{tail}") is not None:
        node, name = new.first(f"expandedMU{tail}") or new, f"valueExpandedMU{tail}"
    elif new is not None and new.first(f"standardMU{tail}") is not None:
        node, name = new.first(f"standardMU{tail}") or new, f"valueStandardMU{tail}"
    else:
        return None, None, None, ""
    stated = _numbers(file, node, name)
    factors = _numbers(file, node, f"coverageFactor{tail}") or (1.0,)
    chance = _numbers(file, node, f"coverageProbability{tail}")
    if "coverageFactor" not in "".join(c.name for c in node.children) and "Standard" not in name:
        file.fail("an expanded uncertainty has no coverage factor", node.place, "ask the laboratory for k")
    if len(stated) not in (1, count) or len(factors) not in (1, count):
        file.fail("there are not as many uncertainties as values", node.place, "the certificate is damaged")
    if min(stated) < 0.0 or not min(factors) > 0.0:
        file.fail("an uncertainty is negative", node.place, "the certificate is damaged")
    stated = stated if len(stated) == count else stated * count
    spread = factors if len(factors) == count else factors * count
    u = tuple(a / b for a, b in zip(stated, spread, strict=True))
    k = factors[0] if len(set(factors)) == 1 else None
    kind = node.text_of(f"distribution{tail}") or node.text_of("distribution") or ""
    return u, k, chance[0] if chance else None, kind


def converted(quantity: CertifiedQuantity, item: int | None, unit: str | None) -> tuple[float, float, str]:
    """Value and standard uncertainty of one item (from 1) in ``unit`` (default the certificate's), and the unit. Raises
    `ReaderError`-free `ValueError` with the reason: the caller knows the place."""
    if item is None and len(quantity.values) > 1:
        raise ValueError(f"the quantity is a list of {len(quantity.values)} values: name one with 'item', from 1")
    at = (item or 1) - 1
    if at >= len(quantity.values):
        raise ValueError(f"the quantity has {len(quantity.values)} values, there is no item {item}")
    if quantity.u is None:
        raise ValueError("the certificate states no uncertainty for this quantity")
    target = unit or quantity.unit
    factor = conversion(quantity.unit, target)
    if factor is None:
        raise ValueError(f"the certificate's unit {quantity.unit} does not convert to {target}")
    return quantity.values[at] * factor, quantity.u[at] * factor, target
