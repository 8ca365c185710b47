"""``abbe doctor``."""

from __future__ import annotations

import click

from pipelines.cli.session import Session, json_option


@click.command()
@json_option
@click.pass_obj
def doctor(session: Session) -> int:
    """Versions, threads, missing system libraries, and the command that installs them."""
    import contextlib
    import io
    import json

    from pipelines.doctor import doctor_command

    if not session.as_json:
        return doctor_command(False)
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        code = doctor_command(True)
    session.answer(json.loads(caught.getvalue()))
    return code
