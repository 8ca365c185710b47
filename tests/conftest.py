"""What all tests share: where the data that is not in the repository lies, and which browser looks at the reports."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_data_root() -> tuple[Path | None, str]:
    """The folder of shared measurement data, or None and the reason."""
    named = os.environ.get("ABBE_DATA")
    if named:
        folder = Path(named)
        if not folder.is_dir():
            # A person who names a folder wants its tests run: a misspelt name must not pass as "skipped".
            raise pytest.UsageError(f"ABBE_DATA={named} is not a folder")
        return folder.resolve(), "named by ABBE_DATA"
    folder = REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder.resolve(), "found beside the repository"
    return None, "no shared measurement data: set ABBE_DATA to their folder, or put them in ../shared/data"


def find_browser() -> str | None:
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    return None


def pytest_report_header(config: pytest.Config) -> list[str]:
    folder, reason = find_data_root()
    return [f"shared data: {folder or 'absent'} ({reason})", f"browser: {find_browser() or 'none'}"]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of shared measurement data (ABBE_DATA or ../shared/data); the test is skipped where there is none."""
    folder, reason = find_data_root()
    if folder is None:
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """A headless-capable browser; skipped on a person's machine without one, a failure in continuous integration."""
    path = find_browser()
    if path is None:
        reason = f"no browser ({', '.join(BROWSERS)}): `make setup` installs one on Debian"
        if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
            pytest.fail(reason)
        pytest.skip(reason)
    return path
