"""Says that kernels are being compiled, while it happens: the one time that a command is slow and silent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

AFTER_S = 2.0
_POLL_S = 0.1
TEXT = "compiling kernels for this machine (first run only, about a minute)"


@contextlib.contextmanager
def compile_notice(remark: Callable[[str], None], after: float = AFTER_S) -> Iterator[list[str]]:
    """Call ``remark`` once, from another thread, where kernels are compiled ``after`` seconds into the block or later.

    Kernels that come from the cache are not compiled, and a block that ends earlier stays silent. Yields the names of
    the kernels compiled so far.
    """
    from metrology_core._jit import compile_report

    over = threading.Event()
    with compile_report() as compiled:

        def watch() -> None:
            pause = after
            while not over.wait(pause):
                pause = _POLL_S
                if compiled:
                    remark(TEXT)
                    return

        thread = threading.Thread(target=watch, name="compile-notice", daemon=True)
        thread.start()
        try:
            yield compiled
        finally:
            over.set()
            thread.join()
