"""What a virtual scanner, microscope or profiler needs beside the figures that every instrument has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import Angle, AngleU, Length, LengthU, PositiveLength, Ratio
from pipelines.recipe.base import Direction, Name, Strict

VIRTUAL = {
    "scanner": "scanner",
    "microscope": "microscope",
    "sem": "microscope",
    "profiler": "profiler",
    "profilometer": "profiler",
}
"""Types of instrument whose virtual instrument has a key of its own, and that key; every other type is simulated as a
CMM."""
_EXAMPLES = {
    "scanner": "scanner: {distance_mpe: 40 um, field: [200 mm, 200 mm, 150 mm], standoff: 500 mm, "
    "views: [{name: top, direction: [0, 0, -1]}]}",
    "microscope": "microscope: {field: [2 mm, 1.5 mm]}",
    "profiler": "profiler: {z_range: [0 um, 100 um]}",
}

Place = Annotated[list[Length], Field(min_length=3, max_length=3)]


def kind_of(declared: object) -> str:
    """Which virtual instrument stands for a type: ``cmm``, ``scanner``, ``microscope`` or ``profiler``."""
    return VIRTUAL.get(declared.lower(), "cmm") if isinstance(declared, str) else "cmm"


def missing_for_simulation(instrument: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the plain data of an instrument lack for a simulation: (message, hint), none where all is there."""
    kind = kind_of(instrument.get("type"))
    if kind == "cmm":
        if isinstance(instrument.get("mpe"), Mapping):
            return []
        hint = "e.g. 'mpe: {constant: 1.5 um, per_length: 3 um/m}'; a scanner, microscope or profiler says so in 'type'"
        return [("a simulation needs an instrument with its MPE", hint)]
    found = []
    if not isinstance(instrument.get(kind), Mapping):
        found.append((f"a simulation with a {kind} needs its '{kind}'", f"e.g. '{_EXAMPLES[kind]}'"))
    if "noise" not in instrument:
        found.append((f"a simulation with a {kind} needs its noise", "e.g. 'noise: 8 um', of a single point"))
    return found


class RegistrationSpec(Strict):
    """How well a view was brought into the common frame: standard uncertainties about the middle of its field."""

    rotation_u: AngleU | None = None
    translation_u: LengthU | None = None


class ViewSpec(Strict):
    """From where a scanner looked, in the frame of the input: two of position, target and direction, or a direction."""

    name: Name
    position: Place | None = Field(default=None, description="Where the sensor stood.")
    target: Place | None = Field(default=None, description="What it looked at: the middle of its field.")
    direction: Direction | None = Field(default=None, description="Into which it looked.")
    up: Direction | None = Field(default=None, description="Direction of the sensor's y.")
    registration: RegistrationSpec | None = None

    @model_validator(mode="after")
    def _placed(self) -> ViewSpec:
        if all(part is not None for part in (self.position, self.target, self.direction)):
            raise PydanticCustomError(
                "contradiction", "a view has two of position, target and direction", {"key": "direction"}
            )
        if self.direction is None and (self.position is None or self.target is None):
            raise PydanticCustomError("bad_value", "a view needs a direction, or position and target", {"key": "name"})
        for key in ("direction", "up"):
            given = getattr(self, key)
            if given is not None and not any(given):
                raise PydanticCustomError("bad_value", "a direction is not the zero vector", {"key": key})
        if self.position is not None and self.target is not None and self.position == self.target:
            raise PydanticCustomError("bad_value", "position and target are one place", {"key": "target"})
        return self


class ScannerSpec(Strict):
    """An optical scanner: field, error of a sphere distance, views."""

    distance_mpe: LengthU = Field(description="Of the distance of two spheres in the field (VDI/VDE 2634, ISO 10360).")
    field: Annotated[list[PositiveLength], Field(min_length=3, max_length=3)] = Field(
        description="Width, height and depth of the measuring field."
    )
    standoff: PositiveLength = Field(description="From the sensor to the middle of the field.")
    noise_growth: float = Field(default=1.0, ge=0.0, le=4.0, description="Power of 1 / cos(incidence).")
    steepest: Angle | None = Field(default=None, description="Largest angle of incidence; default 70 deg.")
    registration: RegistrationSpec | None = None
    views: list[ViewSpec] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _together(self) -> ScannerSpec:
        if not 2 * self.standoff.base > self.field[2].base:
            raise PydanticCustomError("bad_value", "the sensor stands inside its field", {"key": "standoff"})
        if self.steepest is not None and not self.steepest.to("deg") < 90.0:
            raise PydanticCustomError("out_of_range", "an angle of incidence is below 90 deg", {"key": "steepest"})
        names = [view.name for view in self.views]
        for name in names:
            if names.count(name) > 1:
                raise PydanticCustomError("bad_value", "two views are called '{name}'", {"name": name, "key": "views"})
        return self


class AxesSpec(Strict):
    """A relative standard uncertainty for each of two axes."""

    x: Ratio
    y: Ratio


class MicroscopeSpec(Strict):
    """A microscope: its image in the plane of x and y of the input."""

    field: Annotated[list[PositiveLength], Field(min_length=2, max_length=2)] = Field(
        description="Width and height of the image."
    )
    origin: Annotated[list[Length], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Corner of lowest x and y; default [0 mm, 0 mm]."
    )
    scale_u: AxesSpec | None = Field(
        default=None, description="Each axis on its own. Default: scale_u of the instrument, one error for both."
    )


class ProfilerSpec(Strict):
    """An instrument for heights: x and y of the input lie in its field, z is the height."""

    z_range: Annotated[list[Length], Field(min_length=2, max_length=2)] = Field(
        description="Lowest and highest height."
    )
    z_scale_u: Ratio | None = Field(default=None, description="Of the height scale.")
    lateral_u: AxesSpec | None = Field(
        default=None, description="Each axis on its own. Default: scale_u of the instrument, one error for both."
    )
    field: Annotated[list[PositiveLength], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Width and depth of the field; default the rectangle about the points."
    )
    origin: Annotated[list[Length], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Corner of lowest x and y; with field."
    )

    @model_validator(mode="after")
    def _together(self) -> ProfilerSpec:
        if not self.z_range[0].base < self.z_range[1].base:
            raise PydanticCustomError("bad_value", "the highest height must lie above the lowest", {"key": "z_range"})
        if self.origin is not None and self.field is None:
            raise PydanticCustomError("contradiction", "an origin needs the field", {"key": "origin"})
        return self
