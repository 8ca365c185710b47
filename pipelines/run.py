"""`run_recipe`: the whole batch line from a recipe to a closed run folder with its report."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metrology_core.errors import UsageError
from pipelines.driver import Driver, Queued, is_started, open_driver
from pipelines.execute.protocol import Executor, Job, Stop, StopNow
from pipelines.exit_codes import ExitCode, combine, of_part
from pipelines.lots import copies_in, copies_words
from pipelines.plan import Plan, build_plan, changed_inputs
from pipelines.recipe import LoadedRecipe, load_recipe
from pipelines.store import (
    LOCK,
    RunFolder,
    TaskOutcome,
    count_expired,
    count_outcomes,
    count_provisional,
    count_verdicts,
    inputs_differ,
)

STEP = "pipelines.steps:measure_task"


@dataclass(frozen=True)
class Progress:
    """State of a run for whoever watches: number of tasks, number ended, counts by outcome, seconds since the start."""

    total: int
    done: int
    counts: dict[str, int]
    seconds: float
    part: str | None = None
    stopping: bool = False


@dataclass(frozen=True)
class RunSummary:
    """What a call of `run_recipe` did; ``to_dict`` is the JSON answer of ``abbe run``."""

    path: Path
    tasks: int
    counts: dict[str, int]
    verdicts: dict[str, int]
    measured_now: int
    interrupted: bool
    complete: bool
    exit_code: ExitCode
    seconds: float
    report: Path | None
    resume_command: str | None
    queued: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    not_measured: tuple[TaskOutcome, ...] = ()
    provisional: dict[str, int] = field(default_factory=dict)
    calibration_expired: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": str(self.path),
            "tasks": self.tasks,
            "outcomes": self.counts,
            "verdicts": self.verdicts,
            "provisional": self.provisional,
            "calibration_expired": self.calibration_expired,
            "measured_now": self.measured_now,
            "queued": self.queued,
            "interrupted": self.interrupted,
            "complete": self.complete,
            "exit_code": int(self.exit_code),
            "seconds": round(self.seconds, 3),
            "report": None if self.report is None else str(self.report),
            "resume": self.resume_command,
            "problems": list(self.problems),
            "not_measured": [row.to_dict() for row in self.not_measured],
        }


def run_recipe(
    recipe_path: str | Path,
    inputs: Iterable[str | Path] = (),
    *,
    out: str | Path,
    data_root: str | Path | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    resume: bool = False,
    retry_crashed: bool = False,
    progress: Callable[[Progress], None] | None = None,
    on_interrupt: Callable[[str], None] | None = None,
    remark: Callable[[str], None] | None = None,
    measure: str = STEP,
    report: bool = True,
    strict: bool = False,
) -> RunSummary:
    """Measure all inputs of a recipe and commit one record for each.

    ``workers=0`` runs in this process, ``workers=N`` on N processes, ``scheduler`` on an existing Dask cluster.
    ``resume`` goes on with a run that was interrupted: records are verified, the rest is measured, crashed parts stay
    quarantined unless ``retry_crashed``. ``measure`` names the step as ``module:function`` with the signature
    ``(recipe, task, root) -> StepResult``. ``progress`` is called after every part; ``on_interrupt``
    once, from the signal handler, when the first interrupt came, with what is finished first (``parts`` or ``report``);
    ``remark`` with a line of text before something that
    takes long (also from another thread). ``strict``: a provisional verdict asks for exit code 6 at best.

    In the main thread the first SIGINT or SIGTERM lets the parts in flight end (``interrupted``, resumable), the second
    stops at once. Raises `RecipeError`, `UsageError`, and `IntegrityError`.
    """
    began = time.monotonic()
    run = Path(out)
    if scheduler is not None and workers:
        raise UsageError("workers and a scheduler address exclude each other")
    loaded = load_recipe(recipe_path)
    started = is_started(run)
    if started and not resume:
        raise UsageError(
            f"{str(run)!r} already holds a run", remedy="add --resume to go on, or give a new folder with --out"
        )
    if not started and run.is_dir() and not resume and any(path.name != LOCK for path in run.iterdir()):
        raise UsageError(f"{str(run)!r} is not empty", remedy="give a new folder with --out, or add --resume")
    root = loaded.folder if data_root is None else Path(data_root)
    named = list(inputs)
    problems: list[str] = []
    known = _inputs_of(run) if started else frozenset()
    plan = build_plan(loaded, root, named, exclude=run, remarks=problems, known=known)
    same = copies_words(copies_in(plan.tasks))
    if same:
        problems.append(same)
    executor = _executor(workers, scheduler)
    from pipelines.execute.worker import load_measure

    load_measure(measure)
    stop = Stop()
    with open_driver(run, loaded, plan, resume=resume) as driver, _signals(stop, on_interrupt):
        command = resume_command(
            Path(recipe_path).resolve(),
            [Path(item).resolve() for item in named],
            run.resolve(),
            root.resolve(),
            workers,
            scheduler,
        )
        driver.opened(
            resumed=started, root=root.resolve(), measure=measure, executor=executor.describe(), command=command
        )
        queue = driver.queue(retry_crashed=retry_crashed)
        problems += _changed_since(driver, plan, {item.task.part for item in queue})
        watch = _Watch(driver, len(driver.plan.tasks), began, progress)
        interrupted = _work(driver, executor, queue, root.resolve(), measure, stop, loaded, watch, remark)
        index: Path | None = None
        if report and not interrupted:
            from pipelines.selftest import note_in_run

            if remark is not None:
                remark("building the report")
            stop.phase = "report"
            try:
                note_in_run(driver, problems)
                index = _report(driver, problems)
            except StopNow:
                interrupted = True
        if interrupted:
            driver.journal.append("interrupted", outcomes=count_outcomes(driver.outcomes()))
        else:
            driver.closed()
        rows = driver.outcomes()
    codes = [
        of_part(row.outcome, row.verdict, row.flags, strict=strict)
        for row in rows
        if row.outcome != "not_run" or not interrupted
    ]
    if not rows:
        codes.append(ExitCode.NOT_MEASURED)  # of nothing nothing conforms
    if interrupted:
        codes.append(ExitCode.INTERRUPTED)
    if inputs_differ(rows):
        codes.append(ExitCode.INTEGRITY)
        problems.append("an input changed or went after the plan was made: its part is not measured, the others are")
    if any(text.startswith(("report:", "self-test:")) for text in problems):
        codes.append(ExitCode.INTERNAL)
    gaps = interrupted or any(row.outcome == "not_run" for row in rows)
    again = resume_command(recipe_path, named, run, data_root, workers, scheduler) if gaps else None
    reasons: dict[str, int] = {}
    for item in queue:
        reasons[item.reason] = reasons.get(item.reason, 0) + 1
    return RunSummary(
        run,
        len(rows),
        count_outcomes(rows),
        count_verdicts(rows),
        watch.done_now,
        interrupted,
        not gaps,
        combine(codes),
        time.monotonic() - began,
        index,
        again,
        reasons,
        tuple(problems),
        tuple(row for row in rows if row.outcome not in ("measured", "measured_with_flags")),
        count_provisional(rows),
        count_expired(rows),
    )


def _inputs_of(run: Path) -> frozenset[str]:
    return frozenset(ref.path for task in RunFolder(run).plan().tasks for ref in task.inputs)


def _changed_since(driver: Driver, plan: Plan, queued: set[str]) -> list[str]:
    """What to say of parts that have a record of an input that is no more: the record stands, of the old bytes."""
    found = [words for part, words in changed_inputs(driver.plan, plan).items() if part not in queued]
    if not found:
        return []
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [f"since they were measured: {', '.join(found[:3])}{more}; the records stand, of the files as they were"]


def resume_command(
    recipe: str | Path,
    inputs: Iterable[str | Path],
    out: str | Path,
    data_root: str | Path | None,
    workers: int,
    scheduler: str | None,
) -> str:
    """The command line that goes on with a run."""
    words = ["abbe", "run", str(recipe), *map(str, inputs), "--out", str(out)]
    if data_root is not None:
        words += ["--data", str(data_root)]
    if workers:
        words += ["--workers", str(workers)]
    if scheduler is not None:
        words += ["--scheduler", scheduler]
    return shlex.join([*words, "--resume"])


def resume_here(command: str, run: Path) -> str:
    """The command of the journal for the folder at hand, which may be a copy, or have been moved, since."""
    words = shlex.split(command)
    at = words.index("--out") + 1 if "--out" in words else len(words)
    if at < len(words) and Path(words[at]).resolve() != run.resolve():
        words[at] = str(run.resolve())
    return shlex.join(words)


class _Watch:
    """Counts outcomes and tells the watcher."""

    def __init__(self, driver: Driver, total: int, began: float, callback: Callable[[Progress], None] | None) -> None:
        self.callback = callback
        self.total = total
        self.began = began
        self.counts = {key: count for key, count in count_outcomes(driver.outcomes()).items() if key != "not_run"}
        self.done_now = 0
        self.tell(None)

    def ended(self, outcome: str, part: str, stop: Stop) -> None:
        self.done_now += 1
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        self.tell(part, stop.requested)

    def tell(self, part: str | None, stopping: bool = False) -> None:
        if self.callback is not None:
            done = sum(self.counts.values())
            self.callback(Progress(self.total, done, dict(self.counts), time.monotonic() - self.began, part, stopping))


def _executor(workers: int, scheduler: str | None) -> Executor:
    if workers < 0:
        raise UsageError("the number of workers is not negative", got=str(workers))
    if workers == 0 and scheduler is None:
        from pipelines.execute.serial import SerialExecutor

        return SerialExecutor()
    from pipelines.execute.dask import DaskExecutor

    return DaskExecutor(workers, scheduler)


def _work(
    driver: Driver,
    executor: Executor,
    queue: list[Queued],
    root: Path,
    measure: str,
    stop: Stop,
    loaded: LoadedRecipe,
    watch: _Watch,
    remark: Callable[[str], None] | None,
) -> bool:
    """Run the queue; returns whether it was interrupted before its end."""
    if not queue:
        return False
    sha, run = driver.plan.sha256, str(driver.run.resolve())
    jobs = [Job(run, str(root), sha, measure, item.task.id) for item in queue]
    parts = {item.task.id: item.task.part for item in queue}
    ended: set[str] = set()
    compiling: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if measure == STEP and remark is not None:
        from pipelines.execute.compiling import compile_notice

        compiling = compile_notice(remark)
    try:
        with compiling:
            if measure == STEP:
                _warm_up(loaded)
            for finished in executor.run(jobs, stop):
                outcome = driver.note(finished)
                ended.add(finished.task_id)
                watch.ended(outcome, parts[finished.task_id], stop)
    except StopNow:
        return True
    return stop.requested and len(ended) < len(jobs)


def _warm_up(loaded: LoadedRecipe) -> None:
    """Compile (or load) the kernels here first: a cache that several workers fill at once is not safe."""
    if loaded.recipe.measure.kind == "features":
        from metrology_core._jit import warm_up

        warm_up()


def _report(driver: Driver, problems: list[str]) -> Path | None:
    """Build the report; a report that fails is a problem to tell, but never loses a measured run."""
    try:
        from pipelines.report import build_report

        index = Path(build_report(driver.run))
    except Exception as error:  # noqa: BLE001 - a report that fails must not lose a measured run
        problems.append(f"report: {type(error).__name__}: {error}")
        return None
    driver.report_built(index)
    return index


@contextlib.contextmanager
def _signals(stop: Stop, told: Callable[[str], None] | None) -> Iterator[None]:
    """First signal: set ``stop``. Second: raise `StopNow`. Only the main thread can install handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if stop.requested:
            raise StopNow
        stop.requested = True
        if told is not None:
            told(stop.phase)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
