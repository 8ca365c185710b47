"""The kernel cache: many processes at once, torn files, changed callees, other folders, switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

OUTER = """
from metrology_core._jit import kernel
from probe.kernels.callee import twice

@kernel
def total(values):
    s = 0.0
    for i in range(values.shape[0]):
        s += twice(values[i])
    return s
"""
CALLEE = """
from metrology_core._jit import inner

@inner
def twice(x):
    return FACTOR * x
"""
RUN = """
import numpy as np
from metrology_core._jit import compile_report
from probe.kernels.outer import total
with compile_report() as names:
    value = total(np.arange(4.0))
print(value, "compiled" if names else "loaded")
"""


@pytest.fixture
def probe(tmp_path: Path, repository: Path) -> tuple[Path, dict[str, str]]:
    """A small package with kernels, and the environment that runs it with its own cache folder."""
    kernels = tmp_path / "site" / "probe" / "kernels"
    kernels.mkdir(parents=True)
    for folder in (kernels, kernels.parent):
        (folder / "__init__.py").write_text("")
    (kernels / "outer.py").write_text(OUTER)
    (kernels / "callee.py").write_text(CALLEE.replace("FACTOR", "2.0"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ABBE_", "NUMBA_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "site"), str(repository)])
    environment["ABBE_CACHE_DIR"] = str(tmp_path / "cache")
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return kernels, environment


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN], env=environment, stdout=subprocess.PIPE, text=True)


def run(environment: dict[str, str]) -> str:
    process = start(environment)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out.strip()


def files(environment: dict[str, str]) -> list[Path]:
    return sorted(Path(environment["ABBE_CACHE_DIR"]).rglob("*.abbe"))


def test_processes_that_start_together_compile_once(probe: tuple[Path, dict[str, str]]) -> None:
    _, environment = probe
    processes = [start(environment) for _ in range(4)]
    answers = [p.communicate(timeout=180)[0].strip() for p in processes]
    assert all(p.returncode == 0 for p in processes)
    assert sorted(answers) == ["12.0 compiled"] + ["12.0 loaded"] * 3
    assert len(files(environment)) == 1


def test_a_torn_file_is_compiled_again(probe: tuple[Path, dict[str, str]]) -> None:
    _, environment = probe
    assert run(environment) == "12.0 compiled"
    (stored,) = files(environment)
    whole = stored.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1])):
        stored.write_bytes(broken)
        assert run(environment) == "12.0 compiled"
    assert run(environment) == "12.0 loaded"


def test_a_changed_callee_in_another_file_is_noticed(probe: tuple[Path, dict[str, str]]) -> None:
    kernels, environment = probe
    assert run(environment) == "12.0 compiled"
    (kernels / "callee.py").write_text(CALLEE.replace("FACTOR", "3.0"))
    assert run(environment) == "18.0 compiled"
    (kernels / "callee.py").write_text(CALLEE.replace("FACTOR", "2.0"))
    assert run(environment) == "12.0 loaded"


def test_nothing_is_written_beside_the_source_or_when_switched_off(probe: tuple[Path, dict[str, str]]) -> None:
    kernels, environment = probe
    assert run({**environment, "ABBE_NUMBA_CACHE": "0"}) == "12.0 compiled"
    assert not Path(environment["ABBE_CACHE_DIR"]).exists()
    assert run(environment) == "12.0 compiled"
    assert sorted(p.name for p in kernels.parent.rglob("*") if p.is_file()) == [
        "__init__.py", "__init__.py", "callee.py", "outer.py",
    ]  # fmt: skip


def test_the_plain_python_of_a_kernel_gives_the_same_number(probe: tuple[Path, dict[str, str]]) -> None:
    _, environment = probe
    assert run({**environment, "NUMBA_DISABLE_JIT": "1"}).startswith("12.0")


def test_a_cache_folder_that_cannot_be_made_costs_time_only(probe: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    _, environment = probe
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run({**environment, "ABBE_CACHE_DIR": str(blocked / "cache")}) == "12.0 compiled"
