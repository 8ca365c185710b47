"""What a QIF 3.0 (ISO 23952) results file says, as typed data. Values keep the file's numbers and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from metrology_core.data import Frame, PointSet, ProbeTip
from metrology_core.errors import ParameterError
from metrology_core.provenance import Source


@dataclass(frozen=True)
class QifUnits:
    """Primary units of the file; ``factor`` is the file's own factor to the metre and to the radian."""

    linear: str
    angular: str
    linear_factor: float
    angular_factor: float


@dataclass(frozen=True)
class QifReference:
    """Points a feature was made from: a set and, counted from 1 and inclusive, a stretch of it (None: all of it).

    ``found`` is False where the file holds no such set.
    """

    set_id: str
    start: int | None = None
    stop: int | None = None
    found: bool = True


@dataclass(frozen=True)
class QifFeature:
    """One feature: definition, nominal, item and measurement joined.

    ``kind`` is circle, cylinder, plane, line, point, ...; ``nominal`` and ``measured`` map names (location, normal,
    direction, axis_point, axis, diameter, ...) to numbers or (3,) tuples in the file's unit. ``side`` is internal
    (a hole), external (a shaft), or None. ``determination`` is measured, constructed, ... or None.
    """

    name: str
    kind: str
    item_id: str
    nominal: Mapping[str, float | tuple[float, ...]]
    measured: Mapping[str, float | tuple[float, ...]] | None
    side: str | None
    determination: str | None
    references: tuple[QifReference, ...] = ()
    measurement_id: str | None = None


@dataclass(frozen=True, eq=False)
class QifPointSet:
    """A measured point set: (n, 3) float64, read-only. ``compensated`` is None where the file does not say.

    ``owner`` is the feature that refers to the set, None where no feature or more than one does.
    """

    id: str
    xyz: np.ndarray = field(repr=False)
    compensated: bool | None
    probe_radius: float | None
    owner: str | None
    line: int

    @property
    def points_are(self) -> str:
        """``surface``, ``ball_centre`` or ``unknown``."""
        return {True: "surface", False: "ball_centre", None: "unknown"}[self.compensated]


@dataclass(frozen=True)
class QifResult:
    """One answer of the measuring program: value in the unit of its characteristic, and PASS, FAIL, ... ."""

    value: float | None
    status: str | None
    features: tuple[str, ...]
    measurement_id: str


@dataclass(frozen=True)
class QifCharacteristic:
    """A characteristic item with its definition, nominal and the file's own answers.

    ``kind`` is the QIF name without "Characteristic" (Diameter, Position, Flatness, ...). ``nominal`` is the target;
    ``lower`` and ``upper`` are limits of the value in ``unit``. A geometrical tolerance has lower 0 and upper the
    zone's width (``zone``); a point profile is a signed deviation, so its limits are -zone/2 and +zone/2.
    ``details`` holds what else was said (direction, material_condition, zone_shape, datum_reference_frame, ...).
    """

    name: str
    kind: str
    item_id: str
    unit: str
    nominal: float | None
    lower: float | None
    upper: float | None
    zone: float | None
    features: tuple[str, ...]
    results: tuple[QifResult, ...]
    details: Mapping[str, str]

    @property
    def measured(self) -> float | None:
        """The first answer of the file."""
        return self.results[0].value if self.results else None

    @property
    def status(self) -> str | None:
        """Status of the first answer."""
        return self.results[0].status if self.results else None


@dataclass(frozen=True, eq=False)
class QifDocument:
    """A QIF file. ``notes`` says in words what is odd about it; ``flags`` are the registered names of that."""

    source: Source
    version: str
    units: QifUnits
    features: tuple[QifFeature, ...]
    point_sets: tuple[QifPointSet, ...]
    characteristics: tuple[QifCharacteristic, ...]
    flags: tuple[str, ...]
    notes: tuple[str, ...]

    def feature(self, name: str) -> QifFeature:
        """The feature of this name; raises `ParameterError` with the known names."""
        return self._one(self.features, name, "feature")

    def characteristic(self, name: str) -> QifCharacteristic:
        """The characteristic of this name; raises `ParameterError` with the known names."""
        return self._one(self.characteristics, name, "characteristic")

    @staticmethod
    def _one(rows: tuple, name: str, what: str):  # type: ignore[no-untyped-def, type-arg]
        found = [row for row in rows if row.name == name]
        if len(found) != 1:
            raise ParameterError(
                f"the file has {len(found)} {what}s named {name!r}",
                expected=", ".join(dict.fromkeys(row.name for row in rows)),
                remedy="check the spelling",
            )
        return found[0]

    def label(self, point_set: QifPointSet) -> str:
        """Label of a set's points: its feature, else ``set <id>``."""
        return point_set.owner or f"set {point_set.id}"

    def points(self, *, frame: Frame | str = "file", tip: ProbeTip | None = None) -> PointSet:
        """All point sets in the order of the file, labelled by feature.

        Every point of a set carries its feature's name, also where the feature claims a stretch of the set only (flag
        ``point_range_not_applied``); `point_set` can apply the stretch. Raises `ReaderError` where sets differ in
        compensation or tip radius, for one PointSet has one of each.
        """
        from pointcloud.readers.qif import joined_points

        return joined_points(self, self.point_sets, frame, tip)

    def point_set(
        self, name: str, *, stated_range: bool = False, frame: Frame | str = "file", tip: ProbeTip | None = None
    ) -> PointSet:
        """The points of one feature; with ``stated_range`` only those that the feature claims."""
        from pointcloud.readers.qif import feature_points

        return feature_points(self, name, stated_range, frame, tip)
