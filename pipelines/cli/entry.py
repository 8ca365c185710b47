"""Entry of ``abbe``: finds the command, keeps stdout clean for ``--json``, turns errors into words and codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, TextIO, cast

import click

from metrology_core._version import __version__
from pipelines.cli.session import Session
from pipelines.exit_codes import ExitCode, of_error

# name -> (module, attribute, the line that 'abbe --help' shows): help must not load a command to describe it
COMMANDS: dict[str, tuple[str, str, str]] = {
    "budget": (
        "pipelines.cli.budget",
        "budget",
        "Uncertainty budget of a model file: GUM and Monte Carlo side by side.",
    ),
    "demo": ("pipelines.cli.demo", "demo", "Simulated lots with known truth, through the whole line, to a report."),
    "deviation": ("pipelines.cli.deviation", "deviation", "Deviations of a scan from its nominal surface."),
    "doctor": ("pipelines.cli.doctor", "doctor", "What this machine has, what is missing, and how to mend it."),
    "export": ("pipelines.cli.export", "export", "Write the results of a run as CSV or JSON."),
    "fit": ("pipelines.cli.fit", "fit_command", "Fit one feature to the points of a file."),
    "lot": ("pipelines.cli.lot", "lot", "Spread of a run's values by lot, wafer, field and image."),
    "map": ("pipelines.cli.lot", "film_map", "Wafer maps of film measurements, summaries beside the file's own."),
    "recipe": ("pipelines.cli.recipe", "recipe", "Check a recipe, start one, print its JSON Schema."),
    "report": ("pipelines.cli.results", "report", "Build the report of a run again."),
    "run": ("pipelines.cli.run", "run", "Measure all inputs of a recipe into a run folder."),
    "selftest": ("pipelines.cli.selftest", "selftest", "Fits against sets with known answers: numerical error."),
    "sem": ("pipelines.cli.sem", "sem", "Measure one SEM image."),
    "status": ("pipelines.cli.results", "status", "What a run has done so far."),
    "verify": ("pipelines.cli.results", "verify", "Check a run folder against its digests."),
}


class LazyGroup(click.Group):
    """A group that imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in sorted(COMMANDS)])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" Commands: {', '.join(sorted(COMMANDS))}."
            raise click.UsageError(f"There is no command '{name}'.{hint}", ctx=ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes of all commands: 0 all conforming (without verdicts: done), 1 some nonconforming, 2 wrong use "
    "or recipe, 3 something not measured, 4 interrupted (resumable), 5 integrity violated, 6 some indeterminate (with "
    "--strict also provisional), 70 internal error. By command: docs/exit-codes.md.",
)
@click.version_option(__version__, "-V", "--version", prog_name="abbe", message="%(prog)s %(version)s")
def cli() -> None:
    """Abbe: from raw instrument data to a defensible verdict."""


@contextlib.contextmanager
def _only_the_answer(as_json: bool) -> Iterator[TextIO]:
    """The stream for the one JSON document. Whatever else writes to stdout, even native code, goes to stderr."""
    if not as_json:
        yield sys.stdout
        return
    sys.stdout.flush()
    plain = sys.stdout
    try:
        saved = os.dup(1)
    except OSError:  # no real stdout (embedded, or a test that replaced it)
        saved = -1
    sys.stdout = sys.stderr
    if saved >= 0:
        os.dup2(2, 1)
    try:
        yield plain
    finally:
        sys.stdout = plain
        if saved >= 0:
            os.dup2(saved, 1)
            os.close(saved)


class _Outlet:
    """A stream whose reader may leave (`abbe ... | head`): the rest of what is written is dropped, and the command goes
    on to its own exit code. An error here would end a run at the first line that nobody reads, with a code that says
    something about the parts."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # also for what is left in the buffer, which Python flushes at exit
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _outlets() -> Iterator[None]:
    plain = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # Python has no stream at all where the shell closed it
        sys.stdout, sys.stderr = (cast(TextIO, _Outlet(stream or nowhere)) for stream in plain)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = plain


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``abbe`` with ``arguments`` (default: the command line) and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    before = words[: words.index("--")] if "--" in words else words
    session = Session("--json" in before)
    with _outlets():
        with _only_the_answer(session.as_json) as stdout:
            code = _call(words, session)
        session.finish(stdout, code)
        stdout.flush()
        sys.stderr.flush()
    return int(code)


def _call(words: list[str], session: Session) -> int:
    try:
        result = cli.main(words, prog_name="abbe", standalone_mode=False, obj=session)
        return int(result) if isinstance(result, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        session.usage(error)
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        session.interrupted()
        return int(ExitCode.INTERRUPTED)
    except SystemExit:
        # click turns a broken pipe that is none of ours (a connection, say) into exit(1): that is no nonconforming part
        session.error(RuntimeError("a pipe or connection of the command broke"))
        return int(ExitCode.INTERNAL)
    except Exception as error:  # noqa: BLE001 - the last place where an error can become a message and a code
        session.error(error)
        return int(of_error(error))
