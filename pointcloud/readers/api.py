"""`read_points`: one door for all formats of point clouds."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from metrology_core.data import Acquisition, Frame, PointSet, PrepareStep, ProbeTip, ThermalState
from metrology_core.errors import ParameterError, ReaderError, UnitError
from metrology_core.provenance import Source, digest_bytes, digest_file
from metrology_core.units import unit as unit_of
from pointcloud.readers._raw import FileBytes, RawCloud, check_path, load
from pointcloud.readers.registry import Format, detect_format
from pointcloud.readers.text_layout import ROLES, TextOptions

_HEAD = 1 << 16


def read_points(
    path: str | Path,
    *,
    unit: str | None,
    points_are: str | None,
    frame: Frame | str = "file",
    format: str = "auto",
    tip: ProbeTip | None = None,
    root: str | Path | None = None,
    label_column: str | int | None = None,
    feature: str | None = None,
    columns: tuple[str, ...] | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    dataset: str | None = None,
    normals_role: str | None = None,
    acquisition: Acquisition | None = None,
    thermal: ThermalState | None = None,
) -> PointSet:
    """Points of a file as a `PointSet`, the numbers exactly as the file holds them.

    ``unit`` is never guessed. Where the file states its own (QIF; HDF5 attribute; a header such as ``x [mm]``) a
    different ``unit`` is refused, and None takes the file's. ``points_are`` likewise: ``"surface"``,
    ``"ball_centre"`` or ``"unknown"``; None only where the file says it. ``tip`` is in ``unit``.

    ``path`` is taken under ``root`` if that is given and ``path`` is relative; the source then records the path under
    the root, otherwise the bare name. ``feature`` keeps the points with one label. ``label_column``, ``columns``,
    ``separator``, ``decimal`` overrule the detection in text clouds; ``columns`` names every column: x, y, z, i, j, k,
    label, view, ignore. ``dataset`` names an HDF5 dataset. From which view of a scanner a point comes is read from a
    text column or a PLY property named ``view``, and from an HDF5 dataset ``view`` beside that of the points. Normals
    named i, j, k in text are taken as probing vectors (``approach``), all others as ``measured``; ``normals_role``
    overrules.

    Flags: ``non_finite_points``, ``points_are_unknown``, ``float32_source``, ``columns_ignored``, and those of QIF.
    Raises `ReaderError` (with path, place, remedy) for bytes that cannot be read, `UnitError`, `ParameterError`.
    """
    wanted = _check_unit(unit)
    if points_are not in (None, "surface", "ball_centre", "unknown"):
        raise ParameterError(f"points_are is {points_are!r}", expected="'surface', 'ball_centre', 'unknown' or None")
    options = _text_options(separator, decimal, columns, label_column)
    folder = None if root is None else Path(root)
    raw, source, row = read_file(path, folder, format, options, dataset, feature)
    if normals_role is not None and raw.normals is not None:
        raw = dataclasses.replace(raw, normals_role=normals_role)
    by_label = None if row.name == "qif" else feature  # a QIF file has selected already
    return to_point_set(raw, source, row.title, wanted, points_are, frame, tip, acquisition, thermal, by_label)


def _check_unit(unit: str | None) -> str | None:
    if unit is None:
        return None
    found = unit_of(unit)
    if found.dimension != "length":
        raise UnitError(f"points cannot be in {found.name}", expected="a unit of length, for example mm")
    return found.name


def _text_options(
    separator: str | None, decimal: str | None, columns: tuple[str, ...] | None, label_column: str | int | None
) -> TextOptions:
    if separator is not None and (len(separator) != 1 or separator.isalnum() or separator in '.+-\n\r"'):
        raise ParameterError(f"{separator!r} cannot separate columns", expected="one of ' ', ',', ';', tab, '|'")
    if decimal not in (None, ".", ","):
        raise ParameterError(f"{decimal!r} is no decimal sign", expected="'.' or ','")
    if columns is not None:
        columns = tuple(columns)
        bad = [name for name in columns if name not in ROLES]
        if bad:
            raise ParameterError(f"unknown column role {bad[0]!r}", expected=", ".join(ROLES))
    return TextOptions(separator, decimal, columns, label_column)


def read_file(
    path: str | Path,
    root: Path | None,
    format: str,
    options: TextOptions | None = None,
    dataset: str | None = None,
    feature: str | None = None,
) -> tuple[RawCloud, Source, Format]:
    """Bytes to arrays: what the file says, before any unit or frame; and the digest of exactly those bytes."""
    options = options or TextOptions()
    checked, shown = check_path(path, root)
    row = detect_format(checked, _first_bytes(checked, shown), shown=shown, format=format)
    if row.name != "hdf5" and dataset is not None:
        raise ParameterError("dataset= belongs to HDF5 files", got=row.title)
    if row.name != "text" and options != TextOptions():
        raise ParameterError(
            "label_column=, columns=, separator= and decimal= belong to text clouds",
            got=row.title,
            remedy="leave them out, or use format='text'",
        )
    if row.name == "hdf5":
        raw = row.reader()(checked, shown, dataset)
        source = Source(shown, digest_file(checked), checked.stat().st_size, row.name)
        return raw, source, row
    content = load(path, root)
    source = Source(shown, digest_bytes(content.data), len(content.data), row.name)
    return _dispatch(row, content, options, feature), source, row


def _dispatch(row: Format, content: FileBytes, options: TextOptions, feature: str | None) -> RawCloud:
    if row.name == "text":
        raw: RawCloud = row.reader()(content, options)
    elif row.name == "qif":
        raw = row.reader()(content, feature)
    else:
        raw = row.reader()(content)
    return raw


def _first_bytes(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError as error:
        raise ReaderError(
            f"cannot be opened: {error.strerror}", path=shown, place="path", remedy="check the permissions of the file"
        ) from error


def to_point_set(
    raw: RawCloud,
    source: Source,
    title: str,
    unit: str | None,
    points_are: str | None,
    frame: Frame | str,
    tip: ProbeTip | None,
    acquisition: Acquisition | None = None,
    thermal: ThermalState | None = None,
    feature: str | None = None,
) -> PointSet:
    """Join what the file says with what the caller says; a contradiction is refused."""
    extra: dict[str, Any] = {}
    if acquisition is not None:
        extra["acquisition"] = acquisition
    if thermal is not None:
        extra["thermal"] = thermal
    words = "; ".join((f"read as {title}", *raw.history))
    points = PointSet.from_array(
        raw.xyz,
        unit=_agree_unit(raw, source, unit),
        frame=frame,
        points_are=_agree_points_are(raw, source, points_are),  # type: ignore[arg-type]
        tip=_agree_tip(raw, source, tip),
        normals=raw.normals,
        normals_role=raw.normals_role,
        labels=raw.labels,
        label_names=raw.label_names if raw.labels is not None else (),
        views=raw.views,
        view_names=raw.view_names if raw.views is not None else (),
        source=source,
        flags=raw.flags,
        history=(PrepareStep("read", words),),
        **extra,
    )
    if feature is None:
        return points
    if points.labels is None:
        raise ParameterError(
            f"feature {feature!r} was asked for, and the file has no labels",
            got=title,
            remedy="leave feature= out, or name the label column with label_column=",
        )
    return points.labelled(feature)


def _agree_unit(raw: RawCloud, source: Source, unit: str | None) -> str:
    stated = None if raw.unit is None else unit_of(raw.unit).name
    if unit is None:
        if stated is None:
            raise UnitError(
                "the unit of the coordinates is missing",
                where=source.path,
                expected="for example unit='mm'",
                remedy="the file does not state its unit: look it up in the export settings of the instrument",
            )
        return stated
    if stated is not None and stated != unit:
        raise UnitError(
            "the file states another unit",
            where=source.path,
            expected=stated,
            got=unit,
            remedy=f"use unit='{stated}', or correct the file",
        )
    return unit


def _agree_points_are(raw: RawCloud, source: Source, points_are: str | None) -> str:
    if points_are is None:
        if raw.points_are is None:
            raise ParameterError(
                "nobody says what the points are",
                where=source.path,
                expected="points_are='surface', 'ball_centre' or 'unknown'",
                remedy="the file does not say it: look it up in the export settings of the instrument",
            )
        return raw.points_are
    if raw.points_are is not None and raw.points_are != points_are:
        raise ParameterError(
            "the file says otherwise what the points are",
            where=source.path,
            expected=raw.points_are,
            got=points_are,
            remedy=f"use points_are='{raw.points_are}', or correct the file",
        )
    return points_are


def _agree_tip(raw: RawCloud, source: Source, tip: ProbeTip | None) -> ProbeTip | None:
    if raw.tip_radius is None:
        return tip
    if tip is None:
        return ProbeTip(raw.tip_radius)
    # 1e-6 relative: radii are typed from certificates with six or seven digits
    if not math.isclose(tip.radius, raw.tip_radius, rel_tol=1e-6):
        raise ParameterError(
            "the file states another tip radius",
            where=source.path,
            expected=repr(raw.tip_radius),
            got=repr(tip.radius),
            remedy="give the file's radius (in the unit of the points), or correct the file",
        )
    return ProbeTip(raw.tip_radius, tip.u)
