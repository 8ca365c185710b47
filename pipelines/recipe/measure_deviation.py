"""The measure ``deviation``: a scan against its nominal surface."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import Length, PositiveLength
from pipelines.recipe.base import CurveSpec as FileSpec
from pipelines.recipe.base import Direction, Name, ResultSpec, Strict, ToleranceSpec, relative_path


class AlignSpec(Strict):
    """How the scan comes into the nominal's frame.

    ``best_fit`` least squares, ``minimum_maximum`` Chebyshev, ``tolerance_fit`` least worst share of the tolerance,
    ``rps`` datum targets from a file, ``none`` the coordinates as they are. A fit gives no verdict unless
    ``permission`` cites where the drawing allows it.
    """

    method: Literal["best_fit", "minimum_maximum", "tolerance_fit", "rps", "none"] = "best_fit"
    targets: str | None = Field(default=None, description="File of datum targets (method rps).")
    permission: Name | None = Field(default=None, description="Where the drawing allows a fit, e.g. 'note 3'.")
    loss: Literal["squares", "huber", "tukey"] = "squares"
    trim: float = Field(default=0.0, ge=0.0, lt=0.5, description="Share of the largest residuals left out.")
    search_limit: PositiveLength | None = None

    @field_validator("targets")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else relative_path(value, "file")

    @model_validator(mode="after")
    def _together(self) -> AlignSpec:
        if (self.method == "rps") != (self.targets is not None):
            raise PydanticCustomError("contradiction", "'targets' and method rps go together", {"key": "method"})
        return self


class SectionSpec(Strict):
    """A plane cut of the nominal, in its frame; points within half the thickness (default 1 % of it) are drawn."""

    name: Name
    origin: Annotated[list[Length], Field(min_length=3, max_length=3)]
    normal: Direction
    thickness: PositiveLength | None = None

    @field_validator("normal")
    @classmethod
    def _direction(cls, value: list[float]) -> list[float]:
        if not any(value):
            raise PydanticCustomError("bad_value", "a normal is not the zero vector")
        return value


class DeviationCharacteristicSpec(ResultSpec):
    """A characteristic of the field of deviations."""


class DeviationMeasure(Strict):
    """Measure the deviations of a scan from its nominal surface."""

    kind: Literal["deviation"]
    nominal: FileSpec = Field(description="Mesh (STL, OBJ, PLY) or CAD file (STEP, IGES) under the recipe's folder.")
    align: AlignSpec = AlignSpec()
    search_limit: PositiveLength | None = Field(default=None, description="Points farther away have no deviation.")
    tolerance: ToleranceSpec | None = Field(default=None, description="Limits of every deviation, nominal zero.")
    places: int = Field(default=20, ge=0, le=200, description="Worst places to list.")
    least_coverage: float = Field(
        default=0.8,
        ge=0.0,
        le=1.0,
        description="Share of the nominal's area that must be measured for a part to be called conforming.",
    )
    sections: list[SectionSpec] = Field(default_factory=list, max_length=20)
    characteristics: list[DeviationCharacteristicSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _limits(self) -> DeviationMeasure:
        if self.tolerance is not None and any(v.dimension != "length" for v in self.tolerance.amounts().values()):
            raise PydanticCustomError("tolerance", "the limits of a deviation are lengths", {"key": "tolerance"})
        if self.align.method == "tolerance_fit" and self.tolerance is None:
            raise PydanticCustomError("contradiction", "a tolerance fit needs a tolerance", {"key": "align"})
        return self

    def limits(self, unit: str) -> tuple[float | None, float | None]:
        """Lower and upper limit of a deviation in a unit; None for none."""
        t = self.tolerance
        if t is None:
            return None, None
        if t.plus_minus is not None:
            size = t.plus_minus.to(unit)
            return -size, size
        if t.minus is not None and t.plus is not None:
            return -t.minus.to(unit), t.plus.to(unit)
        low, high = t.lower if t.lower is not None else t.min, t.upper if t.upper is not None else t.max
        return None if low is None else low.to(unit), None if high is None else high.to(unit)
