"""Sums over the points of one feature, eight points at a time and all sums at once.

A block of points is read once and turned into the feature's frame; two or three short loops make normals and residuals
of them, and the last one sums: every sum that the normal equations need is carried in its own vector, in registers as
far as they go. Which sums those are follows from the columns of the Jacobian (see kernels.rows, the same formulas
without structure): equal products are summed once, the radius column is the count.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.kernels.layout import (
    BLOCK,
    CIRCLE,
    CONE,
    CYLINDER,
    LINE,
    PLANE,
    ROW,
    SPHERE,
    TORUS,
)
from metrology_core.kernels.vectors import AHEAD, WIDTH, build, plus, triple

Values = dict[str, Any]


def _line(m: Any, at: Values, size: Any) -> Values:
    return {"u": at["u"], "v": at["v"], "g": at["g"], "extreme": at["r2"]}


def _plane(m: Any, at: Values, size: Any) -> Values:
    return {"u": at["u"], "v": at["v"], "g": at["g"], "extreme": at["g"]}


def _inverse(m: Any, length: Any) -> Any:
    """1 / length, zero where that is zero."""
    zero = m.constant(0.0)
    return m.select(">", length, zero, m.constant(1.0) / length, zero)


def _sphere(m: Any, at: Values, size: Any) -> Values:
    f = m.sqrt(m.fma(at["g"], at["g"], at["r2"]))
    inverse, d = _inverse(m, f), f - size(0)
    return {"nx": at["u"] * inverse, "ny": at["v"] * inverse, "nz": at["g"] * inverse, "d": d, "extreme": d}


def _radial(m: Any, at: Values, size: Any) -> Values:
    f = m.sqrt(at["r2"])
    inverse = _inverse(m, f)
    return {"f": f, "e": f - size(0), "nx": at["u"] * inverse, "ny": at["v"] * inverse, "g": at["g"]}


def _cylinder(m: Any, at: Values, size: Any) -> Values:
    found = _radial(m, at, size)
    return {"nx": found["nx"], "ny": found["ny"], "g": at["g"], "d": found["e"], "extreme": found["e"]}


def _circle(m: Any, at: Values, size: Any) -> Values:
    return {"u": at["u"], "v": at["v"], **_cylinder(m, at, size)}


def _cylinder_columns(m: Any, at: Values, size: Any) -> Values:
    return {**at, "gx": at["g"] * at["nx"], "gy": at["g"] * at["ny"]}


def _cone(m: Any, at: Values, size: Any) -> Values:
    found = _radial(m, at, size)
    c, s, e, gc = size(2), size(3), found["e"], at["g"] * size(2)  # cosine, sine of the half-angle; 4: minus the sine
    h = m.fma(found["f"], s, gc)  # along the surface line, from the apex of the normals
    d = m.fma(at["g"], size(4), e * c)
    return {"nx": found["nx"], "ny": found["ny"], "h": h, "k": m.fma(e, s, gc), "d": d, "extreme": d}


def _cone_columns(m: Any, at: Values, size: Any) -> Values:
    return {**at, "hx": at["h"] * at["nx"], "hy": at["h"] * at["ny"]}


def _ring(m: Any, at: Values, size: Any) -> Values:
    found = _radial(m, at, size)
    return {"nx": found["nx"], "ny": found["ny"], "e": found["e"], "g": at["g"]}


def _torus(m: Any, at: Values, size: Any) -> Values:
    e, g = at["e"], at["g"]
    t = m.sqrt(m.fma(e, e, g * g))
    inverse, d = _inverse(m, t), t - size(1)
    # a, b: derivatives of the distance with respect to the distance from the axis and to the height
    return {"nx": at["nx"], "ny": at["ny"], "a": e * inverse, "b": g * inverse, "d": d, "extreme": d}


def _torus_columns(m: Any, at: Values, size: Any) -> Values:
    a, b, nx, ny = at["a"], at["b"], at["nx"], at["ny"]
    return {**at, "ax": a * nx, "ay": a * ny, "bx": b * nx, "by": b * ny}


Key = tuple[str, str]


@dataclass(frozen=True)
class Shape:
    """Columns of the Jacobian and the residual by name ("1" for ones, "" for zeros), and what each is multiplied by.

    `stages`: formulas, one on what the other gives, from the local coordinates u, v, g and r2 = u^2 + v^2 to the
    columns; a loop ends where there is a None. `same`: sums that follow from others, as ((sum, factor), ...); none of
    them is a difference of large numbers.
    `axial`: whether the extremes along the axis are wanted.
    """

    name: str
    stages: tuple[Any, ...]
    first: tuple[str, ...]
    factors: tuple[str, ...]
    second: tuple[str, ...] = ()
    second_factors: tuple[str, ...] = ()
    same: dict[Key, tuple[tuple[Key, str], ...]] = field(default_factory=dict)
    axial: bool = False


_TURN = {("gx", "ny"): ((("gy", "nx"), "+"),)}
SHAPES = {
    LINE: Shape(
        "line", (_line, None),
        ("1", "", "g", "", "u"), ("-",) * 4 + ("+",),
        ("", "1", "", "g", "v"), ("-",) * 4 + ("+",), axial=True,
    ),
    PLANE: Shape("plane", (_plane, None), ("1", "u", "v", "g"), ("-", "+", "+", "+")),
    CIRCLE: Shape(
        "circle", (_circle, None, _cylinder_columns),
        ("nx", "ny", "", "gx", "gy", "1", "d"), ("-",) * 6 + ("+",),
        ("", "", "1", "u", "v", "", "g"), ("+", "+", "-", "+", "+", "+", "+"),
        {
            **_TURN,  # u is (d + R) nx, v is (d + R) ny
            ("1", "u"): ((("d", "nx"), "+"), (("1", "nx"), "R")),
            ("1", "v"): ((("d", "ny"), "+"), (("1", "ny"), "R")),
            ("g", "u"): ((("d", "gx"), "+"), (("1", "gx"), "R")),
            ("g", "v"): ((("d", "gy"), "+"), (("1", "gy"), "R")),
        },
    ),
    SPHERE: Shape("sphere", (_sphere, None), ("nx", "ny", "nz", "1", "d"), ("-",) * 4 + ("+",)),
    CYLINDER: Shape(
        "cylinder", (_cylinder, None, _cylinder_columns),
        ("nx", "ny", "gx", "gy", "1", "d"), ("-",) * 5 + ("+",), same=_TURN, axial=True,
    ),
    CONE: Shape(
        "cone", (_cone, None, _cone_columns),
        ("nx", "ny", "hx", "hy", "1", "k", "d"), ("-c", "-c", "-", "-", "-c", "-", "+"),
        same={("hx", "ny"): ((("hy", "nx"), "+"),)}, axial=True,
    ),
    TORUS: Shape(
        "torus", (_ring, None, _torus, None, _torus_columns),
        ("ax", "ay", "b", "bx", "by", "a", "1", "d"), ("-", "-", "-", "R", "R", "-", "-", "+"),
        same={
            ("ay", "bx"): ((("ax", "by"), "+"),),
            ("ax", "b"): ((("a", "bx"), "+"),),
            ("ay", "b"): ((("a", "by"), "+"),),
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
    zero = m.constant(0.0)
    middle = [m.spread(centre, k) for k in range(3)]
    factor = m.spread_value(scale)
    origin = [zero - m.spread(pose, k) for k in range(3)]
    axes = [[m.spread(pose, 3 + 3 * a + k) for k in range(3)] for a in range(3)]
    spread = [m.spread(sizes, k) for k in range(N_SIZES_OF_PASS)]
    order, _ = _products(shape)
    extremes = [m.slot(m.load(totals, k * WIDTH)) for k in range(T_SUMS)]
    sums = [m.slot(zero) for _ in order]

    def widen(row: int, value: Any) -> None:
        slot = extremes[row]
        slot.set(m.select("<" if row in (T_DMIN, T_GMIN) else ">", value, slot.get(), value, slot.get()))

    def local(at: Any) -> Values:
        xyz = m.columns(points, triple(m, at))
        x, y, z = (m.fma(xyz[k] - middle[k], factor, origin[k]) for k in range(3))
        u, v, g = (m.fma(z, axis[2], m.fma(y, axis[1], x * axis[0])) for axis in axes)
        r2 = m.fma(v, v, u * u)
        widen(T_REACH2, m.fma(g, g, r2))
        if shape.axial:
            widen(T_GMIN, g)
            widen(T_GMAX, g)
        return {"u": u, "v": v, "g": g, "r2": r2}

    def add(values: Values, at: Any) -> None:
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

    parts = _loops(shape.stages)
    left: list[list[str]] = [[] for _ in parts]  # what each loop leaves to the next, in rows after the totals

    def step(part: int, at: Any, k: Any) -> None:
        if part == 0:
            values = local(at)
        else:
            values = {name: m.load(totals, plus(m, k, _row(i))) for i, name in enumerate(left[part - 1])}
        for stage in parts[part]:
            values = stage(m, values, lambda number: spread[number])
            if "extreme" in values:
                extreme = values.pop("extreme")
                widen(T_DMIN, extreme)
                widen(T_DMAX, extreme)
        if part == len(parts) - 1:
            add(values, at)
            m.fetch(points, plus(m, triple(m, at), 3 * BLOCK))  # the next block's first loop finds them in the cache
            return
        left[part] = list(values)
        for i, value in enumerate(values.values()):
            m.store(value, totals, plus(m, k, _row(i)))

    def finish() -> None:
        for k, slot in enumerate(extremes):
            m.store(slot.get(), totals, k * WIDTH)
        for k, slot in enumerate(sums):
            at = (T_SUMS + k) * WIDTH
            m.store(m.load(totals, at) + slot.get(), totals, at)

    return [functools.partial(step, part) for part in range(len(parts))], finish


def _loops(stages: tuple[Any, ...]) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    for stage in stages:
        if stage is None:
            parts.append([])
        else:
            parts[-1].append(stage)
    return parts


def _row(i: int) -> int:
    """Where the scratch keeps the i-th value of every point of a block."""
    return TOTALS + i * ROW


_TERMS = [_products(shape)[1] for shape in SHAPES.values()]
TERMS = np.array([term for terms in _TERMS for term in terms], np.int64)
FIRST_TERM = np.cumsum([0, *(len(terms) for terms in _TERMS)])
TOTALS = (T_SUMS + max(len(_products(shape)[0]) for shape in SHAPES.values())) * WIDTH
SCRATCH = TOTALS + 6 * ROW  # the totals and what one loop leaves to the next


def _functions(weighted: bool) -> list[Any]:
    word = "weighted" if weighted else "plain"
    return [
        build(functools.partial(_prepare, shape, weighted), f"{word}_{shape.name}_sums") for shape in SHAPES.values()
    ]


(
    plain_line, plain_plane, plain_circle, plain_sphere, plain_cylinder, plain_cone, plain_torus,
) = _functions(False)  # fmt: skip
(
    weighted_line, weighted_plane, weighted_circle, weighted_sphere, weighted_cylinder, weighted_cone, weighted_torus,
) = _functions(True)  # fmt: skip


def _prepare_box(m: Any, scale: Any, arrays: Any) -> Any:
    """Rows 0 to 2 of the totals: smallest coordinates; 3 to 5: largest; 6: points without NaN or infinity."""
    points, _, _, _, _, totals = arrays
    rows = [m.slot(m.load(totals, k * WIDTH)) for k in range(7)]
    zero, one = m.constant(0.0), m.constant(1.0)

    def step(at: Any, _: Any) -> None:
        xyz = m.columns(points, triple(m, at))
        m.fetch(points, plus(m, triple(m, at), AHEAD))
        for k, value in enumerate(xyz):
            low, high = rows[k], rows[3 + k]
            low.set(m.select("<", value, low.get(), value, low.get()))
            high.set(m.select(">", value, high.get(), value, high.get()))
        nothing = m.fma(xyz[0], zero, m.fma(xyz[1], zero, xyz[2] * zero))  # 0 times a finite number is 0, else NaN
        rows[6].set(rows[6].get() + m.select("==", nothing, zero, one, zero))

    def finish() -> None:
        for k, slot in enumerate(rows):
            m.store(slot.get(), totals, k * WIDTH)

    return [step], finish


plain_box = build(_prepare_box, "plain_box")
