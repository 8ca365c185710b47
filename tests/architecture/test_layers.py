"""The layers and the doors: who may import whom, and which module alone may import a heavy library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source_tree import (
    PACKAGES,
    REPOSITORY,
    Import,
    imports_in,
    module_files,
    module_name,
    tree_of,
)

# library -> the modules (or packages, with a dot at the end) that may import it, and why it has a door at all.
DOORS: dict[str, tuple[tuple[str, ...], str]] = {
    "open3d": (("pointcloud.open3d_bridge",), "not installable everywhere; crashes where a system library is missing"),
    "cv2": (("wafer.opencv_bridge",), "changes types and ranges of images in silence; one place checks them"),
    "h5py": (("metrology_core.hdf5",), "file locking, closing and hostile headers are handled once"),
    "dask": (("pipelines.execute.",), "an executor, never part of a result"),
    "distributed": (("pipelines.execute.",), "an executor, never part of a result"),
    "numba": (("metrology_core._jit",), "compiler options are part of the numbers: one place sets them"),
    "trimesh": (("pointcloud.nominal.mesh",), "merges and reorders vertices unless told not to"),
    "gdstk": (("wafer.gds_bridge",), "an extra; layouts come back merged, in one unit, from one place"),
    "OCP": (("pointcloud.nominal.cad_bridge",), "an extra; its names differ between versions"),
    "tifffile": (("wafer.readers.", "wafer.simulate.lot"), "metadata of images is untrusted input; lot writes files"),
    "PIL": (("wafer.readers.",), "limits on the size of images are set once"),
    "jinja2": (("pipelines.report.",), "escaping is switched on once"),
    "cryptography": (("pipelines.",), "only the record keeper signs"),
    "ruamel": (("pipelines.recipe.",), "one YAML dialect"),
    "sqlite3": (("pipelines.catalogue",), "the catalogue alone is a database"),
}

# Packages that only the application may know.
APPLICATION_ONLY = ("click", "dask", "distributed", "jinja2", "pydantic", "rich", "ruamel")
HEAVY = ("cv2", "dask", "distributed", "h5py", "numba", "open3d", "scipy", "skimage", "tifffile", "trimesh", "PIL")
# Modules that are themselves imported inside functions, so a heavy library at their top costs nobody at start-up.
LAZY_MODULES: dict[str, str] = {
    "metrology_core._jit": "kernels are imported by the functions that run them",
}

ABOVE = {
    "metrology_core": {"pointcloud", "wafer", "pipelines"},
    "pointcloud": {"wafer", "pipelines"},
    "wafer": {"pointcloud", "pipelines"},
    "pipelines": set(),
}


def is_door(module: str, doors: tuple[str, ...]) -> bool:
    return any(module == door.rstrip(".") or (door.endswith(".") and module.startswith(door)) for door in doors)


def violations_of(module: str, imports: list[Import]) -> list[str]:
    """What the layers and the doors say against the imports of one module."""
    package = module.partition(".")[0]
    found = []
    for item in imports:
        place = f"{module}:{item.line} imports {item.name}"
        if item.library in ABOVE[package]:
            found.append(f"{place}: {package} is below {item.library}, or beside it")
        if item.library in {"tests", "benchmarks"}:
            found.append(f"{place}: not part of the distribution")
        if package != "pipelines" and item.library in APPLICATION_ONLY:
            found.append(f"{place}: belongs to pipelines")
        if item.library in DOORS and not is_door(module, DOORS[item.library][0]):
            doors, reason = DOORS[item.library]
            found.append(f"{place}: its door is {', '.join(doors)} ({reason})")
        if item.library in HEAVY and item.at_import_time and module not in LAZY_MODULES:
            found.append(f"{place} when it is imported itself: import it inside the function that needs it")
    return found


def test_every_module_keeps_to_layers_and_doors() -> None:
    found = [
        line for path in module_files() for line in violations_of(module_name(path), list(imports_in(tree_of(path))))
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("metrology_core.a", "import pointcloud.gdt", "is below pointcloud"),
        ("wafer.a", "def f():\n    from pointcloud import x", "beside it"),
        ("pointcloud.a", "import pydantic", "belongs to pipelines"),
        ("pipelines.a", "def f():\n    import open3d", "its door is pointcloud.open3d_bridge"),
        ("wafer.a", "def f():\n    import importlib\n    importlib.import_module('cv2')", "its door is"),
        ("metrology_core.a", "import scipy.linalg", "inside the function"),
        ("metrology_core.a", "class A:\n    import scipy", "inside the function"),
        ("pipelines.a", "import tests.conftest", "not part of the distribution"),
    ],
)
def test_a_planted_violation_is_seen(module: str, source: str, complaint: str) -> None:
    found = violations_of(module, list(imports_in(ast.parse(source))))
    assert len(found) == 1 and complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pipelines.a", "import pointcloud, wafer, metrology_core"),
        ("metrology_core.a", "def f():\n    from scipy import linalg"),
        ("pointcloud.open3d_bridge", "def f():\n    import open3d"),
        ("wafer.a", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cv2"),
        ("pipelines.execute.cluster", "def f():\n    import distributed"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert violations_of(module, list(imports_in(ast.parse(source)))) == []


def test_import_linter_agrees(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The contracts of pyproject.toml, which also follow chains of imports."""
    from importlinter import cli

    monkeypatch.chdir(REPOSITORY)
    status = cli.lint_imports(no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_relative_imports_are_not_used() -> None:
    """Absolute imports keep a later move of the packages mechanical, and this file's reading of imports complete."""
    found = [
        f"{module_name(path)}:{node.lineno}"
        for path in module_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not found, found


def test_every_folder_of_code_is_a_package() -> None:
    """A folder without __init__.py is left out of the wheel without a word."""
    folders = {path.parent for path in module_files()}
    missing = [
        str(folder.relative_to(REPOSITORY)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()
    ]
    assert not missing, missing


def test_all_four_packages_are_here_and_typed() -> None:
    for package in PACKAGES:
        assert (REPOSITORY / package / "__init__.py").is_file(), package
    typed: list[Path] = [REPOSITORY / package / "py.typed" for package in PACKAGES]
    assert [path.parent.name for path in typed if not path.is_file()] == []
