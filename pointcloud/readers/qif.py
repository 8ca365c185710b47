"""QIF 3.0 (ISO 23952) results files: point sets, features, characteristics, and the file's own answers.

Tolerant where the file is inconsistent (a reference to nothing, a set nobody claims: flagged and noted), strict where
a number would change (units, counts, values that are not numbers: refused).
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np

from metrology_core.data import Frame, PointSet, ProbeTip
from metrology_core.errors import ParameterError, ReaderError
from metrology_core.provenance import Source, digest_bytes
from metrology_core.units import UNITS
from pointcloud.readers._raw import FileBytes, RawCloud, load
from pointcloud.readers.qif_characteristics import characteristics
from pointcloud.readers.qif_features import features
from pointcloud.readers.qif_model import QifDocument, QifFeature, QifPointSet, QifReference, QifUnits
from pointcloud.readers.qif_xml import Node, parse
from pointcloud.readers.registry import detect_format

_HEAD = 1 << 16


def read_qif(path: str | Path, *, root: str | Path | None = None) -> QifDocument:
    """Everything Abbe understands of a QIF 3.0 file; raises `ReaderError`, also for any DTD or entity in it."""
    source = load(path, None if root is None else Path(root))
    detect_format(source.path, source.data[:_HEAD], shown=source.shown, format="qif")
    return document_of(source)


def read(source: FileBytes, feature: str | None = None) -> RawCloud:
    """The points of a QIF file, or of one feature in it, with labels, unit and compensation as stated."""
    document = document_of(source)
    if feature is None:
        return _join(document, document.point_sets)
    document.feature(feature)
    return _join(document, _sets_of(document, feature))


def document_of(source: FileBytes) -> QifDocument:
    """Parse the bytes of a QIF file."""
    tree = parse(source)
    if tree.name != "QIFDocument":
        source.fail(
            f"the root element is <{tree.name}>", f"line {tree.line}", "export QIF 3.0", expected="<QIFDocument>"
        )
    version = tree.attributes.get("versionQIF", "")
    if not version.startswith("3."):
        source.fail(
            f"is QIF version {version or '(not stated)'}", tree.place, "export as QIF 3.0", expected="versionQIF 3.x"
        )
    units = _units(source, tree)
    _refuse_mixed_units(source, tree)
    notes: list[str] = []
    results = [node for node in tree.walk() if node.name == "MeasurementResults"]
    if len(results) > 1:
        source.fail(
            f"holds {len(results)} sets of measurement results",
            results[1].place,
            "export one measurement of one part per file",
        )
    raw_sets = _point_sets(source, results[0]) if results else ()
    found, flags = features(source, tree, results[0] if results else None, raw_sets, notes)
    sets = tuple(dataclasses.replace(row, owner=_owner(row, found)) for row in raw_sets)
    unclaimed = [row.id for row in sets if not any(ref.set_id == row.id for f in found for ref in f.references)]
    if unclaimed:
        flags.add("points_unclaimed")
        notes.append(f"no feature refers to point set {', '.join(unclaimed)}")
    return QifDocument(
        source=Source(source.shown, digest_bytes(source.data), len(source.data), "qif"),
        version=version,
        units=units,
        features=found,
        point_sets=sets,
        characteristics=characteristics(source, tree, results[0] if results else None, units, found, notes),
        flags=tuple(sorted(flags)),
        notes=tuple(notes),
    )


def _units(source: FileBytes, tree: Node) -> QifUnits:
    primary = tree.first("FileUnits", "PrimaryUnits")
    if primary is None:
        source.fail("does not state its units", tree.place, "export with <FileUnits><PrimaryUnits>")
    linear, linear_factor = _unit(source, primary, "LinearUnit", "length", "m")
    angular, angular_factor = _unit(source, primary, "AngularUnit", "angle", "rad")
    return QifUnits(linear, angular, linear_factor, angular_factor)


def _unit(source: FileBytes, primary: Node, tag: str, dimension: str, base: str) -> tuple[str, float]:
    """Our name of a primary unit, from its factor to the SI unit; the name in the file is only a name."""
    node = primary.first(tag)
    if node is None:
        if dimension == "length":
            source.fail(f"does not state <{tag}>", primary.place, "export with the unit of length")
        return base, 1.0
    factor = number(source, node.first("UnitConversion", "Factor")) if node.first("UnitConversion") else 1.0
    offset_node = node.first("UnitConversion", "Offset")
    offset = number(source, offset_node) if offset_node else 0.0
    # 1e-10 relative: the sample file prints pi/180 with 13 digits
    names = [
        row.name
        for row in UNITS.values()
        if row.dimension == dimension and math.isclose(row.factor, factor, rel_tol=1e-10)
    ]
    if not names or offset != 0.0:
        source.fail(
            f"the factor {factor!r} (offset {offset!r}) to the SI unit belongs to no known unit of {dimension}",
            node.place,
            "export in mm and degrees",
        )
    stated = (node.text_of("UnitName") or "").lower()
    spelled = {"millimeter": "mm", "millimetre": "mm", "meter": "m", "metre": "m", "in": "inch", "degree": "deg"}
    stated = spelled.get(stated, stated)
    if stated in UNITS and UNITS[stated].dimension == dimension and stated != names[0]:
        source.fail(
            f"the unit is called {stated} but its factor is that of {names[0]}", node.place, "correct <FileUnits>"
        )
    return names[0], factor


def _refuse_mixed_units(source: FileBytes, tree: Node) -> None:
    for node in tree.walk():
        for key in ("linearUnit", "angularUnit"):
            if key in node.attributes:
                tag = "LinearUnit" if key == "linearUnit" else "AngularUnit"
                primary = tree.text_of("FileUnits", "PrimaryUnits", tag, "UnitName")
                if node.attributes[key] != primary:
                    source.fail(
                        f"a value is in {node.attributes[key]}, the file in {primary}",
                        node.place,
                        "export all values in the primary units",
                    )


def number(source: FileBytes, node: Node | None) -> float:
    """The number in an element; raises `ReaderError` for anything else."""
    if node is None:
        source.fail("a number is missing", "document", "export the file again")
    try:
        value = float(node.text) if "_" not in node.text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        source.fail("is not a finite number", node.place, "repair the value", got=repr(node.text[:40]))
    return value


def _point_sets(source: FileBytes, results: Node) -> tuple[QifPointSet, ...]:
    rows: dict[str, QifPointSet] = {}
    for node in results.each("MeasuredPointSets"):
        if node.name != "MeasuredPointSet":
            continue
        row = _point_set(source, node)
        if row.id in rows:
            source.fail(f"the id {row.id} occurs twice", node.place, "export the file again")
        rows[row.id] = row
    return tuple(rows.values())


def _point_set(source: FileBytes, node: Node) -> QifPointSet:
    points = node.first("Points")
    if points is None:
        source.fail("has no <Points> (binary arrays are not read)", node.place, "export the points as text")
    words = points.text.split()
    declared = node.attributes.get("count") or points.attributes.get("count")
    if declared is not None and (not declared.strip().isdigit() or 3 * int(declared) != len(words)):
        source.fail(
            f"count={declared!r} does not fit the {len(words)} numbers in <Points>",
            node.place,
            "the file is damaged; export it again",
            expected="three numbers for each point",
        )
    if len(words) % 3:
        source.fail(
            f"holds {len(words)} numbers", points.place, "export the file again", expected="a multiple of three"
        )
    try:
        xyz = np.array([float(word) for word in words], dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        source.fail(f"a coordinate is not a number: {error}", points.place, "repair the value")
    xyz.setflags(write=False)
    compensated = {"true": True, "1": True, "false": False, "0": False, None: None}.get(
        node.text_of("Compensated"), "bad"
    )
    if compensated == "bad":
        source.fail("<Compensated> is neither true nor false", node.place, "repair the value")
    radius_node = node.first("ProbeRadius")
    radius = number(source, radius_node) if radius_node else None
    if radius is not None and radius <= 0.0:
        source.fail(f"the probe radius is {radius!r}", node.place, "repair <ProbeRadius>", expected="a positive number")
    return QifPointSet(
        node.attributes.get("id", ""),
        xyz,
        None if compensated is None else bool(compensated),
        radius,
        None,
        node.line,
    )


def _owner(row: QifPointSet, found: tuple[QifFeature, ...]) -> str | None:
    names = {feature.name for feature in found for ref in feature.references if ref.set_id == row.id}
    return names.pop() if len(names) == 1 else None


# --------------------------------------------------------------------------------------------- to PointSet
def joined_points(
    document: QifDocument, sets: tuple[QifPointSet, ...], frame: Frame | str, tip: ProbeTip | None
) -> PointSet:
    """PointSet of some point sets, labelled."""
    from pointcloud.readers.api import to_point_set

    return to_point_set(_join(document, sets), document.source, "QIF 3.0", None, None, frame, tip)


def feature_points(
    document: QifDocument, name: str, stated_range: bool, frame: Frame | str, tip: ProbeTip | None
) -> PointSet:
    """Points of one feature, all of its sets or only what it claims of them."""
    feature = document.feature(name)
    sets = _sets_of(document, name)
    points = joined_points(document, sets, frame, tip)
    if not stated_range:
        return points
    start = dict(zip((row.id for row in sets), np.cumsum([0, *(len(row.xyz) for row in sets)]), strict=False))
    index = [
        np.arange((ref.start or 1) - 1, ref.stop or _set(document, ref.set_id).xyz.shape[0]) + start[ref.set_id]
        for ref in feature.references
        if ref.found
    ]
    chosen = points.select(np.concatenate(index))
    return dataclasses.replace(chosen, flags=tuple(f for f in chosen.flags if f != "point_range_not_applied"))


def _set(document: QifDocument, set_id: str) -> QifPointSet:
    return next(row for row in document.point_sets if row.id == set_id)


def _sets_of(document: QifDocument, name: str) -> tuple[QifPointSet, ...]:
    feature = document.feature(name)
    ids = list(dict.fromkeys(ref.set_id for ref in feature.references if ref.found))
    if not ids:
        why = "its reference leads nowhere" if feature.references else "it refers to none"
        raise ParameterError(
            f"the file has no points for feature {name!r}: {why}",
            where=document.source.path,
            expected=", ".join(row.owner for row in document.point_sets if row.owner),
            remedy="choose a feature with points",
        )
    return tuple(_set(document, set_id) for set_id in ids)


def _join(document: QifDocument, sets: tuple[QifPointSet, ...]) -> RawCloud:
    where = document.source.path
    if not sets:
        raise ReaderError(
            "holds no measured points",
            path=where,
            place="<MeasuredPointSets>",
            remedy="export with the measured points",
        )
    for what, values in (
        ("compensation", [row.points_are for row in sets]),
        ("tip radius", [row.probe_radius for row in sets]),
    ):
        if len(set(values)) > 1:
            k = next(k for k, value in enumerate(values) if value != values[0])
            raise ReaderError(
                f"point sets {sets[0].id} and {sets[k].id} differ in {what}",
                path=where,
                place=f"line {sets[k].line}, <MeasuredPointSet>",
                remedy="read them one by one: read_points(..., feature=...) or document.point_set(name)",
                got=f"{values[0]} and {values[k]}",
            )
    names = list(dict.fromkeys(document.label(row) for row in sets))
    labels = np.concatenate([np.full(len(row.xyz), names.index(document.label(row)), dtype=np.int32) for row in sets])
    ids = {row.id for row in sets}
    partly = [
        f.name for f in document.features for ref in f.references if ref.set_id in ids and _partial(document, f, ref)
    ]
    flags = {flag for flag in document.flags if flag != "points_unclaimed" or any(row.owner is None for row in sets)}
    history = [f"{len(sets)} measured point set(s)", *document.notes]
    if partly:
        flags.add("point_range_not_applied")
        history.append(
            f"{', '.join(dict.fromkeys(partly))}: the file claims a stretch of the set; all points are labelled"
        )
    return RawCloud(
        np.concatenate([row.xyz for row in sets]),
        labels=labels,
        label_names=tuple(names),
        unit=document.units.linear,
        points_are=None if sets[0].compensated is None else sets[0].points_are,
        tip_radius=sets[0].probe_radius if sets[0].compensated is False else None,
        flags=tuple(flags),
        history=tuple(history),
    )


def _partial(document: QifDocument, feature: QifFeature, ref: QifReference) -> bool:
    """True if the references of a feature to one set leave some of its points out."""
    if not ref.found:
        return False
    n = len(_set(document, ref.set_id).xyz)
    claimed = np.zeros(n, dtype=bool)
    for other in feature.references:
        if other.set_id == ref.set_id:
            claimed[(other.start or 1) - 1 : other.stop or n] = True
    return not claimed.all()
