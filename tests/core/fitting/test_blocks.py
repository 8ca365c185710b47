"""The one owner of threads: every chunk once, errors travel, forks and settings are respected."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from metrology_core import blocks
from metrology_core.errors import ParameterError


@pytest.mark.parametrize("count", [1, 2, 3, 16])
@pytest.mark.parametrize("chunks", [1, 4, 7, 100])
def test_every_chunk_is_done_once(count: int, chunks: int) -> None:
    done = [0] * chunks
    lock = threading.Lock()

    def work(start: int, stop: int) -> None:
        with lock:
            for i in range(start, stop):
                done[i] += 1

    with blocks.threads(count):
        blocks.run_blocks(work, chunks)
    assert done == [1] * chunks


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def work(start: int, stop: int) -> None:
        if stop == 8:
            raise RuntimeError("in the last range")

    with blocks.threads(4), pytest.raises(RuntimeError, match="last range"):
        blocks.run_blocks(work, 8)


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABBE_THREADS", "3")
    assert blocks.thread_count() == 3
    with blocks.threads(1):
        assert blocks.thread_count() == 1
    monkeypatch.setenv("ABBE_THREADS", "many")
    with pytest.raises(ParameterError, match="ABBE_THREADS"):
        blocks.thread_count()
    with pytest.raises(ParameterError), blocks.threads(0):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_threads_again() -> None:
    script = (
        "import os, sys\n"
        "from metrology_core import blocks\n"
        "done = []\n"
        "with blocks.threads(2):\n"
        "    blocks.run_blocks(lambda a, b: done.append((a, b)), 8)\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        more = []\n"
        "        blocks.run_blocks(lambda a, b: more.append((a, b)), 8)\n"
        "        os._exit(0 if sorted(more) == [(0, 4), (4, 8)] else 1)\n"
        "    _, status = os.waitpid(child, 0)\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60, check=False)
    assert done.returncode == 0
