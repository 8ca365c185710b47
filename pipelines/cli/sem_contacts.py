"""``abbe sem contacts``: contacts, pillars and other closed features of one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.sem_common import (
    PIXEL_U,
    finite,
    level_of,
    output_file,
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
    from wafer.contacts import ContactResult

_PLACEMENT = ("sem.contact_pitch", "sem.placement")


@click.command("contacts")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--pixel", metavar="SIZE[,SIZE]", help="Pixel size, e.g. 0.9nm, or x,y; default: what the file says.")
@click.option("--pixel-u", metavar="RATIO[,RATIO]", help=PIXEL_U)
@click.option("--rows", metavar="A:B", help="Rows to measure, end exclusive.")
@click.option("--columns", metavar="A:B", help="Columns to measure, end exclusive.")
@click.option(
    "--criterion", type=click.Choice(["threshold", "sigmoid", "model"]), default="threshold", show_default=True
)
@click.option("--level", metavar="RATIO", help="Level of criterion threshold only; default: '50 %'.")
@click.option("--polarity", type=click.Choice(["auto", "dark", "bright"]), default="auto", show_default=True)
@click.option("--no-lattice", is_flag=True, help="Features that lie on no lattice: none can be missing.")
@click.option(
    "--contours", type=click.Path(path_type=Path), help="Write the contours as CSV: feature, x, y, u in pixels."
)
@click.option("--picture", type=click.Path(path_type=Path), help="Write an SVG: the contours by state, for a look.")
@json_option
@click.pass_obj
def contacts(
    session: Session,
    image: Path,
    pixel: str | None,
    pixel_u: str | None,
    rows: str | None,
    columns: str | None,
    criterion: str,
    level: str | None,
    polarity: str,
    no_lattice: bool,
    contours: Path | None,
    picture: Path | None,
) -> int:
    """Diameters, local uniformity, shape, placement and defects of the closed features in IMAGE."""
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode
    from wafer import read_image
    from wafer.contacts import ContactSettings, measure_contacts

    size, unit = (None, "nm") if pixel is None else pixel_size(pixel)
    spread = pixel_uncertainty(pixel_u, size)
    output_file("--picture", picture, ".svg")
    output_file("--contours", contours)
    settings = ContactSettings(
        criterion=criterion,  # type: ignore[arg-type]
        level=level_of(level, criterion, "threshold"),
        polarity=polarity,  # type: ignore[arg-type]
        lattice=not no_lattice,
        rows=row_range(rows),
        columns=row_range(columns, "columns"),
    )
    named_file(image, "image")
    data = read_image(image, pixel=size, **spread, unit=unit, measured_rows=settings.rows)
    with compile_notice(session.remark):
        result = measure_contacts(data, settings)
    if contours is not None:
        contours.write_text(_table(result), encoding="utf-8")
    if picture is not None:
        picture.write_text(_drawing(data, result), encoding="utf-8")
    session.answer(_document(result))
    if not session.as_json:
        _show(session, result)
    # what --no-lattice leaves out was not asked for
    lacking = [name for name in result.missing if settings.lattice or not name.startswith(_PLACEMENT)]
    return int(ExitCode.NOT_MEASURED if lacking else ExitCode.CONFORMING)


def _document(result: ContactResult) -> dict[str, Any]:
    from pipelines.record import plain

    document = {
        "unit": result.unit,
        "measurements": values_document(result.measurements, result.methods),
        "missing": dict(result.missing),
        "rates": dict(result.rates),
        "sites": result.details["sites"],
        "per_contact": result.per_contact,
        "flags": list(result.flags),
        "details": {key: value for key, value in result.details.items() if key != "sites"},
    }
    return dict(finite(plain(document)))


def _table(result: ContactResult) -> str:
    """One line for each vertex of each contour, in pixels of the file; u is along the ray, in pixels."""
    lines = ["feature,state,x,y,u"]
    top, left = result.details["origin"]
    for number, site in enumerate(result.sites):
        contour = site.contour
        if contour is None or contour.state != "ok":
            continue
        for (x, y), u in zip(contour.vertices(), contour.edge_u, strict=True):
            lines.append(f"{number},{site.state},{x + left:.4f},{y + top:.4f},{u:.4f}")
    return "\n".join(lines) + "\n"


def _drawing(image: Image, result: ContactResult) -> str:
    """The image with its contours as one SVG file; a cross where a site has no contour."""
    import base64

    from pipelines.report import contact_svg
    from pipelines.report.encode import png
    from pipelines.report.figures import reduce_image
    from wafer.contacts.view import contact_view

    view, arrays = contact_view(image, result)
    shape = contact_svg.geometry(view, arrays)
    assert shape is not None  # the view is ours
    ny, nx = image.pixels.shape
    _, grey = reduce_image(arrays["contacts/image"])
    body = base64.b64encode(png(grey)).decode("ascii")
    drawn = contact_svg.marks(*shape, tuple(result.details["origin"]))
    return contact_svg.document(body, nx, ny, drawn, view["counts"])


def _show(session: Session, result: ContactResult) -> None:
    console = session.console
    show_values(session, result.measurements, result.methods)
    counts = ", ".join(
        f"{'number not known of' if count is None else count} {state.replace('_', ' ')}"
        for state, count in result.details["sites"].items()
    )
    console.print(f"sites: {counts}", markup=False)
    for state, row in result.rates.items():
        count, of, low, high = (row[key] for key in ("count", "of", "low", "high"))
        if count and of is not None and low is not None and high is not None:
            interval = f"{100 * low:.2g} to {100 * high:.2g} %"
            console.print(f"{state}: {count:g} of {of:g}, 95 % interval {interval}", markup=False)
    show_scan(session, result.details.get("scan", {}))
    show_gaps(session, result.missing, result.flags)
