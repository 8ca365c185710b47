"""An evaluation simulated: the features and characteristics of `pointcloud.evaluate.entry` under a virtual instrument.

From an `Evaluation` to the joint distribution of all its characteristics, their budget by cause, and decisions that
rest on them. The datum features are fitted anew in every trial, so alignment is never forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core import flags as _flags
from metrology_core.conformity import DecisionRule, decide
from metrology_core.errors import ParameterError
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
    repeat_measurement,
)
from pointcloud.datums_batch import motions
from pointcloud.evaluate.features import _plane_axes, compensating_tip
from pointcloud.evaluate.machine_types import NOT_A_CMM
from pointcloud.evaluate.types import CharacteristicRequest, DatumRequest, EvaluatedFeature, Evaluation
from pointcloud.evaluate.uncertainty import design
from pointcloud.evaluate.zone import by_criterion

FloatArray = NDArray[np.float64]
# simulated intervals of forms near the noise held the truth in 83 to 92 % (benchmarks.accuracy.demo_coverage)
_OWN = "a form deviation keeps its own bound for what noise adds; its errors are in the repeats"
_ALL = "all errors of the instrument, by simulation (a form or zone has no linear law)"
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
    other parts get other noise. Characteristics of points against a curve, of points without a fit, those that were
    not evaluated, and form deviations (whose errors are in ``repeats`` all the same) are left as they are and named in
    ``skipped``. A decision on a simulated characteristic uses its
    distribution. Raises what `repeat_measurement` raises.
    """
    plan = plan_simulation(found, characteristics, datum=datum, scope=scope)
    if not plan.characteristics:
        return Simulated(None, None, found.measurements, plan.skipped)
    skipped = dict(plan.skipped)
    skipped |= {row.name: _OWN for row in plan.characteristics if row.characteristic in FORMS}
    repeats = plan.repeat(instrument, trials=trials, seed=seed)
    if not repeats.good.any():
        raise ParameterError("no simulated repeat could be evaluated", remedy="check the instrument against the points")
    linear = plan.linear(instrument, points=False)
    labels = {cause.key: cause.label for cause in causes_of(instrument, plan.features)}
    # what acts on single points, by the same draws: a step for each of thousands of points would cost more
    known = set() if linear is None else set(linear.cause)
    alone = {
        key: plan.repeat(instrument, trials=min(trials, _ALONE), seed=seed, only=[key]).u
        for key in labels
        if key not in known and linear is not None
    }
    out = []
    exact = isinstance(instrument, VirtualCMM) and not instrument.tip_u
    for measurement in found.measurements:
        if measurement.name in skipped:
            out.append(measurement)
            continue
        smooth = linear is not None and measurement.name in linear.names
        parts = {key: float(u[repeats.index(measurement.name)]) for key, u in alone.items() if smooth}
        notes = ["tip_taken_as_exact"] if exact and measurement.characteristic.startswith(_TOUCHED) else []
        unit = found.points.unit
        out.append(_decided(measurement, repeats, linear, parts, labels, instrument.id, scope, unit, rule, notes))
    return Simulated(repeats, linear, tuple(out), skipped)


@dataclass(frozen=True, eq=False)
class SimulationPlan:
    """What is simulated: the arguments of `metrology_core.virtual.repeat_measurement`, and what is left out."""

    features: tuple[ProbedFeature, ...]
    characteristics: tuple[AskedCharacteristic, ...]
    datum: Datum | None
    datum_features: tuple[str, ...]
    skipped: Mapping[str, str]

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
            if row.characteristic not in FORMS
            and all(criteria[name] == "least_squares" for name in (*row.of, *(datums if row.in_datum else ())))
        ]
        if not smooth:
            return None
        used = {name for row in smooth for name in (*row.of, *(datums if row.in_datum else ()))}
        features = [f for f in self.features if f.name in used]
        where = self.datum if any(row.in_datum for row in smooth) else None
        return linear_measurement(instrument, features, smooth, datum=where, points=points)


def _calmed(feature: ProbedFeature, instrument: PointInstrument) -> ProbedFeature:
    """The feature with its residuals scaled by ``sqrt(1 - v / s^2)``: v is the mean square residual that the errors of
    the instrument make after the fit, s^2 that of the points. Nothing is left where the errors explain all."""
    start: Any = feature.start
    xyz, along = feature.points, feature.normals
    if feature.plane is not None:
        u, v = feature.plane
        flat = np.stack([xyz @ u, xyz @ v], axis=1)
        distance = start.distance(flat)
        outer = start.normals(flat) @ np.stack([u, v])
        columns = design(start, flat, float(np.ptp(flat, axis=0).max()))[0]
    else:
        distance, outer = start.distance(xyz), start.normals(xyz)
        columns = design(start, xyz, float(np.ptp(xyz, axis=0).max()))[0]
    basis, _ = np.linalg.qr(columns / np.linalg.norm(columns, axis=0))

    def left(rows: FloatArray) -> FloatArray:
        # einsum, not BLAS: its threads would enter the last digits
        return np.asarray(rows - np.einsum("dp,np->dn", np.einsum("dn,np->dp", rows, basis), basis))

    residual = left(distance[None])[0]
    modes = instrument.modes(xyz, along, scope=feature.points_id)
    made = left(np.einsum("dnk,nk->dn", modes.fields, outer))
    noise = np.einsum("nk,nk->n", modes.noise, outer) ** 2
    share = 1.0 - np.einsum("np,np->n", basis, basis)  # of each point's own noise that a fit leaves
    added = float(np.mean(np.einsum("dn,dn->n", made, made) + share * noise))
    found = float(np.mean(residual**2))
    keep = math.sqrt(max(0.0, 1.0 - added / found)) if found > 0.0 else 0.0
    return replace(feature, points=xyz - ((1.0 - keep) * residual)[:, None] * outer, form=0.0)


def _joined(runs: Sequence[Repeats], names: Sequence[str]) -> Repeats:
    """Runs of the same trials as one, characteristics in the order of ``names``."""
    places = {name: (run, i) for run in runs for i, name in enumerate(run.names)}
    rows = [places[name] for name in names]
    return Repeats(
        tuple(names), np.array([run.base[i] for run, i in rows]),
        np.stack([run.values[:, i] for run, i in rows], axis=1),
        np.logical_and.reduce([run.good for run in runs]), runs[0].seed,
        tuple(sorted({key for run in runs for key in run.causes})), tuple(run.bounds[i] for run, i in rows),
    )  # fmt: skip


def plan_simulation(
    found: Evaluation,
    characteristics: Sequence[CharacteristicRequest],
    *,
    datum: DatumRequest | None = None,
    scope: str = "",
) -> SimulationPlan:
    """The part of an evaluation that can be simulated, as `simulate_evaluation` runs it."""
    requests, _ = by_criterion(characteristics, [row.request for row in found.features])
    rows = {row.request.name: row for row in found.features}
    skipped: dict[str, str] = {}
    asked: list[AskedCharacteristic] = []
    needed: dict[str, None] = {}
    for request, measurement in zip(requests, found.measurements, strict=True):
        reason = _why_not(request, measurement, rows)
        if reason is not None:
            skipped[request.name] = reason
            continue
        datums = datum.features if request.in_datum and datum is not None else ()
        needed.update(dict.fromkeys((*request.of, *datums)))
        asked.append(
            AskedCharacteristic(request.name, request.characteristic, request.of, request.in_datum, request.at)
        )
    probed = tuple(_probed(rows[name], scope) for name in needed)
    materials = {name: _geometry(rows[name]).material_side for name in needed}

    def frame(features: Mapping[str, Batch]) -> tuple[FloatArray, FloatArray]:
        assert datum is not None
        return motions(datum, features, materials)

    used = () if datum is None else datum.features
    return SimulationPlan(probed, tuple(asked), None if datum is None else frame, used, skipped)


def _why_not(
    request: CharacteristicRequest, measurement: Measurement, rows: Mapping[str, EvaluatedFeature]
) -> str | None:
    if measurement.measured is None:
        return "it was not evaluated"
    if request.characteristic not in FUNCTIONS and request.characteristic not in FORMS:
        return "a characteristic of points against a nominal is not simulated"
    if request.characteristic in FORMS and rows[request.of[0]].request.kind == "line":
        return "the straightness of a line in space is not simulated"
    for name in request.of:
        if rows[name].uncertain is None:
            return f"feature {name} has no fit"
    return None


def _geometry(row: EvaluatedFeature) -> Any:
    assert row.uncertain is not None
    return row.uncertain.feature


def _probed(row: EvaluatedFeature, scope: str) -> ProbedFeature:
    """A feature as it was measured: its points, and the normals of its surface out of the material."""
    geometry, request = _geometry(row), row.request
    outward = -1.0 if geometry.material_side == "outside" else 1.0
    normals = outward * geometry.normals(row.points.xyz)
    tip = compensating_tip(row)
    plane = _plane_axes(request)[:2] if "direction" in request.fixed else None
    start = row.fit.associated if row.fit.associated is not None else row.fit.feature
    if plane is None:
        hint = getattr(geometry, _HINTS.get(geometry.kind, "axis"), None)
        start = start if hint is None else start.with_material(None).oriented(hint)
    return ProbedFeature(
        request.name, request.kind, row.points.xyz, normals, start, request.criterion, request.material,
        -outward * tip, plane, f"{scope}/{request.selection.label or request.name}", row.form,
    )  # fmt: skip


def _decided(
    measurement: Measurement,
    repeats: Repeats,
    linear: LinearBudget | None,
    parts: dict[str, float],
    labels: Mapping[str, str],
    instrument: str,
    scope: str,
    length_unit: str,
    rule: DecisionRule | None,
    notes: Sequence[str],
) -> Measurement:
    """The measurement with the simulated distribution, a budget by cause, and the decision that follows."""
    i = repeats.index(measurement.name)
    old = measurement.measured
    assert old is not None
    native = length_unit if _is_length(old) else "rad"
    value = old.to(native).value
    if linear is not None and measurement.name in linear.names:
        j = linear.names.index(measurement.name)
        parts = {key: parts[key] if key in parts else float(linear.of_cause(key)[j]) for key in labels}
    rest = float(repeats.u[i]) ** 2 - sum(part**2 for part in parts.values())
    influences = {}
    contributions = {}
    for key, part in parts.items():
        row = Influence(f"simulated/{instrument}/{scope}/{measurement.name}/{key}", labels[key], "B")
        influences[row.id], contributions[row.id] = row, part
    # the standard error of a variance of T trials is sqrt(2 / T): three of them are chance
    if rest > 3.0 * math.sqrt(2.0 / max(1, len(repeats))) * float(repeats.u[i]) ** 2:
        label = "what the linear law leaves out: bias and curvature, by simulation" if parts else _ALL
        row = Influence(f"simulated/{instrument}/{scope}/{measurement.name}/nonlinear", label, "B")
        influences[row.id], contributions[row.id] = row, math.sqrt(rest)
    drawn = repeats.samples(measurement.name, value)
    flags = _flags.merge(old.flags, notes, [] if repeats.good.all() else ["simulated_repeats_lost"])
    measured = Measured(value, native, contributions, influences, old.lower_bound, drawn, flags).to(measurement.unit)
    decision = measurement.decision
    if measurement.tolerance is not None and decision is not None:
        decision = decide(
            measured, measurement.tolerance, rule or DecisionRule.iso14253(), provisional=decision.provisional
        )
    words = f"uncertainty by simulation of {instrument}, {int(repeats.good.sum())} repeats, seed {repeats.seed}"
    bias = Measured.exact(float(repeats.bias[i]), native).to(measurement.unit).value
    return replace(
        measurement,
        measured=measured,
        decision=decision,
        method=f"{measurement.method}; {words}",
        details={**measurement.details, "simulated_bias": bias},
    )


def _is_length(measured: Measured) -> bool:
    from metrology_core.units import unit

    return unit(measured.unit).dimension == "length"
