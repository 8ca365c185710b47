"""Eight points at a time: vectors whose arithmetic is written once, for the compiler and for plain Python.

A formula over `Vector` becomes the instructions that it says: `fma` is one fused, correctly rounded operation on every
processor (in hardware, or in the C library), nothing is reordered, and square root and quotient are correctly rounded.
So the bits do not depend on the width of a processor's instructions, and products cost no instruction of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from metrology_core._jit import compiler_parts

WIDTH = 8
SINGLE_WIDTH = 16  # numbers of single precision in a vector
_LOG2 = (
    0.693147180369123816490,
    1.90821492927058770002e-10,
)  # ln 2 in two parts: whole multiples of the first are exact
_EXP_LIMIT = 690.0  # beyond it powers of two leave the range of doubles
_SHIFT = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to a whole number, kept in the lowest bits
AHEAD = 1024  # numbers that memory is asked for ahead of its use, where a loop only reads: eight kilobytes


class Vector:
    """Eight numbers (sixteen of single precision) in the function that is being built."""

    def __init__(self, machine: Machine, value: Any) -> None:
        self.machine, self.value = machine, value

    def __add__(self, other: Any) -> Vector:
        return Vector(self.machine, self.machine.builder.fadd(self.value, other.value))

    def __sub__(self, other: Any) -> Vector:
        return Vector(self.machine, self.machine.builder.fsub(self.value, other.value))

    def __mul__(self, other: Any) -> Vector:
        return Vector(self.machine, self.machine.builder.fmul(self.value, other.value))

    def __truediv__(self, other: Any) -> Vector:
        return Vector(self.machine, self.machine.builder.fdiv(self.value, other.value))


class Machine:
    """What formulas need beside + - * /, as instructions appended to a function."""

    def __init__(
        self, parts: SimpleNamespace, context: Any, builder: Any, single: bool = False, given: Sequence[Any] = ()
    ) -> None:
        self.context, self.builder, self._parts = context, builder, parts
        self.given = given  # the indices that `build_streams` was called with
        self.width = SINGLE_WIDTH if single else WIDTH
        self._suffix = f"v{self.width}f{32 if single else 64}"
        self.vector = parts.ir.VectorType(parts.ir.FloatType() if single else parts.ir.DoubleType(), self.width)

    def constant(self, number: float) -> Vector:
        return Vector(self, self._parts.ir.Constant(self.vector, [number] * self.width))

    def _call(self, name: str, *arguments: Vector) -> Vector:
        kind = self._parts.ir.FunctionType(self.vector, [self.vector] * len(arguments))
        function = self._parts.cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}.{self._suffix}")
        return Vector(self, self.builder.call(function, [a.value for a in arguments]))

    def fma(self, a: Vector, b: Vector, c: Vector) -> Vector:
        return self._call("fma", a, b, c)

    def sqrt(self, a: Vector) -> Vector:
        return self._call("sqrt", a)

    def select(self, relation: str, a: Vector, b: Vector, yes: Vector, no: Vector) -> Vector:
        """yes where a `relation` b (false for NaN), else no."""
        mask = self.builder.fcmp_ordered(relation, a.value, b.value)
        return Vector(self, self.builder.select(mask, yes.value, no.value))

    def exp(self, a: Vector) -> Vector:
        """Exponential, 2e-16 of it, of numbers held within +-690."""
        ir, limit = self._parts.ir, self.constant(_EXP_LIMIT)
        a = self.select(">", a, limit, limit, a)
        a = self.select("<", a, self.constant(-_EXP_LIMIT), self.constant(-_EXP_LIMIT), a)
        shifted = self.fma(a, self.constant(1.0 / math.log(2.0)), self.constant(_SHIFT))
        whole = shifted - self.constant(_SHIFT)
        rest = self.fma(whole, self.constant(-_LOG2[0]), a)
        rest = self.fma(whole, self.constant(-_LOG2[1]), rest)
        value = self.constant(1.0 / math.factorial(12))
        for order in range(11, -1, -1):
            value = self.fma(value, rest, self.constant(1.0 / math.factorial(order)))
        words = ir.VectorType(ir.IntType(64), WIDTH)
        exponent = self.builder.add(self.builder.bitcast(shifted.value, words), ir.Constant(words, [1023] * WIDTH))
        power = self.builder.shl(exponent, ir.Constant(words, [52] * WIDTH))
        return value * Vector(self, self.builder.bitcast(power, self.vector))

    def after(self, before: Vector, a: Vector) -> Vector:
        """The numbers one place earlier: the last of `before`, then all but the last of `a`."""
        places = self._indices(self._parts.ir, list(range(self.width - 1, 2 * self.width - 1)))
        return Vector(self, self.builder.shuffle_vector(before.value, a.value, places))

    def total(self, a: Vector) -> Any:
        """Sum of the eight: halves onto each other."""
        value, size = a.value, self.width
        while size > 1:
            size //= 2
            halves = [
                self.builder.shuffle_vector(
                    value,
                    self._parts.ir.Constant(value.type, self._parts.ir.Undefined),
                    self._indices(self._parts.ir, k),
                )
                for k in (list(range(size)), list(range(size, 2 * size)))
            ]
            value = self.builder.fadd(*halves)
        return self.builder.extract_element(value, self._parts.ir.Constant(self._parts.ir.IntType(32), 0))

    def transpose(self, rows: Sequence[Vector]) -> list[Vector]:
        """Columns of as many vectors as they have numbers: blocks off the diagonal change places, then their parts."""
        values, size = [row.value for row in rows], self.width // 2
        while size:
            upper = [q if q // size % 2 == 0 else self.width + q - size for q in range(self.width)]
            lower = [q + size if q // size % 2 == 0 else self.width + q for q in range(self.width)]
            masks = [self._indices(self._parts.ir, places) for places in (upper, lower)]
            for i in range(self.width):
                if i // size % 2 == 0:
                    pair = values[i], values[i + size]
                    values[i], values[i + size] = (self.builder.shuffle_vector(*pair, mask) for mask in masks)
            size //= 2
        return [Vector(self, value) for value in values]

    # memory ------------------------------------------------------------------------------------------------------

    def put(self, number: Any, base: Any, index: Any) -> None:
        """One number to an array."""
        index = self.whole(index) if isinstance(index, int) else index
        self.builder.store(number, self.builder.gep(base, [index]))

    def array(self, kind: Any, value: Any) -> Any:
        """Pointer to the first number of a NumPy array."""
        return self.context.make_array(kind)(self.context, self.builder, value).data

    def whole(self, number: int) -> Any:
        return self.context.get_constant(self._parts.types.intp, number)

    def _at(self, base: Any, index: Any) -> Any:
        index = self.whole(index) if isinstance(index, int) else index
        return self.builder.bitcast(self.builder.gep(base, [index]), self.vector.as_pointer())

    def load(self, base: Any, index: Any) -> Vector:
        return Vector(self, self.builder.load(self._at(base, index), align=4 if self.width == SINGLE_WIDTH else 8))

    def store(self, value: Vector, base: Any, index: Any) -> None:
        self.builder.store(value.value, self._at(base, index), align=4 if self.width == SINGLE_WIDTH else 8)

    def spread(self, base: Any, index: Any) -> Vector:
        """One number of an array in all places."""
        index = self.whole(index) if isinstance(index, int) else index
        return self.spread_value(self.builder.load(self.builder.gep(base, [index])))

    def spread_value(self, number: Any) -> Vector:
        ir = self._parts.ir
        one = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return Vector(self, self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), zeros))

    def columns(self, base: Any, index: Any) -> tuple[Vector, Vector, Vector]:
        """x, y and z of eight points that lie one after the other."""
        ir, builder = self._parts.ir, self.builder
        parts = [self.load(base, builder.add(index, self.whole(k * WIDTH))).value for k in range(3)]
        found = []
        for axis in range(3):
            low = [3 * i + axis for i in range(WIDTH) if 3 * i + axis < 2 * WIDTH]
            high = [3 * i + axis - WIDTH for i in range(len(low), WIDTH)]
            first = self._indices(ir, [*low, *[0] * len(high)])
            both = builder.shuffle_vector(parts[0], parts[1], first)
            found.append(
                Vector(self, builder.shuffle_vector(both, parts[2], self._indices(ir, [*range(len(low)), *high])))
            )
        return found[0], found[1], found[2]

    def fetch(self, base: Any, index: Any) -> None:
        """Ask for the memory of eight points; beyond the end of an array that asks for nothing."""
        ir, builder = self._parts.ir, self.builder
        byte, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        function = self._parts.cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for k in range(3):
            place = builder.bitcast(builder.gep(base, [builder.add(index, self.whole(k * WIDTH))]), byte)
            builder.call(function, [place, whole(0), whole(3), whole(1)])  # for reading, into all caches, data

    @staticmethod
    def _indices(ir: Any, places: list[int]) -> Any:
        return ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)

    def slot(self, value: Vector) -> Slot:
        return Slot(self, value)

    def loop(self, count: Any) -> Any:
        """``with machine.loop(count) as index``: index runs from 0 below count."""
        return self._parts.cgutils.for_range(self.builder, count)

    def each(self, count: Any, work: Callable[[Any], None]) -> None:
        """Call work(index) for the indices from 0 below count, in the loop that runs."""
        with self.loop(count) as loop:
            work(loop.index)

    def add(self, a: Any, b: Any) -> Any:
        """Sum of two indices."""
        return self.builder.add(*(self.whole(v) if isinstance(v, int) else v for v in (a, b)))

    def times(self, a: Any, b: Any) -> Any:
        """Product of two indices."""
        return self.builder.mul(*(self.whole(v) if isinstance(v, int) else v for v in (a, b)))


class Slot:
    """A variable that a loop changes; the compiler keeps it in a register."""

    def __init__(self, machine: Machine, value: Vector) -> None:
        self._machine = machine
        self._place = machine._parts.cgutils.alloca_once(machine.builder, machine.vector)
        self.set(value)

    def get(self) -> Vector:
        return Vector(self._machine, self._machine.builder.load(self._place))

    def set(self, value: Vector) -> None:
        self._machine.builder.store(value.value, self._place)


class Plain:
    """The same operations on NumPy arrays of eight or sixteen, for runs without the compiler."""

    def __init__(self, single: bool = False, given: Sequence[int] = ()) -> None:
        self.given = given
        self.width, self._kind = (SINGLE_WIDTH, np.float32) if single else (WIDTH, np.float64)

    def constant(self, number: float) -> Any:
        return np.full(self.width, number, self._kind)

    def transpose(self, rows: Sequence[Any]) -> Any:
        return np.array(rows).T

    def each(self, count: int, work: Callable[[int], None]) -> None:
        for k in range(count):
            work(k)

    def add(self, a: int, b: int) -> int:
        return a + b

    def times(self, a: int, b: int) -> int:
        return a * b

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return a * b + c

    def sqrt(self, a: Any) -> Any:
        return np.sqrt(a)

    def select(self, relation: str, a: Any, b: Any, yes: Any, no: Any) -> Any:
        return np.where({"<": np.less, ">": np.greater, "==": np.equal}[relation](a, b), yes, no)

    def exp(self, a: Any) -> Any:
        return np.exp(np.clip(a, -_EXP_LIMIT, _EXP_LIMIT))

    def after(self, before: Any, a: Any) -> Any:
        return np.concatenate([before[-1:], a[:-1]])

    def total(self, a: Any) -> Any:
        quad = a[:4] + a[4:]
        return (quad[0] + quad[2]) + (quad[1] + quad[3])

    def put(self, number: Any, base: Any, index: int) -> None:
        base[index] = number

    def load(self, base: Any, index: int) -> Any:
        return base[index : index + self.width].copy()

    def store(self, value: Any, base: Any, index: int) -> None:
        base[index : index + self.width] = value

    def spread(self, base: Any, index: int) -> Any:
        return np.full(self.width, base[index])

    def spread_value(self, number: float) -> Any:
        return np.full(self.width, number, self._kind)

    def columns(self, base: Any, index: int) -> tuple[Any, Any, Any]:
        xyz = base[index : index + 3 * WIDTH].reshape(WIDTH, 3)
        return xyz[:, 0], xyz[:, 1], xyz[:, 2]

    def fetch(self, base: Any, index: int) -> None:
        """Nothing to ask for."""

    def slot(self, value: Any) -> PlainSlot:
        return PlainSlot(value)


class PlainSlot:
    def __init__(self, value: Any) -> None:
        self.set(value)

    def get(self) -> Any:
        return self._value

    def set(self, value: Any) -> None:
        self._value = value


def build(prepare: Callable[..., Any], name: str) -> Any:
    """A function for kernels: ``name(first, count, scale, *six arrays)`` runs loops over `count` groups of points.

    prepare(machine, scale, arrays) reads what stays the same and returns (steps, finish): one loop after the other
    calls its step(at, k) for the eight points that start at `at`, k numbers after the first; finish() stores the
    results. Several short loops run faster than a long one where a step is a long chain of roots and quotients: a
    processor looks ahead a few hundred instructions, which must reach the next points.
    """
    parts = compiler_parts()
    if parts is None:

        def plain(first: int, count: int, scale: float, *arrays: Any) -> float:
            steps, finish = prepare(Plain(), scale, arrays)
            for step in steps:
                for k in range(0, count * WIDTH, WIDTH):
                    step(first + k, k)
            finish()
            return 0.0

        return plain
    types = parts.types

    def typed(
        typingctx: Any, first: Any, count: Any, scale: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any
    ) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            machine = Machine(parts, context, builder)
            arrays = [machine.array(kind, value) for kind, value in zip(signature.args[3:], args[3:], strict=True)]
            steps, finish = prepare(machine, args[2], arrays)
            for step in steps:
                with machine.loop(args[1]) as loop:
                    k = builder.mul(loop.index, machine.whole(WIDTH))
                    step(builder.add(args[0], k), k)
            finish()
            return context.get_constant(types.float64, 0.0)

        return types.float64(types.intp, types.intp, types.float64, a, b, c, d, e, f), codegen

    typed.__name__ = typed.__qualname__ = name
    return parts.intrinsic(typed)


def build_streams(prepare: Callable[..., Any], name: str, single: bool = False) -> Any:
    """A function for kernels: ``name(firsts, count, arrays)`` runs one loop over `count` groups of eight numbers, or of
    sixteen of single precision.

    ``firsts`` is a tuple of indices, ``arrays`` one of arrays, read as flat. prepare(machine, arrays) returns (step,
    finish): step(at) gets the indices, each of them moved on by the numbers before; finish() stores the results.
    """
    parts = compiler_parts()
    if parts is None:

        def plain(firsts: tuple[int, ...], count: int, arrays: tuple[Any, ...]) -> float:
            machine = Plain(single, firsts)
            step, finish = prepare(machine, [array.reshape(-1) for array in arrays])
            for k in range(0, count * machine.width, machine.width):
                step([first + k for first in firsts])
            finish()
            return 0.0

        return plain
    types = parts.types

    def typed(typingctx: Any, firsts: Any, count: Any, arrays: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            starts = parts.cgutils.unpack_tuple(builder, args[0])
            machine = Machine(parts, context, builder, single, starts)
            values = parts.cgutils.unpack_tuple(builder, args[2])
            data = [machine.array(kind, value) for kind, value in zip(signature.args[2], values, strict=True)]
            step, finish = prepare(machine, data)
            with machine.loop(args[1]) as loop:
                k = builder.mul(loop.index, machine.whole(machine.width))
                step([builder.add(start, k) for start in starts])
            finish()
            return context.get_constant(types.float64, 0.0)

        return types.float64(types.UniTuple(types.intp, len(firsts)), types.intp, arrays), codegen

    typed.__name__ = typed.__qualname__ = name
    return parts.intrinsic(typed)


def plus(machine: Any, index: Any, number: int) -> Any:
    """An index further on."""
    return index + number if isinstance(machine, Plain) else machine.builder.add(index, machine.whole(number))


def triple(machine: Any, point: Any) -> Any:
    """Index of the first coordinate of a point."""
    if isinstance(machine, Plain):
        return 3 * point
    return machine.builder.mul(point, machine.whole(3))
