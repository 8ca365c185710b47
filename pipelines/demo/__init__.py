"""The demo: two simulated lots with known truth through the whole line, and the comparison with the truth."""

from __future__ import annotations

from pathlib import Path


def run_demo(out: Path | str, workers: int = 2, as_json: bool = False, *, parts: int = 24, images: int = 48) -> int:
    """Simulate, measure and compare under ``out``; returns 0 if every outcome and verdict matches the truth, else 1.

    ``workers`` processes measure (0: this one). The summary goes to standard output, as a table or as one JSON
    document; progress goes to standard error. A folder that holds an earlier demo is replaced, any other folder that is
    not empty is refused with `UsageError`. ``parts`` and ``images`` make the lots smaller (tests).
    """
    from pipelines.demo.run import run

    return run(Path(out), workers=workers, as_json=as_json, parts=parts, images=images)


__all__ = ["run_demo"]
