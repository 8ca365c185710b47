"""Drawing the inputs of a `Model`, block by block of trials, and running the model on them.

Every base quantity has a stream of its own, keyed by the run's seed and its influence id; trial t of a stream is always
the same number. So results do not depend on threads, workers or block boundaries, two models that share an influence
id can be simulated jointly, and adding an input does not disturb the others.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from metrology_core.blocks import run_blocks
from metrology_core.errors import ParameterError
from metrology_core.uncertainty.derivatives import outputs_of
from metrology_core.uncertainty.distributions import Constant, Distribution
from metrology_core.uncertainty.model import Block, Model

BLOCK = 8192
"""Trials per block: all inputs of one block stay in the second-level cache."""
_KINDS = {"constant": 0, "rectangular": 1, "table": 2, "sum": 3, "curvilinear": 4}


def stream_of(name: str) -> int:
    """The stream of an influence id: the first 64 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def seed_of(*parts: object) -> int:
    """A seed from anything that identifies a run (seed, part, purpose): 63 bits of a SHA-256."""
    text = "\0".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


class Sampler:
    """Draws the base quantities of a model. ``fill(first, out)`` writes trials ``first`` (even) on."""

    def __init__(self, model: Model, seed: int) -> None:
        from metrology_core.uncertainty import tables

        if not 0 <= seed < 2**64:
            raise ParameterError("a seed is a whole number below 2^64", got=repr(seed))
        self.seed = np.uint64(seed)
        self.names = model.names
        rows = list(model.base.values())
        n = len(rows)
        self.kinds = np.zeros(n, dtype=np.int64)
        self.parameters = np.zeros((n, 3))
        self.rows = np.zeros(n, dtype=np.int64)
        self.streams = np.array([stream_of(row.id or name) for name, row in model.base.items()], dtype=np.uint64)
        self.blocks = model.blocks
        self.by_quantile: list[tuple[int, Distribution]] = []
        self.copulas: dict[int, list[Distribution]] = {}
        keys: dict[Any, int] = {("normal", ()): 0}
        blocked = {int(p): block for block in model.blocks for p in block.places}
        for i, row in enumerate(rows):
            if i in blocked:
                self.kinds[i], self.parameters[i] = _KINDS["table"], (0.0, 1.0, 0.0)  # a normal score, mixed later
                continue
            plan = row.distribution.plan()
            if plan is None:
                self.kinds[i], self.parameters[i] = _KINDS["rectangular"], (0.0, 1.0, 0.0)
                self.by_quantile.append((i, row.distribution))
                continue
            kind, parameters, key = plan
            self.kinds[i], self.parameters[i] = _KINDS[kind], parameters
            if key is not None:
                self.rows[i] = keys.setdefault(key, len(keys))
        self.centers: list[np.ndarray] = []
        self.chi_rows: list[np.ndarray | None] = []
        for number, block in enumerate(self.blocks):
            members = [rows[int(p)] for p in block.places]
            self.centers.append(np.array([0.0 if block.copula else row.estimate for row in members]))
            if block.copula:
                self.copulas[number] = [row.distribution for row in members]
            self.chi_rows.append(None if math.isinf(block.chi_dof) else tables.standard("gamma", block.chi_dof / 2.0))
        self.tables = np.stack([tables.standard(name, *shape) for name, shape in keys])

    def fill(self, first: int, words: np.ndarray, out: np.ndarray) -> None:
        """Draw trials ``first`` to ``first + out.shape[1]`` (both even) into out (inputs, trials); ``words`` is
        (2, trials) scratch of uint64."""
        from metrology_core.kernels import threefry

        threefry.draw(self.kinds, self.parameters, self.rows, self.tables, self.seed, self.streams, first, words, out)
        for i, distribution in self.by_quantile:
            out[i] = distribution.ppf(out[i])
        for number, block in enumerate(self.blocks):
            self._mix(number, block, first, words, out)

    def _mix(self, number: int, block: Block, first: int, words: np.ndarray, out: np.ndarray) -> None:
        from metrology_core.kernels import mixing, threefry

        z = out[block.places]
        chi = self.chi_rows[number]
        if chi is not None:
            divisor = np.empty(out.shape[1])
            stream = np.uint64(stream_of(block.id))
            threefry.variates(self.seed, stream, np.uint64(2), first, chi, words[0], divisor)
            z *= np.sqrt(block.chi_dof / (2.0 * divisor))
        mixed = np.empty_like(z)
        mixing.mix(block.normal_factor, self.centers[number], z, mixed)
        for place, row, distribution in zip(block.places, mixed, self.copulas.get(number, [None] * len(mixed))):
            if distribution is None:
                out[place] = row
            else:
                mixing.probabilities(row, out[place])
                out[place] = distribution.ppf(out[place])


_loops: weakref.WeakKeyDictionary[Any, dict[tuple[int, int], Any]] = weakref.WeakKeyDictionary()


def _compiled_loop(function: Any, inputs: int, outputs: int) -> Any:
    """The loop of trials around a Numba function of scalars, compiled once per function."""
    known = _loops.setdefault(function, {})
    if (inputs, outputs) not in known:
        from metrology_core._jit import _compile_lazily

        arguments = ", ".join(f"x[{i}, j]" for i in range(inputs))
        if outputs == 0:
            body = f"        out[0, j] = model({arguments})\n"
        else:
            rows = "".join(f"        out[{k}, j] = r[{k}]\n" for k in range(outputs))
            body = f"        r = model({arguments})\n{rows}"
        scope: dict[str, Any] = {"model": function}
        code = f"def trials(x, out):\n    for j in range(x.shape[1]):\n{body}"
        exec(compile(code, "<loop of trials>", "exec"), scope)  # our own text: two counts are all that enters it
        known[inputs, outputs] = _compile_lazily(scope["trials"])  # it has no file, so no place in the cache
    return known[inputs, outputs]


class Simulation:
    """Runs a model on drawn inputs. Trials are appended; the outputs of trial t never depend on how many there are."""

    def __init__(self, model: Model, seed: int) -> None:
        self.model = model
        self.sampler = Sampler(model, seed)
        at = model.estimates()
        center = outputs_of(model.at_base(**{name: float(v) for name, v in at.items()}))
        if any(np.size(y) != 1 for y in center):
            raise ParameterError("each output of a model must be one number per trial", got=f"{np.shape(center[0])}")
        self.center = np.array([float(np.real(np.asarray(y).reshape(()))) for y in center])
        if not np.isfinite(self.center).all():
            self.center = np.zeros(len(center))
        self.compiled: Any = None
        if hasattr(model.function, "py_func") and not model._affine:
            returned = model.function(*[float(v) for v in at.values()])
            count = len(returned) if isinstance(returned, tuple) else 0
            self.compiled = _compiled_loop(model.function, len(at), count)

    @property
    def outputs(self) -> int:
        return len(self.center)

    def run(self, first: int, trials: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Outputs (m, trials) of trials ``first`` on, and per block of trials the sums (blocks, m) and products
        (blocks, m, m) about ``center``.

        Raises `ParameterError` where the model gives something that is not finite.
        """
        from metrology_core.kernels import mixing

        if first % 2 or trials % 2:
            raise ParameterError("trials come in pairs", got=f"{trials} from {first}")
        m, n = self.outputs, len(self.sampler.names)
        out = np.empty((m, trials))
        chunks = -(-trials // BLOCK)
        sums, products = np.empty((chunks, m)), np.empty((chunks, m, m))
        bad = np.zeros(chunks, dtype=np.int64)

        def work(start: int, stop: int) -> None:
            words = np.empty((2, BLOCK), dtype=np.uint64)
            x = np.empty((n, BLOCK))
            for chunk in range(start, stop):
                low = chunk * BLOCK
                count = min(BLOCK, trials - low)
                at = x if count == BLOCK else np.empty((n, count))
                self.sampler.fill(first + low, words[:, :count], at)
                y = np.empty((m, count))
                self._evaluate(at, y)
                bad[chunk] = mixing.moments(y, self.center, sums[chunk], products[chunk])
                out[:, low : low + count] = y

        run_blocks(work, chunks, serial_below=2)
        if bad.any():
            raise ParameterError(
                f"the model gives no finite number in {int(bad.sum())} of {trials} trials",
                remedy="an input reaches values that the model does not allow: give it a bounded distribution",
            )
        return out, sums, products

    def _evaluate(self, x: np.ndarray, y: np.ndarray) -> None:
        if self.compiled is not None:
            self.compiled(x, y)
            return
        with np.errstate(all="ignore"):  # what is not finite is counted and reported as such
            results = outputs_of(self.model.at_base(**dict(zip(self.sampler.names, x))))
        rows: list[Any] = results
        if len(results) == 1 and np.ndim(results[0]) == 2:
            rows = list(results[0])
        if len(rows) != len(y):
            raise ParameterError("the model returns another number of outputs for arrays than for numbers")
        for k, row in enumerate(rows):
            if np.shape(row) not in ((), (x.shape[1],)):
                raise ParameterError(
                    "a model must work on arrays of trials",
                    expected=f"one number per trial, shape ({x.shape[1]},)",
                    got=f"shape {np.shape(row)}",
                    remedy="write it with NumPy functions, or compile it with Numba",
                )
            y[k] = row


def vectorised(function: Callable[..., Any]) -> Callable[..., Any]:
    """A model of plain numbers as one of arrays, slowly: a Python loop over trials."""

    def loop(**arrays: Any) -> Any:
        if all(np.ndim(value) == 0 for value in arrays.values()):
            return function(**arrays)
        count = max(np.size(value) for value in arrays.values())
        wide = {name: np.broadcast_to(value, count) for name, value in arrays.items()}
        rows = [outputs_of(function(**{name: value[t] for name, value in wide.items()})) for t in range(count)]
        return tuple(np.array(column, dtype=np.float64) for column in zip(*rows))

    return loop


def constant_inputs(model: Model) -> bool:
    """Whether no input of the model varies."""
    return all(isinstance(row.distribution, Constant) for row in model.base.values())
