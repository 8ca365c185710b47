"""The set-up scripts on machines that are not this one: the system commands they call are replaced by fakes on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.source_tree import REPOSITORY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX shell scripts; Windows uses the README's pip commands")

BASE = ["libusb-1.0-0", "libgl1", "libegl1", "libx11-6", "libgomp1"]
# What the scripts need of any system, Debian or not.
ALWAYS_THERE = ("sh", "dash", "env", "cat", "head", "tr", "grep", "cksum", "dirname", "rm", "mkdir", "mktemp", "true")


class Machine:
    """A PATH with only fake package tools on it, and a log of what was asked of them."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "log"
        self.installed = folder / "installed"
        self.installed.write_text("", encoding="utf-8")
        for name in ALWAYS_THERE:
            path = shutil.which(name)
            if path:
                (self.bin / name).symlink_to(path)

    def add(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)

    def debian(self, *packages: str, user: int = 0) -> Machine:
        self.installed.write_text("\n".join(packages) + "\n", encoding="utf-8")
        # The package asked for is the last argument; like the real one, unknown packages are an error.
        self.add(
            "dpkg-query",
            f'for last; do :; done\ngrep -qx "$last" "{self.installed}" && echo installed',
        )
        self.add("apt-get", f'echo "apt-get $DEBIAN_FRONTEND $*" >>"{self.log}"')
        self.add("id", f"echo {user}")
        return self

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(REPOSITORY / "scripts" / "system_packages.sh"), *arguments],
            env={"PATH": str(self.bin)}, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip

    def asked(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_missing_library_is_found(machine: Machine) -> None:
    machine.debian(*(name for name in BASE if name != "libusb-1.0-0"))
    assert machine.run("missing", "base").stdout.split() == ["libusb-1.0-0"]


def test_a_removed_package_that_left_its_settings_is_missing(machine: Machine) -> None:
    machine.debian(*BASE)
    machine.add("dpkg-query", "echo config-files")
    assert machine.run("missing", "base").stdout.split() == BASE


def test_tests_also_want_a_browser_and_fonts(machine: Machine) -> None:
    machine.debian(*BASE)
    wanted = machine.run("missing", "test").stdout.split()
    assert "fonts-noto-cjk" in wanted
    ubuntu = (
        "ubuntu" in Path("/etc/os-release").read_text(encoding="utf-8") if Path("/etc/os-release").exists() else False
    )
    assert ("chromium" in wanted) is not ubuntu


def test_any_browser_of_the_family_will_do(machine: Machine) -> None:
    machine.debian(*BASE, "fonts-noto-cjk")
    machine.add("google-chrome", "exit 0")
    assert machine.run("missing", "test").stdout.split() == []


def test_debians_python_without_venv_asks_for_its_package(machine: Machine) -> None:
    machine.debian(*BASE)
    machine.add("python3", "case $2 in *ensurepip*) exit 1 ;; *) echo python3.11-venv ;; esac")
    assert machine.run("missing", "base", "python3").stdout.split() == ["python3.11-venv"]
    machine.add("python3", "exit 0")
    assert machine.run("missing", "base", "python3").stdout.split() == []


def test_root_installs_without_questions(machine: Machine) -> None:
    machine.debian("libgl1", "libx11-6", "libgomp1")
    done = machine.run("install", "base")
    assert done.returncode == 0, done.stderr
    update, install = machine.asked()
    assert update.endswith(" update")
    assert install.startswith("apt-get noninteractive ")
    assert install.endswith(" install --yes --no-install-recommends libusb-1.0-0 libegl1")


def test_nothing_missing_asks_for_nothing(machine: Machine) -> None:
    machine.debian(*BASE, user=1000)
    done = machine.run("install", "base")
    assert (done.returncode, machine.asked()) == (0, [])


def test_passwordless_sudo_is_used(machine: Machine) -> None:
    machine.debian(*BASE[1:], user=1000)
    machine.add("sudo", f'echo "sudo $*" >>"{machine.log}"; [ "$1" = -n ] && shift; exec "$@"')
    done = machine.run("install", "base")
    assert done.returncode == 0, done.stderr
    assert any(
        line.startswith("apt-get noninteractive ") and line.endswith(" libusb-1.0-0") for line in machine.asked()
    )
    assert all(line.startswith("sudo -n ") for line in machine.asked() if line.startswith("sudo"))


def test_without_rights_it_stops_with_the_command_to_type(machine: Machine) -> None:
    machine.debian(*BASE[2:], user=1000)
    machine.add("sudo", "exit 1")  # asks for a password
    done = machine.run("install", "base")
    assert done.returncode == 1
    assert machine.asked() == []
    command = "sudo apt-get update && sudo apt-get install --yes --no-install-recommends libusb-1.0-0 libgl1"
    assert command in [line.strip() for line in done.stderr.splitlines()]


def test_without_sudo_the_command_uses_su(machine: Machine) -> None:
    machine.debian(*BASE[1:], user=1000)
    done = machine.run("install", "base")
    assert done.returncode == 1
    command = "su -c 'apt-get update && apt-get install --yes --no-install-recommends libusb-1.0-0'"
    assert command in [line.strip() for line in done.stderr.splitlines()]


def test_a_failed_update_is_not_the_end(machine: Machine) -> None:
    machine.debian(*BASE[1:])
    machine.add("apt-get", f'echo "$*" >>"{machine.log}"; case " $* " in *" update "*) exit 100 ;; esac')
    assert machine.run("install", "base").returncode == 0
    assert len(machine.asked()) == 2


def test_a_failed_installation_is(machine: Machine) -> None:
    machine.debian(*BASE[1:])
    machine.add("apt-get", 'case " $* " in *" install "*) echo "E: no room left"; exit 100 ;; esac')
    done = machine.run("install", "base")
    assert done.returncode == 1
    assert "could not install: libusb-1.0-0" in done.stderr
    assert "E: no room left" in done.stderr, "its own message"


def test_other_systems_are_told_and_go_on(machine: Machine) -> None:
    done = machine.run("install", "test")
    assert done.returncode == 0
    assert "not Debian" in done.stderr and "abbe doctor" in done.stderr


def test_other_systems_without_venv_stop(machine: Machine) -> None:
    machine.add("python3", "exit 1")
    done = machine.run("install", "base", "python3")
    assert done.returncode == 1
    assert "cannot make virtual environments" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("install",), ("install", "everything"), ("remove", "base")])
def test_wrong_use_is_refused(machine: Machine, arguments: tuple[str, ...]) -> None:
    assert machine.run(*arguments).returncode == 2


class Checkout:
    """A folder with the real set-up script, beside fakes of the system's package script and of Python."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.root = folder
        (folder / "scripts").mkdir(parents=True)
        (folder / "metrology_core").mkdir()
        shutil.copy(REPOSITORY / "scripts" / "setup.sh", folder / "scripts")
        (folder / "scripts" / "system_packages.sh").write_text(
            f'echo "system $*" >>"{machine.log}"\n', encoding="utf-8"
        )
        (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
        (folder / "metrology_core" / "_version.py").write_text("", encoding="utf-8")
        # Makes an "environment" that holds itself, answers every question with yes and logs installations.
        fake = (
            f'case "$*" in\n'
            f'  "-m venv "*) for last; do :; done; mkdir -p "$last/bin"; cat "$0" >"$last/bin/python"\n'
            f'     env chmod +x "$last/bin/python"; echo "venv" >>"{machine.log}" ;;\n'
            f'  "-m pip install"*) for last; do :; done; echo "install $last" >>"{machine.log}" ;;\n'
            f'  -V*) echo "Python 3.11.2" ;;\n'
            f"esac"
        )
        machine.add("python3", fake)
        path = shutil.which("chmod")
        assert path
        (machine.bin / "chmod").symlink_to(path)

    def setup(self, *arguments: str) -> tuple[int, list[str]]:
        """(exit status, what was asked of the system)."""
        self.machine.log.write_text("", encoding="utf-8")
        done = subprocess.run(
            ["sh", str(self.root / "scripts" / "setup.sh"), *arguments],
            env={"PATH": str(self.machine.bin)}, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
        return done.returncode, self.machine.asked()


@pytest.fixture
def checkout(machine: Machine, tmp_path: Path) -> Checkout:
    return Checkout(machine, tmp_path / "a folder with spaces")


def test_set_up_runs_once(checkout: Checkout) -> None:
    status, first = checkout.setup("base")
    assert status == 0
    assert [line.split()[0] for line in first] == ["system", "venv", "install"]
    assert first[-1] == "install ."
    status, second = checkout.setup("base")
    assert status == 0
    assert second == ["system install base"]  # looked at again, since it is quick; nothing else


def test_the_tools_of_the_tests_include_the_base(checkout: Checkout) -> None:
    assert checkout.setup("test")[1][-1] == "install .[dev]"
    assert checkout.setup("base")[1] == ["system install base"]


def test_the_base_does_not_stand_for_the_tools(checkout: Checkout) -> None:
    checkout.setup("base")
    assert checkout.setup("test")[1][-1] == "install .[dev]"


def test_changed_dependencies_are_installed(checkout: Checkout) -> None:
    checkout.setup("test")
    (checkout.root / "pyproject.toml").write_text("[project]\n# changed\n", encoding="utf-8")
    assert checkout.setup("test")[1] == ["system install test", "install .[dev]"]


def test_a_failed_installation_is_tried_again(checkout: Checkout) -> None:
    checkout.setup("base")
    (checkout.root / ".venv" / ".abbe-base").unlink()
    python = checkout.root / ".venv" / "bin" / "python"
    working = python.read_text(encoding="utf-8")
    python.write_text('#!/bin/sh\ncase "$*" in "-m pip"*) exit 1 ;; esac\n', encoding="utf-8")
    assert checkout.setup("base")[0] != 0
    python.write_text(working, encoding="utf-8")
    assert checkout.setup("base") == (0, ["system install base", "install ."])


def test_a_broken_environment_is_replaced(checkout: Checkout) -> None:
    checkout.setup("base")
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert [line.split()[0] for line in checkout.setup("base")[1]] == ["system", "venv", "install"]


def test_an_old_python_is_refused(checkout: Checkout) -> None:
    checkout.machine.add("python3", "exit 1")
    assert checkout.setup("base") == (1, [])


def test_a_level_must_be_named(checkout: Checkout) -> None:
    assert checkout.setup() == (2, [])
    assert checkout.setup("everything") == (2, [])
