"""Which failures are worth another try, decided by the driver and nowhere else."""

from __future__ import annotations

from typing import Any

MAX_ATTEMPTS = 3


def retryable(error: BaseException) -> bool:
    """Failures of the file system or the network may pass; anything else would only happen again."""
    return isinstance(error, (OSError, TimeoutError, EOFError))


def pause(attempt: int) -> float:
    """Seconds to wait before the next attempt."""
    return 0.2 * 4.0 ** (attempt - 1)


def describe_failure(error: BaseException) -> dict[str, Any]:
    """What the journal says about a task for which no record could be committed."""
    return {"code": type(error).__name__, "message": str(error)[:600], "where": None, "remedy": "resume the run"}
