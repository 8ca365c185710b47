"""The measure ``features``: features of a point cloud and their characteristics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import AnyAmount, Length
from pipelines.recipe.base import CurveSpec, Direction, Name, ResultSpec, Strict

FIT_KINDS = ("line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse")
CRITERIA = (
    "least_squares",
    "minimum_zone",
    "maximum_inscribed",
    "minimum_circumscribed",
    "least_absolute",
    "minimum_zone_outside",
    "minimum_zone_inside",
    "least_squares_outside",
    "least_squares_inside",
)


class RegionSpec(Strict):
    """A box in the frame of the input: ``lower`` and ``upper`` corner."""

    lower: Annotated[list[Length], Field(min_length=3, max_length=3)]
    upper: Annotated[list[Length], Field(min_length=3, max_length=3)]

    @model_validator(mode="after")
    def _order(self) -> RegionSpec:
        if any(not up.base > low.base for low, up in zip(self.lower, self.upper, strict=True)):
            raise PydanticCustomError("bad_value", "each upper coordinate must lie above the lower")
        return self


class SelectSpec(Strict):
    """Which points belong to a feature. Both conditions hold where both are given."""

    label: Name | None = None
    region: RegionSpec | None = None

    @model_validator(mode="after")
    def _some(self) -> SelectSpec:
        if self.label is None and self.region is None:
            raise PydanticCustomError("bad_value", "a selection needs a label or a region")
        return self


class FeatureSpec(Strict):
    """A feature to associate (or ``points``: a named group without a fit)."""

    name: Name
    feature: Literal["line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse", "points"]
    select: SelectSpec | None = Field(default=None, description="Default: all points of the file.")
    material: Literal["inside", "outside"] | None = None
    direction: Direction | None = Field(
        default=None, description="Sign of the normal or axis, in the input frame; not for cones and spheres."
    )
    criterion: Literal[CRITERIA] = "least_squares"  # type: ignore[valid-type]
    fixed: list[Literal["direction"]] = Field(
        default_factory=list,
        description="Known and not fitted: 'direction', the exact normal of a circle; circles only.",
    )

    @model_validator(mode="after")
    def _points(self) -> FeatureSpec:
        if self.feature == "points" and (self.material or self.direction or self.criterion != "least_squares"):
            raise PydanticCustomError(
                "contradiction", "'points' are not fitted: material, direction and criterion do not apply"
            )
        if self.feature != "points":
            # the published table of the fits is the one truth; importing it compiles nothing
            from metrology_core.fitting.table import ROWS
            from metrology_core.fitting.zone.criteria import compiled

            row = ROWS[self.feature, 2 if self.fixed and self.feature == "circle" else 3]
            # least absolute deviations, and shapes that a recipe cannot hold, have no evaluation of correlated errors
            one_sided = ("least_squares_outside", "least_squares_inside")
            known = tuple(c for c in row.criteria if compiled(row.kind, c) or c in one_sided)
            if self.criterion not in known:
                raise PydanticCustomError(
                    "bad_value",
                    "a {feature} is not fitted with {criterion}; it takes {known}",
                    {
                        "feature": self.feature,
                        "criterion": self.criterion,
                        "known": ", ".join(known),
                        "key": "criterion",
                    },
                )
        if self.criterion.endswith(("_outside", "_inside")) and self.material is None:
            raise PydanticCustomError(
                "bad_value",
                "{criterion} needs material: inside or outside",
                {"criterion": self.criterion, "key": "criterion"},
            )
        if self.fixed and self.feature != "circle":
            raise PydanticCustomError(
                "contradiction", "fixed: [direction] is possible for a circle only", {"key": "fixed"}
            )
        if self.feature == "cone" and self.direction is not None:
            raise PydanticCustomError(
                "contradiction",
                "the axis of a cone points to where the cone widens: leave direction out",
                {"key": "direction"},
            )
        if self.feature == "sphere" and self.direction is not None:
            raise PydanticCustomError("contradiction", "a sphere has no direction: leave it out", {"key": "direction"})
        if self.fixed and self.direction is None:
            raise PydanticCustomError("contradiction", "fixed: [direction] needs a direction", {"key": "fixed"})
        if self.direction is not None and not any(self.direction):
            raise PydanticCustomError("bad_value", "a direction is not the zero vector", {"key": "direction"})
        return self


class DatumSystemSpec(Strict):
    """Datums in their order; features by name."""

    name: Name
    primary: Name
    secondary: Name | None = None
    tertiary: Name | None = None

    @model_validator(mode="after")
    def _order(self) -> DatumSystemSpec:
        if self.tertiary is not None and self.secondary is None:
            raise PydanticCustomError("contradiction", "a tertiary datum needs a secondary one", {"key": "tertiary"})
        return self

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(name for name in (self.primary, self.secondary, self.tertiary) if name is not None)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


FeatureNames = Annotated[
    list[Name],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Field(min_length=1, max_length=2),
]


class CalibratedSpec(Strict):
    """An experiment on a calibrated workpiece (ISO 15530-3): the source of this characteristic's uncertainty."""

    value: AnyAmount
    u: AnyAmount
    readings: list[AnyAmount] = Field(min_length=2, max_length=10_000)
    u_workpiece: AnyAmount | None = None
    u_bias: AnyAmount | None = None
    correct: bool = True

    def amounts(self) -> list[Any]:
        """All quantities, which must have one dimension."""
        rows = [self.value, self.u, *self.readings, self.u_workpiece, self.u_bias]
        return [row for row in rows if row is not None]

    @model_validator(mode="after")
    def _together(self) -> CalibratedSpec:
        dimensions = {row.dimension for row in self.amounts()}
        if len(dimensions) > 1:
            raise PydanticCustomError(
                "wrong_dimension",
                "the quantities have different dimensions: {d}",
                {"d": ", ".join(sorted(dimensions)), "key": "value"},
            )
        for key in ("u", "u_workpiece", "u_bias"):
            row = getattr(self, key)
            if row is not None and row.exact < 0:
                raise PydanticCustomError(
                    "out_of_range", "'{text}' must not be negative", {"text": row.text, "key": key}
                )
        return self


class ProcessSpec(Strict):
    """What the process makes: mean and standard deviation of the true values (normal), the prior of the risks."""

    mean: AnyAmount
    sd: AnyAmount

    @model_validator(mode="after")
    def _together(self) -> ProcessSpec:
        if self.mean.dimension != self.sd.dimension or not self.sd.exact > 0:
            raise PydanticCustomError(
                "bad_value", "the standard deviation is above zero, in a unit of the mean", {"key": "sd"}
            )
        return self


class SimulationSpec(Strict):
    """Uncertainty by simulation: the measurement is repeated under a virtual machine made from the instrument."""

    trials: int = Field(default=10_000, ge=100, le=1_000_000)


class FeatureCharacteristicSpec(ResultSpec):
    """A characteristic of features (``of``: one name, or two; always a list here), in a datum system (``in``)."""

    of: FeatureNames
    in_: Name | None = Field(default=None, alias="in")
    at: list[Length] | None = Field(
        default=None, min_length=2, max_length=3, description="Theoretically exact location."
    )
    nominal_curve: CurveSpec | None = None
    calibrated_workpiece: CalibratedSpec | None = None
    process: ProcessSpec | None = None


class FeaturesMeasure(Strict):
    """Measure features of a point cloud."""

    kind: Literal["features"]
    features: list[FeatureSpec] = Field(min_length=1)
    datum_system: DatumSystemSpec | None = None
    simulation: SimulationSpec | None = None
    characteristics: list[FeatureCharacteristicSpec] = Field(min_length=1)

    def feature(self, name: str) -> FeatureSpec:
        """The feature of a name; the recipe was checked, so it exists."""
        return next(feature for feature in self.features if feature.name == name)
