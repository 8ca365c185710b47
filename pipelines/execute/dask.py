"""The Dask executor: futures only, a window kept by the client, and no blame for the innocent.

Dask is the executor, never the record: workers commit their own files and send back a few numbers. When a worker dies,
the scheduler blames every task that was assigned to it; such suspects are run again one at a time, alone on the
cluster, so that the next death is the task's own doing (the pattern and the measurements behind it:
references/pipelines.md, section 1.2).
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import signal
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

from metrology_core._version import __version__
from metrology_core.errors import IntegrityError, UsageError
from pipelines.execute.protocol import Finished, Job, Stop
from pipelines.execute.retry import MAX_ATTEMPTS, describe_failure, pause, retryable
from pipelines.execute.worker import THREAD_VARIABLES, perform

POLL_SECONDS = 0.25
# Dask has glibc give every freed 64 kB back to the system, which also fixes at 128 kB the size from which arrays are
# mapped afresh: an image of 1024 x 1024 then costs 20 000 page faults, more than a third of its time. These keep what
# one image needs for the next one; larger arrays are still mapped and returned.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
_LIBRARIES = ("numpy", "scipy", "numba", "h5py", "pydantic", "dask", "distributed")


@dataclass(frozen=True)
class _Try:
    job: Job
    attempt: int
    not_before: float = 0.0


def versions() -> dict[str, str]:
    """Versions that decide about the bits of a result; asked from every worker."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"abbe": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def sees(path: str) -> bool:
    """Whether a worker sees a file; asked from every worker of a cluster that is not ours."""
    return os.path.isfile(path)


class DaskExecutor:
    """Runs jobs on a local cluster of ``workers`` processes, or on the cluster at a scheduler ``address``."""

    def __init__(self, workers: int = 2, address: str | None = None, *, start_timeout: float = 60.0) -> None:
        if address is None and workers < 1:
            raise UsageError("a cluster needs at least one worker", got=str(workers), remedy="use --workers 0 for none")
        self.workers = workers
        self.address = address
        self.start_timeout = start_timeout

    def describe(self) -> dict[str, Any]:
        if self.address is not None:
            return {"executor": "dask", "scheduler": self.address}
        return {"executor": "dask", "workers": self.workers}

    # --- cluster
    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        import dask
        from distributed import Client, LocalCluster

        environment = dict.fromkeys(THREAD_VARIABLES, "1") | {"HDF5_USE_FILE_LOCKING": "FALSE"} | ALLOCATOR
        settings = {
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.worker-ttl": None,  # a long kernel may hold the interpreter; the nanny sees a death
            "distributed.scheduler.no-workers-timeout": f"{self.start_timeout} s",
            "distributed.worker.daemon": True,
            "distributed.worker.profile.enabled": False,  # a sample of the stack every 10 ms that nobody looks at
            "distributed.worker.preload": ["pipelines.execute.preload"],
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.nanny.pre-spawn-environ": {
                **dask.config.get("distributed.nanny.pre-spawn-environ", {}),
                **environment,
            },
        }
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(settings))
            target: Any = self.address
            if self.address is None:
                scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="abbe-", ignore_cleanup_errors=True))
                # An interrupt from the terminal goes to the whole process group, but workers must not see it. The
                # preload makes them ignore it; until that has run they inherit the mask of this thread.
                with _interrupts_blocked():
                    target = LocalCluster(
                        n_workers=self.workers,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                        worker_dashboard_address="127.0.0.1:0",
                        scheduler_kwargs={"dashboard": False},
                        security=True,  # loopback is not a wall between the users of one machine
                        local_directory=scratch,
                        silence_logs=60,  # above CRITICAL: deaths of workers are reported by us
                    )
                stack.callback(target.close, timeout=5)
            try:
                client = Client(target, set_as_default=False, timeout=self.start_timeout)
            except OSError as error:
                raise UsageError(
                    "the scheduler does not answer",
                    where=self.address,
                    got=str(error)[:200],
                    remedy="check the address",
                ) from None
            stack.callback(_close_quietly, client)
            yield client

    def _check(self, client: Any, jobs: Sequence[Job]) -> int:
        """Versions and paths on every worker; returns the number of threads."""
        try:
            client.wait_for_workers(1 if self.address else self.workers, timeout=self.start_timeout)
        except TimeoutError:
            raise UsageError(
                "the cluster has no workers", where=self.address, remedy="start workers, then resume"
            ) from None
        here = versions()
        for name, there in client.run(versions).items():
            different = {
                key: (here.get(key), there.get(key)) for key in here | there if here.get(key) != there.get(key)
            }
            if different:
                words = ", ".join(f"{key} {a} here, {b} there" for key, (a, b) in sorted(different.items()))
                raise UsageError(
                    f"worker {name} runs other versions", got=words, remedy="use one environment everywhere"
                )
        if self.address is not None and jobs:
            plan = os.path.join(jobs[0].run, "plan.json")
            blind = [name for name, found in client.run(sees, plan).items() if not found]
            if blind:
                raise UsageError(
                    f"{len(blind)} workers do not see the run folder",
                    got=plan,
                    remedy="put it on a path that all share",
                )
        return max(1, sum(client.nthreads().values()))

    # --- work
    def run(self, jobs: Sequence[Job], stop: Stop) -> Iterator[Finished]:
        if not jobs:
            return
        with self._client() as client, client.as_current():
            threads = self._check(client, jobs)
            window = max(2, math.ceil(1.5 * threads))
            suspects: list[_Try] = []
            queue = deque(_Try(job, 1) for job in jobs)
            yield from self._drive(client, queue, window, stop, suspects)
            for suspect in suspects:
                if stop.requested:
                    return
                again: list[_Try] = []
                alone = deque([_Try(suspect.job, suspect.attempt + 1)])
                yield from self._drive(client, alone, 1, stop, again)
                if again:
                    yield Finished(suspect.job.task_id, suspect.attempt + 1, crashed=True)

    def _drive(
        self, client: Any, queue: deque[_Try], window: int, stop: Stop, suspects: list[_Try]
    ) -> Iterator[Finished]:
        """Keep at most ``window`` tasks with the cluster until the queue is empty and all have ended."""
        from distributed import wait
        from distributed.scheduler import KilledWorker

        running: dict[Any, _Try] = {}
        alive = _Alive(self.start_timeout, self.address)
        try:
            while running or (queue and not stop.requested):
                now = time.monotonic()
                while queue and len(running) < window and not stop.requested and queue[0].not_before <= now:
                    item = queue.popleft()
                    # an explicit key: with the default, equal arguments would give back the old future
                    key = f"abbe-{item.job.task_id[:20]}-{item.attempt}-{uuid.uuid4().hex[:8]}"
                    running[client.submit(perform, item.job, key=key, pure=False, retries=0)] = item
                if not running:
                    time.sleep(POLL_SECONDS)
                    continue
                with contextlib.suppress(TimeoutError):
                    wait(list(running), timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
                for future in [item for item in running if item.done()]:
                    item = running.pop(future)
                    ended = self._judge(future, item, queue, suspects, KilledWorker)
                    future.release()
                    if ended is not None:
                        yield ended
                alive.check(client, stop)
        finally:
            for future in running:
                with contextlib.suppress(Exception):
                    future.cancel()

    def _judge(
        self, future: Any, item: _Try, queue: deque[_Try], suspects: list[_Try], killed: type[Exception]
    ) -> Finished | None:
        if future.status == "finished":
            return Finished(item.job.task_id, item.attempt, summary=_mapping(future.result()))
        error = future.exception() if future.status == "error" else TimeoutError(f"the task was {future.status}")
        if isinstance(error, killed):
            suspects.append(item)
            return None
        if isinstance(error, IntegrityError):
            raise error
        if retryable(error) and item.attempt < MAX_ATTEMPTS:
            queue.append(_Try(item.job, item.attempt + 1, time.monotonic() + pause(item.attempt)))
            return None
        return Finished(item.job.task_id, item.attempt, error=describe_failure(error))


class _Alive:
    """Notices a cluster that will never answer: the scheduler gone, or no worker left for a while."""

    def __init__(self, patience: float, where: str | None) -> None:
        self.patience = patience
        self.where = where
        self.asked = self.seen = time.monotonic()

    def check(self, client: Any, stop: Stop) -> None:
        """Raise `UsageError` where nothing can come any more; after an interrupt nobody waits for new workers."""
        if client.status != "running":
            raise UsageError("the connection to the scheduler was lost", where=self.where, remedy="resume the run")
        now = time.monotonic()
        if now - self.asked < 2.0:
            return
        self.asked = now
        if client.nthreads():
            self.seen = now
        elif now - self.seen > (5.0 if stop.requested else self.patience):
            raise UsageError("the cluster has no workers any more", where=self.where, remedy="resume the run")


def _mapping(value: Any) -> Mapping[str, Any]:
    return dict(value)


def _close_quietly(client: Any) -> None:
    with contextlib.suppress(Exception):
        client.close(timeout=5)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows: processes are started in their own way there
        yield
        return
    resource_tracker.ensure_running()  # starting it later would lift the mask in the thread that starts a worker
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
