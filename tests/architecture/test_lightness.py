"""Importing a package, or asking for help, loads none of the heavy libraries (seconds are measured in benchmarks/)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.source_tree import REPOSITORY

HEAVY = ("numba", "scipy", "open3d", "cv2", "h5py", "dask", "distributed", "skimage", "trimesh", "tifffile", "PIL")
# Only the command line has to start without these: the packages may use numpy, pipelines may use pydantic.
SLOW_TO_START = (*HEAVY, "numpy", "pydantic", "jinja2", "rich", "cryptography", "sqlite3")


def libraries_after(code: str) -> set[str]:
    """The top-level names in sys.modules of a fresh interpreter that has run `code`."""
    script = (
        f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n{code}\n"
        "import json\nsys.stdout.write('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def run_command(*arguments: str) -> str:
    """Code that runs `abbe ARGUMENTS` in-process and survives its exit, which must be status 0."""
    return (
        f"sys.argv = ['abbe', *{arguments!r}]\n"
        "from pipelines.cli import main\n"
        "status = 0\n"
        "try:\n    status = main()\nexcept SystemExit as leave:\n    status = leave.code\n"
        "assert not status, status\n"
    )


@pytest.mark.parametrize("module", ["metrology_core", "pointcloud", "wafer", "pipelines", "pipelines.cli"])
def test_import_is_light(module: str) -> None:
    assert libraries_after(f"import {module}").isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_asking_for_help_is_light(arguments: list[str]) -> None:
    assert libraries_after(run_command(*arguments)).isdisjoint(SLOW_TO_START)


def test_the_version_is_readable_without_numpy() -> None:
    code = f"import runpy\nrunpy.run_path({str(REPOSITORY / 'metrology_core/_version.py')!r})['__version__']"
    assert "numpy" not in libraries_after(code)


def test_a_heavy_import_would_be_seen() -> None:
    assert "sqlite3" in libraries_after("import sqlite3")
