"""What is asked of an evaluation and what it gives back: plain frozen types, no recipe, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metrology_core.conformity import Tolerance
from metrology_core.data import DatumSystem, PointSet, Selection
from metrology_core.errors import ParameterError
from metrology_core.measurement import Measurement
from metrology_core.propagation import UncertainFeature
from metrology_core.uncertainty.fields.field import CorrelatedField
from pointcloud.evaluate.surface import DrawnChart, DrawnSurface
from pointcloud.nominal.curve import NominalCurve

FloatArray = NDArray[np.float64]
FITTED = ("line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse")
#: kinds whose sign nobody can choose, and why
UNDIRECTED = {
    "cone": "the axis of a cone points to where the cone widens, a direction would change nothing",
    "sphere": "a sphere has no direction",
}


@dataclass(frozen=True)
class FeatureRequest:
    """A feature to associate, or a named group of points (``kind="points"``).

    ``direction`` fixes the sign of the normal or axis; with ``fixed=("direction",)`` it *is* the normal of a circle:
    the points are evaluated in their projection along it.
    """

    name: str
    kind: str
    selection: Selection = field(default_factory=Selection)
    material: str | None = None
    direction: tuple[float, float, float] | None = None
    criterion: str = "least_squares"
    fixed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.fixed and (self.kind != "circle" or self.direction is None or set(self.fixed) != {"direction"}):
            raise ParameterError(
                f"{self.name}: only the direction of a circle can be fixed, and it has to be stated",
                expected='kind "circle", direction=(x, y, z), fixed=("direction",)',
                got=f"{self.kind}, direction={self.direction}, fixed={self.fixed}",
            )
        if self.kind in UNDIRECTED and self.direction is not None:
            raise ParameterError(f"{self.name}: {UNDIRECTED[self.kind]}", remedy="leave the direction out")


@dataclass(frozen=True)
class CharacteristicRequest:
    """A characteristic to evaluate: registry id, features by name, result unit, nominal and tolerance.

    ``unit`` is that of the result (default: the unit of the points, rad for angles); ``nominal`` is in it; ``at`` is in
    the unit of the points. ``in_datum`` evaluates in the datum system of the evaluation.
    """

    name: str
    characteristic: str
    of: tuple[str, ...]
    in_datum: bool = False
    at: tuple[float, ...] | None = None
    unit: str | None = None
    nominal: float | None = None
    tolerance: Tolerance | None = None
    curve: NominalCurve | None = None


@dataclass(frozen=True)
class DatumRequest:
    """Which features make the datum system, in their order."""

    name: str
    primary: str
    secondary: str | None = None
    tertiary: str | None = None

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(name for name in (self.primary, self.secondary, self.tertiary) if name is not None)


@dataclass(frozen=True, eq=False)
class EvaluatedFeature:
    """A requested feature with its points and its fit (None for point groups and where no fit was possible).

    ``uncertain`` carries the covariance that is propagated; ``sigma`` is the point error behind it, ``form`` the
    scatter beyond a declared ``sigma``, which is in the covariance too; ``field`` the declared field of the errors.
    ``drawn``: the charts of drawn surfaces, whose second moment then is the covariance, and ``surface`` they are from.
    """

    request: FeatureRequest
    points: PointSet
    fit: Any = None
    uncertain: UncertainFeature | None = None
    sigma: float | FloatArray | None = None
    length: float | None = None
    form: float = 0.0
    flags: tuple[str, ...] = ()
    standard_uncertainty: Mapping[str, Any] = field(default_factory=dict)
    field: CorrelatedField | None = None
    drawn: DrawnChart | None = None
    surface: DrawnSurface | None = None

    @property
    def usable(self) -> bool:
        """Whether a characteristic can be built on it."""
        return self.uncertain is not None

    def to_dict(self) -> dict[str, Any]:
        """JSON form (contract of the record)."""
        request = self.request
        if self.fit is None:
            return {
                "name": request.name,
                "feature": request.kind,
                "criterion": None if request.kind == "points" else request.criterion,
                "status": "points" if request.kind == "points" and len(self.points) else "insufficient",
                "unit": self.points.unit,
                "n_points": self.points.n_points,
                "parameters": {},
                "standard_uncertainty": {},
                "form": None,
                "rms": None,
                "flags": list(self.flags),
                "optimality": {},
            }
        plain = dict(self.fit.to_dict())
        plain["name"] = request.name
        plain["flags"] = sorted({*plain.get("flags", ()), *self.flags})
        if self.uncertain is not None:
            # the feature that is evaluated: oriented, compensated for the tip, in space
            feature: Any = self.uncertain.feature
            plain["parameters"] = {key: np.asarray(value).tolist() for key, value in feature.parameters.items()}
        if self.standard_uncertainty:
            plain["standard_uncertainty"] = dict(self.standard_uncertainty)
        return plain


@dataclass(frozen=True, eq=False)
class DeviationMap:
    """Signed deviations (excess material positive) at surface points, for a reviewer's eye.

    ``xyz`` (m, 3), ``value`` (m,), ``feature`` (m,) index into ``feature_names``; ``reference`` says what they are
    deviations from; ``n_total`` points were measured, the m shown hold every feature's extremes; ``worst`` are indices
    into the shown points.
    """

    xyz: FloatArray
    value: FloatArray
    feature: NDArray[np.int16]
    feature_names: tuple[str, ...]
    unit: str
    tolerances: tuple[tuple[float | None, float | None] | None, ...]
    u: float
    reference: str
    n_total: int
    worst: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All results of one part.

    ``noise_and_form``: of each characteristic whose features have drawn surfaces, what these alone make of its value:
    deviations (draws,), in the unit of the points or rad, draw d of all of them from the same surfaces.
    """

    points: PointSet
    features: tuple[EvaluatedFeature, ...]
    measurements: tuple[Measurement, ...]
    datum_system: DatumSystem | None
    deviations: DeviationMap | None
    flags: tuple[str, ...]
    noise_and_form: Mapping[str, FloatArray] = field(default_factory=dict)
