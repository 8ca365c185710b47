"""``abbe fit``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.session import Session, json_option, named_file
from pipelines.cli.tables import show_flags

if TYPE_CHECKING:
    from metrology_core.data import PointSet

# spelled out here, since help must not load the fits; a test holds them equal to the table of the fits
FEATURES = ("line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse", "slot", "parallel_planes")
FORMATS = ("auto", "text", "ply", "stl", "obj", "pcd", "hdf5", "qif")
# what the library calls its arguments, and what they are here
_OPTIONS = (
    ("points_are=", "--points-are "),
    ("format=", "--format "),
    ("unit=", "--unit "),
    ("material=", "--material "),
)


@click.command("fit")
@click.argument("feature", type=click.Choice(FEATURES))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--unit", help="Unit of the coordinates, e.g. mm; only a file that states its own needs none.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="auto", show_default=True, help="Format of FILE.")
@click.option(
    "--columns",
    metavar="ROLE,...",
    help="Role of every column of a text cloud: x,y,z,i,j,k,label,index,ignore. Without z: points of a plane.",
)
@click.option("--dataset", metavar="NAME", help="Of an HDF5 file with several: the dataset of the points.")
@click.option("--separator", type=click.Choice(["space", "comma", "semicolon", "tab", "bar"]), help="Of a text cloud.")
@click.option("--decimal", type=click.Choice(["point", "comma"]), help="Decimal sign of a text cloud.")
@click.option("--criterion", default="least_squares", show_default=True, help="Association criterion.")
@click.option(
    "--points-are",
    type=click.Choice(["surface", "ball_centre", "unknown"]),
    help="Default: what the file says, else unknown (flagged).",
)
@click.option("--tip-radius", metavar="QUANTITY", help="Radius of the probe tip for ball centres, e.g. '1.5 mm'.")
@click.option("--material", type=click.Choice(["inside", "outside"]), help="Side of the feature on which the part is.")
@click.option("--label", help="Only the points with this label.")
@click.option("--fixed", multiple=True, metavar="NAME=VALUE", help="Known: radius=5, half_angle=0.1, axis=0,0,1.")
@click.option(
    "--bounds", multiple=True, metavar="NAME=LOW,HIGH", help="Limits of a size, e.g. radius=4.9,5.1; may be empty."
)
@click.option("--robust", type=click.Choice(["huber", "tukey"]), help="Find, drop and report outliers.")
@json_option
@click.pass_obj
def fit_command(
    session: Session,
    feature: str,
    file: Path,
    unit: str | None,
    form: str,
    columns: str | None,
    dataset: str | None,
    separator: str | None,
    decimal: str | None,
    criterion: str,
    points_are: str | None,
    tip_radius: str | None,
    material: str | None,
    label: str | None,
    fixed: tuple[str, ...],
    bounds: tuple[str, ...],
    robust: str | None,
) -> int:
    """Fit FEATURE to the points of FILE.

    Prints parameters with standard uncertainties (from the scatter of the points alone: no instrument is declared
    here) and the form deviation about the fitted element.
    """
    from metrology_core import fit
    from metrology_core.errors import AbbeError
    from metrology_core.units import unit as find_unit
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode

    if unit is not None:
        find_unit(unit)  # wrong words are told before a file that is not there
    named_file(file)
    try:
        layout = _text_layout(columns, separator, decimal)
        if dataset is not None:
            layout["dataset"] = dataset
        points: Any = None
        if criterion == "least_squares" and not (
            label or bounds or robust or columns or separator or decimal or tip_radius
        ):
            points = _stream(file, unit, form, points_are, dataset)
        if points is None:
            points = _read(file, unit, form, points_are, tip_radius, label, layout)
    except AbbeError as error:
        error.remedy = _for_the_command_line(error.remedy)
        raise
    flat = columns is not None and "z" not in layout["columns"]
    with compile_notice(session.remark) as compiled:
        watch = _CompileRemark(session, compiled)
        result = fit(
            _in_the_plane(points) if flat else points, feature, criterion=criterion, material=material,
            fixed=_named(fixed, "--fixed"), bounds=_named(bounds, "--bounds"), robust=robust,
            unit=points.unit if flat else None,
        )  # fmt: skip
        watch.done()
    document = result.to_dict()
    if flat:
        document["flags"] = list(dict.fromkeys([*points.flags, *document["flags"]]))
    session.answer(document)
    if not session.as_json:
        _show(session, document)
    return int(ExitCode.CONFORMING if result.status == "converged" else ExitCode.NOT_MEASURED)


def _in_the_plane(points: PointSet) -> Any:
    """(n, 2): points of a file without z. Fitted in their plane: in space the heights, all zero, would count as errors
    that are not there."""
    from metrology_core.errors import ParameterError

    if points.points_are == "ball_centre":
        raise ParameterError(
            "ball centres without z cannot be compensated", expected="x, y and z of the centres",
            remedy="add a column of zeros and name it z in --columns",
        )  # fmt: skip
    return points.xyz[:, :2]


def _named(texts: tuple[str, ...], option: str) -> dict[str, Any] | None:
    """Numbers by name from NAME=VALUE texts; None for none, an empty field is None."""
    from metrology_core.errors import ParameterError

    result: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            numbers = [float(part) if part.strip() else None for part in value.split(",")]
        except ValueError:
            equals = ""
        if not equals:
            raise ParameterError(f"{option} is not understood", expected="NAME=VALUE or NAME=VALUE,VALUE", got=text)
        result[name.strip()] = numbers[0] if len(numbers) == 1 else numbers
    return result or None


class _CompileRemark:
    """Tells, once, that kernels had to be compiled: the only time that the command is slow."""

    def __init__(self, session: Session, compiled: list[str]) -> None:
        import time

        self.session, self.compiled, self.clock = session, compiled, time.monotonic
        self.began = self.clock()

    def done(self) -> None:
        if self.compiled:
            seconds = self.clock() - self.began
            self.session.remark(f"compiled {len(self.compiled)} kernels ({seconds:.1f} s); they are kept for next time")


def _for_the_command_line(remedy: str | None) -> str | None:
    """A remedy that names arguments of the library, with the options of this command instead."""
    if remedy is None:
        return None
    # columns=("index", "x", ...) and separator="," as this command takes them
    remedy = re.sub(r"columns=\(([^)]*)\)", lambda found: "--columns " + re.sub(r'[\s"]', "", found[1]), remedy)
    remedy = remedy.replace('separator=","', "--separator comma")
    for name in ("columns", "separator", "decimal"):
        remedy = remedy.replace(f"{name}=", f"--{name}")
    for argument, option in _OPTIONS:
        remedy = remedy.replace(argument + ",", option.rstrip() + ",").replace(argument, option)
    return remedy


def _text_layout(columns: str | None, separator: str | None, decimal: str | None) -> dict[str, Any]:
    """Options of a text cloud in the words of the reader; empty where none is given."""
    from pointcloud.readers.text_layout import SEPARATORS

    layout: dict[str, Any] = {}
    if columns is not None:
        layout["columns"] = tuple(name.strip() for name in columns.split(","))
    if separator is not None:
        layout["separator"] = SEPARATORS[separator]
    if decimal is not None:
        layout["decimal"] = {"point": ".", "comma": ","}[decimal]
    return layout


STREAM_FROM = 2_000_000  # points: 48 MB of coordinates


def _stream(file: Path, unit: str | None, form: str, points_are: str | None, dataset: str | None) -> Any:
    """A block source over a large HDF5 file, so that the points are never in memory together; None for other files.

    None also where the file says something about its points that only a `PointSet` carries: it is read as usual then.
    """
    from metrology_core.hdf5 import Hdf5Points

    if form not in ("auto", "hdf5") or points_are not in (None, "surface", "unknown"):
        return None
    try:
        with file.open("rb") as stream:
            if stream.read(8) != b"\x89HDF\r\n\x1a\n":
                return None
    except OSError:
        return None  # the reader says what is wrong
    source = Hdf5Points(file, dataset, unit=unit)
    if source.n_points < STREAM_FROM:
        source.close()
        return None
    return _Announced(source, points_are)


class _Announced:
    """A block source whose result carries the flags that reading the whole file would give."""

    def __init__(self, source: Any, points_are: str | None) -> None:
        self.source, self.unit, self.n_points = source, source.unit, source.n_points
        self.read, self.blocks = source.read, source.blocks
        single = source.dtype.kind == "f" and source.dtype.itemsize < 8
        self.flags = (*(("float32_source",) if single else ()), *(() if points_are == "surface" else _UNKNOWN))


_UNKNOWN = ("points_are_unknown",)


def _read(
    file: Path,
    unit: str | None,
    form: str,
    points_are: str | None,
    tip_radius: str | None,
    label: str | None,
    layout: dict[str, Any],
) -> PointSet:
    from metrology_core.data import ProbeTip
    from metrology_core.errors import ParameterError, UnitError
    from metrology_core.units import quantity
    from pointcloud import read_points

    tip = None
    if tip_radius is not None:
        if unit is None:
            raise UnitError("a tip radius needs the unit of the points", remedy="give --unit")
        tip = ProbeTip(quantity(tip_radius, "length").to(unit))
    said: dict[str, Any] = {"unit": unit, "format": form, "tip": tip, "feature": label, **layout}
    if points_are is not None:
        return read_points(file, points_are=points_are, **said)
    try:
        return read_points(file, points_are=None, **said)
    except ParameterError as error:
        if "points_are" not in (error.expected or ""):
            raise
        return read_points(file, points_are="unknown", **said)  # the file does not say it either: flagged


def _show(session: Session, document: dict[str, Any]) -> None:
    from rich.table import Table

    console = session.console
    unit = document["unit"]
    console.print(
        f"{document['feature']}, {document['criterion']}, {document['n_points']} points: {document['status']}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False)
    for title in ("parameter", "value", "standard uncertainty"):
        table.add_column(title)
    spread = document.get("standard_uncertainty") or {}
    for name, value in (document.get("parameters") or {}).items():
        table.add_row(name, *_with_spread(value, spread.get(name)))
    console.print(table)
    form = document.get("form") or {}
    if form.get("value") is not None:
        console.print(f"form (peak to valley about the element): {form['value']:.6g} {unit}", markup=False)
    if document.get("rms") is not None:
        console.print(f"rms: {document['rms']:.6g} {unit}", markup=False)
    show_flags(session, document["flags"])


def _with_spread(value: Any, u: Any) -> tuple[str, str]:
    """A parameter and its standard uncertainty, the value to the second digit of the uncertainty."""
    if isinstance(value, (list, tuple)):
        each = u if isinstance(u, (list, tuple)) else [u] * len(value)
        pairs = [_with_spread(item, spread) for item, spread in zip(value, each, strict=True)]
        spreads = [pair[1] for pair in pairs] if isinstance(u, (list, tuple)) else [pairs[0][1]]
        return ", ".join(pair[0] for pair in pairs), ", ".join(spreads) if any(spreads) else ""
    if isinstance(value, float) and isinstance(u, float) and u > 0.0:
        decimals = min(15, max(0, 1 - math.floor(math.log10(u))))
        return f"{value:.{decimals}f}", f"{u:.2g}"
    return f"{value:.9g}" if isinstance(value, float) else str(value), ""
