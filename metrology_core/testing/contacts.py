"""Points that can hold an optimum: sets whose derivatives balance with multipliers of the right signs."""

from __future__ import annotations

import numpy as np

from metrology_core.errors import ParameterError

_BATCHES, _BATCH = 320, 128
_ENOUGH = 12
_LEAST_MULTIPLIER = 0.02  # of the sum: contacts that hardly press make a set that nobody can solve to the last digit
_WORST_CONDITION = 1e3
_NOT_FOUND = "take more points, a longer arc or another seed"


def _picks(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """(batch, k) rows without repetition."""
    return np.argpartition(rng.random((_BATCH, n)), k - 1, axis=1)[:, :k]


def _unit_columns(rows: np.ndarray) -> np.ndarray:
    """Rows with columns of order one (columns that are zero throughout stay)."""
    size = np.abs(rows).max(axis=0)
    return np.asarray(rows / np.where(size > 0.0, size, 1.0))


def balanced(rows: np.ndarray, rng: np.random.Generator, one_sided: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p + 1 points whose derivatives (n, p) have one null combination, well spread over them: points, sides (its
    signs), multipliers (sum 1). one_sided: all signs equal.
    """
    n, p = rows.shape
    if n < p + 1:
        raise ParameterError("too few points for the contacts", expected=f"at least {p + 1}", got=str(n))
    scaled = _unit_columns(rows)
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    found = 0
    for _ in range(_BATCHES):
        picks = _picks(n, p + 1, rng)
        _, values, vectors = np.linalg.svd(np.swapaxes(scaled[picks], 1, 2))
        weights = vectors[:, -1, :]
        quality = np.abs(weights).min(axis=1) / np.abs(weights).sum(axis=1)
        if p:
            quality[values[:, -1] * _WORST_CONDITION < values[:, 0]] = 0.0
        if one_sided:
            quality[(weights.min(axis=1) < 0.0) & (weights.max(axis=1) > 0.0)] = 0.0
        found += int((quality > _LEAST_MULTIPLIER).sum())
        i = int(np.argmax(quality))
        if quality[i] > _LEAST_MULTIPLIER and (best is None or quality[i] > best[0]):
            best = (float(quality[i]), picks[i], weights[i])
        if found >= _ENOUGH:
            break
    if best is None:
        raise ParameterError("no set of contacts was found", remedy=_NOT_FOUND)
    _, pick, weight = best
    order = np.argsort(pick)
    weight = weight[order]
    if one_sided:
        weight = np.abs(weight)
    return pick[order], np.where(weight >= 0.0, 1.0, -1.0), np.abs(weight) / np.abs(weight).sum()


def interpolated(
    rows: np.ndarray, rng: np.random.Generator, largest: float = 0.9
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points with residual zero, unit residual directions (n, k) of all others (0 for these), and the subgradients
    (m, k) that balance them, every one shorter than `largest`.

    rows (k, n, p): derivatives of the k residuals of each point. Where whole points cannot take up all p unknowns
    (ellipse, slot in space: five in the plane, three across), the directions of the others are turned a little until
    the rest of the balance holds too.
    """
    k, n, p = rows.shape
    m = p // k if k == 1 else min(p // k, 3)
    size = np.abs(rows).max(axis=(0, 1))
    scaled = rows / np.where(size > 0.0, size, 1.0)
    for _ in range(60):
        picks = _picks(n, m, rng)
        stacked = np.swapaxes(scaled[:, picks], 0, 1).reshape(len(picks), k * m, p)
        values = np.linalg.svd(stacked, compute_uv=False)
        best = int(np.argmax(values[:, -1] / values[:, 0]))
        pick = np.sort(picks[best])
        held = scaled[:, pick].reshape(k * m, p)
        _, values, vectors = np.linalg.svd(held)
        if not values[-1] > values[0] / _WORST_CONDITION:
            continue
        loose = vectors[k * m :]  # directions in which these points leave the feature free
        onto = -np.linalg.pinv(held.T)
        others = np.delete(np.arange(n), pick)
        inner = scaled[:, others]
        angle = rng.uniform(-np.pi, np.pi, len(others)) if k == 2 else np.pi * rng.integers(0, 2, len(others))
        pull = np.einsum("kn,knp->pn", np.array((np.cos(angle), np.sin(angle))[:k]), inner)
        # what one unit of each residual asks of the subgradients; a point on the other side asks for the opposite
        needs = np.concatenate((onto @ pull, loose @ pull))
        signs = np.ones(len(others))
        for _ in range(8 * n):
            load = needs @ signs
            if _longest(load[: k * m], k, m) <= 0.9 * largest and np.abs(load[k * m :]).max(initial=0.0) <= 0.5:
                break
            trial = np.sum((load[:, None] - 2.0 * signs * needs) ** 4, axis=0)
            flip = int(np.argmin(trial))
            if trial[flip] >= np.sum(load**4):
                break
            signs[flip] = -signs[flip]
        angle = np.where(signs < 0.0, angle + np.pi, angle)
        for _ in range(12 if len(loose) else 0):
            turn = np.einsum("kn,knp->pn", np.array((-np.sin(angle), np.cos(angle))), inner)
            gap = loose @ np.einsum("kn,knp->p", np.array((np.cos(angle), np.sin(angle))), inner)
            angle = angle - np.linalg.pinv(loose @ turn) @ gap
        unit = np.array((np.cos(angle), np.sin(angle))) if k == 2 else np.sign(np.cos(angle))[None]
        total = np.einsum("kn,knp->p", unit, inner)
        load = onto @ total
        if _longest(load, k, m) <= largest and np.abs(loose @ total).max(initial=0.0) <= 1e-12 * n:
            result = np.zeros((n, k))
            result[others] = unit.T
            return pick, result, load.reshape(k, m).T
    raise ParameterError("no balanced signs were found", remedy=_NOT_FOUND)


def _longest(load: np.ndarray, k: int, m: int) -> float:
    """Length of the longest subgradient."""
    return float(np.linalg.norm(load.reshape(k, m), axis=0).max(initial=0.0))


def supported(rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Active points, their multipliers, and residuals (n,) (0 for these, positive for the others) with
    rows' residuals = rows[active]' multipliers: one side of a constrained least-squares fit.
    """
    from scipy.optimize import nnls

    n, p = rows.shape
    if n < 2 * p + 2:
        raise ParameterError("too few points for the constraints", expected=f"at least {2 * p + 2}", got=str(n))
    scaled = _unit_columns(rows)
    best: tuple[float, np.ndarray, np.ndarray, np.ndarray] | None = None
    good = 0
    for _ in range(6000):
        k = int(rng.integers(max(1, p - 1), p + 1))
        pick = np.sort(rng.choice(n, k, replace=False))
        others = np.ones(n, bool)
        others[pick] = False
        e = np.zeros(n)
        e[others] = rng.uniform(0.3, 1.7, n - k)
        inner = scaled[others]
        press, _ = nnls(scaled[pick].T, inner.T @ e[others])
        if press.min() <= _LEAST_MULTIPLIER * press.sum():
            continue
        for _ in range(3):  # the rest of the balance comes from the residuals, by the smallest change
            e[others] += np.linalg.lstsq(inner.T, scaled[pick].T @ press - inner.T @ e[others], rcond=None)[0]
        rest = scaled[pick].T @ press - inner.T @ e[others]
        if float(np.abs(rest).max()) > 1e-11 * float(np.abs(e).sum()):
            continue  # the other points do not feel a parameter that the active ones hold: nothing balances it
        quality = float(min(e[others].min(), 4.0 * press.min() / press.sum()))
        if quality > 0.05 and (best is None or quality > best[0]):
            best = (quality, pick, press, e)
        good += quality > 0.05
        if good >= 4:
            break
    if best is None:
        raise ParameterError("no set of active points was found", remedy=_NOT_FOUND)
    return best[1], best[2], best[3]
