"""The recipe as frozen, strict pydantic models (schema ``abbe/recipe/1``): inputs, instrument, decision, measure.

Dimensional values are `Amount`s: take ``recipe.inputs.tip_radius.to("mm")``. An unknown key is an error everywhere. The
parts live in files of their own; this one puts them together and is where others import them from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from pipelines.recipe.base import CurveSpec, Name, ResultSpec, Strict, ToleranceSpec
from pipelines.recipe.inputs import (
    FORMATS,
    AcquisitionSpec,
    DecisionSpec,
    InputFile,
    InputsSpec,
    InstrumentSpec,
    MpeSpec,
    TextSpec,
    ThermalSpec,
    TipSpec,
    VolumeSpec,
)
from pipelines.recipe.instruments import (
    AxesSpec,
    MicroscopeSpec,
    ProfilerSpec,
    RegistrationSpec,
    ScannerSpec,
    ViewSpec,
)
from pipelines.recipe.measure_contours import ContourCharacteristicSpec, DesignSpec, SemContoursMeasure
from pipelines.recipe.measure_deviation import (
    AlignSpec,
    DeviationCharacteristicSpec,
    DeviationMeasure,
    SectionSpec,
)
from pipelines.recipe.measure_features import (
    CRITERIA,
    FIT_KINDS,
    CalibratedSpec,
    DatumSystemSpec,
    FeatureCharacteristicSpec,
    FeaturesMeasure,
    FeatureSpec,
    ProcessSpec,
    RegionSpec,
    SelectSpec,
    SimulationSpec,
)
from pipelines.recipe.measure_film import FilmCharacteristicSpec, FilmMapMeasure
from pipelines.recipe.measure_sem import (
    ContactCharacteristicSpec,
    PixelSpec,
    SemCharacteristicSpec,
    SemContactsMeasure,
    SemLinesMeasure,
)

SCHEMA_ID = "abbe/recipe/1"

__all__ = [
    "CRITERIA",
    "FIT_KINDS",
    "FORMATS",
    "SCHEMA_ID",
    "AcquisitionSpec",
    "AlignSpec",
    "AxesSpec",
    "ContactCharacteristicSpec",
    "ContourCharacteristicSpec",
    "CalibratedSpec",
    "CurveSpec",
    "DatumSystemSpec",
    "DecisionSpec",
    "DesignSpec",
    "DeviationCharacteristicSpec",
    "DeviationMeasure",
    "FeatureCharacteristicSpec",
    "FeatureSpec",
    "FeaturesMeasure",
    "FilmCharacteristicSpec",
    "FilmMapMeasure",
    "InputFile",
    "InputsSpec",
    "TextSpec",
    "InstrumentSpec",
    "Measure",
    "MicroscopeSpec",
    "MpeSpec",
    "PixelSpec",
    "ProcessSpec",
    "ProfilerSpec",
    "Recipe",
    "RegionSpec",
    "RegistrationSpec",
    "ResultSpec",
    "ScannerSpec",
    "SectionSpec",
    "SelectSpec",
    "SemCharacteristicSpec",
    "SemContactsMeasure",
    "SemContoursMeasure",
    "SemLinesMeasure",
    "SimulationSpec",
    "Strict",
    "ThermalSpec",
    "TipSpec",
    "ToleranceSpec",
    "ViewSpec",
    "VolumeSpec",
]

Measure = Annotated[
    FeaturesMeasure | SemLinesMeasure | SemContactsMeasure | SemContoursMeasure | DeviationMeasure | FilmMapMeasure,
    Field(discriminator="kind"),
]


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
        if isinstance(self.measure, DeviationMeasure):
            found = {self.measure.nominal.file}
            if self.measure.align.targets is not None:
                found.add(self.measure.align.targets)
        if isinstance(self.measure, SemContoursMeasure) and self.measure.design is not None:
            found = {self.measure.design.file}
        yield from sorted(found)
