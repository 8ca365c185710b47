"""What every part of a recipe model shares: strictness, names, relative paths, tolerances, characteristics."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import AnyAmount, LengthUnit


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


def relative_path(value: str, what: str) -> str:
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


class OrText(Strict):
    """A mapping that may also be written as one text; the JSON schema says so too."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        schema = handler.resolve_ref_schema(handler(core_schema))
        text = {"type": "string", "description": f"Short form of {cls.__name__.removesuffix('Spec').lower()}."}
        return {"anyOf": [text, dict(schema)]}


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


class CurveSpec(Strict):
    """A nominal curve in a file under the recipe's folder; use ``recipe.file_path(curve.file)`` to open it."""

    file: str
    unit: LengthUnit

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        return relative_path(value, "file")


class ResultSpec(Strict):
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
