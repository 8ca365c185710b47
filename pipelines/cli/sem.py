"""``abbe sem``: one image at once; lines here, contacts beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.sem_common import (
    PIXEL_U,
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
from pipelines.cli.sem_contacts import contacts
from pipelines.cli.sem_contours import contours
from pipelines.cli.sem_match import match
from pipelines.cli.session import Session, json_option, named_file

if TYPE_CHECKING:
    from wafer import SemLineResult


@click.group()
def sem() -> None:
    """Measure one SEM image."""


sem.add_command(match)
sem.add_command(contacts)
sem.add_command(contours)


@sem.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--pixel",
    metavar="SIZE[,SIZE]",
    help="Pixel size, e.g. 0.827nm, or x,y: 0.827nm,0.831nm; default: what the file says.",
)
@click.option("--pixel-u", metavar="RATIO[,RATIO]", help=PIXEL_U)
@click.option("--rows", metavar="A:B", help="Rows to measure, end exclusive.")
@click.option("--columns", metavar="A:B", help="Columns to measure, end exclusive.")
@click.option(
    "--criterion",
    type=click.Choice(["threshold", "max_gradient", "sigmoid", "linear_approximation", "model"]),
    default="threshold",
    show_default=True,
)
@click.option("--level", metavar="RATIO", help="Level of criteria threshold and model only; default: '50 %'.")
@click.option("--lines", type=click.Choice(["bright", "dark"]), help="Which stripes are the lines; default: bright.")
@click.option("--detrend", type=click.Choice(["linear", "mean"]), default="linear", show_default=True)
@click.option(
    "--orientation",
    type=click.Choice(["vertical", "horizontal"]),
    default="vertical",
    show_default=True,
    help="How the lines run in the image.",
)
@click.option(
    "--smoothing",
    metavar="FILTER",
    help="Filter before the edges are found, e.g. 'gaussian 2 px'; gaussian_x across, gaussian_y along the lines. "
    "No roughness then.",
)
@click.option(
    "--frames",
    is_flag=True,
    help="IMAGE is a stack of frames of one field: measure their average, and roughness from products of frames.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Write an SVG: the image with its edges, the roughness spectra with fit and interval.",
)
@json_option
@click.pass_obj
def lines(
    session: Session,
    image: Path,
    pixel: str | None,
    pixel_u: str | None,
    rows: str | None,
    columns: str | None,
    criterion: str,
    level: str | None,
    lines: str | None,
    detrend: str,
    orientation: str,
    smoothing: str | None,
    frames: bool,
    picture: Path | None,
) -> int:
    """Pitch, widths and roughness of the lines in IMAGE, with their uncertainties."""
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode
    from wafer import SemLineSettings, measure_sem_lines, read_image

    size, unit = (None, "nm") if pixel is None else pixel_size(pixel)
    spread = pixel_uncertainty(pixel_u, size)
    output_file("--picture", picture, ".svg")
    settings = SemLineSettings(
        criterion=criterion,  # type: ignore[arg-type]
        level=level_of(level, criterion, "threshold", "model"),
        rows=row_range(rows),
        columns=row_range(columns, "columns"),
        lines=lines,  # type: ignore[arg-type]
        detrend=detrend,  # type: ignore[arg-type]
        orientation=orientation,  # type: ignore[arg-type]
        smoothing=smoothing,
    )
    named_file(image, "image")
    if frames:
        from wafer.frames import measure_frames, read_frames

        stack = read_frames(image, pixel=size, **spread, unit=unit)
        with compile_notice(session.remark):
            result = measure_frames(stack, settings)
    else:
        data = read_image(image, pixel=size, **spread, unit=unit, measured_rows=row_range(rows))
        with compile_notice(session.remark):
            result = measure_sem_lines(data, settings)
    if picture is not None:
        from pipelines.report.line_svg import line_picture

        picture.write_text(line_picture(result.view, result.spectra, result.arrays), encoding="utf-8")
    session.answer(_document(result))
    if not session.as_json:
        _show(session, result)
    from wafer.smoothing import ROUGHNESS

    refused = ROUGHNESS if smoothing else ()  # left out on purpose
    gaps = [name for name in result.missing if not name.startswith(refused)]
    return int(ExitCode.NOT_MEASURED if gaps else ExitCode.CONFORMING)


def _document(result: SemLineResult) -> dict[str, Any]:
    from pipelines.record import plain

    document = {
        "unit": result.unit,
        "measurements": values_document(result.measurements, result.methods),
        "missing": dict(result.missing),
        "per_line": result.per_line,
        "flags": list(result.flags),
        "details": result.details,
        "spectra": [_spectrum(view, result.arrays) for view in result.spectra],
    }
    return dict(plain(document))


def _spectrum(view: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """The view of a roughness spectrum with its curves in place of the names of arrays."""
    out = {key: value for key, value in view.items() if key not in ("kind", "curves")}
    out["curves"] = {name: arrays[key].tolist() for name, key in view["curves"].items()}
    for key in ("lag", "autocorrelation", "height_height"):
        out[key] = arrays[view[key]].tolist()
    return out


def _show(session: Session, result: SemLineResult) -> None:
    show_values(session, result.measurements, result.methods)
    show_scan(session, result.details.get("scan", {}))
    show_gaps(session, result.missing, result.flags)
