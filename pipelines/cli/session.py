"""One call of the command line: its answer for ``--json``, its errors, and the consoles for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option(
    "--json", "as_json", is_flag=True, expose_value=False, help="One JSON document on stdout and nothing else."
)


class Session:
    """Collects what a command has to say. With ``as_json`` exactly one document goes to stdout, errors included."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._answer: Any = None
        self._text = ""

    # --- what commands call
    def answer(self, document: Any) -> None:
        """The JSON document of this call."""
        self._answer = document

    def answer_text(self, text: str) -> None:
        """Plain text for stdout (for people; not used with ``--json``)."""
        self._text += text

    @property
    def console(self) -> Console:
        """Where people read results."""
        from rich.console import Console

        return Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())

    @property
    def log(self) -> Console:
        """Where people read progress and remarks; never part of an answer."""
        from rich.console import Console

        return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())

    def remark(self, text: str) -> None:
        """One line on stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    # --- what the entry point calls
    def usage(self, error: click.ClickException) -> None:
        """Wrong words on the command line."""
        place = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "abbe"
        self._fail(
            {
                "code": "UsageError",
                "message": error.format_message(),
                "where": place,
                "remedy": f"see '{place} --help'",
            }
        )
        if not self.as_json:
            self.remark(f"error: {error.format_message()}\n  see '{place} --help'")

    def interrupted(self) -> None:
        """Ctrl-C outside of a run."""
        self._fail({"code": "Interrupted", "message": "interrupted", "where": None, "remedy": None})
        if not self.as_json:
            self.remark("interrupted")

    def error(self, error: Exception) -> None:
        """Any other error: typed ones in words, others with their traceback, since those are ours to mend."""
        from metrology_core.errors import AbbeError

        if isinstance(error, AbbeError):
            document = error.to_dict()
            self._fail({"code": document["code"], **document})
            if not self.as_json:
                self.remark(render_error(error))
            return
        import traceback

        traceback.print_exception(error, file=sys.stderr)
        self._fail(
            {
                "code": "internal",
                "message": f"{type(error).__name__}: {error}",
                "where": None,
                "remedy": "this is a fault of Abbe; report it with the traceback on stderr",
            }
        )
        if not self.as_json:
            self.remark("internal error: this is a fault of Abbe; please report it with the traceback above")

    def _fail(self, error: Mapping[str, Any]) -> None:
        self._answer = {"error": dict(error)}

    def finish(self, stdout: TextIO, code: int) -> None:
        """Write the answer."""
        if not self.as_json:
            stdout.write(self._text)
            return
        if self._answer is None and self._text:
            self._answer = {"text": self._text}
        if self._answer is not None:
            stdout.write(json.dumps(self._answer, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def named_file(path: Path, what: str = "file") -> None:
    """A file that the command line names and that is not there is wrong use (2); one that is there and cannot be used
    is something not measured (3). Raises `UsageError`."""
    from metrology_core.errors import UsageError

    if not path.exists():
        raise UsageError(f"there is no {what} {str(path)!r}", remedy="check the path")
    if path.is_dir():
        raise UsageError(
            f"{str(path)!r} is a folder",
            expected=f"{'an' if what[:1] in 'aeiou' else 'a'} {what}",
            remedy="name the file",
        )


def reason_words(outcome: str, reason: Mapping[str, Any] | None) -> str:
    """Why a part was not measured; for a failed algorithm with the kind of error, whose message may say little."""
    if reason is None:
        return "not reached" if outcome == "not_run" else ""
    message = str(reason.get("message", ""))
    return f"{reason.get('code')}: {message}" if outcome == "algorithm_failed" else message


def provisional_words(count: int) -> str:
    """Behind the count of a verdict: of how many parts it rests on an incomplete uncertainty; nothing for none."""
    return f" ({count} provisional)" if count else ""


def expired_words(count: int) -> str:
    return f"instrument past its calibration: {count} {'part' if count == 1 else 'parts'}"


def render_error(error: Any) -> str:
    """A typed error as lines: what, then where, expected, got, remedy."""
    if hasattr(error, "render"):
        return str(error.render())
    lines = [f"error[{error.code}]: {error.what}"]
    for label, text in (
        ("at", error.where),
        ("expected", error.expected),
        ("got", error.got),
        ("remedy", error.remedy),
    ):
        if text:
            lines.append(f"  {label}: {text}")
    return "\n".join(lines)
