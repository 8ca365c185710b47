"""Interrupts, kills and crashes: whatever happens, what was committed stays and the rest can be gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from pipelines.exit_codes import ExitCode
from pipelines.lock import is_locked
from pipelines.verify import verify_run
from tests.pipelines.run.lot import GOOD, digests, drive, events, make_lot, names, run_lot, wait_until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SLOW = "!slow\n" + GOOD


def done(run: Path) -> int:
    return names(run).count("task_done") if run.exists() else 0


def finish(process: subprocess.Popen[str], seconds: float = 60.0) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Records of the slow lot from a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("reference")
    run_lot(make_lot(folder, {f"p{i}": SLOW for i in range(5)}), folder / "run")
    return digests(folder / "run")


def slow_lot(folder: Path) -> Path:
    return make_lot(folder, {f"p{i}": SLOW for i in range(5)})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_part_in_flight_end(tmp_path: Path, number: int, reference: dict[str, str]) -> None:
    recipe, run = slow_lot(tmp_path), tmp_path / "run"
    process = drive(recipe, run)
    wait_until(lambda: done(run) >= 1)
    process.send_signal(number)
    code, out, _ = finish(process)
    assert code == ExitCode.INTERRUPTED
    summary = json.loads(out)
    assert summary["interrupted"] and "--resume" in summary["resume"]
    assert names(run)[-1] == "interrupted"
    assert 1 <= done(run) < 5
    assert verify_run(run).exit_code == ExitCode.INTERRUPTED
    again = run_lot(recipe, run, resume=True)
    assert again.exit_code == ExitCode.CONFORMING and again.measured_now == 5 - summary["measured_now"]
    assert digests(run) == reference
    assert verify_run(run).exit_code == ExitCode.CONFORMING


def test_the_second_signal_stops_at_once(tmp_path: Path) -> None:
    recipe, run = make_lot(tmp_path, {"a": GOOD, "b": "!wait\n" + GOOD, "c": GOOD}), tmp_path / "run"
    process = drive(recipe, run)
    wait_until(lambda: done(run) >= 1 and (tmp_path / "waits").exists())  # b has begun
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):  # b waits for a file: the first signal waits for b
        process.wait(timeout=1.0)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == ExitCode.INTERRUPTED
    assert done(run) == 1
    (tmp_path / "go").write_text("")
    assert run_lot(recipe, run, resume=True).exit_code == ExitCode.CONFORMING


def test_a_killed_driver_leaves_a_resumable_run(tmp_path: Path, reference: dict[str, str]) -> None:
    recipe, run = slow_lot(tmp_path), tmp_path / "run"
    process = drive(recipe, run)
    wait_until(lambda: done(run) >= 2)
    process.kill()
    process.communicate()
    assert not is_locked(run / ".lock")
    assert names(run)[-1] == "task_done"
    assert verify_run(run).exit_code == ExitCode.INTERRUPTED
    summary = run_lot(recipe, run, resume=True)
    assert summary.complete and summary.measured_now <= 3
    assert digests(run) == reference
    assert names(run).count("run_resumed") == 1
    assert verify_run(run).exit_code == ExitCode.CONFORMING


def test_a_kill_before_the_plan_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    recipe, run = make_lot(tmp_path, {"a": GOOD}), tmp_path / "run"
    (run / "measurements").mkdir(parents=True)
    (run / "recipe.yaml").write_text("half")
    (run / ".plan.json.1.abc.tmp").write_text("half")
    assert run_lot(recipe, run, resume=True).exit_code == ExitCode.CONFORMING
    assert not list(run.glob(".*.tmp"))
    assert verify_run(run).exit_code == ExitCode.CONFORMING


@pytest.mark.dask
def test_an_interrupt_of_the_whole_group_spares_the_workers(tmp_path: Path, reference: dict[str, str]) -> None:
    """Ctrl-C in a terminal reaches every process of the group; workers must finish and commit what they hold."""
    recipe, run = make_lot(tmp_path, {f"p{i}": SLOW for i in range(10)}), tmp_path / "run"
    process = drive(recipe, run, workers=2)
    wait_until(lambda: done(run) >= 1)
    os.killpg(process.pid, signal.SIGINT)
    code, _, err = finish(process)
    assert code == ExitCode.INTERRUPTED, err
    journal = events(run)
    assert not [entry for entry in journal if entry["event"] in ("quarantined", "task_failed")]
    assert len(digests(run)) == done(run)  # nothing was committed behind the driver's back
    assert run_lot(recipe, run, resume=True).exit_code == ExitCode.CONFORMING
    assert digests(run).items() >= reference.items()


@pytest.mark.dask
def test_a_killed_driver_takes_its_workers_along(tmp_path: Path) -> None:
    recipe, run = make_lot(tmp_path, {"a": GOOD, "b": "!wait\n" + GOOD, "c": GOOD}), tmp_path / "run"
    process = drive(recipe, run, workers=2)
    wait_until(lambda: done(run) >= 2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, f"{len(gone)} ended, {len(alive)} did not"
    (tmp_path / "go").write_text("")
    assert run_lot(recipe, run, resume=True).exit_code == ExitCode.CONFORMING
