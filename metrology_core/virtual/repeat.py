"""A whole measurement re-run on simulated data: features, datum system, characteristics, in one compiled batch.

The points are those of the part (measured, or of its nominal surface). Each trial adds the errors that one state of the
instrument makes at these points, every feature is fitted again, and every characteristic evaluated: its change is the
error of the measurement, jointly for all characteristics.

What is known of the part is the reported value with that error to either side: an error that mostly enlarges (of a
zone near zero) is not corrected, because its mean hangs on the true value, and counts with its size. So the interval
is symmetric about the value, except that it ends at a physical bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.features.base import Feature
from metrology_core.virtual.batch import Batch, evaluate
from metrology_core.virtual.modes import Builder, Modes
from metrology_core.virtual.protocol import Cause, chosen

Motion = tuple[np.ndarray, np.ndarray]
Datum = Callable[[Mapping[str, Batch]], Motion]


class PointInstrument(Protocol):
    """A virtual instrument that measures points: its errors at given points as `Modes`."""

    @property
    def id(self) -> str: ...

    @property
    def causes(self) -> tuple[Cause, ...]: ...

    def modes(self, points: Any, normals: Any = None, *, scope: str = "") -> Modes: ...


def modes_of(instrument: PointInstrument, feature: ProbedFeature) -> Modes:
    """The errors of an instrument at the points of a feature; ``view`` goes to instruments that have views."""
    given: dict[str, Any] = {} if feature.view is None else {"view": feature.view}
    return instrument.modes(feature.points, feature.normals, scope=feature.points_id, **given)


@dataclass(frozen=True, eq=False)
class ProbedFeature:
    """A feature and the points that it is measured by.

    ``points`` (n, 3) in machine coordinates and ``normals`` (n, 3) out of the material; ``start`` the feature
    associated with these points as they are; ``offset`` the signed distance from it to the feature that is evaluated
    (compensation of the probe tip); ``plane`` two unit vectors (u, v) where a circle is evaluated in its projection.
    ``scope`` names the points (default the name): two associations of the same points share it, and so their noise.
    ``form`` is the standard deviation of what the points scatter beyond the instrument, as independent errors;
    A group of points without a fit has kind ``points`` and no start.
    ``view`` (n,) from which view each point comes, where the instrument has views and the points say it.
    """

    name: str
    kind: str
    points: np.ndarray
    normals: np.ndarray
    start: Feature | None
    criterion: str = "least_squares"
    material: str | None = None
    offset: float = 0.0
    plane: tuple[np.ndarray, np.ndarray] | None = None
    scope: str = ""
    form: float = 0.0
    view: np.ndarray | None = None

    @property
    def points_id(self) -> str:
        return self.scope or self.name


@dataclass(frozen=True)
class AskedCharacteristic:
    """A characteristic to evaluate in every trial: id of the registry, features by name, ``at`` a theoretically exact
    location, ``in_datum`` in the datum system. ``function`` evaluates displaced points (T, n, 3) of a group of points
    (``of`` names one), already in the datum system where that is asked, to values (T,)."""

    name: str
    characteristic: str
    of: tuple[str, ...]
    in_datum: bool = False
    at: tuple[float, ...] | None = None
    function: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class Repeats:
    """Simulated repeats of one measurement, in the unit of the points and rad.

    ``base`` (c,) values of the points without errors, ``values`` (T, c) with the errors of each trial; ``good`` (T,)
    trials in which every feature was found; ``bounds`` and ``tops`` lower and upper physical bounds of the
    characteristics. Statistics are over the good trials.

    ``drawn``: deviations (draws,) of some characteristics from their value that do not come from the instrument (form
    and noise under the points, drawn by the evaluation), draw d of all from the same surfaces. They add to the errors
    of the trials, which then are those of all other causes.
    """

    names: tuple[str, ...]
    base: np.ndarray
    values: np.ndarray
    good: np.ndarray
    seed: int
    causes: tuple[str, ...] = ()
    bounds: tuple[float | None, ...] = ()
    tops: tuple[float | None, ...] = ()
    drawn: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def index(self, name: str) -> int:
        if name not in self.names:
            raise ParameterError(f"no characteristic {name!r}", expected=", ".join(self.names))
        return self.names.index(name)

    @property
    def errors(self) -> np.ndarray:
        """(good trials, c) error of each characteristic: value of the trial less that of the points without errors."""
        return np.asarray(self.values[self.good] - self.base)

    @property
    def bias(self) -> np.ndarray:
        """(c,) mean error: what the instrument's errors do on average (zero but for zones and forms)."""
        return np.asarray(self.errors.mean(axis=0))

    @property
    def covariance(self) -> np.ndarray:
        """(c, c) mean squares and products of the errors: bias included, it is not corrected."""
        # einsum, not BLAS: its threads would enter the last digits
        return sum((np.asarray(np.einsum("ti,tj->ij", e, e) / len(e)) for e in self._together), np.zeros(()))

    @property
    def error_u(self) -> np.ndarray:
        """(c,) root mean square error of the trials alone, without what is ``drawn``."""
        return np.asarray(np.sqrt(np.mean(np.square(self.errors), axis=0)))

    @property
    def _together(self) -> list[np.ndarray]:
        """Errors (good trials, c) and, where there are any, drawn deviations (draws, c), independent of them."""
        if not self.drawn:
            return [self.errors]
        own = np.zeros((len(next(iter(self.drawn.values()))), len(self.names)))
        for name, rows in self.drawn.items():
            own[:, self.index(name)] = rows
        return [self.errors, own]

    @property
    def u(self) -> np.ndarray:
        """(c,) standard uncertainty: root mean square error."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def correlation(self) -> np.ndarray:
        """(c, c) correlation of the errors about their means; 0 where one does not vary."""
        about = [rows - rows.mean(axis=0) for rows in self._together]
        total = sum((np.einsum("ti,tj->ij", e, e) / len(e) for e in about), np.zeros(()))
        s = np.sqrt(np.diag(total))
        safe = np.where(s > 0.0, s, 1.0)
        result = total / np.outer(safe, safe)
        result[np.diag_indices_from(result)] = 1.0
        return np.asarray(result)

    def at_bound(self, name: str) -> tuple[float, float]:
        """How many times their size errors count because the value lies near a physical bound, and its distance from
        the bound over the root of twice the mean square error (infinite where no bound is near).

        A zone is the size of a small vector: errors across it change nothing at first order, and moved the measured
        value away from the bound all the same. Like `pointcloud.evaluate.bound`: up to two of these roots the whole
        of the missing variance counts, from four on none does. It is the mean square change of the squared distance
        less the mean square error, but not more than this: a vector has two components, and the larger of two ends
        that are equally far grows by first-order errors, which no bound makes.
        """
        i = self.index(name)
        low, top = (rows[i] if rows else None for rows in (self.bounds, self.tops))
        variance = float(self.error_u[i]) ** 2
        here = float(self.base[i])
        upper = top is not None and (low is None or top - here < here - low)
        end = top if upper else low
        if end is None or not variance > 0.0:
            return 1.0, math.inf
        distance = abs(here - end)
        e = self.errors[:, i] * (-1.0 if upper else 1.0)
        trace = float(np.mean((2.0 * distance + e) * e))
        near = distance / math.sqrt(2.0 * variance)
        share = min(1.0, max(0.0, (_NONE - near) / (_NONE - _WHOLE)))
        return math.sqrt(1.0 + share * min(1.0, max(0.0, trace / variance - 1.0))), near

    def samples(self, name: str, value: float | None = None) -> np.ndarray:
        """(2 good trials,) values that the characteristic of the part may have: the reported ``value`` (default: that
        of the points) less the errors, then plus the errors, not beyond a physical bound. Near a bound the errors
        count `at_bound` times their size. To both sides what is ``drawn`` is added as it is."""
        i = self.index(name)
        e = self.at_bound(name)[0] * self.errors[:, i]
        if name in self.drawn:
            own = self.drawn[name][np.arange(len(e)) % len(self.drawn[name])]
            drawn = (self.base[i] if value is None else value) + np.concatenate([own - e, own + e])
        else:
            drawn = (self.base[i] if value is None else value) + np.concatenate([-e, e])
        low, top = (rows[i] if rows else None for rows in (self.bounds, self.tops))
        return np.clip(drawn, low, top) if low is not None or top is not None else np.asarray(drawn)

    def interval(self, name: str, p: float = 0.95, value: float | None = None) -> tuple[float, float]:
        """Probabilistically symmetric coverage interval (JCGM 101 7.7): the value with what 95 % of the errors stay
        below to both sides, cut at a physical bound."""
        if not 0.0 < p < 1.0:
            raise ParameterError("a coverage probability lies between 0 and 1", got=repr(p))
        low, high = np.quantile(self.samples(name, value), [0.5 - p / 2.0, 0.5 + p / 2.0])
        return float(low), float(high)

    def conformity(self, limits: Mapping[str, tuple[float | None, float | None]]) -> float:
        """Probability that all these characteristics lie within their limits together (JCGM 106 7): the joint
        distribution counts what the features share."""
        inside = np.ones(2 * int(self.good.sum()), bool)
        for name, (low, high) in limits.items():
            drawn = self.samples(name)
            inside &= (drawn >= (-np.inf if low is None else low)) & (drawn <= (np.inf if high is None else high))
        return float(inside.mean())


FORM = Cause("form", "form", "form of the features beyond the instrument's errors, as independent errors")


@dataclass(frozen=True, eq=False)
class _Errors:
    """The errors of one feature's points: those of the instrument and, where it has any, those of its form."""

    instrument: Modes
    form: Modes | None

    @classmethod
    def of(cls, instrument: PointInstrument, feature: ProbedFeature) -> _Errors:
        made = modes_of(instrument, feature)
        if not feature.form:
            return cls(made, None)
        built = Builder(len(feature.points))
        built.add_noise(FORM, feature.form * feature.normals, feature.points_id)
        return cls(made, built.build())

    @property
    def parts(self) -> tuple[Modes, ...]:
        return (self.instrument,) if self.form is None else (self.instrument, self.form)

    def draw(self, start: int, stop: int, seed: int, only: frozenset[str]) -> np.ndarray:
        total: np.ndarray | None = None
        for part in self.parts:
            keys = [cause.key for cause in part.causes if cause.key in only]
            if keys or total is None:
                moved = part.displacements(start, stop, seed=seed, only=keys)
                total = moved if total is None else total + moved
        assert total is not None
        return total


def causes_of(instrument: PointInstrument, features: Sequence[ProbedFeature]) -> tuple[Cause, ...]:
    """The causes of error of a measurement: those of the instrument and, where features have one, their form."""
    return (*instrument.causes, FORM) if any(f.form for f in features) else tuple(instrument.causes)


def repeat_measurement(
    instrument: PointInstrument,
    features: Sequence[ProbedFeature],
    characteristics: Sequence[AskedCharacteristic],
    *,
    trials: int,
    seed: int = 0,
    datum: Datum | None = None,
    only: Collection[str] | None = None,
    hold: Collection[str] = (),
) -> Repeats:
    """Simulate a measurement ``trials`` times.

    ``datum`` gives the motion into the datum frame from the features of the trials (see `pointcloud.datums_batch`);
    ``only`` names the causes that act (default all); ``hold`` names features that are measured without error, to see
    what they contribute. Raises `ParameterError` and `CharacteristicError` for requests
    that cannot be meant, `FitError` where the points themselves determine no feature.
    """
    _check(features, characteristics, datum)
    if trials < 1:
        raise ParameterError("not a number of trials", expected=">= 1", got=repr(trials))
    unknown = set(hold) - {f.name for f in features}
    if unknown:
        raise ParameterError(f"no feature {sorted(unknown)[0]!r} to hold", expected=", ".join(f.name for f in features))
    keys = chosen(causes_of(instrument, features), only)
    errors = {f.name: _Errors.of(instrument, f) for f in features}

    def moves(name: str) -> Callable[[int, int], np.ndarray]:
        if name in hold:
            return lambda a, b: _nothing(errors[name], a, b)
        return lambda a, b: errors[name].draw(a, b, seed, keys)

    still = _values(features, characteristics, datum, lambda name: lambda a, b: _nothing(errors[name], a, b), 1)
    drawn, good = _values(features, characteristics, datum, moves, trials)
    return Repeats(
        tuple(c.name for c in characteristics), still[0][0], drawn, good, seed, tuple(sorted(keys)),
        *_bounds(characteristics),
    )  # fmt: skip


def by_cause(
    instrument: PointInstrument,
    features: Sequence[ProbedFeature],
    characteristics: Sequence[AskedCharacteristic],
    *,
    trials: int = 1000,
    seed: int = 0,
    datum: Datum | None = None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The budget by cause: for each key of a cause the standard uncertainty (c,) with this cause alone, and with all
    causes but this one. The draws are the same in all runs."""
    keys = [cause.key for cause in causes_of(instrument, features)]
    rows = {}
    for key in keys:
        runs = [
            repeat_measurement(
                instrument, features, characteristics, trials=trials, seed=seed, datum=datum, only=acting
            ).u
            for acting in ([key], [other for other in keys if other != key])
        ]
        rows[key] = (runs[0], runs[1])
    return rows


@dataclass(frozen=True, eq=False)
class LinearBudget:
    """The linear law for the same measurement: ``contributions`` (influences, c), one row per standard normal quantity
    of the instrument, ``ids`` and ``cause`` of each (a key)."""

    names: tuple[str, ...]
    value: np.ndarray
    ids: tuple[str, ...]
    cause: tuple[str, ...]
    contributions: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        return np.asarray(np.einsum("di,dj->ij", self.contributions, self.contributions))

    @property
    def u(self) -> np.ndarray:
        return np.asarray(np.sqrt(np.einsum("di,di->i", self.contributions, self.contributions)))

    def of_cause(self, key: str) -> np.ndarray:
        """(c,) standard uncertainty by one cause."""
        rows = self.contributions[[k == key for k in self.cause]]
        return np.asarray(np.sqrt(np.einsum("di,di->i", rows, rows)))

    def of_points(self, name: str) -> np.ndarray:
        """(c,) standard uncertainty by the independent errors of one feature's points (by their scope)."""
        rows = self.contributions[[i.startswith(f"point/{name}/") for i in self.ids]]
        return np.asarray(np.sqrt(np.einsum("di,di->i", rows, rows)))


def linear_measurement(
    instrument: PointInstrument,
    features: Sequence[ProbedFeature],
    characteristics: Sequence[AskedCharacteristic],
    *,
    datum: Datum | None = None,
    points: bool = True,
) -> LinearBudget:
    """The law of propagation (JCGM 102) through the same chain: every mode of the instrument, and the noise of every
    point, is displaced by one standard deviation to both sides; half the difference is its contribution. Without
    ``points`` the independent errors of single points are left out (thousands of points are thousands of steps)."""
    _check(features, characteristics, datum)
    errors = {f.name: _Errors.of(instrument, f) for f in features}
    ids: dict[str, str] = {}
    for row in errors.values():
        for part in row.parts:
            for j, influence in enumerate(part.ids):
                ids.setdefault(influence, part.causes[int(part.cause[j])].key)
    for feature in features:
        for part in errors[feature.name].parts:
            key = part.causes[part.noise_cause].key
            if points and part.noisy(None):
                ids |= {f"point/{feature.points_id}/{key}/{i}": key for i in range(part.n_points)}
    place = {influence: i for i, influence in enumerate(ids)}
    count = len(ids)
    scopes = {feature.name: feature.points_id for feature in features}

    def moves(name: str) -> Callable[[int, int], np.ndarray]:
        steps = np.zeros((count, errors[name].instrument.n_points, 3))
        for part in errors[name].parts:
            for j, influence in enumerate(part.ids):
                steps[place[influence]] = part.fields[j]
            if points and part.noisy(None):
                first = place[f"point/{scopes[name]}/{part.causes[part.noise_cause].key}/0"]
                own = np.arange(part.n_points)
                steps[first + own, own] = part.noise
        both = np.concatenate([steps, -steps])
        return lambda a, b: both[a:b]

    drawn, good = _values(features, characteristics, datum, moves, 2 * count)
    if not good.all():
        raise ParameterError("a feature is lost one standard deviation away", remedy="use repeat_measurement")
    still = _values(features, characteristics, datum, lambda name: lambda a, b: _nothing(errors[name], a, b), 1)
    return LinearBudget(
        tuple(c.name for c in characteristics), still[0][0], tuple(ids), tuple(ids.values()),
        0.5 * (drawn[:count] - drawn[count:]),
    )  # fmt: skip


def _nothing(errors: _Errors, start: int, stop: int) -> np.ndarray:
    return np.zeros((stop - start, errors.instrument.n_points, 3))


def _check(
    features: Sequence[ProbedFeature], characteristics: Sequence[AskedCharacteristic], datum: Datum | None
) -> None:
    names = [f.name for f in features]
    if len(set(names)) != len(names):
        raise ParameterError("two features have the same name", got=", ".join(names))
    for asked in characteristics:
        for name in asked.of:
            if name not in names:
                raise ParameterError(f"{asked.name}: no feature {name!r}", expected=", ".join(names))
        kinds = [f.kind for f in features if f.name in asked.of]
        if (asked.function is None) == ("points" in kinds) or (asked.function is not None and len(asked.of) != 1):
            raise ParameterError(
                f"{asked.name}: a group of points is evaluated by a function of its own, features by the registry",
                got=", ".join(kinds),
            )
        if asked.in_datum and datum is None:
            raise ParameterError(f"{asked.name}: no datum system was defined", remedy="define one")


_WHOLE, _NONE = 2.0, 4.0  # as in pointcloud.evaluate.bound: beyond, folding shifts a value by under a tenth of its u


def _bounds(
    characteristics: Sequence[AskedCharacteristic],
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    from metrology_core.characteristics import get

    tops = tuple(math.pi / 2.0 if c.characteristic == "angle.between" else None for c in characteristics)
    return tuple(get(c.characteristic).lower_bound for c in characteristics), tops


def _values(
    features: Sequence[ProbedFeature],
    characteristics: Sequence[AskedCharacteristic],
    datum: Datum | None,
    moves: Callable[[str], Callable[[int, int], np.ndarray]],
    trials: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Values (trials, c) of all characteristics, and which trials found every feature."""
    found = {f.name: _fitted(f, moves(f.name), trials) for f in features if f.kind != "points"}
    groups = {f.name: f for f in features if f.kind == "points"}
    good = np.logical_and.reduce([np.ones(trials, dtype=bool), *(row.good for row in found.values())])
    placed: dict[str, Batch] = {}
    motion: Motion | None = None
    if any(asked.in_datum for asked in characteristics):
        assert datum is not None  # checked
        motion = datum(found)
        wanted = {name for asked in characteristics if asked.in_datum for name in asked.of if name in found}
        placed = {name: found[name].transform(*motion) for name in sorted(wanted)}
    out = np.empty((trials, len(characteristics)))
    for i, asked in enumerate(characteristics):
        if asked.function is not None:
            group = groups[asked.of[0]]
            out[:, i] = _of_points(asked, group, moves(group.name), trials, motion if asked.in_datum else None)
            continue
        rows = [(placed if asked.in_datum else found)[name] for name in asked.of]
        at = None if asked.at is None else np.asarray(asked.at, dtype=np.float64)
        out[:, i] = evaluate(asked.characteristic, rows, at)
    return out, good & np.isfinite(out).all(axis=1)


_BLOCK_POINTS = 1 << 18  # displaced points at a time: 6 MB of coordinates


def _of_points(
    asked: AskedCharacteristic,
    group: ProbedFeature,
    moves: Callable[[int, int], np.ndarray],
    trials: int,
    motion: Motion | None,
) -> np.ndarray:
    """(trials,) values of a group of points, block by block."""
    assert asked.function is not None
    out = np.empty(trials)
    size = max(1, _BLOCK_POINTS // max(1, len(group.points)))
    for a in range(0, trials, size):
        b = min(trials, a + size)
        xyz = group.points + moves(a, b)
        if motion is not None:
            rotation, translation = motion[0][a:b], motion[1][a:b]
            xyz = np.einsum("tij,tnj->tni", rotation, xyz) + translation[:, None, :]
        out[a:b] = asked.function(xyz)
    return out


def _fitted(feature: ProbedFeature, moves: Callable[[int, int], np.ndarray], trials: int) -> Batch:
    from metrology_core.fitting import fit_trials
    from metrology_core.fitting.manyparts import offset_parameters

    material = feature.material if feature.criterion != "least_squares" else None
    heights = np.empty(0)
    if feature.plane is None:
        found = fit_trials(
            feature.points, feature.kind, moves, trials=trials, criterion=feature.criterion, material=material,
            start=feature.start,
        )  # fmt: skip
    else:
        u, v = feature.plane
        heights = np.empty(trials)
        normal = np.cross(u, v)

        def flat(a: int, b: int) -> np.ndarray:
            move = moves(a, b)
            heights[a:b] = np.mean(feature.points @ normal + move @ normal, axis=1)
            return np.stack([move @ u, move @ v], axis=-1)

        found = fit_trials(
            np.stack([feature.points @ u, feature.points @ v], axis=1), feature.kind, flat, trials=trials,
            criterion=feature.criterion, material=material, start=feature.start,
        )  # fmt: skip
    values = dict(found.parameters)
    good = np.isin(found.status_codes, (0, 4))  # converged, or one of several: zones that tie have one value
    if feature.offset:
        good &= offset_parameters(found.row, values, np.full(trials, feature.offset))
    if feature.plane is not None:
        u, v = feature.plane
        flat_center = values["center"]
        values["center"] = flat_center[:, :1] * u + flat_center[:, 1:] * v + heights[:, None] * np.cross(u, v)
        values["normal"] = np.broadcast_to(np.cross(u, v), (trials, 3))
    return Batch(feature.kind, values, found.extent, found.form, good)
