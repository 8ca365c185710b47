"""The Dask executor: the same bytes as in one process, only the culprit quarantined, clusters checked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from metrology_core.errors import UsageError
from pipelines.execute import dask as executor
from pipelines.exit_codes import ExitCode
from pipelines.store import RunFolder
from pipelines.verify import verify_run
from tests.pipelines.run.lot import GOOD, digests, events, good_lot, make_lot, run_lot

pytestmark = pytest.mark.dask

GOOD_ONES = {f"p{i}": f"10.00{i}\n{GOOD}" for i in range(6)}
ODD_ONES = {"bug": "!bug\n", "reader": "!reader\n", "exit": "!exit\n", "slow": "!slow\n" + GOOD, "bad": "10.1\n"}


def test_a_part_that_kills_its_worker_is_quarantined_alone(tmp_path: Path) -> None:
    """Two poisoned parts among eleven others, on two workers: the others get the bytes of a serial run."""
    serial = make_lot(tmp_path / "serial", {**GOOD_ONES, **ODD_ONES})
    run_lot(serial, tmp_path / "run0")
    recipe = make_lot(tmp_path / "dask", {**GOOD_ONES, **ODD_ONES, "p2x": "!segfault\n", "zz": "!segfault\n"})
    summary = run_lot(recipe, tmp_path / "run2", workers=2)
    assert summary.counts["crashed"] == 2
    assert summary.exit_code == ExitCode.NOT_MEASURED
    rows = {row.part: row for row in RunFolder(tmp_path / "run2").outcomes()}
    assert sorted(part for part, row in rows.items() if row.outcome == "crashed") == ["parts/p2x.csv", "parts/zz.csv"]
    assert digests(tmp_path / "run2") == digests(tmp_path / "run0")
    assert verify_run(tmp_path / "run2").exit_code == ExitCode.CONFORMING  # quarantine is an outcome, not a gap
    # a quarantined part stays so on resume, and no record is measured again
    again = run_lot(recipe, tmp_path / "run2", resume=True)
    assert again.measured_now == 0 and again.counts["crashed"] == 2
    # once the fault is mended (here: the file is what kills, so the part just crashes again, alone)
    assert [entry["event"] for entry in events(tmp_path / "run2")].count("quarantined") == 2


def test_an_existing_cluster_does_the_same_work(tmp_path: Path) -> None:
    from distributed import LocalCluster

    recipe = good_lot(tmp_path)
    run_lot(recipe, tmp_path / "run0")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", local_directory=str(tmp_path)
    ) as cluster:
        summary = run_lot(recipe, tmp_path / "run1", scheduler=cluster.scheduler_address)
        assert summary.exit_code == ExitCode.CONFORMING
        assert digests(tmp_path / "run1") == digests(tmp_path / "run0")
        opened = events(tmp_path / "run1")[0]
        assert opened["executor"] == {"executor": "dask", "scheduler": cluster.scheduler_address}
        with pytest.MonkeyPatch.context() as patch:
            here = executor.versions()
            patch.setattr(executor, "_LIBRARIES", (*executor._LIBRARIES, "click"))  # the workers do not report it
            assert executor.versions() != here
            patch.setattr(executor, "versions", _Frozen(executor.versions()))
            with pytest.raises(UsageError, match="other versions"):
                run_lot(recipe, tmp_path / "run3", scheduler=cluster.scheduler_address)


class _Frozen:
    """Versions of a driver that has one library more; on a worker it reports what a worker has."""

    def __init__(self, driver: dict[str, str]) -> None:
        self.driver = driver
        self.__name__ = "versions"

    def __call__(self) -> dict[str, str]:
        return self.driver

    def __reduce__(self) -> tuple[object, ...]:
        return (_worker_versions, ())


def _worker_versions() -> object:
    return executor.versions


def test_no_scheduler_is_wrong_use_and_quick(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(UsageError, match="does not answer"):
        executor_run = executor.DaskExecutor(0, "tcp://127.0.0.1:9", start_timeout=1.0)
        from pipelines.execute.protocol import Job, Stop

        list(executor_run.run([Job("r", "d", "p", "m", "t")], Stop()))
    assert time.monotonic() - began < 15  # it must not wait for the default of half a minute


def test_workers_and_address_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        run_lot(good_lot(tmp_path), tmp_path / "run", workers=2, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UsageError):
        run_lot(good_lot(tmp_path), tmp_path / "run", workers=-1)
