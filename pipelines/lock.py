"""One driver per run folder: an advisory lock that dies with its process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import IO, Any

from metrology_core.errors import UsageError


class RunLock:
    """Holds ``run/.lock``. A second holder is refused with the name of the first; a killed process leaves no lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: IO[str] | None = None

    def __enter__(self) -> RunLock:
        stream = open(self.path, "a+", encoding="utf-8")  # held until __exit__
        try:
            _patiently(stream)
        except OSError:
            owner = _owner(stream)
            stream.close()
            raise UsageError(
                "another process works on this run folder", got=owner, remedy="wait for it to end, or interrupt it"
            ) from None
        stream.seek(0)
        stream.truncate()
        json.dump({"pid": os.getpid(), "host": socket.gethostname()}, stream)
        stream.flush()
        self._stream = stream
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _patiently(stream: IO[Any]) -> None:
    """Try for a moment: somebody may just be asking `is_locked`."""
    for _ in range(9):
        with contextlib.suppress(OSError):
            return _lock(stream)
        time.sleep(0.02)
    return _lock(stream)


def is_locked(path: Path) -> bool:
    """Whether a driver works on the run at this moment."""
    try:
        with open(path, "a+", encoding="utf-8") as stream:
            _lock(stream)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock(stream: IO[Any]) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        stream.seek(1 << 20)  # far behind the text, so that others can still read who holds it
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        return
    fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner(stream: IO[str]) -> str | None:
    try:
        stream.seek(0)
        data = json.loads(stream.read(4096))
        return f"process {int(data['pid'])} on {data['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None
