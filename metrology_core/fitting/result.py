"""The result of a fit: the feature, how well it is known, and proof that it is the optimum."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from metrology_core.errors import FitError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting.canonical import chart_columns
from metrology_core.fitting.memory import in_space, kernel_view, selected
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

_SLICE = 65536  # points per step when residuals are evaluated: bounds the memory of temporaries

_FORM_NOTE = (
    "noise alone widens the form, so value -+ k u does not cover the true form: u is its scatter on repetition; "
    "evaluate() gives a coverage interval"
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a fit keeps to answer later questions: points as given, canonical pose, factor between them."""

    row: Row
    xyz: np.ndarray  # (n, 3), or (n, 2) as given where many points of a plane are not copied
    weights: np.ndarray
    used: np.ndarray | None
    pose: np.ndarray
    centre: np.ndarray
    scale: float
    axis_fixed: tuple[int, ...] = ()
    sides: np.ndarray | None = None  # to which of two parallel planes the points belong, as given by labels
    kept: bool = True  # whether `xyz` holds the points: those that were read in blocks are not in memory

    def slices(self) -> Iterator[np.ndarray]:
        """The points used, in the feature's dimension, a slice at a time."""
        for start in range(0, len(self.xyz), layout.CHUNK):
            piece = self.xyz[start : start + layout.CHUNK, : self.row.dimension]
            piece = piece if self.used is None else piece[self.used[start : start + layout.CHUNK]]
            if len(piece):
                yield piece


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted feature. Lengths in `unit` (that of the points), angles in rad.

    `feature` is the result (compensated for the probe ball where the points are ball centres and the material side is
    known); `associated` the feature that the points themselves were fitted with: `residuals`, `form` and `rms` are
    about it. `status`: converged | not_converged | degenerate | insufficient | non_unique. `dof` residual rows minus
    free parameters; `rms` over points; `sigma` = sqrt(e'We / dof), NaN without redundancy. `form` is the peak to
    valley of the normal distances about the least-squares element (3-D line: diameter of the enclosing cylinder about
    the least-squares line); `form_kind` says so in words. `covariance` (p, p) = sigma^2 (J'WJ)^-1 in `feature.chart`,
    zero in fixed parameters: it holds for independent point errors. `extent`: lowest and highest axial position of
    the points about the feature's point (line, cylinder, cone); `reach`: largest distance of a point from it.
    `optimality`: gradient (largest cosine between a Jacobian column and the residual), step (last Gauss-Newton step,
    relative), condition (of J with unit columns), passes.
    """

    feature: Feature | None
    associated: Feature | None
    criterion: str
    unit: str | None
    status: str
    flags: tuple[str, ...]
    n_points: int
    n_used: int
    dof: int
    rms: float
    sigma: float
    form: float
    form_kind: str
    covariance: np.ndarray
    optimality: dict[str, Any]
    settings: dict[str, Any]
    extent: tuple[float, float] | None
    reach: float
    kind: str
    _evidence: Evidence | None = field(default=None, repr=False)
    _flat: Any = field(default=None, repr=False)  # Curvature of points that determine no radius

    @functools.cached_property
    def curvature(self) -> Any:
        """Curvature 1 / r of a circle, sphere or cylinder by least squares, with its uncertainty and coverage interval:
        a `fitting.curvature.Curvature`, also where the points are so flat that the fit is `degenerate`. None for other
        features and criteria, and where even the curvature is undetermined.
        """
        from metrology_core.fitting.curvature import of_radius

        if self.kind not in ("circle", "sphere", "cylinder") or self.criterion != "least_squares":
            return None
        if self.associated is None:
            return self._flat
        values = self.associated.parameters
        u = math.sqrt(max(float(self.covariance[-1, -1]), 0.0))  # in this order NaN stays NaN
        return of_radius(values["radius"], u, self.dof, self.rms, self.form, self.associated.dimension)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """`covariance` on first use: half of the time of a small fit, and few callers look at it."""
            later = self.__dict__.get("_later") if name == "covariance" else None
            if later is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            value = later()
            value.setflags(write=False)
            self.__dict__["covariance"] = value
            return value

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the feature by name (empty where there is none)."""
        return {} if self.feature is None else self.feature.parameters

    @functools.cached_property
    def residuals(self) -> np.ndarray:
        """(n_points,) signed normal distances of the points as given, NaN for those that are not finite; computed on
        demand.

        Circle and ellipse in space: the part in the plane. Line in space: the distance, not negative.
        """
        evidence = self._known()
        assert self.associated is not None
        xyz = evidence.xyz[:, : evidence.row.dimension]
        result = np.empty(len(xyz))
        for start in range(0, len(xyz), _SLICE):
            piece = xyz[start : start + _SLICE]
            with np.errstate(invalid="ignore"):
                if evidence.sides is None:
                    result[start : start + _SLICE] = self.associated.distance(piece)
                else:
                    pair: Any = self.associated
                    across = evidence.sides[start : start + _SLICE] * ((piece - pair.point) @ pair.normal)
                    result[start : start + _SLICE] = across - 0.5 * pair.width
        if evidence.used is not None:
            result[~np.isfinite(xyz).all(axis=1)] = math.nan
        result.setflags(write=False)
        return result

    def design(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(points used (n, 3 or 2), J (rows, p), residuals (rows,)): rows of d distance / d chart at the solution.

        Features with two residuals per point (line, circle and ellipse in space) have 2 n rows: all first ones (line:
        along u; circle, ellipse: in the plane), then all second ones (line: along v; else: out of the plane).
        Unweighted; the columns of fixed parameters are present.
        """
        from metrology_core.kernels import fitmain as k

        evidence = self._known()
        row = evidence.row
        xyz = self._used_points()
        if not row.compiled:
            from metrology_core.fitting.general.rows import feature_rows

            assert self.associated is not None
            flat = xyz[:, : row.dimension]
            sides = evidence.sides
            if sides is not None and evidence.used is not None:
                sides = sides[evidence.used]
            found = feature_rows(self.associated, flat, sides)
            return flat, found.j.reshape(-1, found.j.shape[2]), found.c.reshape(-1)
        p = layout.N_PARAMETERS[row.kind]
        rows = np.empty((layout.N_ROWS[row.kind] * len(xyz), p + 1))
        k.design_rows(row.kind, kernel_view(xyz), evidence.centre, evidence.scale, evidence.pose, rows)
        if row.rows_per_point == 1:
            rows = rows[: len(xyz)]
        jacobian = rows[:, chart_columns(row)]
        angles = [i for i, name in enumerate(self._chart()) if _is_angle(name)]
        jacobian[:, angles] /= evidence.scale
        return xyz[:, : row.dimension], jacobian, rows[:, p] / evidence.scale

    @functools.cached_property
    def sensitivities(self) -> np.ndarray:
        """(p, rows) change of the chart parameters per unit displacement of a point along its residual direction.

        The points' rows are those of `design`; with the covariance V of the residual noise, S V S' is that of the
        parameters.
        """
        evidence = self._known()
        _, jacobian, _ = self.design()
        free = [i for i, c in enumerate(chart_columns(evidence.row)) if c not in evidence.axis_fixed]
        weights = self._row_weights(len(jacobian))
        result = np.zeros((jacobian.shape[1], len(jacobian)))
        root = np.sqrt(weights)[:, None]
        result[free] = -np.linalg.pinv(jacobian[:, free] * root) * root.T
        result.setflags(write=False)
        return result

    @functools.cached_property
    def standard_uncertainty(self) -> dict[str, Any]:
        """Standard uncertainty of each parameter from `covariance`.

        Positions: (3,) along the coordinate axes, of the point displaced in the chart; directions: one angle in rad,
        that of the worst tilt; sizes: one number. The radius of a cone is that of the section through its point, held
        fixed: that the point, the foot of the points' centroid, moves with the noise along the axis is not in it.
        """
        if self.feature is None:
            return {}
        result: dict[str, Any] = {}
        chart = list(self.feature.chart)
        covariance = self.covariance
        for name, value in self.feature.parameters.items():
            if name in chart:
                i = chart.index(name)
                result[name] = math.sqrt(max(covariance[i, i], 0.0))  # in this order NaN stays NaN
            elif name in ("point", "center"):
                result[name] = self._position_uncertainty(chart)
            elif np.ndim(value) == 1:
                angles: list[str] = [c for c in ("tilt_u", "tilt_v", "tilt") if c in chart]
                if name == "major_axis" or (name == "direction" and self.kind == "slot"):
                    angles = ["rotation"]
                index = [chart.index(c) for c in angles]
                block = covariance[np.ix_(index, index)]
                worst = float(np.linalg.eigvalsh(block)[-1]) if np.isfinite(block).all() else math.nan
                result[name] = math.sqrt(max(0.0, worst)) if not math.isnan(worst) else math.nan
        return result

    def _position_uncertainty(self, chart: list[str]) -> np.ndarray:
        assert self.feature is not None
        columns, index = [], []
        for i, name in enumerate(chart):
            if not name.startswith(("shift", "center_")):
                continue
            delta = np.zeros(len(chart))
            size = max(self.reach, 1e-300)
            delta[i] = size
            place = "center" if "center" in self.feature.parameters else "point"
            step = getattr(self.feature.moved(delta), place) - getattr(self.feature, place)
            columns.append(step / size)
            index.append(i)
        m = np.array(columns).T
        variance = np.einsum("ij,jk,ik->i", m, self.covariance[np.ix_(index, index)], m)
        return np.sqrt(np.where(variance < 0.0, 0.0, variance))

    @functools.cached_property
    def form_uncertainty(self) -> float:
        """Standard uncertainty of `form` for independent point errors of `sigma`, the two extreme points held fixed
        (first order).

        NaN without redundancy. Noise also biases the form upward; this number does not hold that part.
        """
        if self._evidence is None or not self.sigma >= 0.0 or not self._evidence.kept:
            return math.nan
        _, jacobian, residuals = self.design()
        n = self.n_used
        weights = self._row_weights(len(jacobian))
        signs: dict[int, float] = {}
        if self.kind == "line" and len(jacobian) == 2 * n:
            worst = int(np.argmax(residuals[:n] ** 2 + residuals[n:] ** 2))
            size = math.hypot(residuals[worst], residuals[n + worst]) or 1.0
            signs = {worst: 2.0 * residuals[worst] / size, n + worst: 2.0 * residuals[n + worst] / size}
        else:
            signs = {int(np.argmax(residuals[:n])): 1.0, int(np.argmin(residuals[:n])): -1.0}
        if len(signs) < 2:
            return 0.0
        index = list(signs)
        factor = np.array(list(signs.values()))
        lever = factor @ jacobian[index]
        noise = np.divide(1.0, weights[index], out=np.zeros(len(index)), where=weights[index] > 0.0)
        own = float(np.sum(factor**2 * noise)) * self.sigma**2
        # residuals are (I - H) noise: the fitted part takes some of the variance away
        return math.sqrt(max(own - float(lever @ self.covariance @ lever), 0.0))

    def monte_carlo(self, trials: int = 200, seed: int = 0, noise: float | None = None) -> Any:
        """Repeat the fit with simulated errors (seeded): the way where contacts are unstable. noise: standard
        deviation of each coordinate, by default that behind `covariance`. See `fitting.general.montecarlo.Simulated`.
        """
        from metrology_core.fitting.general.montecarlo import simulate

        return simulate(self, trials, seed, noise)

    def correlated(self, field: Any) -> Any:
        """The same fit with the covariance that correlated errors give it, and effective numbers of points.

        field: a `metrology_core.uncertainty.fields.CorrelatedField` (sigma, kernel, independent part). Returns a
        `CorrelatedFit`; this fit does not change.
        """
        from metrology_core.uncertainty.fields.correlated import correlated

        return correlated(self, field)

    def estimate_correlation(self, *, nu: float = 0.5, nugget: bool = True, metric: str = "auto") -> Any:
        """Correlation of the residuals (form and noise together) by restricted likelihood: a `CorrelationEstimate`
        whose ``field`` `correlated` takes. Its status says where the data do not determine it.
        """
        from metrology_core.uncertainty.fields.estimate import estimate_correlation

        return estimate_correlation(self, nu=nu, nugget=nugget, metric=metric)

    def require(self) -> Fit:
        """This fit, if it converged; else `FitError` with what happened and what to do."""
        if self.status == "converged":
            return self
        remedy = {
            "insufficient": "give more points",
            "degenerate": "check the selection: these points do not determine the feature",
            "non_unique": "give more points than the feature has parameters, spread over it, or start=",
            "not_converged": "check that the points belong to such a feature, or give start=",
        }[self.status]
        reason = self.optimality.get("reason") or ", ".join(self.flags)
        got = f"{self.n_used} points ({reason})"
        raise FitError(f"the fit of a {self.kind} is {self.status}", got=got, remedy=remedy)

    def to_dict(self) -> dict[str, Any]:
        """JSON form (DESIGN section 6): numbers that are not known are None."""
        form = {
            "value": _plain(self.form),
            "u": _plain(self.form_uncertainty),
            "interval": None,
            "kind": self.form_kind,
            "note": _FORM_NOTE,
        }
        flat = "curvature_not_significant" in self.flags or self._flat is not None
        return {
            "feature": self.kind,
            "criterion": self.criterion,
            "unit": self.unit,
            "n_points": self.n_points,
            "n_used": self.n_used,
            "parameters": {name: _plain(value) for name, value in self.parameters.items()},
            "standard_uncertainty": {name: _plain(value) for name, value in self.standard_uncertainty.items()},
            **({"curvature": self.curvature.to_dict()} if flat and self.curvature is not None else {}),
            "form": form,
            "rms": _plain(self.rms),
            "sigma": _plain(self.sigma),
            "dof": self.dof,
            "status": self.status,
            "flags": list(self.flags),
            "optimality": {name: _plain(value) for name, value in self.optimality.items()},
            "settings": {name: _plain(value) for name, value in self.settings.items()},
        }

    def _known(self) -> Evidence:
        if self._evidence is None:
            raise ParameterError(
                f"the fit of a {self.kind} is {self.status}: it has no feature", remedy="check fit.status first"
            )
        if not self._evidence.kept:
            raise ParameterError(
                "the points were read in blocks and are not kept",
                remedy="evaluate fit.associated.distance(block) for block in source.blocks()",
            )
        return self._evidence

    def _chart(self) -> tuple[str, ...]:
        assert self.associated is not None
        return self.associated.chart

    def _used_points(self) -> np.ndarray:
        evidence = self._known()
        return in_space(selected(evidence.xyz, evidence.used))

    def _row_weights(self, rows: int) -> np.ndarray:
        evidence = self._known()
        if not evidence.weights.size:
            return np.ones(rows)
        weights = evidence.weights if evidence.used is None else evidence.weights[evidence.used]
        return np.tile(weights, rows // len(weights))


def _is_angle(name: str) -> bool:
    return name.startswith(("tilt", "rotation", "half_angle"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(float(v)) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
