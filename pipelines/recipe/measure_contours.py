"""The measure ``sem_contours``: contours of arbitrary shapes against a design."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.recipe.amounts import Length, LengthUnit, PositiveLength, Ratio
from pipelines.recipe.base import Name, Strict, relative_path
from pipelines.recipe.measure_sem import Area, PixelSpec, SemCharacteristicSpec, check_area, check_level


class ContourCharacteristicSpec(SemCharacteristicSpec):
    """A characteristic of the contours in an image."""


class DesignSpec(Strict):
    """A design file under the recipe's folder: polygons as text, or a layout (GDSII, OASIS)."""

    file: str
    unit: LengthUnit | None = Field(default=None, description="Of a text file that does not state its own.")
    cell: Name | None = None
    layer: Name | None = Field(default=None, description="'10' or '10/0', quoted.")
    origin: Annotated[list[Length], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Design place [x, y] in the middle of the image; default: middle of the design."
    )
    search: PositiveLength | None = None
    limit: PositiveLength | None = None
    corner: PositiveLength | None = None
    free: list[Literal["rotation", "scale"]] = Field(default=[], description="What the registration finds too.")

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        return relative_path(value, "file")


class SemContoursMeasure(Strict):
    """Measure the contours of arbitrary shapes in an SEM image."""

    kind: Literal["sem_contours"]
    pixel: PixelSpec
    rows: Area | None = None
    columns: Area | None = None
    criterion: Literal["threshold", "model"] = "threshold"
    level: Ratio | None = Field(default=None, description="Level of the threshold; default 50 %.")
    spacing: float | None = Field(default=None, ge=1.0, le=12.0, description="Pixels of contour for each vertex.")
    polarity: Literal["auto", "dark", "bright"] = "auto"
    design: DesignSpec | None = None
    characteristics: list[ContourCharacteristicSpec] = Field(min_length=1)

    _area = field_validator("rows", "columns")(staticmethod(check_area))

    @model_validator(mode="after")
    def _level(self) -> SemContoursMeasure:
        check_level(self.level, self.criterion, "threshold")
        return self
