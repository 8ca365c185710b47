"""Small steps for tests of the engine: they read a CSV of numbers and behave as its first line says.

They live in a module of their own because worker processes import them by name.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from metrology_core.conformity import decide
from metrology_core.errors import FitError, ReaderError
from metrology_core.measurement import Measurement
from metrology_core.quantity import Influence, Measured
from pipelines.plan import Task
from pipelines.recipe import Recipe, decision_rule, tolerance
from pipelines.record import StepResult

PATH = "tests.pipelines.run.fake_steps:measure"


def measure(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Mean of the numbers in the file; a first line ``!word`` asks for a special behaviour."""
    text = (root / task.inputs[0].path).read_text()
    word, _, rest = text.partition("\n")
    if not word.startswith("!"):
        word, rest = "", text
    if word == "!reader":
        raise ReaderError("not a cloud", path=task.inputs[0].path, place="line 1", remedy="export it again")
    if word == "!fit":
        raise FitError("the fit did not converge", remedy="look at the points")
    if word == "!bug":
        raise ZeroDivisionError(f"division of {root / task.inputs[0].path} at 0x7f0012345678")
    if word == "!exit":
        raise SystemExit(3)
    if word == "!segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
        # the kernel may hand the signal to another thread of the worker: this one must not commit a record meanwhile
        time.sleep(60.0)
    if word == "!slow":
        time.sleep(0.4)
    if word == "!wait":  # until the test lets go; it is told that somebody waits
        (root / "waits").touch()
        while not (root / "go").exists():
            time.sleep(0.02)
    values = np.array([float(item) for item in rest.split()])
    noise = np.random.Generator(np.random.Philox(key=recipe.seed)).normal(size=64)
    measurements = []
    for spec in recipe.measure.characteristics:
        measured = Measured.from_standard(float(values.mean()), 0.001, "mm", Influence("mean", "the mean", "A"))
        limits = tolerance(spec, "mm")
        decision = None if limits is None else decide(measured, limits, decision_rule(recipe.decision))
        if word == "!partial" and len(measurements) == 1:
            break
        measurements.append(
            Measurement(
                spec.name,
                spec.characteristic,
                "mean of the numbers",
                "mm",
                measured,
                None if spec.nominal is None else spec.nominal.to("mm"),
                limits,
                decision,
                f"mean of {values.size} numbers",
                (),
                tuple(ref.sha256 or "" for ref in task.inputs),
            )
        )
    if word == "!random":
        noise = np.frombuffer(os.urandom(64), dtype=np.uint8).astype(np.float64)
    arrays = {"deviation/value": values - values.mean(), "deviation/noise": noise, "empty": np.zeros((0, 3))}
    return StepResult(measurements, (), (), arrays, ("columns_ignored",) if word == "!info" else ())


def other(recipe: Recipe, task: Task, root: Path) -> StepResult:
    """Another step of the same signature."""
    return measure(recipe, task, root)
