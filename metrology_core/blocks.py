"""Threads over blocks: the one place that owns them.

Work is a nogil kernel over a range of chunks, each of which writes its own partial results; the caller folds the
partials in chunk order, so the number of threads never changes a bit. Plain Python threads: safe after fork,
re-entrant, and without the compile time and the aborts of a parallel runtime inside the kernel.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from metrology_core.errors import ParameterError

_local = threading.local()
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_owner: tuple[int, int] = (0, 0)


def default_threads() -> int:
    """``ABBE_THREADS`` where set; one inside a Dask task (the scheduler already fills the cores); else the usable
    cores."""
    text = os.environ.get("ABBE_THREADS")
    if text:
        try:
            count = int(text)
        except ValueError:
            count = 0
        if count < 1:
            raise ParameterError("ABBE_THREADS is not a count", expected="a whole number >= 1", got=repr(text))
        return count
    if "distributed" in sys.modules and threading.current_thread().name.startswith(("Dask-", "ThreadPoolExecutor-")):
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count() -> int:
    """Threads that the next `run_blocks` of this Python thread may use."""
    return getattr(_local, "count", None) or default_threads()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Use exactly `count` threads for block work started from this Python thread inside the ``with`` block."""
    if count < 1:
        raise ParameterError("not a number of threads", expected=">= 1", got=repr(count))
    before = getattr(_local, "count", None)
    _local.count = count
    try:
        yield
    finally:
        _local.count = before


def _executor(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_owner
    with _lock:
        pid, size = _pool_owner
        if _pool is None or pid != os.getpid() or size < count:  # a forked child has the object but not the threads
            _pool = ThreadPoolExecutor(count, thread_name_prefix="abbe-block")
            _pool_owner = (os.getpid(), count)
        return _pool


def run_blocks(work: Callable[[int, int], object], chunks: int, *, serial_below: int = 4, shares: int = 1) -> None:
    """Call ``work(start, stop)`` over contiguous ranges that cover ``range(chunks)``: one call per thread.

    Below `serial_below` chunks the hand-over costs more than it saves, so this thread does it all. With `shares`
    there are that many ranges for each thread, taken by whichever is free: a thread whose core is busy with something
    else (idle threads of a BLAS spin for some milliseconds after their work) then does less of them.
    """
    count = 1 if chunks < serial_below else min(thread_count(), chunks)
    if count == 1:
        work(0, chunks)
        return
    pieces = min(chunks, count * shares)
    edges = [chunks * k // pieces for k in range(pieces + 1)]
    waiting = itertools.count()  # its next() is atomic

    def take() -> None:
        k = next(waiting)
        while k < pieces:
            work(edges[k], edges[k + 1])
            k = next(waiting)

    pool = _executor(count - 1)
    if shares == 1:  # every thread its own range, whichever starts first
        others = [pool.submit(work, edges[k], edges[k + 1]) for k in range(1, count)]
    else:
        others = [pool.submit(take) for _ in range(1, count)]
    try:
        if shares == 1:
            work(edges[0], edges[1])
        else:
            take()
    finally:
        for other in others:
            other.result()


def _after_fork() -> None:
    global _lock, _pool
    _lock = threading.Lock()  # another thread may have held it at the fork
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
