"""``abbe demo``."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.run import limit_threads
from pipelines.cli.session import Session, json_option


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-run"), show_default=True, help="New folder.")
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Processes; 0: in this one.")
@json_option
@click.pass_obj
def demo(session: Session, out: Path, workers: int) -> int:
    """Simulate two lots with known truth, measure them, build the reports, and compare with the truth.

    Exit code 0 if every outcome matches the truth.
    """
    limit_threads()
    import contextlib
    import io
    import json

    from pipelines.demo import run_demo

    if not session.as_json:
        return int(run_demo(out, workers, False))
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        code = int(run_demo(out, workers, True))
    session.answer(json.loads(caught.getvalue()))
    return code
