"""`FitMany`: what `fit_many` and `fit_trials` return, as arrays over the items."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import FitError, ParameterError
from metrology_core.features.base import Feature, sign_of, vector
from metrology_core.fitting.canonical import chart_columns, lengths
from metrology_core.fitting.manychart import turns
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout

#: what `FitMany.status_codes` count
STATUSES = ("converged", "not_converged", "degenerate", "insufficient", "non_unique")
#: flags in the order of their bits; flags that single items bring along come after them
FLAGS = (
    "non_finite_points", "not_converged", "degenerate", "insufficient", "non_unique", "zero_redundancy",
    "ill_conditioned", "curvature_not_significant", "other_minima", "contacts_unstable", "ball_centre_uncompensated",
    "points_are_unknown",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Solution:
    """The solver's numbers of k items: poses as solved and canonical, axis signs, normal equations, scale, the free
    columns."""

    solved: np.ndarray
    canonical: np.ndarray
    sign: np.ndarray
    sums: np.ndarray
    scale: np.ndarray
    free: np.ndarray
    offset: np.ndarray  # (k,) compensation for the probe tip, signed
    valid: np.ndarray


@dataclass(frozen=True, eq=False)
class FitMany:
    """Fits of one feature to k sets of points, as arrays over the items; ``many[i]`` is the `Fit` of one.

    parameters: by name, (k, 3), (k, 2) or (k,), NaN where there is no feature; lengths in `unit`, angles in rad, signs
    of directions as those of `fit`. status_codes (k,): index into `STATUSES`. flag_bits (k,): bit b stands for
    ``flag_names[b]``. n_points, n_used, dof, rms, sigma, form, extent (k, 2), reach, condition: see `Fit`.
    reason (k,): why an item has no feature, "" elsewhere.
    """

    feature: str
    criterion: str
    unit: str | None
    parameters: dict[str, np.ndarray]
    status_codes: np.ndarray
    flag_bits: np.ndarray
    flag_names: tuple[str, ...]
    n_points: np.ndarray
    n_used: np.ndarray
    dof: np.ndarray
    rms: np.ndarray
    sigma: np.ndarray
    form: np.ndarray
    extent: np.ndarray
    reach: np.ndarray
    condition: np.ndarray
    reason: np.ndarray
    row: Row = field(repr=False)
    _solution: Solution | None = field(default=None, repr=False)
    _single: Mapping[int, Fit] = field(default_factory=dict, repr=False)
    _refit: Callable[[int, Feature | None], Fit] | None = field(default=None, repr=False)
    _turned: bool = False

    def __len__(self) -> int:
        return len(self.status_codes)

    @property
    def converged(self) -> np.ndarray:
        """(k,) mask of the items whose status is ``converged``."""
        return np.asarray(self.status_codes == 0)

    @functools.cached_property
    def status(self) -> np.ndarray:
        """(k,) status of each item, in words."""
        return np.array(STATUSES)[self.status_codes]

    def flagged(self, name: str) -> np.ndarray:
        """(k,) mask of the items with this flag."""
        if name not in self.flag_names:
            return np.zeros(len(self), bool)
        bit = np.uint64(self.flag_names.index(name))
        return (self.flag_bits >> bit) & np.uint64(1) == 1

    def flags_of(self, i: int) -> tuple[str, ...]:
        """Names of the flags of one item."""
        bits = int(self.flag_bits[self._index(i)])
        return tuple(name for b, name in enumerate(self.flag_names) if bits >> b & 1)

    @property
    def flags(self) -> dict[str, int]:
        """How many items carry each flag that occurs."""
        counts = {name: int(self.flagged(name).sum()) for name in self.flag_names}
        return {name: count for name, count in counts.items() if count}

    def require(self, *, share: float = 1.0) -> FitMany:
        """This result, if at least this share of the items converged; else `FitError` that says what happened."""
        good = int(self.converged.sum())
        if good >= share * len(self):
            return self
        counts = {name: int((self.status_codes == c).sum()) for c, name in enumerate(STATUSES)}
        words = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        first = int(np.flatnonzero(~self.converged)[0])
        raise FitError(
            f"not all of {len(self)} fits of a {self.feature} converged",
            expected=f"at least {share:.0%}",
            got=f"{words}; item {first} first: {self.reason[first] or ', '.join(self.flags_of(first))}",
            remedy="look at many[i] of the items that did not, or leave them out with many.converged",
        )

    def oriented(self, hint: Any) -> FitMany:
        """The same results with directions on the side of `hint`, as `Feature.oriented`: for simulated repeats, whose
        axes may lie across the border of the sign rule. `covariance` and single fits keep the rule.
        """
        name = self._direction_name()
        if name is None:
            return self
        direction = self.parameters[name]
        turned = direction @ vector(hint, "hint", direction.shape[1]) < 0.0
        if not turned.any():
            return self
        values = dict(self.parameters)
        values[name] = np.where(turned[:, None], -direction, direction)
        if "half_angle" in values:
            values["half_angle"] = np.where(turned, -values["half_angle"], values["half_angle"])
        extent = np.where(turned[:, None], -self.extent[:, ::-1], self.extent)
        return replace(self, parameters=values, extent=extent, _turned=True)

    def _by_the_rule(self, feature: Feature) -> Feature:
        """A feature of `oriented` results with the direction that `fit` gives it."""
        name = self._direction_name()
        if name is None:
            return feature
        axis = np.asarray(feature.parameters[name])
        sign = sign_of(axis)
        if self.row.kind == layout.CONE and feature.parameters["half_angle"] != 0.0:
            sign = 1.0 if feature.parameters["half_angle"] > 0.0 else -1.0
        return feature if sign > 0.0 else feature.oriented(-axis)

    def _direction_name(self) -> str | None:
        for name in ("axis", "normal", "direction"):
            if name in self.parameters:
                return name
        return None

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        """(k, p, p) covariance of each item in the feature's chart (see `Fit.covariance`); NaN where there is none.

        Computed on demand; `ParameterError` where the batch was told not to keep what it needs.
        """
        columns = chart_columns(self.row)
        result = np.full((len(self), len(columns), len(columns)), np.nan)
        for i, one in self._single.items():
            if one.covariance.shape == result.shape[1:]:
                result[i] = one.covariance
        if len(self._single) < len(self):
            if self.criterion != "least_squares" and self._refit is not None:  # of contacts: item by item
                for i in range(len(self)):
                    if i not in self._single:
                        result[i] = self[i].covariance
            elif self._solution is None:
                raise ParameterError(
                    "the normal equations of these fits were not kept", remedy="ask with keep='all', or take many[i]"
                )
            else:
                done = np.flatnonzero(self._solution.valid)
                for start in range(0, len(done), 65536):
                    part = done[start : start + 65536]
                    result[part] = self._covariances(self._solution, part)[:, columns][:, :, columns]
        result.setflags(write=False)
        return result

    def _covariances(self, s: Solution, part: np.ndarray) -> np.ndarray:
        p = layout.N_PARAMETERS[self.row.kind]
        packed = np.zeros((p, p), np.int64)
        for a in range(p):
            for b in range(a, p):
                packed[a, b] = packed[b, a] = a * (p + 1) - a * (a - 1) // 2 + (b - a)
        free = np.flatnonzero(s.free[:p])
        gram = s.sums[part][:, packed[np.ix_(free, free)]]
        length = np.sqrt(np.einsum("kaa->ka", gram))
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = gram / (length[:, :, None] * length[:, None, :])
            scaled[~np.isfinite(scaled).all(axis=(1, 2))] = np.nan
            good = np.isfinite(scaled).all(axis=(1, 2))
        inverse = np.full_like(scaled, np.nan)
        inverse[good] = np.linalg.inv(scaled[good])
        inverse /= length[:, :, None] * length[:, None, :]
        whole = np.zeros((len(part), p, p))
        whole[np.ix_(np.arange(len(part)), free, free)] = inverse
        turn = turns(self.row, s.solved[part], s.canonical[part], s.sign[part])
        if self.row.kind == layout.CONE:  # the radius at the point follows the angle where the tip was taken off
            angle = s.canonical[part, 13]
            lever = s.offset[part] * s.scale[part] * np.sin(angle) / np.cos(angle) ** 2
            turn[:, 4, :] += lever[:, None] * turn[:, 5, :]
        unit = np.where(lengths(self.row), 1.0 / s.scale[part][:, None], 1.0)
        factor = (self.sigma[part] * s.scale[part]) ** 2
        result = turn @ whole @ turn.transpose(0, 2, 1)
        result *= unit[:, :, None] * unit[:, None, :] * factor[:, None, None]
        return np.asarray(0.5 * (result + result.transpose(0, 2, 1)))

    def features(self, which: Any = None) -> list[Feature | None]:
        """The features of all items, or of these, as objects; None where there is none."""
        items = range(len(self)) if which is None else np.arange(len(self))[which]
        return [self._feature(int(i)) for i in np.atleast_1d(items)]

    def _feature(self, i: int) -> Feature | None:
        if self.status_codes[i] in (2, 3):
            return None
        from metrology_core.fitting.manyparts import feature_class

        return feature_class(self.row)(**{name: values[i] for name, values in self.parameters.items()})

    def __iter__(self) -> Iterator[Fit]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Fit:
        """The `Fit` of one item: evaluated again from its solution, with the numbers of the batch."""
        i = self._index(i)
        if i in self._single:
            return self._single[i]
        if self._refit is None:
            raise ParameterError("the points of these fits were not kept", remedy="fit the item by itself")
        if self.status_codes[i] in (2, 3):
            return self._refit(i, None)
        feature = self._feature(i)
        assert feature is not None
        if self._turned:
            feature = self._by_the_rule(feature)
        s = self._solution
        associated = feature
        if s is not None and s.offset[i]:
            moved = feature.offset(-float(s.offset[i]))
            associated = feature if moved is None else moved
        one = self._refit(i, associated)
        side = one.feature.material_side if one.feature is not None else None
        known: dict[str, Any] = {}
        if s is not None:
            known["covariance"] = self.covariance[i] if "covariance" in self.__dict__ else self._one_covariance(s, i)
        return replace(
            one,
            feature=feature.with_material(side),
            associated=associated.with_material(side),
            status=STATUSES[self.status_codes[i]],
            flags=self.flags_of(i),
            rms=float(self.rms[i]),
            sigma=float(self.sigma[i]),
            form=float(self.form[i]),
            **known,
        )

    def _one_covariance(self, s: Solution, i: int) -> np.ndarray:
        columns = chart_columns(self.row)
        result: np.ndarray = self._covariances(s, np.array([i]))[0][np.ix_(columns, columns)]
        result.setflags(write=False)
        return result

    def _index(self, i: int) -> int:
        k = len(self)
        if not -k <= i < k:
            raise IndexError(f"item {i} of {k}")
        return int(i) % k
