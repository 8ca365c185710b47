"""Loaded by every worker process of a local cluster before it takes work."""

from __future__ import annotations

import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave interrupts to the driver.

    Ctrl-C in a terminal reaches every process of its group; a worker has to finish and commit the part it holds. The
    driver ends its workers when it is done, and they end themselves when the driver is gone.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
