"""The self-test: every feature and criterion of `fit` against sets with exactly known answers.

What it finds is numerical error of the software, not measurement uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metrology_core.errors import AbbeError
from metrology_core.testing.answer import KnownAnswer
from metrology_core.testing.judge import errors_of
from metrology_core.testing.reference_sets import Case, Layout, cases, sets_of

STATEMENT = (
    "Numerical error of the software on generated data with known answers; not measurement uncertainty: "
    "that depends on the instrument and the part."
)
# Stated limits in the unit of the coordinates (mm, up to 500) and in rad.
LIMITS: dict[str, dict[str, float]] = {
    "least_squares": {"position": 1e-12, "direction": 1e-12, "size": 1e-12, "angle": 1e-12, "optimality": 1e-10},
    "zone": {
        "position": 1e-11, "direction": 1e-11, "size": 1e-11, "angle": 1e-11, "zone": 1e-12, "optimality": 1e-10,
    },
}  # fmt: skip
# Where the set itself amplifies rounding of its coordinates (1 ulp of the largest) beyond the stated limit, this many
# times the root-sum-square of that effect is allowed instead.
ROUNDINGS = 8.0
ZONE_ULPS = 4.0  # a zone may exceed the truth by this many ulps of the largest coordinate, never more
_ZONE_CRITERIA = (
    "minimum_zone", "minimum_zone_outside", "minimum_zone_inside", "maximum_inscribed", "minimum_circumscribed",
)  # fmt: skip


@dataclass
class Row:
    """Result of one case: worst error of each kind with the limit that it comes nearest to."""

    case: Case
    sets: int = 0
    worst: dict[str, tuple[float, float]] = field(default_factory=dict)  # name -> (error, limit) of the largest ratio
    failures: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Largest error over limit; infinite where a set failed outright."""
        if self.failures:
            return math.inf
        return max((error / limit for error, limit in self.worst.values()), default=0.0)

    @property
    def passed(self) -> bool:
        return self.sets > 0 and self.ratio <= 1.0

    def note(self, name: str, error: float, limit: float) -> None:
        """Keep the worst of a kind of error; a NaN is a failure."""
        if not error >= 0.0:
            self.failures.append(f"{name} is not a number")
            return
        old = self.worst.get(name)
        if old is None or error / limit > old[0] / old[1]:
            self.worst[name] = (error, limit)

    def to_dict(self) -> dict[str, Any]:
        return {
            "feature": self.case.feature,
            "dimension": self.case.dimension,
            "criterion": self.case.criterion,
            "fixed": list(self.case.fixed),
            "sets": self.sets,
            "passed": self.passed,
            "ratio": None if math.isinf(self.ratio) else self.ratio,
            "errors": {name: {"worst": error, "limit": limit} for name, (error, limit) in self.worst.items()},
            "failures": list(self.failures),
        }


@dataclass
class SelfTest:
    """All rows, and what they were made with."""

    level: str
    seed: int
    version: str
    rows: list[Row]

    @property
    def passed(self) -> bool:
        return bool(self.rows) and all(row.passed for row in self.rows)

    def by_criterion(self) -> dict[str, dict[str, Any]]:
        """Number of features and sets, worst ratio of error to limit (None: a set failed outright), per criterion."""
        result: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            entry = result.setdefault(row.case.criterion, {"features": set(), "sets": 0, "ratio": 0.0, "passed": True})
            entry["features"].add((row.case.feature, row.case.dimension))
            entry["sets"] += row.sets
            entry["ratio"] = max(entry["ratio"], row.ratio)
            entry["passed"] = entry["passed"] and row.passed
        for entry in result.values():
            entry["features"] = len(entry["features"])
            entry["ratio"] = None if math.isinf(entry["ratio"]) else entry["ratio"]
        return result

    def to_dict(self) -> dict[str, Any]:
        return {
            "statement": STATEMENT,
            "level": self.level,
            "seed": self.seed,
            "version": self.version,
            "passed": self.passed,
            "sets": sum(row.sets for row in self.rows),
            "criteria": self.by_criterion(),
            "rows": [row.to_dict() for row in self.rows],
        }


def limit_of(known: KnownAnswer, name: str) -> float:
    """The limit for one kind of error on one set: the stated one, or the effect of rounding of its points."""
    family = "zone" if known.criterion != "least_squares" else "least_squares"
    stated = LIMITS[family][name]
    if name == "optimality":  # relative: to the residuals, which rounding of the points is a part of
        lengths = [abs(v) for v in known.feature.parameters.values() if np.ndim(v) == 0]
        rounding = float(np.spacing(max([np.abs(known.points).max(), *lengths])))
        return stated if family == "zone" else max(stated, ROUNDINGS * rounding / known.value)
    own = 2.0 * known.resolution if name == "position" else 0.0  # a coordinate of the answer is rounded too
    if name == "size" and known.feature.kind == "cone":  # and with it the section whose radius is compared
        own = 2.0 * known.resolution * math.tan(float(known.feature.parameters["half_angle"]))
    return max(stated, own, ROUNDINGS * known.resolution * known.sensitivity.get(name, 0.0))


def judge_fit(known: KnownAnswer, found: Any, row: Row) -> None:
    """Add the errors of one fit to a row."""
    if found.status != "converged":
        row.failures.append(f"{len(known.points)} points: {found.status} ({', '.join(found.flags)})")
        return
    for name, error in errors_of(known, found.feature).items():
        row.note(name, error, limit_of(known, name))
    if known.criterion in _ZONE_CRITERIA and known.criterion.startswith("minimum_zone"):
        row.note("zone", abs(found.form - known.value), limit_of(known, "zone"))
        excess = found.form - known.value
        if excess > ZONE_ULPS * known.resolution * max(1.0, known.sensitivity["zone"]):
            row.failures.append(f"{len(known.points)} points: zone larger than the known one by {excess:.1e}")
    residual = found.optimality.get("residual", found.optimality.get("gradient"))
    if residual is not None:
        row.note("optimality", float(residual), limit_of(known, "optimality"))


def named_sets(*, full: bool, seed: int) -> Iterator[tuple[str, KnownAnswer]]:
    """All sets of a level with file names, for export. Rows without a generator are left out."""
    for case in cases():
        held = "".join(f"_known_{name}" for name in case.fixed)
        stem = f"{case.feature}_{case.dimension}d_{case.criterion}{held}"
        try:
            for number, (_, known) in enumerate(sets_of(case, full=full, seed=seed), start=1):
                yield f"{stem}_{number:02d}", known
        except AbbeError:
            continue


def rows_of(*, full: bool, seed: int, fit: Callable[..., Any] | None = None) -> Iterator[Row]:
    """Run the cases one by one. fit: another function with the arguments of `metrology_core.fit`, to judge it."""
    from metrology_core.fitting import fit as own

    judged = own if fit is None else fit
    for case in cases():
        row = Row(case)
        try:
            for layout, known in sets_of(case, full=full, seed=seed):
                row.sets += 1
                _run(judged, case, layout, known, row)
        except AbbeError as error:
            row.failures.append(f"no reference set: {error}")
        yield row


def _run(fit: Callable[..., Any], case: Case, layout: Layout, known: KnownAnswer, row: Row) -> None:
    try:
        found = fit(known.points, case.feature, **known.arguments())
    except Exception as error:  # noqa: BLE001 - a self-test reports what it finds, it does not die of it
        row.failures.append(f"{layout.n} points: {type(error).__name__}: {error}")
        return
    judge_fit(known, found, row)


def run_selftest(
    level: str = "quick",
    *,
    seed: int = 1,
    progress: Callable[[Row, int, int], None] | None = None,
) -> SelfTest:
    """Run the sets of a level (``quick``: two per row; ``full``: more, with stress cases) through the public `fit`.

    progress: called with every row when it is done, its number and the number of rows.
    """
    from metrology_core._version import __version__

    total = len(cases())
    rows = []
    for row in rows_of(full=level == "full", seed=seed):
        rows.append(row)
        if progress is not None:
            progress(row, len(rows), total)
    return SelfTest(level, seed, __version__, rows)
