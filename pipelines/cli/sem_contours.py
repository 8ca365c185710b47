"""``abbe sem contours``: contours of arbitrary shapes of one image, against a design where there is one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.sem_common import (
    PIXEL_U,
    amount,
    finite,
    level_of,
    pixel_size,
    pixel_uncertainty,
    row_range,
    show_gaps,
    show_scan,
    show_values,
    values_document,
)
from pipelines.cli.session import Session, json_option, named_file

if TYPE_CHECKING:
    from metrology_core.data import Image
    from wafer import ContourResult


@click.command("contours")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--pixel", metavar="SIZE[,SIZE]", help="Pixel size, e.g. 0.8nm, or x,y; default: what the file says.")
@click.option("--pixel-u", metavar="RATIO[,RATIO]", help=PIXEL_U)
@click.option("--rows", metavar="A:B", help="Rows to measure, end exclusive.")
@click.option("--columns", metavar="A:B", help="Columns to measure, end exclusive.")
@click.option("--design", type=click.Path(path_type=Path), help="Polygons as text, or GDSII or OASIS (extra gds).")
@click.option("--design-unit", metavar="UNIT", help="Unit of a text design that does not state its own.")
@click.option("--cell", help="Cell of a layout; default: its only top cell.")
@click.option("--layer", metavar="NUMBER[/TYPE]", help="Layer of a layout; default: its only one.")
@click.option(
    "--origin",
    metavar="X,Y",
    help="Design place in the middle of the image, e.g. 12.4um,3um; default: middle of the design.",
)
@click.option("--search", metavar="LENGTH", help="How far the design may be off; default: a quarter of the image.")
@click.option("--limit", metavar="LENGTH", help="Largest distance of a contour from its edge; default: 15 pixels.")
@click.option(
    "--corner",
    metavar="LENGTH",
    help="Stretch about design corners that does not count; default: as far as they are seen rounded.",
)
@click.option(
    "--free", type=click.Choice(["rotation", "scale"]), multiple=True, help="Registration finds this too; repeatable."
)
@click.option("--criterion", type=click.Choice(["threshold", "model"]), default="threshold", show_default=True)
@click.option("--level", metavar="RATIO", help="Level of criterion threshold only; default: '50 %'.")
@click.option("--polarity", type=click.Choice(["auto", "dark", "bright"]), default="auto", show_default=True)
@click.option("--spacing", type=float, help="Pixels of contour for each vertex; default: 2, more where it is noisy.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for contours.csv and contours.svg.")
@json_option
@click.pass_obj
def contours(session: Session, /, image: Path, **given: Any) -> int:
    """Contours of the shapes in IMAGE; with --design their edge placement errors, pull-back and tip to tip."""
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode
    from wafer import ContourSettings, measure_contours, read_design, read_image

    size, unit = (None, "nm") if given["pixel"] is None else pixel_size(given["pixel"])

    def length(name: str) -> float | None:
        return None if given[name] is None else amount(f"--{name}", given[name], "length", "20nm").to(unit)

    settings = ContourSettings(
        criterion=given["criterion"],
        level=level_of(given["level"], given["criterion"], "threshold"),
        spacing=given["spacing"],
        polarity=given["polarity"],
        rows=row_range(given["rows"]),
        columns=row_range(given["columns"], "columns"),
        origin=None if given["origin"] is None else _pair(given["origin"], unit),
        search=length("search"),
        limit=length("limit"),
        corner=length("corner"),
        free=tuple(given["free"]),
    )
    named_file(image, "image")
    design = None
    if given["design"] is not None:
        named_file(given["design"], "design")
        design = read_design(given["design"], unit=given["design_unit"], cell=given["cell"], layer=given["layer"])
    spread = pixel_uncertainty(given["pixel_u"], size)
    data = read_image(image, pixel=size, **spread, unit=unit, measured_rows=settings.rows)
    with compile_notice(session.remark):
        result = measure_contours(data, settings, design=design)
    out: Path | None = given["out"]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "contours.csv").write_text(_table(result), encoding="utf-8")
        (out / "contours.svg").write_text(_drawing(data, result), encoding="utf-8")
    session.answer(_document(result))
    if not session.as_json:
        _show(session, result)
    lost = bool(result.tips) and "sem.pullback" in result.missing  # line ends are there and none was measured
    lacking = not result.contours or (design is not None and ("sem.epe_mean" in result.missing or lost))
    return int(ExitCode.NOT_MEASURED if lacking else ExitCode.CONFORMING)


def _pair(text: str, unit: str) -> tuple[float, float]:
    from metrology_core.errors import ParameterError

    parts = text.split(",")
    if len(parts) != 2:
        raise ParameterError("--origin is a place X,Y", got=text, expected="for example 12.4um,3um")
    x, y = (amount("--origin", part, "length", "12.4um").to(unit) for part in parts)
    return x, y


def _document(result: ContourResult) -> dict[str, Any]:
    from pipelines.record import plain

    document = {
        "unit": result.unit,
        "measurements": values_document(result.measurements, result.methods),
        "missing": dict(result.missing),
        "registration": result.registration,
        "contours": result.contours,
        "tips": result.tips,
        "gaps": result.gaps,
        "shapes": {key: value for key, value in result.shapes.items() if key != "marked"},
        "flags": list(result.flags),
        "details": result.details,
    }
    return dict(finite(plain(document)))


def _table(result: ContourResult) -> str:
    """One line for each vertex: place and normal in pixels, u along the normal and errors in the result's unit."""
    v = result.vertices
    with_design = "epe" in v
    kinds = ("edge", "corner", "line_end", "unmatched")
    lines = [f"contour,x_px,y_px,nx,ny,u_{result.unit}" + (f",epe_{result.unit},epe_u,kind" if with_design else "")]
    for i in range(len(v["x"])):
        if v["state"][i] != 0:
            continue
        row = f"{v['contour'][i]},{v['x'][i]:.4f},{v['y'][i]:.4f},{v['nx'][i]:.4f},{v['ny'][i]:.4f},{v['u'][i]:.4f}"
        if with_design:
            known = v["edge"][i] >= 0
            row += f",{v['epe'][i]:.4f},{v['epe_u'][i]:.4f}" if known else ",,"
            row += f",{kinds[v['kind'][i]]}"
        lines.append(row)
    return "\n".join(lines) + "\n"


def _drawing(image: Image, result: ContourResult) -> str:
    from pipelines.report.contours import contour_svg

    return contour_svg(image.pixels, result.vertices, result.design, result.shapes, result.tips, result.unit) + "\n"


def _held(where: dict[str, Any], name: str) -> str:
    """A place with its expanded uncertainty, both to the digits that the uncertainty has."""
    u = where[f"{name}_u"]
    if u is None:
        return f"{where[name]:.4g} (as stated, not held)"
    decimals = max(0, 1 - math.floor(math.log10(2.0 * u))) if u > 0.0 else 3
    return f"{where[name]:.{decimals}f} ± {2.0 * u:.{decimals}f}"


def _corners(where: dict[str, Any], unit: str) -> str:
    """What about corners does not count, and why."""
    found = where["corners"]
    if found["source"] != "estimated":
        why = {"stated": "as stated", "edge_width": "from the width of the edge; too few corners to see their rounding"}
        return f"corners: {where['corner']:.3g} {unit} of each edge left out ({why[found['source']]})"
    parts = [
        f"{name.replace('_', ' ')} {row['reach']:.3g} {unit} (radius {row['radius']:.3g} {unit} over {row['corners']})"
        for name, row in found["kinds"].items()
        if "radius" in row
    ]
    return f"corners: left out of each edge, from their rounding in the contours: {', '.join(parts)}"


def _show(session: Session, result: ContourResult) -> None:
    console = session.console
    show_values(session, result.measurements, result.methods)
    details = result.details
    console.print(
        f"contours: {len(result.contours)}, vertices: {details['vertices']}, lost: {details['lost']}", markup=False
    )
    where = result.registration
    if where is not None:
        console.print(
            f"design at x {_held(where, 'x')}, y {_held(where, 'y')} {result.unit} "
            "(± U, k = 2; x right, y up, from the middle of the image)", markup=False,
        )  # fmt: skip
        console.print(_corners(where, result.unit), markup=False)
        counts = ", ".join(
            f"{n} {'outside the image, or holes' if name == 'outside' else name}"
            for name, n in result.shapes["counts"].items()
            if n
        )
        console.print(
            f"polygons: {counts}; without partner: {details['contour_without_design']:.1%} of the contours, "
            f"{details['design_without_contour']:.1%} of the design", markup=False,
        )  # fmt: skip
    show_scan(session, result.details.get("scan", {}))
    show_gaps(session, result.missing, result.flags)
