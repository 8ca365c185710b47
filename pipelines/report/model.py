"""What the pages show, gathered from a run folder: plan, outcomes and committed records; nothing else.

No measured value, uncertainty or verdict is made here. The only arithmetic is on recorded values: counts, extremes,
mean and standard deviation of a lot, its variance components (`pipelines.lots`), the share of a tolerance that a value
uses, sums of small budget rows; the maps add directions for shading. A record that is missing or unreadable makes its
part's row say so.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from metrology_core.errors import AbbeError
from pipelines.lots import PlacedValue, frame_of, placed, source_of
from pipelines.report.encode import clean, page_names
from pipelines.report.svg import LotPoint, Zone

if TYPE_CHECKING:
    from wafer.maps.frame import WaferFrame

OUTCOMES = ("measured", "measured_with_flags", "unusable_data", "algorithm_failed", "crashed", "not_run")
VERDICTS = ("nonconforming", "indeterminate", "conforming", "none")
MEASURED = ("measured", "measured_with_flags")
PROVISIONAL = (
    "calibration_expired",
    "repeatability_only",
    "defects_without_limit",
    "pixel_size_conflict",
    "repeatability_missing",
    "sites_off_wafer",
    "file_cut",
    "provisional_verdict",  # where no cause is named
)
FAILED = ("crashed", "algorithm_failed", "unusable_data")


class RunLike(Protocol):
    """The part of ``pipelines.store.RunFolder`` that a report reads."""

    def plan(self) -> Any: ...

    def outcomes(self) -> Sequence[Any]: ...

    def read_record(self, task_id: str) -> Any: ...


def tolerance_share(
    value: float | None, nominal: float | None, lower: float | None, upper: float | None
) -> float | None:
    """Share of the tolerance that a value uses: 1 at a limit. None where the limits define no share.

    Two limits: distance from the nominal (or from the middle, if there is none between them) over the room on that
    side. An upper limit alone: value over limit. A lower limit alone has a share only with a nominal above it, or below
    zero (a deviation: value over limit); without one there is no room to use up (see `urgency`).
    """
    if value is None:
        return None
    if lower is not None and upper is not None:
        if not upper > lower:
            return None
        if lower == 0.0 and nominal is None:  # a form or position tolerance written with its physical bound
            return value / upper
        centre = nominal if nominal is not None and lower < nominal < upper else 0.5 * (lower + upper)
        room = upper - centre if value >= centre else centre - lower
        return abs(value - centre) / room
    if upper is not None:
        room = upper - nominal if nominal is not None and upper > nominal else upper
        base = nominal if nominal is not None and upper > nominal else 0.0
        return (value - base) / room if room > 0.0 else None
    if lower is not None and nominal is not None and nominal > lower:
        return max(0.0, (nominal - value) / (nominal - lower))
    if lower is not None and nominal is None and lower < 0.0:
        return max(0.0, value / lower)
    return None


def measurement_share(row: Mapping[str, Any]) -> float | None:
    """`tolerance_share` of a recorded measurement."""
    limits = row.get("tolerance") or {}
    return tolerance_share(row.get("value"), row.get("nominal"), limits.get("lower"), limits.get("upper"))


def urgency(row: Mapping[str, Any]) -> float | None:
    """What orders characteristics: the share of the tolerance; where there is none, the nearness to the limit.

    Nearness is 1 at the limit, 1 / (1 + d) at d expanded uncertainties inside, 1 + d outside; without U, twice the
    probability of nonconformity. None where neither is known.
    """
    share = measurement_share(row)
    value = row.get("value")
    if share is not None or value is None:
        return share
    limits = row.get("tolerance") or {}
    room = [value - limits["lower"]] if limits.get("lower") is not None else []
    room += [limits["upper"] - value] if limits.get("upper") is not None else []
    expanded = row.get("U")
    if room and expanded:
        distance = float(min(room) / expanded)
        return 1.0 / (1.0 + distance) if distance >= 0.0 else 1.0 - distance
    probability = (row.get("decision") or {}).get("conformity_probability")
    return None if probability is None else 2.0 * (1.0 - float(probability))


def verdict_of(row: Mapping[str, Any]) -> str:
    """Recorded verdict of a measurement, ``none`` without a decision."""
    decision = row.get("decision")
    return str(decision["verdict"]) if decision else "none"


def worst_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Measurements by verdict, not evaluated ones after the nonconforming, then by `urgency`."""

    def key(row: Mapping[str, Any]) -> tuple[int, float]:
        verdict = verdict_of(row)
        rank = {"nonconforming": 0, "indeterminate": 2, "conforming": 3}.get(verdict, 4)
        if row.get("value") is None:
            rank = 1
        near = urgency(row)
        return rank, -(near if near is not None else -1.0)

    return sorted(rows, key=key)


def zone_of(row: Mapping[str, Any]) -> Zone:
    """Limits and acceptance limits of a recorded measurement."""
    limits = row.get("tolerance") or {}
    decision = row.get("decision") or {}
    lower, upper = limits.get("lower"), limits.get("upper")
    if lower == 0.0 and decision.get("acceptance_lower") == 0.0 and row.get("nominal") is None:
        lower = None  # the physical bound of a form deviation is no limit of the drawing
    return Zone(lower, upper, decision.get("acceptance_lower"), decision.get("acceptance_upper"), row.get("nominal"))


@dataclass
class PartRow:
    """One task of the plan, as the index lists it."""

    order: int
    task_id: str
    part: str
    page: str
    outcome: str
    verdict: str
    flags: tuple[str, ...]
    reason: Mapping[str, Any] | None
    attempts: int
    inputs: list[dict[str, Any]] = field(default_factory=list)
    same_name: bool = False
    has_record: bool = False
    provisional: bool = False
    worst: Mapping[str, Any] | None = None
    worst_share: float | None = None
    worst_urgency: float | None = None
    n_decided: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def is_partial(self) -> bool:
        """Measured, but not everything that was planned: some characteristic has no value or no decision."""
        return self.outcome in MEASURED and (bool(self.missing) or "partial_result" in self.flags)

    @property
    def shown_verdict(self) -> str:
        """The recorded verdict; none for a part not measured, or conforming only in what could be evaluated."""
        if self.outcome not in MEASURED or (self.is_partial and self.verdict == "conforming"):
            return "none"
        return self.verdict

    @property
    def has_page(self) -> bool:
        """Whether there is anything to show beyond the row itself."""
        return self.outcome != "not_run"

    @property
    def severity(self) -> tuple[int, float, int]:
        """Sort key, worst first: nonconforming, failed, indeterminate, partly measured, the rest, not run."""
        if self.verdict == "nonconforming":
            rank = 0
        elif self.outcome in FAILED:
            rank = 1 + FAILED.index(self.outcome)
        elif self.outcome == "not_run":
            rank = 8
        elif self.verdict == "indeterminate":
            rank = 4
        else:
            rank = {"none": 6, "conforming": 7}.get(self.verdict, 6) if not self.is_partial else 5
        near = self.worst_urgency if self.worst_urgency is not None else self.worst_share
        return rank, -(near if near is not None else -1.0), self.order


@dataclass
class LotRow:
    """One characteristic over the lot."""

    name: str
    characteristic: str
    title: str
    unit: str
    zone: Zone
    nominal: float | None
    points: list[LotPoint] = field(default_factory=list)
    uncertainties: list[float] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    worst_urgency: float | None = None
    mixed_limits: bool = False
    placed: list[PlacedValue] = field(default_factory=list)

    def statistics(self) -> dict[str, float | None]:
        """n, mean, standard deviation (n - 1), extremes of the recorded values."""
        values = [p.value for p in self.points]
        if not values:
            return {"mean": None, "s": None, "min": None, "max": None}
        return {
            "mean": statistics.fmean(values),
            "s": statistics.stdev(values) if len(values) > 1 else None,
            "min": min(values),
            "max": max(values),
        }


@dataclass
class RunModel:
    """Everything the index shows, and the order in which parts are read."""

    title: str
    kind: str
    recipe_sha256: str
    version: str
    seed: int | None
    rows: list[PartRow]
    lots: list[LotRow]
    rules: list[str]
    instruments: list[Mapping[str, Any]]
    acquisition: dict[str, Any]
    outcome_counts: Counter[str]
    verdict_counts: Counter[str]
    n_provisional: int
    flag_counts: Counter[str]
    provisional_causes: Counter[str] = field(default_factory=Counter)
    selftest: Mapping[str, Any] | None = None
    frame: WaferFrame | None = None

    @property
    def n_unmeasured(self) -> int:
        """Planned parts without a measurement, those not run included."""
        return self.total - sum(self.outcome_counts[name] for name in MEASURED)

    @property
    def partial(self) -> list[PartRow]:
        """Parts that were measured only in part."""
        return [row for row in self.rows if row.is_partial]

    @property
    def total(self) -> int:
        return len(self.rows)

    @property
    def worst_first(self) -> list[PartRow]:
        return sorted(self.rows, key=lambda row: row.severity)


def _reason(value: Any) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    return {"code": "", "message": str(value), "where": None, "remedy": None}


def _document(run: RunLike, task_id: str) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The document of a committed record, or why there is none that can be read."""
    try:
        return run.read_record(task_id).document, None
    except (AbbeError, OSError, KeyError, ValueError) as error:
        if isinstance(error, AbbeError):
            return None, error.to_dict()
        return None, {"code": type(error).__name__, "message": str(error), "where": None, "remedy": None}


def gather(run: RunLike) -> RunModel:
    """Read plan, outcomes and documents once; arrays are left to the part pages."""
    plan = run.plan()
    outcomes = list(run.outcomes())
    names = page_names([(o.task_id, str(o.part)) for o in outcomes])
    tasks = {task.id: task for task in plan.tasks}
    repeated = {part for part, count in Counter(str(o.part) for o in outcomes).items() if count > 1}
    rows: list[PartRow] = []
    lots: dict[tuple[str, str, str], LotRow] = {}
    rules: dict[str, None] = {}
    instruments: dict[str, Mapping[str, Any]] = {}
    common: dict[str, Any] | None = None
    kind = ""
    flags: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    planned = _planned(plan.recipe)
    frame = frame_of(plan.recipe)
    for order, outcome in enumerate(outcomes):
        row = PartRow(
            order=order,
            task_id=outcome.task_id,
            part=clean(outcome.part).strip() or outcome.task_id[:12],
            page=names[outcome.task_id],
            outcome=str(outcome.outcome),
            verdict=str(outcome.verdict or "none"),
            flags=tuple(outcome.flags or ()),
            reason=_reason(outcome.reason),
            attempts=int(outcome.attempts or 0),
            inputs=[ref.to_dict() for ref in tasks[outcome.task_id].inputs] if outcome.task_id in tasks else [],
            same_name=str(outcome.part) in repeated,
        )
        rows.append(row)
        flags.update(row.flags)
        if row.outcome in ("not_run", "crashed"):  # neither commits a record
            continue
        document, problem = _document(run, outcome.task_id)
        if document is None:
            row.reason = row.reason or problem
            continue
        row.has_record = True
        kind = kind or str(document.get("kind") or "")
        instrument = document.get("instrument")
        if instrument:
            instruments.setdefault(str(instrument.get("id", "")), instrument)
        acquisition = dict(document.get("acquisition") or {})
        common = acquisition if common is None else {k: v for k, v in common.items() if acquisition.get(k) == v}
        measurements = document.get("measurements", ())
        task = tasks.get(outcome.task_id)
        source = "" if task is None else source_of(task.inputs, task.item)
        _add_measurements(row, measurements, lots, rules, acquisition, frame, source)
        row.missing = _missing(measurements, planned)
        causes.update(_provisional_causes(row))
    _without_value(rows, tasks, lots, frame)
    return RunModel(
        title=clean(plan.recipe_name),
        kind=kind,
        recipe_sha256=str(plan.recipe_sha256),
        version=str(plan.version),
        seed=plan.seed,
        rows=rows,
        lots=sorted(lots.values(), key=_lot_severity),
        rules=list(rules),
        instruments=list(instruments.values()),
        acquisition=common or {},
        outcome_counts=Counter(r.outcome for r in rows),
        verdict_counts=Counter(r.shown_verdict for r in rows),
        n_provisional=sum(r.provisional for r in rows),
        flag_counts=flags,
        provisional_causes=causes,
        selftest=run.selftest() if hasattr(run, "selftest") else None,
        frame=frame,
    )


def _without_value(
    rows: Sequence[PartRow], tasks: Mapping[str, Any], lots: Mapping[Any, LotRow], frame: WaferFrame | None
) -> None:
    """Sites of parts that gave nothing: a map must not look whole where an image could not be used."""
    if frame is None:
        return
    for lot in lots.values():
        known = {value.task for value in lot.placed}
        for row in rows:
            if row.task_id not in known and row.task_id in tasks:
                lot.placed.append(placed(row.task_id, row.part, tasks[row.task_id].acquisition, {}, frame))


def _planned(recipe: Any) -> list[str]:
    """Names of the characteristics that the recipe of the plan asks for."""
    measure = recipe.get("measure") if isinstance(recipe, Mapping) else None
    rows = measure.get("characteristics") if isinstance(measure, Mapping) else None
    return [str(row["name"]) for row in rows or () if isinstance(row, Mapping) and row.get("name")]


def _missing(measurements: Sequence[Mapping[str, Any]], planned: Sequence[str]) -> list[str]:
    """Characteristics without a value, with a tolerance and no decision, or planned and not in the record at all."""
    without = [
        str(m.get("name"))
        for m in measurements
        if m.get("value") is None or (m.get("tolerance") and not m.get("decision"))
    ]
    names = {str(m.get("name")) for m in measurements}
    return [clean(name) for name in dict.fromkeys([*without, *(name for name in planned if name not in names)])]


def _provisional_causes(row: PartRow) -> tuple[str, ...]:
    """Why the verdicts of a part are provisional: the named causes, else that its uncertainty is incomplete."""
    if not row.n_decided or not (row.provisional or set(PROVISIONAL) & set(row.flags)):
        return ()
    named = tuple(name for name in PROVISIONAL[:-1] if name in row.flags)
    return named or PROVISIONAL[-1:]


def _add_measurements(
    row: PartRow,
    measurements: Sequence[Mapping[str, Any]],
    lots: dict[tuple[str, str, str], LotRow],
    rules: dict[str, None],
    acquisition: Mapping[str, Any] | None = None,
    frame: WaferFrame | None = None,
    source: str = "",
) -> None:
    for m in measurements:
        zone = zone_of(m)
        key = (str(m.get("name")), str(m.get("characteristic")), str(m.get("unit")))
        lot = lots.get(key)
        if lot is None:
            title = str(m.get("title") or "")
            lot = lots[key] = LotRow(key[0], key[1], title, key[2], zone, m.get("nominal"))
        if (lot.zone.lower, lot.zone.upper, lot.nominal) != (zone.lower, zone.upper, m.get("nominal")):
            lot.mixed_limits = True
        lot.zone = _widest_guard(lot.zone, zone)
        verdict = verdict_of(m)
        lot.verdicts[verdict] += 1
        decision = m.get("decision")
        if decision:
            rules.setdefault(str(decision["rule"]))
            row.provisional |= bool(decision.get("provisional"))
            row.n_decided += 1
        lot.placed.append(placed(row.task_id, row.part, acquisition or {}, m, frame, source=source))
        if m.get("value") is None:
            lot.missing += 1
            continue
        lot.points.append(LotPoint(row.order, float(m["value"]), verdict, row.part))
        if m.get("u"):
            lot.uncertainties.append(float(m["u"]))
        near = urgency(m)
        if near is not None and (lot.worst_urgency is None or near > lot.worst_urgency):
            lot.worst_urgency = near
    ordered = worst_first(measurements)
    if ordered:
        row.worst = ordered[0]
        row.worst_share = measurement_share(ordered[0])
        row.worst_urgency = urgency(ordered[0])


def _widest_guard(a: Zone, b: Zone) -> Zone:
    """The zone of a lot chart: guard bands as wide as the widest of any part."""

    def pick(x: float | None, y: float | None, inner: Any) -> float | None:
        return y if x is None else x if y is None else inner(x, y)

    return Zone(
        a.lower,
        a.upper,
        pick(a.accept_lower, b.accept_lower, max),
        pick(a.accept_upper, b.accept_upper, min),
        a.nominal,
    )


def _lot_severity(lot: LotRow) -> tuple[int, int, float]:
    return -lot.verdicts["nonconforming"], -lot.verdicts["indeterminate"], -(lot.worst_urgency or -1.0)


def chunks(rows: Sequence[PartRow], size: int) -> Iterator[Sequence[PartRow]]:
    """Consecutive groups of rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
