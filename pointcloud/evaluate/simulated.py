"""An evaluation simulated: the features and characteristics of `pointcloud.evaluate.entry` under a virtual instrument.

From an `Evaluation` to the joint distribution of all its characteristics, their budget by cause, and decisions that
rest on them. The datum features are fitted anew in every trial, so alignment is never forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.conformity import DecisionRule, decide
from metrology_core.data import PointSet
from metrology_core.errors import ParameterError
from metrology_core.features import basis as line_basis
from metrology_core.instrument import Instrument
from metrology_core.measurement import Measurement
from metrology_core.quantity import Influence, Measured
from metrology_core.virtual.batch import FORMS, FUNCTIONS, Batch
from metrology_core.virtual.cmm import VirtualCMM
from metrology_core.virtual.repeat import (
    FORM,
    AskedCharacteristic,
    Datum,
    LinearBudget,
    PointInstrument,
    ProbedFeature,
    Repeats,
    causes_of,
    linear_measurement,
    modes_of,
    repeat_measurement,
)
from pointcloud.datums_batch import motions
from pointcloud.evaluate.drawn import with_simulation
from pointcloud.evaluate.features import _plane_axes, compensating_tip
from pointcloud.evaluate.influences import tip_u
from pointcloud.evaluate.machine_types import NOT_A_CMM
from pointcloud.evaluate.profile import profile_in_trials
from pointcloud.evaluate.types import CharacteristicRequest, DatumRequest, EvaluatedFeature, Evaluation
from pointcloud.evaluate.uncertainty import design, excess
from pointcloud.evaluate.workspace import Workspace
from pointcloud.evaluate.zone import by_criterion

FloatArray = NDArray[np.float64]
PROFILE = "iso1101.line_profile"
# simulated intervals of forms near the noise held the truth in 83 to 92 % (benchmarks.accuracy.demo_coverage), so the
# largest of many points keeps the bound of the evaluation for what noise adds; everything else is simulated
EXTREMES = (*FORMS, PROFILE)
# held by the highest places too, where no surface was drawn: noise and form make an inscribed size smaller
_ONE_SIDED = ("iso14405.GX", "iso14405.GN")
_NOISE = ("repeatability", "noise")  # keys of what acts on single points
_ALL = "all errors of the instrument, by simulation (a form or zone has no linear law)"
_OTHERS = "all errors of the instrument but for the noise of single points, by simulation (no linear law)"
_TOUCHED = ("iso14405.", "distance.")  # what a larger tip changes
_ALONE = 2000  # trials with one cause alone: 1.6 % of its standard uncertainty
_HINTS = {"plane": "normal", "circle": "normal", "ellipse": "normal", "line": "direction"}


@dataclass(frozen=True, eq=False)
class Simulated:
    """What the simulation of one part says.

    ``repeats`` the joint distribution, ``linear`` the law of propagation through the same chain, ``measurements`` those
    of the evaluation with simulated uncertainty and new decisions where the characteristic was simulated, ``skipped``
    names the others with the reason.
    """

    repeats: Repeats | None
    linear: LinearBudget | None
    measurements: tuple[Measurement, ...]
    skipped: Mapping[str, str]


def machine_for(instrument: Instrument, xyz: FloatArray, volume: tuple[Any, Any] | None = None) -> VirtualCMM:
    """The virtual CMM of a declared instrument for points (n, 3).

    Where neither ``volume`` nor the instrument states one, the cube about the points is taken: an instrument whose
    errors vary within the part as they are allowed to within its volume, the worst case. Raises `ParameterError` for
    another type of instrument: guideways are not what a scanner errs by, and its views are not in the points.
    """
    if instrument.type.lower() in NOT_A_CMM:
        raise ParameterError(
            f"instrument {instrument.id} of type {instrument.type!r} has no virtual machine here", expected="type cmm",
            remedy="give simulate_evaluation a virtual instrument in Python (pointcloud.simulate.VirtualScanner), or "
            "take the simulation out: the declared figures remain",
        )  # fmt: skip
    volume = instrument.volume if volume is None else volume
    if volume is None:
        finite = xyz[np.isfinite(xyz).all(axis=1)]
        middle = 0.5 * (finite.min(axis=0) + finite.max(axis=0))
        half = 0.5 * float(np.ptp(finite, axis=0).max()) * 1.05 + 1e-9
        volume = (middle - half, middle + half)
    return VirtualCMM.from_instrument(instrument, volume)


def with_state_of(points: PointSet, instrument: Instrument) -> Instrument:
    """The declared instrument with what the points themselves state: the uncertainty of the tip that compensates them,
    and the temperature and expansion by which they were corrected. Both come before the instrument's own figures, as
    in an evaluation without simulation."""
    changes: dict[str, Any] = {"tip_radius_u": tip_u(points, instrument) or instrument.tip_radius_u}
    thermal = points.thermal
    if thermal.temperature is not None and thermal.expansion is not None:
        changes |= {
            "temperature": thermal.temperature,
            "temperature_u": thermal.temperature_u,
            "expansion": thermal.expansion,
            "expansion_u": thermal.expansion_u,
        }
    return replace(instrument, **changes)


def simulate_evaluation(
    found: Evaluation,
    characteristics: Sequence[CharacteristicRequest],
    instrument: PointInstrument,
    *,
    datum: DatumRequest | None = None,
    rule: DecisionRule | None = None,
    trials: int = 10_000,
    seed: int = 0,
    scope: str = "",
) -> Simulated:
    """Simulate the measurement behind ``found`` ``trials`` times.

    ``characteristics`` and ``datum`` as they were asked of `evaluate`; ``scope`` names the part (its digest), so that
    other parts get other noise. The features that the instrument does not measure (its ``feature_kinds``; default all),
    points without a fit and what was not evaluated are left as they are and named in ``skipped``. Form deviations,
    line profiles and inscribed or circumscribed sizes keep what the evaluation says of noise, and take all other errors
    from the simulation. Sizes, places and distances of features with drawn surfaces (`Evaluation.noise_and_form`) do so
    for noise and form. A decision on a simulated characteristic uses its distribution. Raises what `repeat_measurement`
    raises.
    """
    kinds = getattr(instrument, "feature_kinds", None)
    plan = plan_simulation(found, characteristics, datum=datum, scope=scope, kinds=kinds)
    if not plan.characteristics:
        return Simulated(None, None, found.measurements, plan.skipped)
    plan = plan.without_own_errors(instrument)
    systematic = tuple(cause.key for cause in instrument.causes if cause.key not in _NOISE)
    asked = [row.name for row in plan.characteristics]
    own = {name: found.noise_and_form[name] for name in asked if name in found.noise_and_form}
    runs = []
    if len(own) < len(asked):
        runs.append(plan.only([name for name in asked if name not in own]).repeat(instrument, trials=trials, seed=seed))
    if own:
        runs.append(plan.only(own).repeat(instrument, trials=trials, seed=seed, only=systematic))
    # trial t is one state of the instrument in both runs: one joint distribution
    repeats = replace(runs[0] if len(runs) == 1 else _joined(runs, asked), drawn=own)
    if not repeats.good.any():
        raise ParameterError("no simulated repeat could be evaluated", remedy="check the instrument against the points")
    linear = plan.linear(instrument, points=False)
    causes = causes_of(instrument, plan.features)
    labels = {cause.key: cause.label for cause in causes}
    few = min(trials, _ALONE)
    # what acts on single points, by the same draws: a step for each of thousands of points would cost more
    known = set() if linear is None else set(linear.cause)
    alone = {
        key: plan.repeat(instrument, trials=few, seed=seed, only=[key]).u
        for key in labels
        if key not in known and linear is not None
    }
    highest = {row.name for row in plan.characteristics if row.characteristic in EXTREMES}
    highest |= {row.name for row in plan.characteristics if row.characteristic in _ONE_SIDED and row.name not in own}
    extremes = plan.only(highest)
    steady = None
    if extremes.characteristics and systematic:
        steady = extremes.repeat(instrument, trials=few, seed=seed, only=systematic)
    out = []
    exact = isinstance(instrument, VirtualCMM) and not instrument.tip_u
    decides = rule or DecisionRule.iso14253()
    for measurement in found.measurements:
        if measurement.name in plan.skipped:
            out.append(measurement)
            continue
        notes = [] if repeats.good.all() else ["simulated_repeats_lost"]
        if exact and measurement.characteristic.startswith(_TOUCHED):
            notes.append("tip_taken_as_exact")
        how = _How(repeats, linear, labels, instrument.id, scope, found.points.unit, decides, tuple(notes))
        if measurement.name in highest:
            out.append(measurement if steady is None else _of_extremes(measurement, steady, systematic, how))
            continue
        smooth = linear is not None and measurement.name in linear.names
        acting = [key for key in labels if measurement.name not in own or key in systematic]
        parts = {key: float(alone[key][repeats.index(measurement.name)]) for key in acting if smooth and key in alone}
        out.append(_decided(measurement, parts, acting, how))
    return Simulated(repeats, linear, tuple(out), plan.skipped)


@dataclass(frozen=True, eq=False)
class SimulationPlan:
    """What is simulated: the arguments of `metrology_core.virtual.repeat_measurement`, and what is left out."""

    features: tuple[ProbedFeature, ...]
    characteristics: tuple[AskedCharacteristic, ...]
    datum: Datum | None
    datum_features: tuple[str, ...]
    skipped: Mapping[str, str]

    def only(self, names: Collection[str]) -> SimulationPlan:
        """The same plan for some of its characteristics, with the features that they need."""
        rows = tuple(row for row in self.characteristics if row.name in names)
        used = {name for row in rows for name in row.of}
        if any(row.in_datum for row in rows):
            used |= set(self.datum_features)
        return replace(self, features=tuple(f for f in self.features if f.name in used), characteristics=rows)

    def without_own_errors(self, instrument: PointInstrument) -> SimulationPlan:
        """The plan with the form of each feature reduced by what the errors of the instrument make of residuals: the
        points hold them once already (lobing of the probe looks like form), and they act again in every trial."""
        return replace(self, features=tuple(_formless(f, instrument) if f.form else f for f in self.features))

    def repeat(self, instrument: PointInstrument, *, trials: int, seed: int = 0, **more: Any) -> Repeats:
        """`repeat_measurement` of this plan; ``more`` takes ``only`` and ``hold``.

        A form deviation is measured on points that hold the errors of the instrument once already. Its trials start
        from points whose residuals are smaller by what the instrument is expected to have added, and the form of the
        part is no cause of error of itself. The draws are those of the other characteristics: one joint distribution.
        """
        forms = [row for row in self.characteristics if row.characteristic in FORMS]
        others = [row for row in self.characteristics if row.characteristic not in FORMS]
        runs = []
        if others:
            runs.append(
                repeat_measurement(
                    instrument, self.features, others, trials=trials, seed=seed, datum=self.datum, **more
                )
            )  # fmt: skip
        if forms:
            used = {name for row in forms for name in row.of}
            calm = [_calmed(f, instrument) for f in self.features if f.name in used]
            mine = dict(more)
            if mine.get("only") is not None:
                mine["only"] = [key for key in mine["only"] if key != FORM.key]
            if "hold" in mine:
                mine["hold"] = [name for name in mine["hold"] if name in used]
            runs.append(repeat_measurement(instrument, calm, forms, trials=trials, seed=seed, **mine))
        return runs[0] if len(runs) == 1 else _joined(runs, [row.name for row in self.characteristics])

    def linear(self, instrument: PointInstrument, *, points: bool = True) -> LinearBudget | None:
        """`linear_measurement` of what has derivatives: forms and zone criteria are left to the simulation."""
        criteria = {f.name: f.criterion for f in self.features}
        datums = set(self.datum_features)
        smooth = [
            row
            for row in self.characteristics
            if row.characteristic not in EXTREMES
            and all(criteria[name] == "least_squares" for name in (*row.of, *(datums if row.in_datum else ())))
        ]
        if not smooth:
            return None
        used = {name for row in smooth for name in (*row.of, *(datums if row.in_datum else ()))}
        features = [f for f in self.features if f.name in used]
        where = self.datum if any(row.in_datum for row in smooth) else None
        return linear_measurement(instrument, features, smooth, datum=where, points=points)


@dataclass(frozen=True, eq=False)
class _Residuals:
    """Residuals of the points of a feature about its fit: ``offset`` (b, n) in b directions ``along`` (b, n, 3), and
    the mean square ``added`` that the errors of an instrument are expected to leave in them after the fit."""

    offset: FloatArray
    along: FloatArray
    added: float

    @classmethod
    def of(cls, feature: ProbedFeature, instrument: PointInstrument) -> _Residuals:
        start: Any = feature.start
        xyz = feature.points
        if feature.plane is not None:
            u, v = feature.plane
            flat = np.stack([xyz @ u, xyz @ v], axis=1)
            distance, outer = start.distance(flat), start.normals(flat) @ np.stack([u, v])
            blocks = design(start, flat, float(np.ptp(flat, axis=0).max()))
        else:
            distance, outer = start.distance(xyz), start.normals(xyz)
            blocks = design(start, xyz, float(np.ptp(xyz, axis=0).max()))
        if feature.kind == "line":  # two offsets across it, where a distance has no sign
            across = line_basis(start.direction)
            away = (xyz - start.point) @ np.stack(across, axis=1)
            offsets, along = away.T, np.stack([np.broadcast_to(a, xyz.shape) for a in across])
            columns = np.concatenate(blocks)
        else:
            offsets, along, columns = distance[None], outer[None], blocks[0]
        count = len(offsets)
        basis, _ = np.linalg.qr(columns / np.linalg.norm(columns, axis=0))

        def left(rows: FloatArray) -> FloatArray:
            # einsum, not BLAS: its threads would enter the last digits
            return np.asarray(rows - np.einsum("dp,np->dn", np.einsum("dn,np->dp", rows, basis), basis))

        modes = modes_of(instrument, feature)
        made = left(np.einsum("dnk,bnk->dbn", modes.fields, along).reshape(len(modes.fields), -1))
        noise = np.einsum("nk,bnk->bn", modes.noise, along).ravel() ** 2
        share = 1.0 - np.einsum("np,np->n", basis, basis)  # of each point's own noise that a fit leaves
        added = float(np.mean(np.einsum("dn,dn->n", made, made) + share * noise))
        residual = left(offsets.reshape(1, -1)).reshape(count, -1)
        return cls(residual, along, added)


def _calmed(feature: ProbedFeature, instrument: PointInstrument) -> ProbedFeature:
    """The feature with its residuals scaled by ``sqrt(1 - v / s^2)``: v is the mean square residual that the errors of
    the instrument make after the fit, s^2 that of the points. Nothing is left where the errors explain all."""
    rows = _Residuals.of(feature, instrument)
    found = float(np.mean(rows.offset**2))
    keep = math.sqrt(max(0.0, 1.0 - rows.added / found)) if found > 0.0 else 0.0
    moved = np.einsum("bn,bnk->nk", rows.offset, rows.along)
    return replace(feature, points=feature.points - (1.0 - keep) * moved, form=0.0)


def _formless(feature: ProbedFeature, instrument: PointInstrument) -> ProbedFeature:
    """The feature with the form that the errors of the instrument do not explain: 0 where they explain the residuals,
    by the same test as `evaluate` makes against the declared noise alone."""
    rows = _Residuals.of(feature, instrument)
    count = rows.offset.size
    freedom = max(1.0, float(count - len(feature.start.chart)))  # type: ignore[union-attr]
    residual = math.sqrt(float(np.sum(rows.offset**2)) / freedom)
    made = math.sqrt(rows.added * count / freedom)
    return replace(feature, form=min(feature.form, excess(residual, freedom, made)))


def _joined(runs: Sequence[Repeats], names: Sequence[str]) -> Repeats:
    """Runs of the same trials as one, characteristics in the order of ``names``."""
    places = {name: (run, i) for run in runs for i, name in enumerate(run.names)}
    rows = [places[name] for name in names]
    return Repeats(
        tuple(names), np.array([run.base[i] for run, i in rows]),
        np.stack([run.values[:, i] for run, i in rows], axis=1),
        np.logical_and.reduce([run.good for run in runs]), runs[0].seed,
        tuple(sorted({key for run in runs for key in run.causes})), tuple(run.bounds[i] for run, i in rows),
        tuple(run.tops[i] for run, i in rows),
    )  # fmt: skip


def plan_simulation(
    found: Evaluation,
    characteristics: Sequence[CharacteristicRequest],
    *,
    datum: DatumRequest | None = None,
    scope: str = "",
    kinds: Collection[str] | None = None,
) -> SimulationPlan:
    """The part of an evaluation that can be simulated, as `simulate_evaluation` runs it; ``kinds`` of features that the
    instrument measures (default all)."""
    requests, _ = by_criterion(characteristics, [row.request for row in found.features])
    rows = {row.request.name: row for row in found.features}
    skipped: dict[str, str] = {}
    asked: list[AskedCharacteristic] = []
    needed: dict[str, None] = {}
    groups: list[ProbedFeature] = []
    for request, measurement in zip(requests, found.measurements, strict=True):
        datums = datum.features if request.in_datum and datum is not None else ()
        reason = _why_not(request, measurement, rows, (*request.of, *datums), kinds)
        if reason is not None:
            skipped[request.name] = reason
            continue
        if request.characteristic == PROFILE:
            function, group = _profile(request, rows, found.points, datum, scope)
            groups.append(group)
            needed.update(dict.fromkeys(datums))
            asked.append(
                AskedCharacteristic(
                    request.name, request.characteristic, (group.name,), request.in_datum, None, function
                )
            )
            continue
        needed.update(dict.fromkeys((*request.of, *datums)))
        asked.append(
            AskedCharacteristic(request.name, request.characteristic, request.of, request.in_datum, request.at)
        )
    probed = (*(_probed(rows[name], scope) for name in needed), *groups)
    materials = {name: _geometry(rows[name]).material_side for name in needed}

    def frame(features: Mapping[str, Batch]) -> tuple[FloatArray, FloatArray]:
        assert datum is not None
        return motions(datum, features, materials)

    used = () if datum is None else datum.features
    return SimulationPlan(probed, tuple(asked), None if datum is None else frame, used, skipped)


def _why_not(
    request: CharacteristicRequest,
    measurement: Measurement,
    rows: Mapping[str, EvaluatedFeature],
    used: Sequence[str],
    kinds: Collection[str] | None,
) -> str | None:
    if measurement.measured is None:
        return "it was not evaluated"
    if request.characteristic not in FUNCTIONS and request.characteristic not in EXTREMES:
        return f"{request.characteristic} is not simulated"
    for name in used:
        row = rows[name]
        group = request.characteristic == PROFILE and name in request.of
        if not group and row.uncertain is None:
            return f"feature {name} has no fit"
        if kinds is not None and (group or row.request.kind not in kinds):
            what = "points without a fit" if group else f"a {row.request.kind}"
            return f"{name}, {what}, is nothing that this instrument measures (it takes {', '.join(kinds)})"
        if kinds is not None and row.request.kind == "line" and row.points.normals is None:
            return f"{name}: the side of an edge is known from the normals of its points, and the file has none"
    return None


def _profile(
    request: CharacteristicRequest,
    rows: Mapping[str, EvaluatedFeature],
    points: PointSet,
    datum: DatumRequest | None,
    scope: str,
) -> tuple[Any, ProbedFeature]:
    """A line profile as a function of displaced points, and the points it is measured by."""
    space = Workspace(points, rows, datum, None, None, scope, 0)
    function, normals = profile_in_trials(request, space)
    row = rows[request.of[0]]
    name = f"{request.name}: points of {request.of[0]}"
    where = f"{scope}/{row.request.selection.label or row.request.name}"
    return function, ProbedFeature(name, "points", row.points.xyz, normals, None, scope=where, view=_views(row))


def _views(row: EvaluatedFeature) -> NDArray[np.int64] | None:
    views = row.points.views
    return None if views is None else np.asarray(views, dtype=np.int64)


def _geometry(row: EvaluatedFeature) -> Any:
    assert row.uncertain is not None
    return row.uncertain.feature


def _probed(row: EvaluatedFeature, scope: str) -> ProbedFeature:
    """A feature as it was measured: its points, and the normals of its surface out of the material."""
    geometry, request = _geometry(row), row.request
    outward = -1.0 if geometry.material_side == "outside" else 1.0
    normals = outward * geometry.normals(row.points.xyz)
    if geometry.kind == "line" and row.points.normals is not None:
        normals = row.points.normals / np.linalg.norm(row.points.normals, axis=1)[:, None]  # a line has no side
    tip = compensating_tip(row)
    plane = _plane_axes(request)[:2] if "direction" in request.fixed else None
    start = row.fit.associated if row.fit.associated is not None else row.fit.feature
    if plane is None:
        hint = getattr(geometry, _HINTS.get(geometry.kind, "axis"), None)
        start = start if hint is None else start.with_material(None).oriented(hint)
    return ProbedFeature(
        request.name, request.kind, row.points.xyz, normals, start, request.criterion, request.material,
        -outward * tip, plane, f"{scope}/{request.selection.label or request.name}", row.form, _views(row),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _How:
    """What the measurements of one simulation share."""

    repeats: Repeats
    linear: LinearBudget | None
    labels: Mapping[str, str]
    instrument: str
    scope: str
    length_unit: str
    rule: DecisionRule
    notes: tuple[str, ...]

    def influence(self, name: str, key: str, label: str) -> Influence:
        return Influence(f"simulated/{self.instrument}/{self.scope}/{name}/{key}", label, "B")

    def words(self) -> str:
        repeats = self.repeats
        return f"by simulation of {self.instrument}, {int(repeats.good.sum())} repeats, seed {repeats.seed}"

    def native(self, measured: Measured) -> str:
        return self.length_unit if _is_length(measured) else "rad"

    def stated(self, old: Measurement, measured: Measured, method: str, bias: float) -> Measurement:
        """``old`` with a new uncertainty and the decision that follows from it; ``bias`` in the native unit."""
        assert old.measured is not None
        given = Measured.exact(bias, self.native(old.measured)).to(old.unit).value
        measured = measured.to(old.unit)
        decision = old.decision
        if old.tolerance is not None and decision is not None:
            decision = decide(measured, old.tolerance, self.rule, provisional=decision.provisional)
        details = {**old.details, "simulated_bias": given}
        return replace(old, measured=measured, decision=decision, method=method, details=details)


def _decided(measurement: Measurement, parts: dict[str, float], acting: Sequence[str], how: _How) -> Measurement:
    """The measurement with the simulated distribution, a budget by the causes ``acting``, and a new decision.

    Where surfaces were drawn, noise and form stay those of the evaluation, the trials are of the other causes.
    """
    repeats, linear, name = how.repeats, how.linear, measurement.name
    i = repeats.index(name)
    old = measurement.measured
    assert old is not None
    native = how.native(old)
    was = old.to(native)
    value, surfaces = was.value, name in repeats.drawn
    if linear is not None and name in linear.names:
        j = linear.names.index(name)
        parts = {key: parts[key] if key in parts else float(linear.of_cause(key)[j]) for key in acting}
    larger, near = repeats.at_bound(name)
    variance = float(repeats.error_u[i]) ** 2
    rows = {key: how.influence(name, key, how.labels[key]) for key in parts}
    contributions = {rows[key].id: part for key, part in parts.items()}
    rest = variance - sum(part**2 for part in parts.values())
    # the standard error of a variance of T trials is sqrt(2 / T): three of them are chance
    if rest > 3.0 * math.sqrt(2.0 / max(1, len(repeats))) * variance:
        label = (
            "what the linear law leaves out: bias and curvature, by simulation"
            if parts
            else (_OTHERS if surfaces else _ALL)
        )
        rows["nonlinear"] = how.influence(name, "nonlinear", label)
        contributions[rows["nonlinear"].id] = math.sqrt(rest)
    if larger > 1.0:
        rows["bound"] = how.influence(name, "bound", f"{name} lies near its bound: errors across the small vector")
        contributions[rows["bound"].id] = math.sqrt(variance * (larger**2 - 1.0))
    small = near <= 2.0 and repeats.base[i] < 0.5 * (repeats.tops[i] or math.inf)
    flags = _flags.merge(old.flags, how.notes, ["zone_not_resolved"] if small and _is_length(old) else [])
    drawn = repeats.samples(name, value)
    influences = {row.id: row for row in rows.values()}
    if surfaces:
        kept = {key: part for key, part in was.contributions.items() if key.startswith(("fit/", "noise/", "bound/"))}
        contributions = kept | contributions
        influences |= {key: was.influences[key] for key in kept}
    measured = Measured(value, native, contributions, influences, old.lower_bound, drawn, flags)
    method = f"{measurement.method}; uncertainty {how.words()}"
    if surfaces:
        method = with_simulation(measurement.method, measured, how.words())
    return how.stated(measurement, measured, method, float(repeats.bias[i]))


def _of_extremes(measurement: Measurement, steady: Repeats, causes: Sequence[str], how: _How) -> Measurement:
    """A form, profile or one-sided size: noise of points as the evaluation says, the other errors by simulation."""
    old, name = measurement.measured, measurement.name
    assert old is not None
    i = steady.index(name)
    label = f"errors of {how.instrument} but for the noise of single points, by simulation ({', '.join(causes)})"
    row = how.influence(name, "systematic", label)
    native = how.native(old)
    was = old.to(native)
    kept = {key: part for key, part in was.contributions.items() if key.startswith(("noise/", "surface/", "bound/"))}
    # a profile: the point errors of the datum features; a size: those of its contacts. The instrument's own are drawn
    if measurement.characteristic not in FORMS:
        kept |= {key: part for key, part in was.contributions.items() if key.startswith("fit/")}
    size = float(steady.u[i])
    influences = {key: was.influences[key] for key in kept} | {row.id: row}
    samples = None
    if was.samples is not None:  # drawn surfaces, and to each of them an error to either side
        e = steady.errors[:, i]
        own = was.samples[np.arange(len(e)) % len(was.samples)]
        samples = np.maximum(np.concatenate([own - e, own + e]), was.lower_bound or 0.0)
    flags = _flags.merge(old.flags, how.notes)
    measured = Measured(was.value, native, kept | {row.id: size}, influences, was.lower_bound, samples, flags)
    words = "noise as evaluated" if was.samples is None else "noise and form from the drawn surfaces"
    method = f"{measurement.method}; {words}, all other errors {how.words()}"
    return how.stated(measurement, measured, method, float(steady.bias[i]))


def _is_length(measured: Measured) -> bool:
    from metrology_core.units import unit

    return unit(measured.unit).dimension == "length"
