"""Sums over the points of one feature, eight points at a time and all sums at once.

Points are read once, turned into the feature's frame, and every sum that the normal equations need is carried in its
own vector, in registers as far as they go. Which sums those are follows from the columns of the Jacobian (see
kernels.rows, the same formulas without structure): equal products are summed once, the radius column is the count.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.kernels.layout import (
    CIRCLE,
    CONE,
    CYLINDER,
    LINE,
    PLANE,
    SPHERE,
    TORUS,
)
from metrology_core.kernels.vectors import WIDTH, build, triple


def _line(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    return {"u": u, "v": v, "g": g, "extreme": r2}


def _plane(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    return {"u": u, "v": v, "g": g, "extreme": g}


def _unit(m: Any, length: Any, *parts: Any) -> list[Any]:
    """Parts over their length; zero where that is zero."""
    zero = m.constant(0.0)
    inverse = m.select(">", length, zero, m.constant(1.0) / length, zero)
    return [part * inverse for part in parts]


def _radial(m: Any, u: Any, v: Any, r2: Any) -> tuple[Any, Any, Any]:
    f = m.sqrt(r2)
    return (f, *_unit(m, f, u, v))


def _circle(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    return {"u": u, "v": v, "g": g, **_cylinder(m, u, v, g, r2, size)}


def _sphere(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    f = m.sqrt(m.fma(g, g, r2))
    nx, ny, nz = _unit(m, f, u, v, g)
    d = f - size(0)
    return {"nx": nx, "ny": ny, "nz": nz, "d": d, "extreme": d}


def _cylinder(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    f, nx, ny = _radial(m, u, v, r2)
    d = f - size(0)
    return {"nx": nx, "ny": ny, "gx": g * nx, "gy": g * ny, "d": d, "extreme": d}


def _cone(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    f, nx, ny = _radial(m, u, v, r2)
    c, s = size(2), size(3)  # cosine and sine of the half-angle; 4: the sine's negative
    e, gc = f - size(0), g * c
    h = m.fma(f, s, gc)  # along the surface line, from the apex of the normals
    d = m.fma(g, size(4), e * c)
    return {"nx": nx, "ny": ny, "hx": h * nx, "hy": h * ny, "k": m.fma(e, s, gc), "d": d, "extreme": d}


def _torus(m: Any, u: Any, v: Any, g: Any, r2: Any, size: Any) -> dict[str, Any]:
    f, nx, ny = _radial(m, u, v, r2)
    e = f - size(0)
    t = m.sqrt(m.fma(e, e, g * g))
    a, b = _unit(m, t, e, g)  # derivatives of the distance with respect to f and g
    d = t - size(1)
    return {
        "a": a, "b": b, "ax": a * nx, "ay": a * ny, "bx": b * nx, "by": b * ny, "d": d, "extreme": d,
    }  # fmt: skip


Key = tuple[str, str]


@dataclass(frozen=True)
class Shape:
    """Columns of the Jacobian and the residual by name ("1" for ones, "" for zeros), and what each is multiplied by.

    `same`: sums that follow from others, as ((sum, factor), ...); none of them is a difference of large numbers.
    `axial`: whether the extremes along the axis are wanted.
    """

    formula: Any
    first: tuple[str, ...]
    factors: tuple[str, ...]
    second: tuple[str, ...] = ()
    second_factors: tuple[str, ...] = ()
    same: dict[Key, tuple[tuple[Key, str], ...]] = field(default_factory=dict)
    axial: bool = False


_TURN = {("gx", "ny"): ((("gy", "nx"), "+"),)}
SHAPES = {
    LINE: Shape(
        _line, ("1", "", "g", "", "u"), ("-",) * 4 + ("+",), ("", "1", "", "g", "v"), ("-",) * 4 + ("+",), axial=True
    ),
    PLANE: Shape(_plane, ("1", "u", "v", "g"), ("-", "+", "+", "+")),
    CIRCLE: Shape(
        _circle, ("nx", "ny", "", "gx", "gy", "1", "d"), ("-",) * 6 + ("+",),
        ("", "", "1", "u", "v", "", "g"), ("+", "+", "-", "+", "+", "+", "+"),
        {
            **_TURN,  # u is (d + R) nx, v is (d + R) ny
            ("1", "u"): ((("d", "nx"), "+"), (("1", "nx"), "R")),
            ("1", "v"): ((("d", "ny"), "+"), (("1", "ny"), "R")),
            ("g", "u"): ((("d", "gx"), "+"), (("1", "gx"), "R")),
            ("g", "v"): ((("d", "gy"), "+"), (("1", "gy"), "R")),
        },
    ),
    SPHERE: Shape(_sphere, ("nx", "ny", "nz", "1", "d"), ("-",) * 4 + ("+",)),
    CYLINDER: Shape(_cylinder, ("nx", "ny", "gx", "gy", "1", "d"), ("-",) * 5 + ("+",), same=_TURN, axial=True),
    CONE: Shape(
        _cone, ("nx", "ny", "hx", "hy", "1", "k", "d"), ("-c", "-c", "-", "-", "-c", "-", "+"),
        same={("hx", "ny"): ((("hy", "nx"), "+"),)}, axial=True,
    ),
    TORUS: Shape(
        _torus, ("ax", "ay", "b", "bx", "by", "a", "1", "d"), ("-", "-", "-", "R", "R", "-", "-", "+"),
        same={
            ("ay", "bx"): ((("ax", "by"), "+"),), ("ax", "b"): ((("a", "bx"), "+"),), ("ay", "b"): ((("a", "by"), "+"),),
            # nx^2 + ny^2 is 1, and what it multiplies has one sign at each point
            ("a", "a"): ((("ax", "ax"), "+"), (("ay", "ay"), "+")),
            ("b", "b"): ((("bx", "bx"), "+"), (("by", "by"), "+")),
            ("a", "b"): ((("ax", "bx"), "+"), (("ay", "by"), "+")),
        },
    ),
}  # fmt: skip

# What columns are multiplied by, as indices into the factors of a pass: 1, -1, minus the cosine, the first size.
_FACTORS = {"+": 0, "-": 1, "-c": 2, "R": 3}
N_SIZES_OF_PASS = 5
# Rows of eight in the totals of a pass: extremes, then the sum of the weights, then the other sums.
T_DMIN, T_DMAX, T_GMIN, T_GMAX, T_REACH2, T_SUMS = range(6)


def _packed(a: int, b: int, p: int) -> int:
    return a * (p + 1) - a * (a - 1) // 2 + (b - a)


def _products(shape: Shape) -> tuple[list[Key], list[tuple[int, int, int, int, int]]]:
    """The sums that are carried, the count first, and (packed entry, sum, three factors) of the normal equations."""
    order: list[Key] = [("1", "1")]
    terms = []
    p = len(shape.first) - 1
    for names, factors in ((shape.first, shape.factors), (shape.second, shape.second_factors)):
        for a, left in enumerate(names):
            for b in range(a, len(names)):
                right = names[b]
                if not left or not right:
                    continue
                key = (left, right) if left <= right else (right, left)
                for part, factor in shape.same.get(key, ((key, "+"),)):
                    if part not in order:
                        order.append(part)
                    words = (factors[a], factors[b], factor)
                    terms.append((_packed(a, b, p), order.index(part), *(_FACTORS[word] for word in words)))
    return order, terms


def _prepare(shape: Shape, weighted: bool, m: Any, scale: Any, arrays: Any) -> Any:
    points, weights, centre, pose, sizes, totals = arrays
    middle = [m.spread(centre, k) for k in range(3)]
    factor = m.spread_value(scale)
    origin = [m.spread(pose, k) for k in range(3)]
    axes = [[m.spread(pose, 3 + 3 * a + k) for k in range(3)] for a in range(3)]
    size = functools.cache(lambda k: m.spread(sizes, k))
    for k in range(N_SIZES_OF_PASS):
        size(k)  # before the loop
    order, _ = _products(shape)
    zero = m.constant(0.0)
    extremes = [m.slot(m.load(totals, k * WIDTH)) for k in range(T_SUMS)]
    sums = [m.slot(zero) for _ in order]

    def step(at: Any) -> None:
        x, y, z = (
            m.fma(value - middle[k], factor, zero_less[k]) for k, value in enumerate(m.columns(points, triple(m, at)))
        )
        u, v, g = (m.fma(z, axis[2], m.fma(y, axis[1], x * axis[0])) for axis in axes)
        r2 = m.fma(v, v, u * u)
        values = shape.formula(m, u, v, g, r2, size)
        widened = (values["extreme"], values["extreme"], g, g, m.fma(g, g, r2))
        for k, (slot, value, relation) in enumerate(zip(extremes, widened, "<><>>", strict=True)):
            if not shape.axial and k in (T_GMIN, T_GMAX):
                continue
            slot.set(m.select(relation, value, slot.get(), value, slot.get()))
        load = m.load(weights, at) if weighted else None
        heavy = {name: value * load for name, value in values.items()} if weighted else values
        for slot, (left, right) in zip(sums, order, strict=True):
            if left == "1" and right == "1":
                if weighted:
                    slot.set(slot.get() + load)
            elif left == "1":
                slot.set(slot.get() + heavy[right])
            else:
                slot.set(m.fma(heavy[left], values[right], slot.get()))

    zero_less = [zero - o for o in origin]

    def finish() -> None:
        for k, slot in enumerate(extremes):
            m.store(slot.get(), totals, k * WIDTH)
        for k, slot in enumerate(sums):
            at = (T_SUMS + k) * WIDTH
            m.store(m.load(totals, at) + slot.get(), totals, at)

    return step, finish


def _functions(weighted: bool) -> list[Any]:
    word = "weighted" if weighted else "plain"
    return [
        build(functools.partial(_prepare, shape, weighted), f"{word}_{shape.formula.__name__[1:]}_sums")
        for shape in SHAPES.values()
    ]


(
    plain_line, plain_plane, plain_circle, plain_sphere, plain_cylinder, plain_cone, plain_torus,
) = _functions(False)  # fmt: skip
(
    weighted_line, weighted_plane, weighted_circle, weighted_sphere, weighted_cylinder, weighted_cone, weighted_torus,
) = _functions(True)  # fmt: skip

_TERMS = [_products(shape)[1] for shape in SHAPES.values()]
TERMS = np.array([term for terms in _TERMS for term in terms], np.int64)
FIRST_TERM = np.cumsum([0, *(len(terms) for terms in _TERMS)])
TOTALS = (T_SUMS + max(len(_products(shape)[0]) for shape in SHAPES.values())) * WIDTH


def _prepare_box(m: Any, scale: Any, arrays: Any) -> Any:
    """Rows 0 to 2 of the totals: smallest coordinates; 3 to 5: largest; 6: points without NaN or infinity."""
    points, _, _, _, _, totals = arrays
    rows = [m.slot(m.load(totals, k * WIDTH)) for k in range(7)]
    zero, one = m.constant(0.0), m.constant(1.0)

    def step(at: Any) -> None:
        xyz = m.columns(points, triple(m, at))
        for k, value in enumerate(xyz):
            low, high = rows[k], rows[3 + k]
            low.set(m.select("<", value, low.get(), value, low.get()))
            high.set(m.select(">", value, high.get(), value, high.get()))
        nothing = m.fma(xyz[0], zero, m.fma(xyz[1], zero, xyz[2] * zero))  # 0 times a finite number is 0, else NaN
        rows[6].set(rows[6].get() + m.select("==", nothing, zero, one, zero))

    def finish() -> None:
        for k, slot in enumerate(rows):
            m.store(slot.get(), totals, k * WIDTH)

    return step, finish


plain_box = build(_prepare_box, "plain_box")
