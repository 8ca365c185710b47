"""Pages that come from registries and schemas say what these say."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.documents import REPOSITORY, blocks, text_of

SCHEMA = json.loads((REPOSITORY / "pipelines" / "recipe" / "recipe-1.schema.json").read_text(encoding="utf-8"))
# heading of docs/recipe.md -> definition of the schema ("" is the recipe itself)
SECTIONS = {
    "recipe": "",
    "inputs": "InputsSpec",
    "inputs.files": "InputFile",
    "inputs.text": "TextSpec",
    "inputs.acquisition": "AcquisitionSpec",
    "inputs.thermal": "ThermalSpec",
    "inputs.wafer": "WaferSpec",
    "inputs.wafer.field_size": "FieldSizeSpec",
    "instrument": "InstrumentSpec",
    "instrument.mpe": "MpeSpec",
    "instrument.volume": "VolumeSpec",
    "instrument.scanner": "ScannerSpec",
    "scanner.registration": "RegistrationSpec",
    "scanner.views": "ViewSpec",
    "instrument.microscope": "MicroscopeSpec",
    "instrument.profiler": "ProfilerSpec",
    "instrument.scale_u by axis": "AxesSpec",
    "instrument.tip": "TipSpec",
    "instrument.temperature": "WithU",
    "instrument.expansion": "ExpansionWithU",
    "decision": "DecisionSpec",
    "measure: features": "FeaturesMeasure",
    "measure.simulation": "SimulationSpec",
    "features": "FeatureSpec",
    "features.select": "SelectSpec",
    "features.select.region": "RegionSpec",
    "datum_system": "DatumSystemSpec",
    "characteristics of features": "FeatureCharacteristicSpec",
    "characteristics.nominal_curve": "CurveSpec",
    "characteristics.calibrated_workpiece": "CalibratedSpec",
    "characteristics.process": "ProcessSpec",
    "tolerance": "ToleranceSpec",
    "measure: sem_lines": "SemLinesMeasure",
    "sem_lines.pixel": "PixelSpec",
    "characteristics of sem_lines": "SemCharacteristicSpec",
    "measure: sem_contacts": "SemContactsMeasure",
    "characteristics of sem_contacts": "ContactCharacteristicSpec",
    "measure: sem_contours": "SemContoursMeasure",
    "sem_contours.design": "DesignSpec",
    "characteristics of sem_contours": "ContourCharacteristicSpec",
    "measure: film_map": "FilmMapMeasure",
    "characteristics of film_map": "FilmCharacteristicSpec",
    "measure: deviation": "DeviationMeasure",
    "deviation.align": "AlignSpec",
    "deviation.sections": "SectionSpec",
    "characteristics of deviation": "DeviationCharacteristicSpec",
}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", REPOSITORY / "scripts" / "generate_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_registry_pages_are_up_to_date() -> None:
    """In a process of its own: another test may have registered a characteristic of its own in this one."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "generate_docs.py"), "--check"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python scripts/generate_docs.py"


def test_check_finds_a_stale_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script()
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(script, "REPOSITORY", tmp_path)
    assert script.main(["--check"]) == 1
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    page = tmp_path / "docs" / "flags.md"
    page.write_text(page.read_text(encoding="utf-8").replace("degenerate", "regenerate"), encoding="utf-8")
    assert script.main(["--check"]) == 1


def _properties(name: str) -> dict[str, Any]:
    node = SCHEMA if not name else SCHEMA["$defs"][name]
    for option in (node, *node.get("anyOf", [])):
        if "properties" in option:
            return dict(option["properties"])
    raise AssertionError(f"{name} has no keys")


def _tables() -> dict[str, dict[str, str]]:
    """Heading -> key -> the rest of its row, from the tables of docs/recipe.md."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in text_of("docs/recipe.md").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        row = re.match(r"\| `([^`]+)` \|(.*)\|$", line)
        if row:
            found.setdefault(heading, {})[row.group(1)] = row.group(2)
    return found


def test_every_definition_has_a_section() -> None:
    assert set(SCHEMA["$defs"]) == {name for name in SECTIONS.values() if name}


@pytest.mark.parametrize("heading", SECTIONS)
def test_recipe_reference_has_every_key(heading: str) -> None:
    assert set(_tables().get(heading, {})) == set(_properties(SECTIONS[heading]))


@pytest.mark.parametrize("heading", SECTIONS)
def test_recipe_reference_names_every_choice_and_default(heading: str) -> None:
    rows = _tables()[heading]
    for key, schema in _properties(SECTIONS[heading]).items():
        for option in (schema, *schema.get("anyOf", [])):
            for choice in option.get("enum", []):
                assert f"`{choice}`" in rows[key], f"{heading}: {key} does not name {choice}"
        default = schema.get("default")
        if isinstance(default, str):
            assert f"`{default}`" in rows[key], f"{heading}: {key} does not name its default {default}"


def test_recipes_of_the_reference_are_valid(tmp_path: Path) -> None:
    from pipelines.recipe import load_recipe

    found = blocks("docs/recipe.md", "yaml")
    whole = [block for block in found if block.body.startswith("schema:")]
    assert whole, "the reference shows a whole recipe"
    for number, block in enumerate(whole):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block.body, encoding="utf-8")
        load_recipe(path)
