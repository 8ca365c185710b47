"""How errors are correlated, from the residuals of a fit: restricted maximum likelihood.

The residuals of a least-squares fit are less correlated than the errors, because the fit has taken its share; the
restricted likelihood (Patterson and Thompson, Biometrika 58 (1971) 545; Harville, JASA 72 (1977) 320) looks only at
what the fit cannot change, so it is not biased by that share. Up to 400 points the matrix is factored whole; beyond,
Vecchia's product of conditional laws stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core import flags as _flags
from metrology_core.errors import ParameterError
from metrology_core.uncertainty.fields import sampling, vecchia
from metrology_core.uncertainty.fields.field import CorrelatedField
from metrology_core.uncertainty.fields.kernels import Kernel
from metrology_core.uncertainty.fields.surfaces import coordinates

DENSE_POINTS = 400
_NEIGHBOURS = 20
_RANKS = (0, 1, 4, 16)  # a seed of the subset comes with its nearest, 4th and 16th nearest point
_STEPS = 9  # lengths of the first search
_LOGIT = 8.0  # independent shares between 3e-4 and 1 - 3e-4; beyond, one of the two parts is absent
_CHI2_1, _CHI2_2 = 3.841, 5.991  # 95 % of chi square with 1 and 2 degrees of freedom


@dataclass(frozen=True, eq=False)
class CorrelationEstimate:
    """What the residuals say about the correlation of the errors.

    ``status``: ``determined``; ``no_correlation`` (independent errors explain the residuals as well: ``field`` has only
    an independent part); ``length_not_bounded`` (correlations as long as the feature are not excluded: what is common
    to all points cannot be seen in residuals); ``insufficient`` (fewer than 10 degrees of freedom; no field). All but
    the first carry the flag ``correlation_not_determined``. ``sigma``, ``length``, ``nugget`` with ``covariance``
    (3, 3) of their logarithms (zero rows for a part that is absent); ``length_interval`` 95 %, from the curvature of
    the likelihood; ``gain`` twice the log-likelihood above that of independent errors; ``points`` used.
    """

    status: str
    flags: tuple[str, ...]
    field: CorrelatedField | None
    sigma: float
    length: float
    nugget: float
    covariance: np.ndarray
    length_interval: tuple[float, float]
    gain: float
    points: int
    words: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form; what is not known is None."""

        def plain(value: float) -> float | None:
            return float(value) if math.isfinite(value) else None

        return {
            "status": self.status, "flags": list(self.flags), "sigma": plain(self.sigma), "length": plain(self.length),
            "nugget": plain(self.nugget), "length_interval": [plain(v) for v in self.length_interval],
            "covariance_of_logarithms": [[plain(v) for v in row] for row in self.covariance.tolist()],
            "gain": plain(self.gain), "points": self.points, "method": self.words,
        }  # fmt: skip


def estimate_correlation(
    fit: Any, *, nu: float = 0.5, nugget: bool = True, metric: str = "auto", max_points: int = 3000
) -> CorrelationEstimate:
    """Estimate sigma, length and independent part of the errors from the residuals of a least-squares fit.

    ``nu``: smoothness of the Matern correlation (1/2 exponential, inf Gaussian): it is chosen, not estimated.
    ``max_points``: more points are thinned to clusters that keep short and long distances. Form is in the residuals
    too: what is estimated is form and noise together. Raises `ParameterError` for fits without residual rows (zones)
    and for features of two residuals per point, whose first residuals are taken (in the plane, along u).
    """
    if not hasattr(fit, "design") or hasattr(fit, "contact_sensitivities"):
        raise ParameterError(
            "the correlation is estimated from a least-squares fit", remedy="fit with criterion='least_squares'"
        )
    xyz, jacobian, residuals = fit.design()
    n = len(xyz)
    jacobian, residuals = jacobian[:n], residuals[:n]
    # parameters that only the other residuals of a point know leave no trace here
    weight = np.linalg.norm(jacobian, axis=0)
    jacobian = jacobian[:, weight > 1e-9 * weight.max()]
    if n - jacobian.shape[1] < 10:
        return _nothing("insufficient", n, "fewer than 10 degrees of freedom")
    chosen = _subset(xyz, max_points)
    thinned = len(chosen) < n
    xyz, jacobian, residuals = xyz[chosen], jacobian[chosen], residuals[chosen]
    model = _Model(fit.associated, xyz, jacobian, residuals, nu, metric)
    return _search(model, nugget, thinned)


class _Model:
    """Minus twice the restricted log-likelihood of (length, independent share), the total variance profiled out."""

    def __init__(
        self, feature: Any, xyz: np.ndarray, jacobian: np.ndarray, residuals: np.ndarray, nu: float, metric: str
    ) -> None:
        self.feature, self.xyz, self.nu, self.metric = feature, xyz, nu, metric
        self.n, self.p = jacobian.shape
        basis, _ = np.linalg.qr(jacobian / np.linalg.norm(jacobian, axis=0))
        self.columns = np.concatenate([basis, residuals[:, None]], axis=1)
        self.dof = self.n - self.p
        at = coordinates(feature, xyz, Kernel(1e-3 * self.extent(xyz), nu), metric)
        self.place = at.place
        self.order = vecchia.coarse_to_fine(at.place, _NEIGHBOURS) if self.n > DENSE_POINTS else None
        from scipy.spatial import cKDTree

        nearest, _ = cKDTree(at.place).query(at.place, k=2)
        positive = nearest[:, 1][nearest[:, 1] > 0.0]
        self.shortest = 0.3 * float(np.median(positive)) if len(positive) else 1e-3 * self.extent(xyz)
        self.longest = self.extent(at.place)
        self.known: dict[tuple[float, float], tuple[float, float]] = {}

    @staticmethod
    def extent(place: np.ndarray) -> float:
        return float(np.max(np.ptp(place, axis=0)))

    def parts(self, log_length: float, logit: float) -> tuple[float, float]:
        """(quadratic form of the residuals, sum of the log determinants) for unit total variance."""
        key = (log_length, logit)
        if key not in self.known:
            self.known[key] = self._parts(math.exp(log_length), 1.0 / (1.0 + math.exp(-logit)))
        return self.known[key]

    def _parts(self, length: float, share: float) -> tuple[float, float]:
        kernel = Kernel(length, self.nu)
        at = coordinates(self.feature, self.xyz, kernel, self.metric)
        if self.order is None:
            from scipy.linalg import LinAlgError, cholesky, solve_triangular

            c = (1.0 - share) * sampling.dense(at, kernel)
            c[np.diag_indices_from(c)] = 1.0 + 1e-10
            try:
                lower = cholesky(c, lower=True, overwrite_a=True, check_finite=False)
            except LinAlgError:  # a very smooth kernel without an independent part
                return math.inf, math.inf
            white = solve_triangular(lower, self.columns, lower=True, check_finite=False)
            logdet = 2.0 * float(np.sum(np.log(np.diag(lower))))
        else:
            law = vecchia.factor(at, kernel, share, self.order)
            white = vecchia.whitened(law, self.columns)
            logdet = 2.0 * float(np.sum(np.log(np.maximum(law.spread, 1e-12))))
        q, r = np.linalg.qr(white[:, :-1])
        rest = white[:, -1] - q @ (q.T @ white[:, -1])
        return float(rest @ rest), logdet + 2.0 * float(np.sum(np.log(np.abs(np.diag(r)))))

    def deviance(self, log_length: float, logit: float, log_total: float | None = None) -> float:
        """Minus twice the restricted log-likelihood, up to a constant."""
        quadratic, logdet = self.parts(log_length, logit)
        if not math.isfinite(quadratic):
            return math.inf
        if log_total is None:
            return self.dof * (math.log(quadratic / self.dof) + 1.0) + logdet
        return 2.0 * self.dof * log_total + quadratic * math.exp(-2.0 * log_total) + logdet

    def white(self) -> float:
        residual = self.columns[:, -1]
        basis = self.columns[:, :-1]
        rest = residual - basis @ (basis.T @ residual)
        return self.dof * (math.log(float(rest @ rest) / self.dof) + 1.0)


def _search(model: _Model, nugget: bool, thinned: bool) -> CorrelationEstimate:
    from scipy.optimize import minimize

    low, high = math.log(model.shortest), math.log(model.longest)
    start = -_LOGIT if not nugget else -1.0
    lengths = np.linspace(low, high, _STEPS)
    tries = [(model.deviance(x, y), x, y) for x in lengths for y in ((start,) if not nugget else (-4.0, start, 1.5))]
    _, x0, y0 = min(tries)

    def objective(v: np.ndarray) -> float:
        x, y = float(np.clip(v[0], low, high)), float(np.clip(v[1] if nugget else start, -_LOGIT, _LOGIT))
        beyond = abs(v[0] - x) + (abs(v[1] - y) if nugget else 0.0)
        return model.deviance(x, y) + 10.0 * beyond

    first = np.array([[x0, y0], [x0 + 0.4, y0], [x0, y0 + 0.8]])
    found = minimize(
        objective, first[0] if nugget else first[0, :1], method="Nelder-Mead",
        options={"initial_simplex": first if nugget else first[:2, :1], "xatol": 2e-3, "fatol": 1e-3, "maxfev": 160},
    )  # fmt: skip
    x = float(np.clip(found.x[0], low, high))
    y = float(np.clip(found.x[1], -_LOGIT, _LOGIT)) if nugget else start
    best = model.deviance(x, y)
    gain = model.white() - best
    quadratic, _ = model.parts(x, y)
    total = math.sqrt(quadratic / model.dof)
    share = 1.0 / (1.0 + math.exp(-y)) if nugget else 0.0
    absent = nugget and y < -_LOGIT + 1.0  # no independent part is seen
    kernel = Kernel(math.exp(x), model.nu)
    words = f"restricted likelihood of {model.n} residuals, {kernel.name} correlation"
    words += ", the whole matrix" if model.order is None else f", {_NEIGHBOURS} neighbours (Vecchia)"
    notes = ["correlation_subsampled"] if thinned else []
    if gain < _CHI2_2:
        alone = math.sqrt(float(model.columns[:, -1] @ model.columns[:, -1]) / model.dof)
        field = CorrelatedField(0.0, kernel, alone, model.metric)
        return CorrelationEstimate(
            "no_correlation", _flags.merge(notes, ["correlation_not_determined"]), field, 0.0, math.nan, alone,
            np.zeros((3, 3)), (math.nan, math.nan), gain, model.n, words,
        )  # fmt: skip
    covariance = _curvature(model, math.log(total), x, y, nugget and not absent)
    u = math.sqrt(covariance[1, 1]) if covariance[1, 1] > 0.0 else math.inf
    # the other end of the length, the independent part free again
    ends = [model.deviance(high, v) for v in ((start,) if not nugget else (y, y - 1.0, y + 1.0, y + 2.0))]
    open_end = min(ends) - best < _CHI2_1 or x > high - 1e-3
    status = "length_not_bounded" if open_end else "determined"
    if open_end:
        notes.append("correlation_not_determined")
    sigma, own = total * math.sqrt(1.0 - share), 0.0 if absent or not nugget else total * math.sqrt(share)
    field = CorrelatedField(sigma, kernel, own, model.metric)
    interval = (kernel.length * math.exp(-1.96 * u), math.inf if open_end else kernel.length * math.exp(1.96 * u))
    return CorrelationEstimate(
        status, _flags.merge(notes), field, sigma, kernel.length, own, covariance, interval, gain, model.n, words
    )


def _curvature(model: _Model, log_total: float, x: float, y: float, share_free: bool) -> np.ndarray:
    """(3, 3) covariance of log sigma, log length, log nugget: inverse of half the second differences of the deviance in
    (log total, log length, logit share), carried over."""
    at = np.array([log_total, x, y])
    free = [0, 1, 2] if share_free else [0, 1]
    # steps over which the deviance changes by about one hundredth to one: neither rounding nor the fourth order counts
    step = np.array([0.3 / math.sqrt(model.dof), 0.08, 0.15])

    def deviance(v: np.ndarray) -> float:
        return model.deviance(float(v[1]), float(v[2]), float(v[0]))

    hessian = _second(deviance, at, step, free)
    result = np.zeros((3, 3))
    try:
        inverse = np.linalg.inv(0.5 * hessian)
    except np.linalg.LinAlgError:
        return np.full((3, 3), math.inf)
    if not (np.diag(inverse) > 0.0).all():
        return np.full((3, 3), math.inf)
    share = 1.0 / (1.0 + math.exp(-y)) if share_free else 0.0
    # sigma = total sqrt(1 - share), nugget = total sqrt(share); d share / d logit = share (1 - share)
    turn = np.array([[1.0, 0.0, -0.5 * share], [0.0, 1.0, 0.0], [1.0, 0.0, 0.5 * (1.0 - share)]])[:, free]
    if not share_free:
        turn[2] = 0.0
    result = turn @ inverse @ turn.T
    return np.asarray((result + result.T) / 2.0)


def _second(function: Callable[[np.ndarray], float], at: np.ndarray, step: np.ndarray, free: list[int]) -> np.ndarray:
    centre = function(at)
    hessian = np.empty((len(free), len(free)))
    for a, i in enumerate(free):
        for b, j in enumerate(free[: a + 1]):
            e, f = np.zeros(3), np.zeros(3)
            e[i], f[j] = step[i], step[j]
            if i == j:
                value = function(at + e) - 2.0 * centre + function(at - e)
                hessian[a, a] = value / step[i] ** 2
            else:
                value = function(at + e + f) - function(at + e - f) - function(at - e + f) + function(at - e - f)
                hessian[a, b] = hessian[b, a] = value / (4.0 * step[i] * step[j])
    return hessian


def _subset(xyz: np.ndarray, most: int) -> np.ndarray:
    """Rows to look at: all, or regular seeds with near and less near neighbours."""
    n = len(xyz)
    if n <= most:
        return np.arange(n)
    from scipy.spatial import cKDTree

    seeds = np.arange(0, n, math.ceil(n * len(_RANKS) / most))
    _, near = cKDTree(xyz).query(xyz[seeds], k=_RANKS[-1] + 1)
    return np.unique(near[:, list(_RANKS)])


def _nothing(status: str, n: int, words: str) -> CorrelationEstimate:
    nan = math.nan
    return CorrelationEstimate(
        status, ("correlation_not_determined",), None, nan, nan, nan, np.full((3, 3), nan), (nan, nan), nan, n, words
    )
