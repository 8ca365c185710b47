"""The recipe as frozen, strict pydantic models (schema ``abbe/recipe/1``): inputs, instrument, decision, measure.

Dimensional values are `Amount`s: take ``recipe.inputs.tip_radius.to("mm")``. An unknown key is an error everywhere.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import (
    AnyAmount,
    Expansion,
    ExpansionU,
    Length,
    LengthU,
    LengthUnit,
    PositiveLength,
    Ratio,
    Temperature,
    TemperatureU,
)

SCHEMA_ID = "abbe/recipe/1"
FORMATS = ("auto", "text", "ply", "stl", "obj", "pcd", "hdf5", "qif", "image")
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


class Strict(BaseModel):
    """Base: no unknown keys, no coercion, frozen, no default that is not validated."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=False,
        arbitrary_types_allowed=True,
        populate_by_name=False,
        hide_input_in_errors=True,
    )


def _relative(value: str, what: str) -> str:
    """Refuse paths that leave their folder; the file system is not asked here."""
    path = PurePosixPath(value)
    escapes = path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value
    if not value.strip() or not path.parts or escapes or ":" in path.parts[0]:
        raise PydanticCustomError(
            "bad_value",
            "{what} '{value}' must be a relative path with '/' that stays inside its folder",
            {"what": what, "value": value},
        )
    return value


Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
Direction = Annotated[list[float], Field(min_length=3, max_length=3)]


class AcquisitionSpec(Strict):
    """Facts about the acquisition that hold for all inputs (the fields of `Acquisition`); all are text."""

    part: Name | None = None
    serial: Name | None = None
    lot: Name | None = None
    wafer: Name | None = None
    field: Name | None = None
    die: Name | None = None
    site: Name | None = None
    operation: Name | None = None
    repeat: Name | None = None
    setup: Name | None = None
    operator: Name | None = None
    instrument: Name | None = None
    condition: Name | None = None
    time: Name | None = Field(default=None, description="ISO 8601 with zone, e.g. '2026-05-04T10:20:30+02:00'.")
    environment: Name | None = None
    drawing: Name | None = None
    cad_revision: Name | None = None

    @field_validator("time")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                zone = datetime.datetime.fromisoformat(value).tzinfo
            except ValueError:
                zone = None
            if zone is None:
                raise PydanticCustomError(
                    "bad_value", "'{value}' is not a time with zone, e.g. '2026-05-04T10:20:30+02:00'", {"value": value}
                )
        return value

    def fields(self) -> dict[str, str]:
        """Only the fields that are set."""
        return {key: value for key, value in self if value is not None}


class ThermalSpec(Strict):
    """Whether lengths are as measured (``raw``) or already corrected to 20 degC (``compensated``)."""

    state: Literal["raw", "compensated"] = "compensated"
    temperature: Temperature | None = None
    temperature_u: TemperatureU | None = None
    expansion: Expansion | None = None
    expansion_u: ExpansionU | None = None

    @model_validator(mode="after")
    def _whole(self) -> ThermalSpec:
        if self.state == "raw" and (self.temperature is None) != (self.expansion is None):
            missing = "temperature" if self.temperature is None else "expansion"
            raise PydanticCustomError(
                "contradiction",
                "raw lengths need both temperature and expansion; '{m}' is missing",
                {"m": missing, "key": "state"},
            )
        return self


class _OrText(Strict):
    """A mapping that may also be written as one text; the JSON schema says so too."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        schema = handler.resolve_ref_schema(handler(core_schema))
        text = {"type": "string", "description": f"Short form of {cls.__name__.removesuffix('Spec').lower()}."}
        return {"anyOf": [text, dict(schema)]}


class InputFile(_OrText):
    """One pattern under the data root, or one file with its explicit part id."""

    file: str
    part: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        return _relative(value, "pattern")

    @model_validator(mode="after")
    def _single(self) -> InputFile:
        if self.part is not None and any(sign in self.file for sign in "*?["):
            raise PydanticCustomError("contradiction", "an explicit part needs one file, not a pattern")
        return self


class InputsSpec(Strict):
    """Which files are measured, and what a file cannot say for itself."""

    files: list[InputFile] = Field(min_length=1, description="Patterns under the data root, or {file: ..., part: ...}.")
    format: Literal["auto", "text", "ply", "stl", "obj", "pcd", "hdf5", "qif", "image"] = "auto"
    unit: LengthUnit | None = Field(default=None, description="Unit of the coordinates; mandatory for point clouds.")
    points_are: Literal["surface", "ball_centre", "unknown"] | None = None
    tip_radius: PositiveLength | None = None
    tip_radius_u: LengthU | None = None
    frame: Name = "machine"
    acquisition: AcquisitionSpec | None = None
    acquisition_from_name: str | None = Field(
        default=None, description="Regular expression with Acquisition fields as named groups, searched in the path."
    )
    thermal: ThermalSpec | None = None

    @field_validator("acquisition_from_name")
    @classmethod
    def _regex(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            groups = set(re.compile(value).groupindex)
        except (re.error, OverflowError, RecursionError) as error:
            raise PydanticCustomError("bad_value", "not a regular expression: {why}", {"why": str(error)}) from None
        unknown = sorted(groups - set(AcquisitionSpec.model_fields))
        if unknown or not groups:
            raise PydanticCustomError(
                "bad_value",
                "the named groups must be fields of the acquisition ({known}){got}",
                {
                    "known": ", ".join(AcquisitionSpec.model_fields),
                    "got": f"; got {', '.join(unknown)}" if unknown else "; there is none",
                },
            )
        return value


class WithU(Strict):
    """A temperature with its standard uncertainty."""

    value: Temperature
    u: TemperatureU


class ExpansionWithU(Strict):
    """An expansion coefficient with its standard uncertainty."""

    value: Expansion
    u: ExpansionU


class TipSpec(Strict):
    """A probe tip radius with its standard uncertainty."""

    value: PositiveLength
    u: LengthU | None = None


class MpeSpec(Strict):
    """Maximum permissible error ``constant + per_length * L`` (ISO 10360)."""

    constant: LengthU
    per_length: Ratio | None = None


class InstrumentSpec(Strict):
    """The instrument that measured; gives the first uncertainties. Without one verdicts are provisional."""

    id: Name
    type: Name = "unknown"
    mpe: MpeSpec | None = None
    noise: LengthU | None = None
    correlation_length: LengthU | None = None
    tip: TipSpec | None = None
    temperature: WithU | None = None
    expansion: ExpansionWithU | None = None
    scale_u: Ratio | None = None
    edge_offset_u: LengthU | None = None
    certificate: Name | None = None
    valid_until: str | None = Field(
        default=None, pattern=r"^\d{4}-\d{2}-\d{2}$", description="Last valid day, ISO date."
    )

    @field_validator("valid_until")
    @classmethod
    def _date(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                datetime.date.fromisoformat(value)
            except ValueError:
                raise PydanticCustomError("bad_value", "'{value}' is not a calendar day", {"value": value}) from None
        return value


class DecisionSpec(Strict):
    """The decision rule. Default: ISO 14253-1, proving conformity, probability 0.95."""

    rule: Literal["iso14253-1", "simple_acceptance", "guard_band"] = "iso14253-1"
    proving: Literal["conformity", "nonconformity"] | None = None
    probability: float | None = Field(default=None, ge=0.5, lt=1.0)
    guard_factor: float | None = Field(default=None, ge=0.0)

    @model_validator(mode="after")
    def _together(self) -> DecisionSpec:
        if self.rule != "iso14253-1" and (self.proving is not None or self.probability is not None):
            raise PydanticCustomError(
                "contradiction",
                "'proving' and 'probability' belong to rule iso14253-1, not to {rule}",
                {"rule": self.rule, "key": "rule"},
            )
        if self.rule != "guard_band" and self.guard_factor is not None:
            raise PydanticCustomError(
                "contradiction",
                "'guard_factor' belongs to rule guard_band, not to {rule}",
                {"rule": self.rule, "key": "rule"},
            )
        return self


class ToleranceSpec(Strict):
    """Limits in one of the forms ``plus_minus`` | ``minus``+``plus`` | ``lower``/``upper`` | ``max`` | ``min``.

    ``plus_minus`` and ``minus``/``plus`` are deviations from the nominal; the others are limits of the value.
    """

    plus_minus: AnyAmount | None = None
    minus: AnyAmount | None = None
    plus: AnyAmount | None = None
    lower: AnyAmount | None = None
    upper: AnyAmount | None = None
    max: AnyAmount | None = None
    min: AnyAmount | None = None

    @property
    def about_nominal(self) -> bool:
        """Whether the limits are deviations from the nominal."""
        return self.plus_minus is not None or self.minus is not None

    def amounts(self) -> dict[str, Any]:
        """The limits that are written, by key."""
        return {key: value for key, value in self if value is not None}

    @model_validator(mode="after")
    def _form(self) -> ToleranceSpec:
        given = frozenset(self.amounts())
        forms = [{"plus_minus"}, {"minus", "plus"}, {"lower", "upper"}, {"lower"}, {"upper"}, {"max"}, {"min"}]
        if given not in forms:
            raise PydanticCustomError(
                "tolerance",
                "a tolerance is plus_minus | minus and plus | lower and/or upper | max | min; got {got}",
                {"got": " and ".join(sorted(given)) or "nothing"},
            )
        dims = {value.dimension for value in self.amounts().values()}
        if len(dims) > 1:
            raise PydanticCustomError(
                "tolerance", "the limits have different dimensions: {d}", {"d": ", ".join(sorted(dims))}
            )
        if self.plus_minus is not None and not self.plus_minus.base > 0:
            raise PydanticCustomError("tolerance", "plus_minus must be greater than zero")
        if self.minus is not None and self.plus is not None and not self.plus.base > -self.minus.base:
            raise PydanticCustomError(
                "tolerance", "the upper deviation must lie above the lower (minus is written without sign)"
            )
        if self.lower is not None and self.upper is not None and not self.upper.base > self.lower.base:
            raise PydanticCustomError("tolerance", "the upper limit must lie above the lower")
        return self


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

            known = ROWS[self.feature, 2 if self.fixed and self.feature == "circle" else 3].criteria
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


class CurveSpec(Strict):
    """A nominal curve in a file under the recipe's folder; use ``recipe.file_path(curve.file)`` to open it."""

    file: str
    unit: LengthUnit

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        return _relative(value, "file")


class _Result(Strict):
    """What all characteristics share: the name, the row of the registry, nominal and tolerance."""

    name: Name
    characteristic: Name
    nominal: AnyAmount | None = None
    tolerance: ToleranceSpec | None = None

    @property
    def result_unit(self) -> str | None:
        """Unit in which the result is wanted: that of the nominal, else of the first limit, else None."""
        if self.nominal is not None:
            return str(self.nominal.unit)
        if self.tolerance is not None:
            return str(next(iter(self.tolerance.amounts().values())).unit)
        return None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


FeatureNames = Annotated[
    list[Name],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Field(min_length=1, max_length=2),
]


class FeatureCharacteristicSpec(_Result):
    """A characteristic of features (``of``: one name, or two; always a list here), in a datum system (``in``)."""

    of: FeatureNames
    in_: Name | None = Field(default=None, alias="in")
    at: list[Length] | None = Field(
        default=None, min_length=2, max_length=3, description="Theoretically exact location."
    )
    nominal_curve: CurveSpec | None = None


class FeaturesMeasure(Strict):
    """Measure features of a point cloud."""

    kind: Literal["features"]
    features: list[FeatureSpec] = Field(min_length=1)
    datum_system: DatumSystemSpec | None = None
    characteristics: list[FeatureCharacteristicSpec] = Field(min_length=1)

    def feature(self, name: str) -> FeatureSpec:
        """The feature of a name; the recipe was checked, so it exists."""
        return next(feature for feature in self.features if feature.name == name)


class PixelSpec(_OrText):
    """Calibrated pixel size with its relative standard uncertainty; one text stands for equal x and y."""

    x: PositiveLength
    y: PositiveLength
    u_relative: Ratio | None = None

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, PixelSpec)) else {"x": value, "y": value}


class SemCharacteristicSpec(_Result):
    """A characteristic of the lines in an image."""


class SemLinesMeasure(Strict):
    """Measure lines and spaces in an SEM image."""

    kind: Literal["sem_lines"]
    pixel: PixelSpec
    rows: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    criterion: Literal["threshold", "max_gradient", "sigmoid"] = "threshold"
    level: Ratio | None = Field(default=None, description="Level of the threshold criterion; default 50 %.")
    lines: Literal["bright", "dark"] = "bright"
    detrend: Literal["linear", "mean"] = "linear"
    orientation: Literal["vertical", "horizontal"] = "vertical"
    characteristics: list[SemCharacteristicSpec] = Field(min_length=1)

    @field_validator("rows")
    @classmethod
    def _rows(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise PydanticCustomError("out_of_range", "rows are [first, end], with 0 <= first < end")
        return value

    @model_validator(mode="after")
    def _level(self) -> SemLinesMeasure:
        if self.level is not None:
            if self.criterion != "threshold":
                raise PydanticCustomError("contradiction", "'level' belongs to criterion threshold", {"key": "level"})
            if not 0.05 <= self.level.to("1") <= 0.95:
                raise PydanticCustomError("out_of_range", "the level lies between 5 % and 95 %", {"key": "level"})
        return self


Measure = Annotated[FeaturesMeasure | SemLinesMeasure, Field(discriminator="kind")]


class Recipe(Strict):
    """A whole recipe. ``folder`` is where its files are (set by whoever loaded it; not part of the content)."""

    schema_: Literal["abbe/recipe/1"] = Field(alias="schema")
    name: Name
    seed: int = Field(default=0, ge=0, lt=2**63)
    inputs: InputsSpec
    instrument: InstrumentSpec | None = None
    decision: DecisionSpec = DecisionSpec()
    measure: Measure

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path:
        """Folder under which the files named in the recipe lie."""
        return self._folder if self._folder is not None else Path()

    def file_path(self, relative: str) -> Path:
        """Path of a file named in the recipe (a nominal curve)."""
        return self.folder / relative

    def files(self) -> Iterator[str]:
        """Relative paths of all files named in the recipe, sorted, each once."""
        found = set()
        if isinstance(self.measure, FeaturesMeasure):
            found = {c.nominal_curve.file for c in self.measure.characteristics if c.nominal_curve is not None}
        yield from sorted(found)
