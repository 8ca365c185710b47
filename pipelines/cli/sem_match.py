"""``abbe sem match``: two images of one field, another scan mode or another tool, compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.sem_common import (
    amount,
    finite,
    level_of,
    output_file,
    pixel_size,
    row_range,
    show_gaps,
    show_values,
    values_document,
)
from pipelines.cli.session import Session, json_option, named_file

if TYPE_CHECKING:
    from wafer.contacts.match import ContactMatch

_MOST_SHOWN = 12


@click.command("match")
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@click.option("--pixel", metavar="SIZE[,SIZE]", help="Pixel size of both, e.g. 0.9nm, or x,y; default: of the files.")
@click.option("--pixel-other", metavar="SIZE[,SIZE]", help="Pixel size of OTHER where it is another one.")
@click.option("--rows", metavar="A:B", help="Rows to measure in both, end exclusive.")
@click.option("--columns", metavar="A:B", help="Columns to measure in both, end exclusive.")
@click.option(
    "--criterion", type=click.Choice(["threshold", "sigmoid", "model"]), default="threshold", show_default=True
)
@click.option("--level", metavar="RATIO", help="Level of criterion threshold only; default: '50 %'.")
@click.option("--polarity", type=click.Choice(["auto", "dark", "bright"]), default="auto", show_default=True)
@click.option("--no-lattice", is_flag=True, help="Features that lie on no lattice.")
@click.option("--search", metavar="LENGTH", help="How far the field may lie apart; default: a quarter of the image.")
@click.option("--pairs", type=click.Path(path_type=Path), help="Write the pairs as CSV.")
@json_option
@click.pass_obj
def match(session: Session, /, one: Path, other: Path, **given: Any) -> int:
    """Scale, rotation and sizes of the features in ONE against OTHER, two images of one field.

    For matching tools and scan modes: the mean difference of the diameters as the images stand and at equal scale, and
    their scatter beside what the noise predicts.
    """
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode
    from wafer import read_image
    from wafer.contacts import ContactSettings
    from wafer.contacts.match import match_contacts

    output_file("--pairs", given["pairs"])
    settings = ContactSettings(
        criterion=given["criterion"],
        level=level_of(given["level"], given["criterion"], "threshold"),
        polarity=given["polarity"],
        lattice=not given["no_lattice"],
        rows=row_range(given["rows"]),
        columns=row_range(given["columns"], "columns"),
    )
    images = []
    unit = "nm"
    for file, text in ((one, given["pixel"]), (other, given["pixel_other"] or given["pixel"])):
        named_file(file, "image")
        size, unit = (None, unit) if text is None else pixel_size(text)
        images.append(read_image(file, pixel=size, unit=unit, measured_rows=settings.rows))
    search = (
        None if given["search"] is None else amount("--search", given["search"], "length", "20nm").to(images[0].unit)
    )
    with compile_notice(session.remark):
        result = match_contacts(images[0], images[1], settings, search=search)
    if given["pairs"] is not None:
        given["pairs"].write_text(_table(result), encoding="utf-8")
    session.answer(_document(result))
    if not session.as_json:
        _show(session, result)
    return int(ExitCode.CONFORMING)


def _document(result: ContactMatch) -> dict[str, Any]:
    from pipelines.record import plain

    document = {
        "unit": result.unit,
        "measurements": values_document(result.measurements, result.methods),
        "scatter": dict(result.scatter),
        "pairs": result.pairs,
        "unpaired": result.unpaired,
        "flags": list(result.flags),
    }
    return dict(finite(plain(document)))


def _table(result: ContactMatch) -> str:
    """One line for each pair: numbers of the features, place in pixels of the first file, lengths in the unit."""
    names = list(result.pairs[0])
    lines = [",".join(names)]
    for row in result.pairs:
        lines.append(",".join(f"{row[n]:.6g}" if isinstance(row[n], float) else str(row[n]) for n in names))
    return "\n".join(lines) + "\n"


def _show(session: Session, result: ContactMatch) -> None:
    console = session.console
    show_values(session, result.measurements, result.methods)
    s, unit = result.scatter, result.unit
    console.print(
        f"differences of single diameters at equal scale: sd {s['sd']:.3g} {unit} (95 % {s['interval'][0]:.3g} to "
        f"{s['interval'][1]:.3g}), predicted by the noise of both images {s['predicted']:.3g} {unit}", markup=False,
    )  # fmt: skip
    console.print(f"pairs: {len(result.pairs)}, without partner: {len(result.unpaired)}", markup=False)
    for row in result.unpaired[:_MOST_SHOWN]:
        console.print(
            f"  image {row['image']}, feature {row['number']} at {row['x']:.0f}, {row['y']:.0f} px, diameter "
            f"{row['diameter']:.3g} {unit}: {row['reason']}", markup=False,
        )  # fmt: skip
    if len(result.unpaired) > _MOST_SHOWN:
        console.print(f"  and {len(result.unpaired) - _MOST_SHOWN} more (--json names all)", markup=False)
    show_gaps(session, {}, result.flags)
