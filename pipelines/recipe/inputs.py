"""Inputs, instrument and decision rule of a recipe."""

from __future__ import annotations

import datetime
import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import (
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
from pipelines.recipe.base import Name, OrText, Strict, relative_path
from pipelines.recipe.instruments import VIRTUAL, MicroscopeSpec, ProfilerSpec, ScannerSpec, kind_of

_OF_POINTS = ("points_are", "tip_radius", "tip_radius_u", "thermal")


def refused_inputs(kind: object) -> tuple[str, ...]:
    """Keys of ``inputs`` that belong to point clouds, and that a measure of images or film maps refuses."""
    if kind in ("sem_lines", "sem_contacts", "sem_contours"):
        return ("unit", *_OF_POINTS)
    return ("text", "dataset", "frame", *_OF_POINTS) if kind == "film_map" else ()


FORMATS = ("auto", "text", "ply", "stl", "obj", "pcd", "hdf5", "qif", "image")


class AcquisitionSpec(Strict):
    """Facts about the acquisition that hold for all inputs (the fields of `Acquisition`); all are text."""

    part: Name | None = None
    serial: Name | None = None
    lot: Name | None = None
    wafer: Name | None = None
    field: Name | None = None
    die: Name | None = None
    site: Name | None = None
    wafer_x: Name | None = Field(default=None, description="Place on the wafer from its middle, with unit.")
    wafer_y: Name | None = None
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


class FieldSizeSpec(Strict):
    """Size of an exposure field: the step between fields."""

    x: PositiveLength
    y: PositiveLength


class WaferSpec(Strict):
    """The wafer that images or film maps come from: its frame for maps, and where fields lie."""

    diameter: PositiveLength | None = Field(default=None, description="Default 300 mm.")
    edge_exclusion: LengthU | None = None
    notch: Literal["down", "up", "left", "right"] = "down"
    field_size: FieldSizeSpec | None = Field(
        default=None,
        description="With it the first two whole numbers of the acquisition's field are its column and row from the "
        "middle.",
    )


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


class InputFile(OrText):
    """One pattern under the data root, or one file with its explicit part id."""

    file: str
    part: Name | None = None
    also: list[str] | None = Field(
        default=None, description="Further scans of the same part, registered together with it (deviation)."
    )

    @field_validator("also")
    @classmethod
    def _others(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else [relative_path(name, "file") for name in value]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str) -> str:
        return relative_path(value, "pattern")

    @model_validator(mode="after")
    def _single(self) -> InputFile:
        if self.part is not None and any(sign in self.file for sign in "*?["):
            raise PydanticCustomError("contradiction", "an explicit part needs one file, not a pattern")
        if self.also and any(sign in name for name in (self.file, *self.also) for sign in "*?["):
            raise PydanticCustomError("contradiction", "'also' needs one file and files of the same part, no patterns")
        return self


class TextSpec(Strict):
    """What overrules the detection in text clouds."""

    columns: list[Literal["x", "y", "z", "i", "j", "k", "label", "view", "index", "ignore"]] | None = Field(
        default=None, description="The role of every column, in order. Without z: points of a plane, z = 0."
    )
    separator: Literal["space", "comma", "semicolon", "tab", "bar"] | None = None
    decimal: Literal["point", "comma"] | None = None


class InputsSpec(Strict):
    """Which files are measured, and what a file cannot say for itself."""

    files: list[InputFile] = Field(min_length=1, description="Patterns under the data root, or {file: ..., part: ...}.")
    format: Literal["auto", "text", "ply", "stl", "obj", "pcd", "hdf5", "qif", "image"] = "auto"
    unit: LengthUnit | None = Field(
        default=None, description="Unit of the coordinates; mandatory for point clouds. Of film maps: of the values."
    )
    text: TextSpec | None = None
    dataset: Name | None = Field(default=None, description="Of an HDF5 file with several: the dataset of the points.")
    points_are: Literal["surface", "ball_centre", "unknown"] | None = None
    tip_radius: PositiveLength | None = None
    tip_radius_u: LengthU | None = None
    frame: Name = "machine"
    acquisition: AcquisitionSpec | None = None
    acquisition_from_name: str | None = Field(
        default=None, description="Regular expression with Acquisition fields as named groups, searched in the path."
    )
    thermal: ThermalSpec | None = None
    wafer: WaferSpec | None = None

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
    """Maximum permissible error ``constant + per_length * L`` (ISO 10360-2), and of the probing test (ISO 10360-5)."""

    constant: LengthU
    per_length: Ratio | None = None
    probing: LengthU | None = None


class VolumeSpec(Strict):
    """The measuring volume: its lowest and highest corner in the frame of the input."""

    lower: list[Length] = Field(min_length=3, max_length=3)
    upper: list[Length] = Field(min_length=3, max_length=3)

    @model_validator(mode="after")
    def _order(self) -> VolumeSpec:
        if not all(low.base < high.base for low, high in zip(self.lower, self.upper, strict=True)):
            raise PydanticCustomError("bad_value", "each upper corner must lie above the lower", {"key": "upper"})
        return self


class InstrumentSpec(Strict):
    """The instrument that measured; gives the first uncertainties. Without one verdicts are provisional."""

    id: Name
    type: Name = "unknown"
    mpe: MpeSpec | None = None
    noise: LengthU | None = None
    correlation_length: LengthU | None = None
    correlation_kernel: Literal["exponential", "gaussian", "matern32", "matern52"] | None = None
    noise_independent: LengthU | None = None
    tip: TipSpec | None = None
    temperature: WithU | None = None
    expansion: ExpansionWithU | None = None
    scale_u: Ratio | None = None
    edge_offset_u: LengthU | None = None
    offset_u: LengthU | None = Field(default=None, description="Offset that all values of a film tool share.")
    linearity_u: LengthU | None = None
    flatness_u: LengthU | None = None
    distortion_u: LengthU | None = None
    volume: VolumeSpec | None = None
    scanner: ScannerSpec | None = None
    microscope: MicroscopeSpec | None = None
    profiler: ProfilerSpec | None = None
    environment: Name | None = Field(default=None, description="Where and how it stands, in words.")
    certificate: Name | None = None
    valid_until: str | None = Field(
        default=None, pattern=r"^\d{4}-\d{2}-\d{2}$", description="Last valid day, ISO date."
    )

    @model_validator(mode="after")
    def _kind(self) -> InstrumentSpec:
        for key in sorted(set(VIRTUAL.values())):
            if getattr(self, key) is not None and kind_of(self.type) != key:
                raise PydanticCustomError(
                    "contradiction", "'{key}' belongs to an instrument of type {key}, not '{type}'",
                    {"key": key, "type": self.type},
                )  # fmt: skip
        return self

    # what the instrument itself refuses (`metrology_core.instrument`), told before any part is measured; a key that is
    # faulty itself is absent in ``info.data`` and passed over
    @field_validator("correlation_kernel")
    @classmethod
    def _has_length(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and "correlation_length" in info.data:
            length = info.data["correlation_length"]
            if length is None or not length.base > 0:
                raise PydanticCustomError(
                    "contradiction",
                    "a correlation_kernel needs a correlation_length above zero, e.g. 'correlation_length: 2 mm'",
                )
        return value

    @field_validator("noise_independent")
    @classmethod
    def _is_part(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            return value
        if "correlation_kernel" in info.data and info.data["correlation_kernel"] is None:
            raise PydanticCustomError(
                "contradiction", "noise_independent is a part of correlated noise: it needs a correlation_kernel"
            )
        if "noise" in info.data:
            noise = info.data["noise"]
            if noise is None:
                raise PydanticCustomError("contradiction", "noise_independent is a part of noise: it needs noise")
            if value.base > noise.base:
                raise PydanticCustomError(
                    "out_of_range", "noise_independent is a part of noise: at most {noise}", {"noise": str(noise)}
                )
        return value

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

    rule: Literal["iso14253-1", "simple_acceptance", "guard_band", "guarded_rejection", "non_binary"] = "iso14253-1"
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
        if self.rule not in ("guard_band", "guarded_rejection", "non_binary") and self.guard_factor is not None:
            raise PydanticCustomError(
                "contradiction",
                "'guard_factor' belongs to rules guard_band, guarded_rejection and non_binary, not to {rule}",
                {"rule": self.rule, "key": "rule"},
            )
        return self
