"""Sums and extremes in explicit vector lanes.

The compiler may not reorder a floating-point sum, so a plain loop adds one number at a time. Here the order is chosen
by hand: LANES interleaved accumulators (four vectors of eight), folded in a fixed tree. Any processor runs the same
additions in the same order, with as wide instructions as it has, so the bits do not depend on it.
"""

from __future__ import annotations

from typing import Any

from metrology_core._jit import compiler_parts, inner
from metrology_core.kernels.layout import LANES

_WIDTH = 8
_VECTORS = LANES // _WIDTH


def _dot_plain(scratch: Any, a: int, b: int, m: int) -> float:
    """The same additions in Python, for runs without the compiler."""
    lanes = [0.0] * LANES
    for i in range(0, m, LANES):
        for k in range(LANES):
            lanes[k] += float(scratch[a + i + k]) * float(scratch[b + i + k])
    rows = [lanes[v * _WIDTH : (v + 1) * _WIDTH] for v in range(_VECTORS)]
    both = [(rows[0][k] + rows[1][k]) + (rows[2][k] + rows[3][k]) for k in range(_WIDTH)]
    quad = [both[k] + both[k + 4] for k in range(4)]
    return (quad[0] + quad[2]) + (quad[1] + quad[3])


def _widen_plain(scratch: Any, row: int, m: int, padded: int, sums: Any, low: int, high: int) -> None:
    for i in range(row + m, row + padded):
        scratch[i] = scratch[row]
    sums[low] = min(sums[low], scratch[row : row + padded].min())
    sums[high] = max(sums[high], scratch[row : row + padded].max())


def _build() -> tuple[Any, Any]:
    parts = compiler_parts()
    if parts is None:
        return _dot_plain, _widen_plain
    ir, cgutils, types, intrinsic = parts.ir, parts.cgutils, parts.types, parts.intrinsic

    double = ir.DoubleType()
    vector = ir.VectorType(double, _WIDTH)

    def pointer(context: Any, builder: Any, kind: Any, value: Any, offset: Any) -> Any:
        data = context.make_array(kind)(context, builder, value).data
        return builder.gep(data, [offset])

    def load(builder: Any, base: Any, offset: Any) -> Any:
        return builder.load(builder.bitcast(builder.gep(base, [offset]), vector.as_pointer()), align=8)

    def fold_tree(builder: Any, vectors: list[Any], join: Any) -> Any:
        """Eight lanes of four vectors to one number: (0+1)+(2+3), then halves."""
        total = join(join(vectors[0], vectors[1]), join(vectors[2], vectors[3]))
        lanes = [builder.extract_element(total, ir.Constant(ir.IntType(32), k)) for k in range(_WIDTH)]
        quad = [join(lanes[k], lanes[k + 4]) for k in range(4)]
        return join(join(quad[0], quad[2]), join(quad[1], quad[3]))

    @intrinsic
    def dot_rows(typingctx: Any, scratch: Any, a: Any, b: Any, m: Any) -> Any:
        """Sum of scratch[a + i] * scratch[b + i], i < m; m a multiple of LANES."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.args[0]
            first = pointer(context, builder, kind, args[0], args[1])
            second = pointer(context, builder, kind, args[0], args[2])
            zero = ir.Constant(vector, [0.0] * _WIDTH)
            slots = [cgutils.alloca_once_value(builder, zero) for _ in range(_VECTORS)]
            for slot in slots:
                builder.store(zero, slot)  # the slot lives in the entry block: clear it on every call
            step = context.get_constant(types.intp, LANES)
            start = context.get_constant(types.intp, 0)
            with cgutils.for_range_slice(builder, start, args[3], step, intp=args[3].type) as (index, _):
                for v, slot in enumerate(slots):
                    at = builder.add(index, context.get_constant(types.intp, v * _WIDTH))
                    product = builder.fmul(load(builder, first, at), load(builder, second, at))
                    builder.store(builder.fadd(builder.load(slot), product), slot)
            return fold_tree(builder, [builder.load(slot) for slot in slots], builder.fadd)

        return types.float64(scratch, types.intp, types.intp, types.intp), codegen

    @intrinsic
    def row_extremes(typingctx: Any, scratch: Any, row: Any, m: Any) -> Any:
        """Smallest and largest of scratch[row : row + m]; m a multiple of LANES; no NaN inside."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def lower(x: Any, y: Any) -> Any:
                return builder.select(builder.fcmp_ordered("<", x, y), x, y)

            def upper(x: Any, y: Any) -> Any:
                return builder.select(builder.fcmp_ordered(">", x, y), x, y)

            base = pointer(context, builder, signature.args[0], args[0], args[1])
            zero = context.get_constant(types.intp, 0)
            least, most = [], []
            for v in range(_VECTORS):
                value = load(builder, base, context.get_constant(types.intp, v * _WIDTH))
                for slots in (least, most):
                    slot = cgutils.alloca_once(builder, vector)
                    builder.store(value, slot)
                    slots.append(slot)
            step = context.get_constant(types.intp, LANES)
            with cgutils.for_range_slice(builder, zero, args[2], step, intp=args[2].type) as (index, _):
                for v in range(_VECTORS):
                    at = builder.add(index, context.get_constant(types.intp, v * _WIDTH))
                    value = load(builder, base, at)
                    builder.store(lower(value, builder.load(least[v])), least[v])
                    builder.store(upper(value, builder.load(most[v])), most[v])
            ends = [
                fold_tree(builder, [builder.load(slot) for slot in slots], join)
                for slots, join in ((least, lower), (most, upper))
            ]
            return context.make_tuple(builder, signature.return_type, ends)

        return types.UniTuple(types.float64, 2)(scratch, types.intp, types.intp), codegen

    @inner
    def widen(scratch, row, m, padded, sums, low, high):  # type: ignore[no-untyped-def]
        """Widen sums[low], sums[high] by scratch[row : row + m]; fills the padding with the first value."""
        for i in range(m, padded):
            scratch[row + i] = scratch[row]
        least, most = row_extremes(scratch, row, padded)
        sums[low] = least if least < sums[low] else sums[low]
        sums[high] = most if most > sums[high] else sums[high]

    return dot_rows, widen


dot_rows, widen = _build()
