"""Two built reports and a browser, shared by the report's tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    """A helper beside this file, under a name of its own: test folders are no packages."""
    full = f"report_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return _load("synthetic")


@pytest.fixture(scope="session")
def blade(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report folder of a lot of rings: two nonconforming, one indeterminate, one corrupt, one crashed, one not run."""
    from pipelines.report import build_report

    folder = tmp_path_factory.mktemp("blade") / "run"
    return build_report(synthetic.write_run(folder, synthetic.blade_lot())).parent


@pytest.fixture(scope="session")
def wafer(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report folder of a lot of SEM images: one out of tolerance, one with lost edges, one blank."""
    from pipelines.report import build_report

    folder = tmp_path_factory.mktemp("wafer") / "run"
    return build_report(synthetic.write_run(folder, synthetic.wafer_lot(), name="16 nm lines")).parent


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[object]:
    with _load("browser").browse(chromium) as page:
        yield page
