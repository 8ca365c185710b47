"""The doctor on machines that lack something: the machine is changed under it, the answer is read."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines import doctor
from pipelines.doctor import SYSTEM_LIBRARIES, Check, doctor_command, run_checks


@pytest.fixture(autouse=True)
def no_memory_of_other_machines() -> None:
    doctor.unloadable_libraries.cache_clear()


def only(rows: list[Check]) -> Check:
    (row,) = rows
    return row


def test_this_machine_gets_a_row_for_every_question(capsys: pytest.CaptureFixture[str]) -> None:
    status = doctor_command(as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "abbe/doctor/1"
    names = {row["name"] for row in document["checks"]}
    assert {"Python", "abbe", "processors", "memory", "Open3D", "browser", "Chinese fonts", "disk"} <= names
    assert document["healthy"] is (status == 0)
    assert document["healthy"] is all(row["status"] != "missing" for row in document["checks"])
    for row in document["checks"]:
        assert set(row) == {"name", "status", "detail", "remedy"}
        assert row["status"] in {"ok", "warning", "missing"}
        assert row["status"] != "missing" or row["remedy"], "what is missing must say how to mend it"


def test_asking_imports_nothing_fragile() -> None:
    code = (
        "import sys\nfrom pipelines import doctor\ndoctor.run_checks()\n"
        "assert not {'open3d', 'cv2', 'dask', 'h5py'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(doctor.__file__).parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_table_names_each_remedy_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = "apt-get install --yes " + " ".join(f"a-package-with-a-long-name-{n}" for n in range(9))
    rows = [
        Check("a", "missing", "[b]gone[/b]", command),
        Check("b", "missing", "gone", command),
        Check("c", "ok", "here"),
    ]
    monkeypatch.setattr(doctor, "run_checks", lambda: rows)
    assert doctor_command(as_json=False) == 1
    out = capsys.readouterr().out
    assert out.count(command) == 1, "on one line, to be copied"
    assert "[b]gone[/b]" in out, "details are text, not markup"


def test_warnings_alone_are_healthy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "run_checks", lambda: [Check("a", "warning", "slow", "do this")])
    assert doctor_command(as_json=False) == 0
    assert "do this" in capsys.readouterr().out


def test_a_check_that_breaks_is_a_row() -> None:
    def check_the_moon() -> list[Check]:
        raise OSError("too far")

    row = only(doctor.guarded(check_the_moon))
    assert (row.name, row.status) == ("the moon", "warning")
    assert "OSError: too far" in row.detail


def test_a_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the real loader, with a name no system has."""
    absent = doctor.Library("libabbe-nowhere.so.7", "libabbe7", "libabbe")
    monkeypatch.setattr(doctor, "SYSTEM_LIBRARIES", (absent,))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if name == "apt-get" else None)
    row = only(doctor.check_system_libraries())
    assert row.status == "missing"
    assert "libabbe-nowhere.so.7" in row.detail
    assert row.remedy is not None and row.remedy.endswith("apt-get install --yes libabbe7")


@pytest.mark.parametrize(
    ("manager", "user", "command"),
    [
        ("apt-get", 0, "apt-get install --yes libusb-1.0-0 libgl1"),
        ("apt-get", 1000, "sudo apt-get install --yes libusb-1.0-0 libgl1"),
        ("dnf", 1000, "sudo dnf install libusb1 mesa-libGL"),
        ("none", 1000, "install the packages that hold libusb-1.0.so.0, libGL.so.1"),
    ],
)
def test_the_command_fits_the_system(monkeypatch: pytest.MonkeyPatch, manager: str, user: int, command: str) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if name == manager else None)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: user, raising=False)
    assert doctor.install_command(SYSTEM_LIBRARIES[:2]) == command


@pytest.fixture
def open3d_says(monkeypatch: pytest.MonkeyPatch) -> object:
    """Make the import of Open3D in another process end as told."""

    def install(returncode: int, stdout: str = "", stderr: str = "") -> None:
        answer = SimpleNamespace(returncode=returncode, stdout=stdout, stderr=stderr)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(name=name))
        monkeypatch.setattr(doctor, "unloadable_libraries", lambda: {"libusb-1.0.so.0": "not found"})
        monkeypatch.setattr(doctor.subprocess, "run", lambda *a, **k: answer)
        monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}" if name == "apt-get" else None)

    return install


def test_open3d_without_its_library(open3d_says) -> None:  # type: ignore[no-untyped-def]
    message = "Traceback\nOSError: libGL.so.1: cannot open shared object file: No such file or directory\n"
    open3d_says(1, stderr=message)
    row = only(doctor.check_open3d())
    assert row.status == "missing"
    assert "libGL.so.1: cannot open" in row.detail
    # The one the loader stopped at, and the one it would stop at next.
    assert row.remedy is not None and row.remedy.endswith("libusb-1.0-0 libgl1")


def test_open3d_that_ends_the_process(open3d_says) -> None:  # type: ignore[no-untyped-def]
    open3d_says(-11)
    row = only(doctor.check_open3d())
    assert row.status == "missing" and "signal 11" in row.detail and "--force-reinstall" in str(row.remedy)


def test_open3d_that_works(open3d_says) -> None:  # type: ignore[no-untyped-def]
    open3d_says(0, stdout="a banner\n0.20.0")
    assert doctor.check_open3d() == [Check("Open3D", "ok", "0.20.0")]


def test_open3d_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    row = only(doctor.check_open3d())
    assert row.status == "warning", "everything but the bridge works without it"


def test_a_package_that_is_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = [
        "numpy>=2.0",
        "nowhere-to-be-found>=3",
        "scipy>=9999",
        'other>=1; sys_platform == "amiga"',
        'x; extra == "e"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: declared)
    rows = doctor.check_packages()
    missing = only([row for row in rows if row.status == "missing"])
    assert missing.remedy == 'python -m pip install "nowhere-to-be-found" "scipy>=9999"'
    assert any(row.status == "ok" and "numpy " in row.detail for row in rows)


@pytest.mark.parametrize(
    ("text", "processors"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_the_quota_of_a_container_counts(tmp_path: Path, text: str, processors: int | None) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text, encoding="ascii")
    assert doctor._control_group_quota(path) == processors


def test_no_browser_and_no_fonts_are_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(doctor, "_chinese_font", lambda: None)
    browser, fonts = only(doctor.check_browser()), only(doctor.check_fonts())
    assert (browser.status, fonts.status) == ("warning", "warning")
    assert "chromium" in str(browser.remedy) and "fonts-noto-cjk" in str(fonts.remedy)


def test_the_kernel_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from metrology_core import _jit

    monkeypatch.setattr(_jit, "cache_enabled", lambda: True)
    monkeypatch.setattr(_jit, "cache_folder", lambda: tmp_path)
    (tmp_path / "f.abbe").touch()
    row = only(doctor.check_kernel_cache())
    assert row.status == "ok" and "(1 compiled kernels)" in row.detail
    monkeypatch.setattr(_jit, "cache_folder", lambda: None)
    assert only(doctor.check_kernel_cache()).status == "warning"
    monkeypatch.setattr(_jit, "cache_enabled", lambda: False)
    assert only(doctor.check_kernel_cache()).remedy == "unset ABBE_NUMBA_CACHE"


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=10 * 1024**2))
    row = only(doctor.check_disk())
    assert row.status == "warning" and row.detail.startswith("0.0 GiB")


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2**28, total=2**31))
    assert only(doctor.check_memory()).status == "warning"


def test_rows_come_in_the_order_of_mending() -> None:
    names = [row.name for row in run_checks()]
    assert names[0] == "Python" and names[-1] == "disk"
