"""``abbe export``."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.session import Session, json_option


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--as", "formats", default="csv", show_default=True, metavar="FORMAT,...", help="csv, json")
@click.option("--to", type=click.Path(path_type=Path), help="Folder for the files (default: exports in the run).")
@json_option
@click.pass_obj
def export(session: Session, run_folder: Path, formats: str, to: Path | None) -> int:
    """Write the results of RUN for other programs. An export holds what the records hold; nothing is computed."""
    from pipelines.export import export_run

    written = export_run(run_folder, [name.strip() for name in formats.split(",") if name.strip()], to=to)
    session.answer({"run": str(run_folder), "files": {name: str(path) for name, path in written.items()}})
    session.answer_text("".join(f"{path}\n" for path in written.values()))
    return 0
