"""The wheel as a stranger gets it: built from a copy, installed where the repository is not importable, run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source_tree import PACKAGES, REPOSITORY

# Files that lie in the packages and are for people who read the source.
NOT_SHIPPED = {".md"}


def run(arguments: list[str | Path], cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run without anything that could lead back to the repository or to the network's settings of this shell."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    return subprocess.run(
        [str(item) for item in arguments],
        cwd=cwd, env={**variables, **extra}, capture_output=True, text=True, check=False, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network from a copy that also holds what must stay out."""
    copy = tmp_path_factory.mktemp("source")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc")
    for name in (*PACKAGES, "tests", "benchmarks", "examples", "docs", "scripts"):
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, copy / name, ignore=skip)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    done = run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out], copy)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; the dependencies are borrowed from the one that runs the tests."""
    home = tmp_path_factory.mktemp("environment")
    done = run([sys.executable, "-m", "venv", "--without-pip", home], home)
    assert done.returncode == 0, done.stderr
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    if not python.exists():
        python = scripts / "python"
    done = run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet",
         "--disable-pip-version-check", wheel],
        home,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    where = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], home).stdout.strip()
    # A folder added by a .pth file does not run the .pth files in it: the editable install of the repository stays out.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(where) / "borrowed_dependencies.pth").write_text("\n".join(sorted(borrowed)) + "\n", encoding="utf-8")
    return scripts


def test_top_levels_are_the_four_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_every_file_of_the_packages_is_in_it(wheel: Path) -> None:
    """Code in a folder without __init__.py, or an asset with a new suffix, would be left out in silence."""
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in NOT_SHIPPED
    }
    assert source - shipped == set(), "in the source, not in the wheel"
    assert shipped - source == set(), "in the wheel, not in the source"


def test_the_wheel_declares_what_pyproject_says(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    entries = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "abbe = pipelines.cli:main" in entries
    assert "Requires-Python: >=3.11" in metadata
    for extra in ("cad", "e57", "gds", "pdf", "interop", "test", "dev"):
        assert f"Provides-Extra: {extra}" in metadata
    from metrology_core._version import __version__

    assert f"\nVersion: {__version__}\n" in metadata


def test_it_is_the_wheel_that_is_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, sys, metrology_core, pointcloud, wafer, pipelines\n"
        "files = [m.__file__ for m in (metrology_core, pointcloud, wafer, pipelines)]\n"
        "sys.stdout.write(json.dumps({'files': files, 'path': sys.path}))"
    )
    done = run([installed / "python", "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(installed.parent) for file in found["files"]), found["files"]
    assert str(REPOSITORY) not in found["path"]


def test_the_command_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    from metrology_core._version import __version__

    version = run([installed / "abbe", "--version"], tmp_path)
    assert version.returncode == 0, version.stderr
    assert __version__ in version.stdout
    usage = run([installed / "abbe", "--help"], tmp_path)
    assert usage.returncode == 0, usage.stderr
    for command in ("demo", "run", "report", "fit", "doctor"):
        assert command in usage.stdout
    assert list(tmp_path.iterdir()) == [], "asking for help must leave nothing behind"


def test_a_fit_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """Four points of the plane z = 2 x + 3: exact in binary, so the residuals are rounding only."""
    points = tmp_path / "plane.csv"
    points.write_text("x,y,z\n0,0,3\n1,0,5\n0,1,3\n1,1,5\n2,1,7\n", encoding="utf-8")
    done = run([installed / "abbe", "fit", "plane", points, "--unit", "mm", "--json"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["feature"] == "plane" and answer["n_points"] == 5 and answer["status"] == "converged"
    # The slope of the normal, to 1e-12: five points of size 10, some hundred roundings of 1e-16.
    normal = answer["parameters"]["normal"]
    assert abs(normal[0] / normal[2] + 2.0) < 1e-12
    assert abs(answer["rms"]) < 1e-12  # the same bound
