"""The measure ``film_map``: values of a film tool at sites of a wafer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.recipe.amounts import Length
from pipelines.recipe.base import Name, ResultSpec, Strict


class FilmCharacteristicSpec(ResultSpec):
    """A characteristic of the values over a wafer."""

    at: Annotated[list[Length], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Of film.site: place [x, y] of the site, from the middle of the wafer."
    )


class FilmMapMeasure(Strict):
    """Evaluate the values of a film tool over each wafer."""

    kind: Literal["film_map"]
    result: Name | None = Field(
        default=None, description="Title of the result where a file holds several, e.g. '1st Thickness'."
    )
    characteristics: list[FilmCharacteristicSpec] = Field(min_length=1)
