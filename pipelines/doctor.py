"""`abbe doctor`: what this machine has, what is missing, and the command that mends it.

Every check is a function without arguments that returns rows; a check that fails is itself a row, never a traceback.
Nothing here imports the libraries it asks about into this process: one that lacks a system library may end the process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warning", "missing"]

SCHEMA = "abbe/doctor/1"
MINIMUM_PYTHON = (3, 11)
# A run of a thousand parts writes some hundred megabytes; a full disk stops it half-way.
ROOM_WANTED = 2 * 1024**3
# The first import of a large library from a cold disk.
PATIENCE_S = 120.0

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge", "chrome")
MAC_BROWSERS = ("/Applications/Google Chrome.app", "/Applications/Chromium.app", "/Applications/Microsoft Edge.app")


@dataclass(frozen=True)
class Library:
    """A shared library of the system: its file, and the package that brings it (Debian family, Fedora family)."""

    file: str
    debian: str
    fedora: str


SYSTEM_LIBRARIES = (
    Library("libusb-1.0.so.0", "libusb-1.0-0", "libusb1"),
    Library("libGL.so.1", "libgl1", "mesa-libGL"),
    Library("libEGL.so.1", "libegl1", "mesa-libEGL"),
    Library("libX11.so.6", "libx11-6", "libX11"),
    Library("libgomp.so.1", "libgomp1", "libgomp"),
)


@dataclass(frozen=True)
class Check:
    """One row: `missing` stops something Abbe does, `warning` makes it slower or plainer; `remedy` is what to type."""

    name: str
    status: Status
    detail: str
    remedy: str | None = None


def run_checks() -> list[Check]:
    """All checks, in the order in which a person would mend things."""
    rows: list[Check] = []
    for check in (
        check_python,
        check_packages,
        check_processors,
        check_memory,
        check_system_libraries,
        check_open3d,
        check_browser,
        check_fonts,
        check_kernel_cache,
        check_disk,
    ):
        rows += guarded(check)
    return rows


def guarded(check: Callable[[], Iterable[Check]]) -> list[Check]:
    """The rows of a check; if the check itself breaks, a row that says so."""
    try:
        return list(check())
    except Exception as problem:  # noqa: BLE001 - the doctor is for machines on which things break
        name = check.__name__.removeprefix("check_").replace("_", " ")
        return [Check(name, "warning", f"could not be checked: {type(problem).__name__}: {problem}")]


def doctor_command(as_json: bool) -> int:
    """Write the report to stdout, as a table or as one JSON document; 0 where nothing is missing, else 1."""
    rows = run_checks()
    healthy = all(row.status != "missing" for row in rows)
    if as_json:
        document = {"schema": SCHEMA, "healthy": healthy, "checks": [asdict(row) for row in rows]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        _write_table(rows)
    return 0 if healthy else 1


def _write_table(rows: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    styles = {"ok": "green", "warning": "yellow", "missing": "bold red"}
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(f"[{styles[row.status]}]{row.status}[/]", escape(row.name), escape(row.detail))
    console.print(table)
    remedies = list(dict.fromkeys(row.remedy for row in rows if row.remedy and row.status != "ok"))
    if remedies:
        console.print("\nWhat to do:")
        for remedy in remedies:
            # Commands are for copying: a wrapped line would break them.
            console.print(f"  {escape(remedy)}", soft_wrap=True)
    else:
        console.print("\nNothing is missing.")


# ------------------------------------------------------------------------------------------------- Python, packages


def check_python() -> list[Check]:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        return [Check("Python", "missing", f"{text}; Abbe needs {wanted} or newer", f"install Python {wanted}")]
    return [Check("Python", "ok", text)]


def check_packages() -> list[Check]:
    """The base dependencies that the installed distribution declares for this machine, with their versions."""
    from importlib import metadata

    from metrology_core._version import __version__

    rows = [Check("abbe", "ok", __version__)]
    try:
        declared = metadata.requires("abbe") or []
    except metadata.PackageNotFoundError:
        rows[0] = Check("abbe", "warning", f"{__version__}, run from its source folder", 'pip install -e ".[dev]"')
        return rows
    found, absent = [], []
    for text in declared:
        name, specifier, applies = _parse_requirement(text)
        if not applies:
            continue
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if not name.startswith("open3d"):  # has a row of its own
                absent.append(name)
            continue
        if not _satisfies(version, specifier):
            absent.append(f"{name}{specifier}")
        found.append(f"{name} {version}")
    rows.append(Check("packages", "ok", ", ".join(found)))
    if absent:
        remedy = "python -m pip install " + " ".join(f'"{item}"' for item in absent)
        rows.append(Check("packages", "missing", ", ".join(absent), remedy))
    return rows


def _parse_requirement(text: str) -> tuple[str, str, bool]:
    """(name, version specifier, whether it applies here); a requirement of an extra does not apply."""
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    return requirement.name, str(requirement.specifier), applies


def _satisfies(version: str, specifier: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


# ------------------------------------------------------------------------------------------------ processors, memory


def usable_processors() -> int:
    """Processors this process may use: its affinity, cut down to the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _control_group_quota(Path("/sys/fs/cgroup/cpu.max"))
    return max(1, min(count, quota)) if quota else count


def _control_group_quota(path: Path) -> int | None:
    """Whole processors granted by a `cpu.max` file ("200000 100000" grants two), or None where nothing limits."""
    try:
        granted, period = path.read_text(encoding="ascii").split()
        return max(1, round(int(granted) / int(period)))
    except (OSError, ValueError):
        return None


def check_processors() -> list[Check]:
    set_by_hand = {
        name: os.environ[name]
        for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        if name in os.environ
    }
    detail = f"{usable_processors()} usable of {os.cpu_count() or 1}"
    if set_by_hand:
        detail += "; set: " + ", ".join(f"{name}={value}" for name, value in set_by_hand.items())
    return [Check("processors", "ok", detail)]


def check_memory() -> list[Check]:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / 1024**3:.1f} GiB free of {memory.total / 1024**3:.1f} GiB"
    # One worker that has loaded every library holds about 0.4 GiB before it reads a part.
    if memory.available < 1024**3:
        return [Check("memory", "warning", detail, "close other programs, or run with --workers 1")]
    return [Check("memory", "ok", detail)]


# ----------------------------------------------------------------------------------------- system libraries, Open3D

_LOADER = """
import ctypes, json, sys
problems = {}
for name in json.loads(sys.argv[1]):
    try:
        ctypes.CDLL(name)
    except OSError as problem:
        problems[name] = str(problem)
sys.stdout.write(json.dumps(problems))
"""


@cache
def unloadable_libraries() -> dict[str, str]:
    """The system libraries the loader cannot load, with its message; asked in another process. Empty off Linux."""
    if not sys.platform.startswith("linux"):
        return {}
    names = json.dumps([library.file for library in SYSTEM_LIBRARIES])
    done = subprocess.run(
        [sys.executable, "-c", _LOADER, names], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return dict(json.loads(done.stdout))


def install_command(libraries: Iterable[Library]) -> str:
    """What to type on this system to get these libraries."""
    wanted = list(libraries)
    prefix = "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return f"{prefix}apt-get install --yes {' '.join(library.debian for library in wanted)}"
    if shutil.which("dnf"):
        return f"{prefix}dnf install {' '.join(library.fedora for library in wanted)}"
    return f"install the packages that hold {', '.join(library.file for library in wanted)}"


def check_system_libraries() -> list[Check]:
    if not sys.platform.startswith("linux"):
        return [Check("system libraries", "ok", "none are needed on this system")]
    problems = unloadable_libraries()
    lacking = [library for library in SYSTEM_LIBRARIES if library.file in problems]
    if not lacking:
        return [Check("system libraries", "ok", ", ".join(library.file for library in SYSTEM_LIBRARIES))]
    remedy = install_command(lacking)
    return [
        Check("system library", "missing", f"{library.file} (Open3D loads it): {problems[library.file]}", remedy)
        for library in lacking
    ]


def check_open3d() -> list[Check]:
    """Import Open3D in another process, because a missing system library may end the process that imports it."""
    from importlib.util import find_spec

    name = "Open3D"
    if find_spec("open3d") is None:
        detail = "not installed; everything but the Open3D bridge works"
        package = "open3d-cpu" if (sys.platform, platform.machine()) == ("linux", "x86_64") else "open3d"
        return [
            Check(name, "warning", detail, f"python -m pip install {package}   (not every system has a build of it)")
        ]
    code = "import open3d, sys; sys.stdout.write('\\n' + open3d.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    if done.returncode == 0:
        return [Check(name, "ok", done.stdout.splitlines()[-1])]
    if done.returncode < 0:
        return [
            Check(name, "missing", f"its import was ended by signal {-done.returncode}", _open3d_remedy(done.stderr))
        ]
    message = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return [Check(name, "missing", f"installed, but: {message}", _open3d_remedy(done.stderr))]


def _open3d_remedy(message: str) -> str:
    named = [library for library in SYSTEM_LIBRARIES if library.file in message]
    if named:
        # The loader stops at the first; name the others in the same breath.
        others = unloadable_libraries()
        return install_command(library for library in SYSTEM_LIBRARIES if library in named or library.file in others)
    return "python -m pip install --force-reinstall open3d-cpu   (or open3d)"


# --------------------------------------------------------------------------------------------------- report viewing


def find_browser() -> str | None:
    """A browser of the Chromium family, which shows reports and prints them to PDF."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    return next((path for path in MAC_BROWSERS if sys.platform == "darwin" and Path(path).exists()), None)


def check_browser() -> list[Check]:
    path = find_browser()
    if path:
        return [Check("browser", "ok", path)]
    detail = "no Chromium found; reports open in any browser, but cannot be printed to PDF from the command line"
    if sys.platform == "win32":
        return [Check("browser", "ok", "Edge is part of Windows")]
    remedy = "apt-get install --yes chromium" if shutil.which("apt-get") else "install Chromium"
    return [Check("browser", "warning", detail, remedy)]


def check_fonts() -> list[Check]:
    """Whether Chinese text has glyphs; Windows and macOS bring some."""
    name = "Chinese fonts"
    if not sys.platform.startswith("linux"):
        return [Check(name, "ok", "part of the operating system")]
    family = _chinese_font()
    if family:
        return [Check(name, "ok", family)]
    remedy = "apt-get install --yes fonts-noto-cjk" if shutil.which("apt-get") else "install the Noto CJK fonts"
    return [Check(name, "warning", "none found: Chinese reports would show boxes on this machine", remedy)]


def _chinese_font() -> str | None:
    lister = shutil.which("fc-list")
    if lister:
        done = subprocess.run(
            [lister, ":lang=zh-cn", "family"], capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        families = sorted(line.split(",")[0].strip() for line in done.stdout.splitlines() if line.strip())
        return families[0] if families else None
    folders = [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts"]
    for folder in folders:
        for pattern in ("**/*CJK*", "**/wqy-*", "**/*SourceHanSans*"):
            for path in sorted(folder.glob(pattern)):
                if path.is_file():
                    return path.stem
    return None


# ------------------------------------------------------------------------------------------------------ cache, disk


def check_kernel_cache() -> list[Check]:
    """Whether compiled kernels survive the process; without that every command compiles them again."""
    from metrology_core import _jit

    name = "kernel cache"
    if not _jit.cache_enabled():
        return [Check(name, "warning", "switched off: every process compiles its kernels", "unset ABBE_NUMBA_CACHE")]
    folder = _jit.cache_folder()
    if folder is None:
        remedy = "set ABBE_CACHE_DIR to a folder of yours that nobody else can write"
        return [Check(name, "warning", "no safe folder is writable: every process compiles its kernels", remedy)]
    compiled = sum(1 for path in folder.iterdir() if path.suffix == ".abbe")
    return [Check(name, "ok", f"{folder} ({compiled} compiled kernels)")]


def check_disk() -> list[Check]:
    usage = shutil.disk_usage(Path.cwd())
    detail = f"{usage.free / 1024**3:.1f} GiB free here"
    if usage.free < ROOM_WANTED:
        return [Check("disk", "warning", detail, "free some space, or write runs elsewhere with --out")]
    if not os.access(Path.cwd(), os.W_OK):
        return [Check("disk", "warning", f"{detail}, but this folder is read-only", "write runs elsewhere with --out")]
    return [Check("disk", "ok", detail)]
