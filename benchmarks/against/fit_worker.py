"""A peer in its own process: no library's idle threads, imports or memory disturb the others.

The process reads one JSON request per line and answers with one line. It takes time itself, with the points in its
memory, so the pipe costs nothing. The parent ends a process that exceeds its limit.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import Any

import numpy as np

BATCH_S = 0.02  # short calls are repeated for this long in one turn; the median counts


class Worker:
    """The parent's side. `ask` returns the answer, or None where the time limit was exceeded or the process died."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.process: subprocess.Popen[str] | None = None
        self.case: dict[str, Any] = {}

    def prepare(self, **case: Any) -> dict[str, Any] | None:
        self.case = case
        return self.ask({"do": "prepare", **case}, 120.0)

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any] | None:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.against.fit_worker", self.peer],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            if request["do"] != "prepare" and self.prepare(**self.case) is None:
                return None
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.close()
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def spin() -> None:
    """A matrix product that wakes every thread of NumPy's BLAS; they keep spinning for a while afterwards."""
    a = np.ones((400, 400))
    a @ a


def serve(peer: str) -> None:
    from benchmarks.against import fit_shapes as shapes
    from benchmarks.against.fit_peers import PEERS

    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not meet the answers
    call = None
    x = best = np.empty(0)
    kind = ""
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            if request["do"] == "prepare":
                kind = request["kind"]
                x = shapes.part(kind, request["n"], request["coverage"])
                call = PEERS[peer][1](kind, x)
                best = np.empty(0)
                answer = {"has": call is not None}
            elif request["do"] == "error":
                assert call is not None
                if not best.size:
                    best = shapes.optimum(kind, x)
                found = call()
                answer = {"error": shapes.error(kind, found, best, x) if found.size else None}
            else:
                assert call is not None
                wall, cpu = timed(call, request["spin"], request["estimate"])
                answer = {"seconds": wall, "cpu": cpu}
        except Exception as problem:  # noqa: BLE001 - whatever a peer raises is a line of the table
            answer = {"failed": f"{type(problem).__name__}: {problem}"[:100]}
        answer_to.write(json.dumps(answer) + "\n")
        answer_to.flush()


def timed(call: Any, after_blas: bool, estimate: float) -> tuple[float, float]:
    """Median seconds of one call in this turn: on the clock, and of all processors together."""
    wall, cpu = [], []
    for _ in range(max(1, min(200, int(BATCH_S / max(estimate, 1e-6))))):
        if after_blas:
            spin()
        start, used = time.perf_counter(), time.process_time()
        call()
        cpu.append(time.process_time() - used)
        wall.append(time.perf_counter() - start)
    return float(np.median(wall)), float(np.median(cpu))


if __name__ == "__main__":
    serve(sys.argv[1])
