"""Eight boxes or eight triangles at once in single precision: the sieve before the exact double-precision evaluation.

Both functions give *approximate* squared distances; the caller widens its bound by the rounding they can have, so the
sieve never drops the nearest triangle. The formulas are written once over any numbers with ``+ - *`` and the four
helpers of `_Ops`: as vector instructions for the compiler, as NumPy arrays for runs without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metrology_core._jit import compiler_parts, inner

WIDTH = 8
BOX_ROWS = 6  # low x, y, z, high x, y, z
LEAF_ROWS = 12  # corners a, b, c, then the unit normal (zero for a triangle without area)


def _box_formula(op: Any, row: list[Any], p: list[Any]) -> Any:
    zero = op.const(0.0)
    total = None
    for k in range(3):
        d = op.greater(op.greater(op.sub(row[k], p[k]), op.sub(p[k], row[k + 3])), zero)
        total = op.mul(d, d) if total is None else op.add(total, op.mul(d, d))
    return total


def _dot(op: Any, a: list[Any], b: list[Any]) -> Any:
    return op.add(op.add(op.mul(a[0], b[0]), op.mul(a[1], b[1])), op.mul(a[2], b[2]))


def _minus(op: Any, a: list[Any], b: list[Any]) -> list[Any]:
    return [op.sub(a[k], b[k]) for k in range(3)]


def _cross(op: Any, a: list[Any], b: list[Any]) -> list[Any]:
    return [op.sub(op.mul(a[i], b[j]), op.mul(a[j], b[i])) for i, j in ((1, 2), (2, 0), (0, 1))]


def _triangle_formula(op: Any, row: list[Any], p: list[Any]) -> Any:
    """Smallest of the three edges; inside the prism over the triangle, the distance from its plane."""
    corners = [row[0:3], row[3:6], row[6:9]]
    normal = row[9:12]
    zero, one, tiny = op.const(0.0), op.const(1.0), op.const(1e-37)
    offsets = [_minus(op, p, corner) for corner in corners]
    edges = [_minus(op, corners[(k + 1) % 3], corners[k]) for k in range(3)]
    best = None
    inside = None
    for offset, edge in zip(offsets, edges):
        along = op.div(_dot(op, offset, edge), op.greater(_dot(op, edge, edge), tiny))
        along = op.less(op.greater(along, zero), one)
        rest = [op.sub(offset[k], op.mul(along, edge[k])) for k in range(3)]
        d2 = _dot(op, rest, rest)
        best = d2 if best is None else op.less(best, d2)
        side = _dot(op, _cross(op, edge, offset), normal)
        inside = side if inside is None else op.less(inside, side)
    height = _dot(op, offsets[0], normal)
    return op.pick_positive(inside, op.mul(height, height), best)


class _ArrayOps:
    """The operations on NumPy arrays of eight single-precision numbers."""

    const = staticmethod(np.float32)
    add = staticmethod(np.add)
    sub = staticmethod(np.subtract)
    mul = staticmethod(np.multiply)
    div = staticmethod(np.divide)
    greater = staticmethod(np.maximum)
    less = staticmethod(np.minimum)

    @staticmethod
    def pick_positive(test: Any, yes: Any, no: Any) -> Any:
        return np.where(test > 0.0, yes, no)


def _plain(formula: Callable[..., Any], rows: int) -> Any:
    def run(table: Any, offset: int, x: float, y: float, z: float, bound: float, out: Any) -> int:
        block = np.asarray(table[offset : offset + rows * WIDTH], dtype=np.float32).reshape(rows, WIDTH)
        with np.errstate(over="ignore", invalid="ignore"):
            out[:WIDTH] = formula(_ArrayOps, list(block), [np.float32(x), np.float32(y), np.float32(z)])
        return int(sum(1 << k for k in range(WIDTH) if out[k] < bound))

    return run


def _lowest_plain(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _build() -> tuple[Any, Any, Any]:
    parts = compiler_parts()
    if parts is None:
        return _plain(_box_formula, BOX_ROWS), _plain(_triangle_formula, LEAF_ROWS), _lowest_plain
    ir, types, intrinsic = parts.ir, parts.types, parts.intrinsic
    single = ir.FloatType()
    vector = ir.VectorType(single, WIDTH)
    word = ir.IntType(32)

    class BuilderOps:
        """The same operations as vector instructions."""

        def __init__(self, builder: Any) -> None:
            self._b = builder
            self.add, self.sub, self.mul, self.div = builder.fadd, builder.fsub, builder.fmul, builder.fdiv

        def const(self, value: float) -> Any:
            return ir.Constant(vector, [ir.Constant(single, float(np.float32(value)))] * WIDTH)

        def greater(self, a: Any, b: Any) -> Any:
            return self._b.select(self._b.fcmp_ordered(">", a, b), a, b)

        def less(self, a: Any, b: Any) -> Any:
            return self._b.select(self._b.fcmp_ordered("<", a, b), a, b)

        def pick_positive(self, test: Any, yes: Any, no: Any) -> Any:
            return self._b.select(self._b.fcmp_ordered(">", test, self.const(0.0)), yes, no)

    def spread(builder: Any, value: Any) -> Any:
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(word, 0))
        return builder.shuffle_vector(
            first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(word, WIDTH), [0] * WIDTH)
        )

    def make(formula: Callable[..., Any], rows: int) -> Any:
        @intrinsic
        def sieve(typingctx: Any, table: Any, offset: Any, x: Any, y: Any, z: Any, bound: Any, out: Any) -> Any:
            """Squared distances of eight items to out[0:8]; the mask of those below the bound."""

            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                base = context.make_array(signature.args[0])(context, builder, args[0]).data
                target = context.make_array(signature.args[6])(context, builder, args[6]).data
                block = []
                for k in range(rows):
                    at = builder.add(args[1], context.get_constant(types.intp, k * WIDTH))
                    pointer = builder.bitcast(builder.gep(base, [at]), vector.as_pointer())
                    block.append(builder.load(pointer, align=4))
                point = [spread(builder, args[k]) for k in (2, 3, 4)]
                d2 = formula(BuilderOps(builder), block, point)
                builder.store(d2, builder.bitcast(target, vector.as_pointer()), align=4)
                below = builder.fcmp_ordered("<", d2, spread(builder, args[5]))
                mask = builder.bitcast(below, ir.IntType(WIDTH))
                return builder.zext(mask, ir.IntType(64))

            f = types.float32
            return types.int64(table, types.intp, f, f, f, f, out), codegen

        return sieve

    @intrinsic
    def lowest_bit(typingctx: Any, mask: Any) -> Any:
        """Index of the lowest bit that is set; the mask is not zero."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.int64), codegen

    boxes, triangles = make(_box_formula, BOX_ROWS), make(_triangle_formula, LEAF_ROWS)

    @inner
    def sieve_boxes(table, offset, x, y, z, bound, out):  # type: ignore[no-untyped-def]
        return boxes(table, offset, x, y, z, bound, out)

    @inner
    def sieve_triangles(table, offset, x, y, z, bound, out):  # type: ignore[no-untyped-def]
        return triangles(table, offset, x, y, z, bound, out)

    @inner
    def lowest(mask):  # type: ignore[no-untyped-def]
        return lowest_bit(mask)

    return sieve_boxes, sieve_triangles, lowest


sieve_boxes, sieve_triangles, lowest = _build()
