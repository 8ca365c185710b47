"""The measures ``sem_lines`` and ``sem_contacts``: lines and spaces, contacts and pillars in an SEM image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import PositiveLength, Ratio
from pipelines.recipe.base import OrText, ResultSpec, Strict

Area = Annotated[list[int], Field(min_length=2, max_length=2)]


class PixelSpec(OrText):
    """Calibrated pixel size with its relative standard uncertainty; one text stands for equal x and y."""

    x: PositiveLength
    y: PositiveLength
    u_relative: Ratio | None = None

    @model_validator(mode="before")
    @classmethod
    def _both(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, PixelSpec)) else {"x": value, "y": value}


class SemCharacteristicSpec(ResultSpec):
    """A characteristic of the lines in an image."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        """The schema for editors says what `_counts` takes: plain numbers for counts, and for nothing else."""
        from wafer.characteristics import COUNT_IDS

        schema = dict(handler.resolve_ref_schema(handler(core_schema)))
        keys = dict(schema["properties"])
        number: dict[str, Any] = {"type": "number"}
        limit = {"anyOf": [number, {"type": "string"}]}
        keys_of_limits = ("plus_minus", "minus", "plus", "lower", "upper", "max", "min")
        plain = {
            "type": "object", "description": "Limits of a count: plain numbers.", "additionalProperties": False,
            "properties": dict.fromkeys(keys_of_limits, limit),
        }  # fmt: skip
        for key, also in (("nominal", number), ("tolerance", plain)):
            keys[key] = {**keys[key], "anyOf": [*keys[key]["anyOf"], also]}
        no_count = {"properties": {"characteristic": {"not": {"enum": list(COUNT_IDS)}}}}
        quantities = {"properties": {key: dict(schema["properties"][key]) for key in ("nominal", "tolerance")}}
        others = {"if": no_count, "then": quantities}
        return {**schema, "properties": keys, "allOf": [others]}

    @model_validator(mode="before")
    @classmethod
    def _counts(cls, value: Any) -> Any:
        """Limits of a count may be plain numbers: ``upper: 0`` says ``0 1``; a number has no other unit."""
        from wafer.characteristics import COUNT_IDS

        if not isinstance(value, dict) or value.get("characteristic") not in COUNT_IDS:
            return value

        def plain(limit: Any) -> Any:
            return f"{limit} 1" if isinstance(limit, (int, float)) and not isinstance(limit, bool) else limit

        found = dict(value)
        if isinstance(found.get("tolerance"), dict):
            found["tolerance"] = {key: plain(limit) for key, limit in found["tolerance"].items()}
        if "nominal" in found:
            found["nominal"] = plain(found["nominal"])
        return found


class ContactCharacteristicSpec(SemCharacteristicSpec):
    """A characteristic of the contacts or pillars in an image."""


def check_area(value: list[int] | None) -> list[int] | None:
    if value is not None and not 0 <= value[0] < value[1]:
        raise PydanticCustomError("out_of_range", "an image area is [first, end], with 0 <= first < end")
    return value


def check_level(level: Ratio | None, criterion: str, *criteria: str) -> None:
    """A level belongs to some criteria only, and lies well between the plateaus."""
    if level is None:
        return
    if criterion not in criteria:
        words = ("criterion " if len(criteria) == 1 else "criteria ") + " and ".join(criteria)
        raise PydanticCustomError("contradiction", "'level' belongs to {words}", {"key": "level", "words": words})
    if not 0.05 <= level.to("1") <= 0.95:
        raise PydanticCustomError("out_of_range", "the level lies between 5 % and 95 %", {"key": "level"})


class SemLinesMeasure(Strict):
    """Measure lines and spaces in an SEM image."""

    kind: Literal["sem_lines"]
    pixel: PixelSpec
    rows: Area | None = None
    columns: Area | None = None
    criterion: Literal["threshold", "max_gradient", "sigmoid", "linear_approximation", "model"] = "threshold"
    level: Ratio | None = Field(default=None, description="Level of criteria threshold and model; default 50 %.")
    lines: Literal["bright", "dark"] | None = Field(
        default=None, description="Which stripes are the lines; default bright, flagged where both are about as wide."
    )
    detrend: Literal["linear", "mean"] = "linear"
    orientation: Literal["vertical", "horizontal"] = "vertical"
    smoothing: str | None = Field(
        default=None,
        description="Filter of the image before its edges are found: gaussian, gaussian_x (across the lines) or "
        "gaussian_y (along them) with its sigma, for example 'gaussian 2 px'. Not with roughness. Default: none.",
    )
    frames: bool = Field(
        default=False,
        description="Each file is a stack of frames of one field: their average is measured, and roughness from "
        "products of frames.",
    )
    characteristics: list[SemCharacteristicSpec] = Field(min_length=1)

    _area = field_validator("rows", "columns")(staticmethod(check_area))

    @model_validator(mode="after")
    def _level(self) -> SemLinesMeasure:
        check_level(self.level, self.criterion, "threshold", "model")
        return self

    @model_validator(mode="after")
    def _frames(self) -> SemLinesMeasure:
        """Products of frames need frames, and frames are not smoothed: both would fail for every image."""
        from wafer.characteristics import FRAME_IDS

        asked = [c.characteristic for c in self.characteristics if c.characteristic in FRAME_IDS]
        if asked and not self.frames:
            raise PydanticCustomError(
                "contradiction", "{names} needs repeated frames: write 'frames: true'", {"names": ", ".join(asked)}
            )
        if self.frames and self.smoothing is not None:
            raise PydanticCustomError("contradiction", "repeated frames are not smoothed", {"key": "smoothing"})
        return self

    @model_validator(mode="after")
    def _smoothing(self) -> SemLinesMeasure:
        from metrology_core.errors import ParameterError
        from wafer.smoothing import ROUGHNESS, parse_smoothing

        try:
            smoothing = parse_smoothing(self.smoothing)
            if smoothing is not None:
                smoothing.refuse_criterion(self.criterion)
        except ParameterError as error:
            raise PydanticCustomError("contradiction", "{text}", {"key": "smoothing", "text": str(error)}) from None
        rough = [c.characteristic for c in self.characteristics if c.characteristic.startswith(ROUGHNESS)]
        if smoothing is not None and rough:
            raise PydanticCustomError(
                "contradiction", "roughness is not measured in a smoothed image: {names}",
                {"key": "smoothing", "names": ", ".join(rough)},
            )  # fmt: skip
        return self


class SemContactsMeasure(Strict):
    """Measure contacts, pillars or other closed features in an SEM image."""

    kind: Literal["sem_contacts"]
    pixel: PixelSpec
    rows: Area | None = None
    columns: Area | None = None
    criterion: Literal["threshold", "sigmoid", "model"] = "threshold"
    level: Ratio | None = Field(default=None, description="Level of criterion threshold; default 50 %.")
    polarity: Literal["auto", "dark", "bright"] = "auto"
    lattice: bool = Field(
        default=True, description="Whether the features lie on a lattice, so that some can be missing."
    )
    characteristics: list[ContactCharacteristicSpec] = Field(min_length=1)

    _area = field_validator("rows", "columns")(staticmethod(check_area))

    @model_validator(mode="after")
    def _level(self) -> SemContactsMeasure:
        check_level(self.level, self.criterion, "threshold")
        return self
