"""Counter-based random numbers: Threefry-2x64-13 (Salmon, Moraes, Dror, Shaw, SC'11), and variates made from them.

A random word is a pure function of (seed, stream, substream, trial): no state, so any trial of any input can be drawn
by anybody in any order, and the number of threads or workers cannot change a bit. A stream belongs to one input.
Thirteen rounds are what the authors give as the fewest that pass BigCrush; a test holds the published known answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core._jit import compiler_parts, inner, kernel

U64 = np.uint64
_PARITY = U64(0x1BD11BDAA9FC1A22)
_R = tuple(U64(r) for r in (16, 42, 12, 31, 16, 32, 24, 21))
_L = tuple(U64(64 - r) for r in (16, 42, 12, 31, 16, 32, 24, 21))
_TWELVE = U64(12)
_MASK = U64((1 << 52) - 1)
_HALF = U64(1 << 51)
_EXPONENT_52 = U64(0x4330000000000000)  # bits of 2^52: or-ed with an integer m below it, the number 2^52 + m
_SHIFT_52 = 2.0**52 - 0.5
_EXPONENT_0 = U64(0x3FF0000000000000)  # bits of 1
_SHIFT_0 = 1.0 - 2.0**-53
SUBCELL_BITS = 5
OCTAVES = 52
CELLS = OCTAVES << SUBCELL_BITS
"""Geometric cells of one tail: 52 octaves of 32."""
COEFFICIENTS = 5
_CELL_SHIFT = U64(52 - SUBCELL_BITS)
_PLACE_SHIFT = U64(SUBCELL_BITS)
_FIRST_CELL = U64(1022 << SUBCELL_BITS)  # exponent and leading bits of 0.5, the smallest tail probability
_UPPER_ROWS = U64(CELLS)
_STRIDE = U64(COEFFICIENTS)
_1, _2, _3, _4 = U64(1), U64(2), U64(3), U64(4)
KIND_CONSTANT, KIND_RECTANGULAR, KIND_TABLE, KIND_SUM, KIND_CURVILINEAR = 0, 1, 2, 3, 4


def _build_casts() -> Any:
    parts = compiler_parts()
    if parts is None:
        return (lambda value: np.float64(value).view(np.uint64)), (lambda word: np.uint64(word).view(np.float64))
    ir, types, intrinsic = parts.ir, parts.types, parts.intrinsic

    @intrinsic
    def to_bits(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.IntType(64))

        return types.uint64(types.float64), codegen

    @intrinsic
    def from_bits(typingctx: Any, word: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.DoubleType())

        return types.float64(types.uint64), codegen

    return to_bits, from_bits


to_bits, from_bits = _build_casts()


@inner
def two_words(k0, k1, x0, x1):  # type: ignore[no-untyped-def]
    """The two words of counter (x0, x1) under key (k0, k1): 13 rounds, key injection after every fourth."""
    k2 = _PARITY ^ k0 ^ k1
    x0 = x0 + k0
    x1 = x1 + k1
    x0 = x0 + x1
    x1 = ((x1 << _R[0]) | (x1 >> _L[0])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[1]) | (x1 >> _L[1])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[2]) | (x1 >> _L[2])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[3]) | (x1 >> _L[3])) ^ x0
    x0 = x0 + k1
    x1 = x1 + k2 + U64(1)
    x0 = x0 + x1
    x1 = ((x1 << _R[4]) | (x1 >> _L[4])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[5]) | (x1 >> _L[5])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[6]) | (x1 >> _L[6])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[7]) | (x1 >> _L[7])) ^ x0
    x0 = x0 + k2
    x1 = x1 + k0 + U64(2)
    x0 = x0 + x1
    x1 = ((x1 << _R[0]) | (x1 >> _L[0])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[1]) | (x1 >> _L[1])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[2]) | (x1 >> _L[2])) ^ x0
    x0 = x0 + x1
    x1 = ((x1 << _R[3]) | (x1 >> _L[3])) ^ x0
    x0 = x0 + k0
    x1 = x1 + k1 + U64(3)
    x0 = x0 + x1
    x1 = ((x1 << _R[4]) | (x1 >> _L[4])) ^ x0
    return x0, x1


@inner
def fill_words(seed, stream, substream, first, words):  # type: ignore[no-untyped-def]
    """Words of trials ``first`` (even) to ``first + len(words)`` (even length): two trials share one counter."""
    half = U64(first // 2)
    for i in range(len(words) // 2):
        a, b = two_words(seed, stream, half + U64(i), substream)
        words[2 * i] = a
        words[2 * i + 1] = b


@inner
def to_uniform(word):  # type: ignore[no-untyped-def]
    """A word as a number in (0, 1): the middle of one of 2^52 equal cells, never 0 or 1. Exact, without a conversion
    between integer and float."""
    return from_bits((word >> _TWELVE) | _EXPONENT_0) - _SHIFT_0


@inner
def through_table(words, table, location, scale, x):  # type: ignore[no-untyped-def]
    """``location + scale * quantile`` of every word into x; the words are used up.

    The smaller tail probability in units of 2^-52 has an exponent and five leading bits that name a cell of the table
    (`metrology_core.uncertainty.tables`); the other bits are the place in it. No branch, no transcendental function.
    """
    flat = table.reshape(-1)
    n = len(x)
    for j in range(n):
        k = words[j] >> _TWELVE
        upper = k >= _HALF
        m = _MASK - k if upper else k
        bits = to_bits(from_bits(m | _EXPONENT_52) - _SHIFT_52)  # m + 0.5
        row = (bits >> _CELL_SHIFT) - _FIRST_CELL
        words[j] = row + _UPPER_ROWS if upper else row
        x[j] = from_bits(((bits << _PLACE_SHIFT) & _MASK) | _EXPONENT_0) - 1.0
    for j in range(n):
        t = x[j]
        b = words[j] * _STRIDE
        q = flat[b] + t * (flat[b + _1] + t * (flat[b + _2] + t * (flat[b + _3] + t * flat[b + _4])))
        x[j] = location + scale * q


@kernel
def uniforms(seed, stream, substream, first, words, out):  # type: ignore[no-untyped-def]
    """Uniform numbers of trials ``first`` (even) on; ``words`` is scratch of the (even) length of ``out``."""
    fill_words(seed, stream, substream, first, words)
    for j in range(len(out)):
        out[j] = to_uniform(words[j])


@kernel
def variates(seed, stream, substream, first, table, words, out):  # type: ignore[no-untyped-def]
    """Standard variates of a table for trials ``first`` (even) on; ``words`` as for `uniforms`."""
    fill_words(seed, stream, substream, first, words)
    through_table(words, table, 0.0, 1.0, out)


@kernel
def raw_words(seed, stream, substream, first, words):  # type: ignore[no-untyped-def]
    """The words themselves."""
    fill_words(seed, stream, substream, first, words)


@kernel
def draw(kinds, parameters, rows, tables, seed, streams, first, words, out):  # type: ignore[no-untyped-def]
    """Draw trials ``first`` (even) to ``first + out.shape[1]`` of every input into out (inputs, trials).

    ``kinds`` (n,), ``parameters`` (n, 3): constant (value), rectangular (low, width), table (location, scale; ``rows``
    names the table), weighted sum of two uniform numbers (low, weight 1, weight 2), curvilinear trapezoid (a, b, d);
    ``streams`` (n,) one stream per input; ``words`` (2, trials) scratch.
    """
    n = out.shape[1]
    for i in range(len(kinds)):
        kind = kinds[i]
        p0, p1, p2 = parameters[i, 0], parameters[i, 1], parameters[i, 2]
        x = out[i]
        if kind == KIND_CONSTANT:
            for j in range(n):
                x[j] = p0
            continue
        w = words[0]
        fill_words(seed, streams[i], U64(0), first, w)
        if kind == KIND_RECTANGULAR:
            for j in range(n):
                x[j] = p0 + p1 * to_uniform(w[j])
        elif kind == KIND_TABLE:
            through_table(w, tables[rows[i]], p0, p1, x)
        else:
            v = words[1]
            fill_words(seed, streams[i], _1, first, v)
            if kind == KIND_SUM:
                for j in range(n):
                    x[j] = p0 + p1 * to_uniform(w[j]) + p2 * to_uniform(v[j])
            else:
                for j in range(n):
                    low = (p0 - p2) + 2.0 * p2 * to_uniform(w[j])
                    x[j] = low + ((p0 + p1) - 2.0 * low) * to_uniform(v[j])
