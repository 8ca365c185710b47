"""``abbe selftest``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.run import limit_threads
from pipelines.cli.session import Session, json_option

if TYPE_CHECKING:
    from metrology_core.testing.selftest import SelfTest

_KINDS = ("position", "direction", "size", "angle", "zone", "optimality")


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Which sets are generated.")
@click.option("--quick/--full", "quick", default=True, show_default=True, help="Two sets per row, or all with stress.")
@click.option("--export", "folder", type=click.Path(path_type=Path), help="Write the sets and their answers here.")
@click.option("--sets", type=click.Path(path_type=Path), help="With --judge: the folder that --export wrote.")
@click.option("--judge", type=click.Path(path_type=Path), help="JSON {set: {parameter: value}} of other software.")
@json_option
@click.pass_obj
def selftest(
    session: Session, seed: int, quick: bool, folder: Path | None, sets: Path | None, judge: Path | None
) -> int:
    """Fit generated sets with known answers: every feature, every criterion, worst error against the stated limit.

    What it shows is numerical error of the software, not measurement uncertainty. Exit code 0 if every row is within
    its limits, 70 if not. --export writes the sets for other software, --judge compares its results.
    """
    limit_threads()
    if judge is not None or sets is not None:
        return _judge(session, sets, judge)
    if folder is not None:
        return _export(session, folder, quick, seed)
    from metrology_core.testing import run_selftest
    from pipelines.execute.compiling import compile_notice
    from pipelines.exit_codes import ExitCode

    with compile_notice(session.remark):
        result = run_selftest("quick" if quick else "full", seed=seed)
    session.answer(result.to_dict())
    if not session.as_json:
        _show(session, result)
    return int(ExitCode.CONFORMING if result.passed else ExitCode.INTERNAL)


def _export(session: Session, folder: Path, quick: bool, seed: int) -> int:
    from metrology_core._version import __version__
    from metrology_core.errors import UsageError
    from metrology_core.testing import write_sets
    from metrology_core.testing.selftest import STATEMENT, named_sets

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{str(folder)!r} is not an empty folder", remedy="give a new folder with --export")
    files = write_sets(
        folder, named_sets(full=not quick, seed=seed), statement=STATEMENT, seed=seed, version=__version__
    )
    session.answer({"folder": str(folder), "sets": len(files) - 1, "answers": str(files[-1])})
    session.answer_text(f"{len(files) - 1} sets and {files[-1]}\n")
    return 0


def _judge(session: Session, sets: Path | None, judge: Path | None) -> int:
    import json

    from metrology_core.errors import ReaderError, UsageError
    from metrology_core.testing import judge_answers

    if sets is None or judge is None:
        raise UsageError("--judge FILE and --sets FOLDER belong together", remedy="give both")
    try:
        results = json.loads(judge.read_text(encoding="utf-8"))
        rows = {str(name): dict(found) for name, found in results.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ReaderError(
            "the results cannot be read", path=judge.name, expected="JSON {set: {parameter: value}}", got=str(error)
        ) from None
    errors = judge_answers(sets, rows)
    session.answer({"judged": len(errors), "errors": {name: dict(item.items()) for name, item in errors.items()}})
    if not session.as_json:
        lines = [f"{name}: " + ", ".join(f"{k} {v:.2g}" for k, v in item.items()) for name, item in errors.items()]
        session.answer_text("\n".join(lines) + "\n")
    return 0


def _show(session: Session, result: SelfTest) -> None:
    from metrology_core.testing.selftest import STATEMENT

    width = max(len(row.case.name) for row in result.rows)
    lines = [f"{'':{width}}  sets  " + " ".join(f"{name:>10}" for name in _KINDS) + "  worst/limit"]
    for row in result.rows:
        cells = " ".join(f"{row.worst[name][0]:10.0e}" if name in row.worst else " " * 10 for name in _KINDS)
        ratio = f"{row.ratio:11.2g}" if row.passed else "     FAILED"
        lines.append(f"{row.case.name:{width}}  {row.sets:4d}  {cells}  {ratio}")
    for row in result.rows:
        lines += [f"FAILED {row.case.name}: {text}" for text in row.failures[:5]]
        lines += [
            f"FAILED {row.case.name}: {name} {error:.2e}, limit {limit:.2e}"
            for name, (error, limit) in row.worst.items()
            if error > limit
        ]
    failed = sum(not row.passed for row in result.rows)
    verdict = f"{failed} of {len(result.rows)} rows FAILED" if failed else f"all {len(result.rows)} rows within limits"
    lines += [f"{verdict}; seed {result.seed}, Abbe {result.version}", _limits_text(), STATEMENT]
    session.answer_text("\n".join(lines) + "\n")


def _limits_text() -> str:
    """The stated limits in one line."""
    from metrology_core.testing.selftest import LIMITS, ROUNDINGS

    def words(limits: dict[str, Any]) -> str:
        return ", ".join(f"{name} {limit:.0e}" for name, limit in limits.items())

    return (
        f"limits (mm, rad): least squares {words(LIMITS['least_squares'])}; other criteria {words(LIMITS['zone'])}; "
        f"or {ROUNDINGS:.0f} times the effect of rounding of the coordinates, where that is larger"
    )
