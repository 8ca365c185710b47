"""``abbe sem``: one image at once; lines here, contacts beside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.sem_contacts import contacts
from pipelines.cli.session import Session, json_option

if TYPE_CHECKING:
    from wafer import SemLineResult


@click.group()
def sem() -> None:
    """Measure one SEM image."""


sem.add_command(contacts)


@sem.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "--pixel", required=True, metavar="SIZE[,SIZE]", help="Pixel size, e.g. 0.827nm, or x,y: 0.827nm,0.831nm."
)
@click.option("--pixel-u", metavar="RATIO", help="Relative standard uncertainty of the pixel size, e.g. '0.5 %'.")
@click.option("--rows", metavar="A:B", help="Rows to measure, end exclusive.")
@click.option(
    "--criterion",
    type=click.Choice(["threshold", "max_gradient", "sigmoid", "linear_approximation", "model"]),
    default="threshold",
    show_default=True,
)
@click.option(
    "--level", default="50 %", show_default=True, metavar="RATIO", help="Level of the criteria threshold and model."
)
@click.option("--lines", type=click.Choice(["bright", "dark"]), default="bright", show_default=True)
@click.option("--detrend", type=click.Choice(["linear", "mean"]), default="linear", show_default=True)
@click.option(
    "--orientation",
    type=click.Choice(["vertical", "horizontal"]),
    default="vertical",
    show_default=True,
    help="How the lines run in the image.",
)
@json_option
@click.pass_obj
def lines(
    session: Session,
    image: Path,
    pixel: str,
    pixel_u: str | None,
    rows: str | None,
    criterion: str,
    level: str,
    lines: str,
    detrend: str,
    orientation: str,
) -> int:
    """Pitch, widths and roughness of the lines in IMAGE, with their uncertainties."""
    from metrology_core.units import quantity
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode
    from wafer import SemLineSettings, measure_sem_lines, read_image

    size, unit = _pixel(pixel)
    spread = None
    if pixel_u is not None:
        relative = quantity(pixel_u, "ratio").to("1")
        spread = (size[0] * relative, size[1] * relative)
    settings = SemLineSettings(
        criterion=criterion,  # type: ignore[arg-type]
        level=quantity(level, "ratio").to("1"),
        rows=_rows(rows),
        lines=lines,  # type: ignore[arg-type]
        detrend=detrend,  # type: ignore[arg-type]
        orientation=orientation,  # type: ignore[arg-type]
    )
    picture = read_image(image, pixel=size, pixel_u=spread, unit=unit)
    with compile_notice(session.remark):
        result = measure_sem_lines(picture, settings)
    session.answer(_document(result))
    if not session.as_json:
        _show(session, result)
    return int(ExitCode.NOT_MEASURED if result.missing else ExitCode.CONFORMING)


def _pixel(text: str) -> tuple[tuple[float, float], str]:
    """``0.827nm`` or ``0.827nm,0.831nm``: sizes in x and y, in the unit of the first."""
    from metrology_core.errors import ParameterError
    from metrology_core.units import quantity

    parts = [quantity(part, "length") for part in text.split(",")]
    if len(parts) > 2:
        raise ParameterError("a pixel size is one number or x,y", got=text, expected="for example 0.827nm,0.831nm")
    x, y = parts[0], parts[-1]
    return (x.value, y.to(x.unit)), x.unit


def _rows(text: str | None) -> tuple[int, int] | None:
    from metrology_core.errors import ParameterError

    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise ParameterError("rows are FIRST:END with FIRST < END", got=text, expected="for example 0:889")
    return int(match[1]), int(match[2])


def _document(result: SemLineResult) -> dict[str, Any]:
    from pipelines.record import plain

    values = {
        name: {
            "value": m.value,
            "unit": m.unit,
            "u": m.u,
            "k": 2.0,
            "U": m.expanded(2.0),
            "interval": list(m.coverage_interval(0.95)),
            "p": 0.95,
            "text": m.short(),
            "budget": [row.to_dict() for row in m.budget()],
            "method": result.methods.get(name, ""),
            "flags": list(m.flags),
        }
        for name, m in result.measurements.items()
    }
    document = {
        "unit": result.unit,
        "measurements": values,
        "missing": dict(result.missing),
        "per_line": result.per_line,
        "flags": list(result.flags),
        "details": result.details,
    }
    return dict(plain(document))


def _show(session: Session, result: SemLineResult) -> None:
    from rich.table import Table

    console = session.console
    table = Table(box=None, pad_edge=False)
    for title in ("characteristic", "value", "U (k=2)", "method"):
        table.add_column(title, overflow="fold")
    for name, m in result.measurements.items():
        table.add_row(name, m.short(), f"{m.expanded(2.0):.2g} {m.unit}", result.methods.get(name, ""))
    console.print(table)
    for name, why in result.missing.items():
        console.print(f"{name}: not measured: {why}", markup=False)
    if result.flags:
        console.print(f"flags: {', '.join(result.flags)}", markup=False)
