"""Nested variance components: how much of the spread lies between lots, wafers, fields, images; unbalanced designs too.

Sequential (type I) analysis of variance with exact expected mean squares (Searle, Casella, McCulloch, Variance
Components, 1992, ch. 3 and 5). Intervals by generalized inference (Weerahandi, JASA 88 (1993) 899; Khuri, Mathew,
Sinha, Statistical Tests for Mixed Linear Models, 1998): each sum of squares over its expectation is chi-squared,
exactly so in balanced designs, otherwise with the degrees of freedom that match its variance (Satterthwaite).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrology_core.errors import ParameterError

DRAWS = 20_000


@dataclass(frozen=True)
class Component:
    """One level of the nesting.

    ``level`` name; ``groups`` how many; ``dof`` degrees of freedom, ``effective_dof`` after Satterthwaite; ``variance``
    the unbiased estimate, which may be negative; ``sd`` its root, 0 where it is negative; ``low``, ``high`` interval of
    the standard deviation; ``share`` of the total variance (negative ones count 0); ``status``: ``estimated``,
    ``not_resolved`` (the interval reaches 0), or ``not_estimable`` with the ``reason`` (all numbers NaN).
    """

    level: str
    groups: int
    dof: int
    effective_dof: float
    variance: float
    sd: float
    low: float
    high: float
    share: float
    status: str
    reason: str = ""


@dataclass(frozen=True)
class NestedComponents:
    """``components`` from the top level to the bottom; ``total`` standard deviation of one value about the mean of all
    levels that could be estimated, with ``total_low``, ``total_high``; ``mean`` of the values, ``mean_u`` with
    ``mean_dof``; ``noise`` root mean square of the known noise that was taken off the bottom level; ``p`` of the
    intervals; ``n`` values; ``balanced``."""

    components: tuple[Component, ...]
    total: float
    total_low: float
    total_high: float
    mean: float
    mean_u: float
    mean_dof: float
    noise: float
    p: float
    n: int
    balanced: bool

    def __getitem__(self, level: str) -> Component:
        for row in self.components:
            if row.level == level:
                return row
        raise KeyError(level)


def nested_components(
    values: Sequence[float] | np.ndarray,
    labels: Mapping[str, Sequence[object]],
    *,
    bottom: str = "within",
    noise_variance: Sequence[float] | np.ndarray | None = None,
    p: float = 0.95,
    seed: int = 0,
) -> NestedComponents:
    """Decompose ``values`` (n,) by ``labels``, level name to (n,) labels, outermost level first.

    Labels of a level need only be unique within their group above. ``bottom`` names what varies within the innermost
    groups. ``noise_variance`` (n,): known variances of the values (their squared u by noise), taken off the bottom
    component. A level of one group, or whose groups all hold one group of the next, cannot be told apart and is
    ``not_estimable``; its variance then lies in the level named in the reason. Raises `ParameterError` for wrong
    shapes, non-finite values, or fewer than three values.
    """
    y = np.asarray(values, np.float64)
    n = y.size
    if y.ndim != 1 or n < 3 or not np.isfinite(y).all():
        raise ParameterError("variance components need at least three finite values", got=f"shape {y.shape}")
    if not labels or any(len(column) != n for column in labels.values()):
        raise ParameterError("every level needs one label for each value", expected=f"{n} labels")
    if bottom in labels:
        raise ParameterError("the bottom needs a name of its own", got=bottom)
    if not 0.5 <= p < 1.0:
        raise ParameterError("a coverage probability lies between 0.5 and 1", got=f"{p}")
    noise = np.zeros(n) if noise_variance is None else np.asarray(noise_variance, np.float64)
    if noise.shape != y.shape or not np.isfinite(noise).all() or (noise < 0.0).any():
        raise ParameterError("noise variances are non-negative, one for each value", got=f"shape {noise.shape}")
    names = [*labels, bottom]
    groups = _codes(labels, n)
    counts = [int(g.max()) + 1 for g in groups]
    reasons = _not_estimable(names, counts)
    kept = [i for i in range(len(names)) if not reasons[i]]
    if not kept:
        raise ParameterError("no level can be estimated", got=", ".join(f"{c} {m}" for m, c in zip(names, counts)))
    used = [groups[i] for i in kept]
    forms = _forms(y, used)
    coefficients = np.array([form.expected for form in forms]) / np.array([form.dof for form in forms])[:, None]
    squares = np.array([form.square for form in forms])
    mean_squares = squares / np.array([form.dof for form in forms])
    raw = np.linalg.solve(coefficients, mean_squares)
    clipped = np.maximum(raw, 0.0)
    if not clipped.any():
        clipped = clipped + 1e-300
    effective = np.array([_matched(form, clipped) for form in forms])
    known = float(noise.mean())
    variance = raw.copy()
    variance[-1] -= known
    draws = _pivots(coefficients, mean_squares, effective, seed)
    draws[:, -1] -= known
    tail = 0.5 * (1.0 - p)
    low, high = np.quantile(np.maximum(draws, 0.0), (tail, 1.0 - tail), axis=0)
    positive = np.maximum(variance, 0.0)
    whole = float(positive.sum())
    total_low, total_high = np.quantile(np.maximum(draws.sum(axis=1), 0.0), (tail, 1.0 - tail))
    rows, k = [], 0
    for i, name in enumerate(names):
        if reasons[i]:
            nothing = (math.nan,) * 6
            rows.append(Component(name, counts[i], 0, *nothing, "not_estimable", reasons[i]))
            continue
        rows.append(
            Component(
                name, counts[i], forms[k].dof, float(effective[k]), float(variance[k]), math.sqrt(positive[k]),
                math.sqrt(low[k]), math.sqrt(high[k]), float(positive[k] / whole) if whole > 0.0 else math.nan,
                "estimated" if low[k] > 0.0 else "not_resolved",
            )
        )  # fmt: skip
        k += 1
    spread = sum(c * np.sum((np.bincount(g) / n) ** 2) for c, g in zip(clipped, used, strict=True))
    sizes = {tuple(np.unique(np.bincount(g))) for g in used[:-1]}
    even = all(len(s) == 1 for s in sizes) and _even_children(used)
    return NestedComponents(
        tuple(rows), math.sqrt(whole), math.sqrt(total_low), math.sqrt(total_high), float(y.mean()),
        math.sqrt(float(spread)), float(effective[0]), math.sqrt(known), p, n, even,
    )  # fmt: skip


def _codes(labels: Mapping[str, Sequence[object]], n: int) -> list[np.ndarray]:
    """(n,) group numbers of every level, unique over the whole; the bottom level numbers the values."""
    result = []
    above = np.zeros(n, np.int64)
    for column in labels.values():
        keys: dict[tuple[int, str], int] = {}
        above = np.array([keys.setdefault((int(a), str(v)), len(keys)) for a, v in zip(above, column, strict=True)])
        result.append(above)
    return [*result, np.arange(n)]


def _not_estimable(names: list[str], counts: list[int]) -> list[str]:
    """Why a level cannot be estimated; empty where it can."""
    reasons = ["" for _ in names]
    last = len(names) - 1
    for i in range(len(names)):
        if counts[i] == 1:
            reasons[i] = f"there is only one {names[i]}"
        elif i < last and counts[i] == counts[i + 1]:
            reasons[i] = f"each holds one {names[i + 1]}: part of that component"
    return reasons


@dataclass(frozen=True, eq=False)
class _Form:
    """A sum of squares between groups within their parents: its value, degrees of freedom, ``expected`` (levels,)
    coefficients of its expectation. ``n`` sizes of the groups, ``owner`` their parents, ``m`` sizes of these;
    ``spread`` (levels, groups) variance of a group's mean by unit effects of each level within it."""

    square: float
    dof: int
    expected: np.ndarray
    n: np.ndarray
    owner: np.ndarray
    m: np.ndarray
    spread: np.ndarray


def _forms(y: np.ndarray, used: list[np.ndarray]) -> list[_Form]:
    """Sums of squares between the groups of each level within those above.

    With sizes n of the groups of one parent (total m) the form is diag(n) - n n'/m. It annihilates what the groups of a
    parent share, so levels above do not enter; those at and below vary the means of different groups independently,
    with variances v: the product with their covariance has the trace sum n v - sum n^2 v / m.
    """
    out = []
    parents = [np.zeros(y.size, np.int64), *used[:-1]]
    for level, (parent, group) in enumerate(zip(parents, used, strict=True)):
        n, m = np.bincount(group).astype(np.float64), np.bincount(parent).astype(np.float64)
        means, above = np.bincount(group, weights=y) / n, np.bincount(parent, weights=y) / m
        owner = np.zeros(n.size, np.int64)
        owner[group] = parent
        spread = np.zeros((len(used), n.size))
        for k in range(level, len(used)):
            inner = used[k]
            size = np.bincount(inner).astype(np.float64)
            outer = np.zeros(size.size, np.int64)
            outer[inner] = group
            spread[k] = np.bincount(outer, weights=size**2, minlength=n.size) / n**2
        expected = spread @ (n - n * n / m[owner])
        square = float(np.sum(n * (means - above[owner]) ** 2))
        out.append(_Form(square, n.size - m.size, expected, n, owner, m, spread))
    return out


def _matched(form: _Form, components: np.ndarray) -> float:
    """Degrees of freedom of the chi-squared with the mean and the variance of a sum of squares: tr(P)^2 / tr(P P)."""
    v = components @ form.spread
    n, m = form.n, form.m[form.owner]
    cross = np.bincount(form.owner, weights=n * n * v) / form.m
    mean = float(np.sum(n * v - n * n * v / m))
    square = float(np.sum((n * v) ** 2 - 2.0 * n**3 * v**2 / m) + np.sum(cross**2))
    return mean * mean / square if square > 0.0 else float(form.dof)


def _pivots(coefficients: np.ndarray, mean_squares: np.ndarray, dof: np.ndarray, seed: int) -> np.ndarray:
    """(draws, levels) generalized pivotal quantities of the components."""
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([1918, seed])))
    chi = 2.0 * stream.standard_gamma(0.5 * dof, size=(DRAWS, dof.size)) / dof
    expectations = mean_squares / np.maximum(chi, 1e-300)
    result: np.ndarray = np.linalg.solve(coefficients, expectations.T).T
    return result


def _even_children(used: list[np.ndarray]) -> bool:
    """Whether every group of a level holds equally many groups of the next."""
    for outer, inner in zip(used[:-1], used[1:], strict=True):
        owner = np.zeros(int(inner.max()) + 1, np.int64)
        owner[inner] = outer
        if len(np.unique(np.bincount(owner))) > 1:
            return False
    return True
