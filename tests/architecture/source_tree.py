"""The source as the architecture tests see it: modules, their imports, and the files that would be committed."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("metrology_core", "pointcloud", "wafer", "pipelines")
# What a clone without git may hold beside the source (a fresh machine has no git).
NOT_SOURCE = {
    ".venv",
    ".git",
    "build",
    "dist",
    "demo-run",
    "runs",
    "node_modules",
    "htmlcov",
    ".hypothesis",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
}


@dataclass(frozen=True)
class Import:
    """One import statement's target, where it stands, and whether it runs when the module is imported."""

    name: str
    line: int
    at_import_time: bool

    @property
    def library(self) -> str:
        return self.name.partition(".")[0]


def module_files() -> list[Path]:
    return sorted(
        path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py") if "__pycache__" not in path.parts
    )


def module_name(path: Path, root: Path = REPOSITORY) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports_in(tree: ast.AST) -> Iterator[Import]:
    """All imports that can run: those under `if TYPE_CHECKING` are only annotations and are left out.

    A literal `importlib.import_module("x")` counts as the import it is.
    """
    yield from _walk(tree, at_import_time=True)


def _walk(node: ast.AST, *, at_import_time: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _walk(ast.Module(body=[other], type_ignores=[]), at_import_time=at_import_time)
            continue
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, at_import_time)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield Import(child.module, child.lineno, at_import_time)
        elif isinstance(child, ast.Call):
            target = child.func
            called = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            first = child.args[0] if child.args else None
            if called in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield Import(str(first.value), child.lineno, at_import_time)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, at_import_time=at_import_time and not inside)


def source_files() -> list[Path]:
    """Every file that is, or would be, committed; without git, everything but environments, builds and caches."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=REPOSITORY, capture_output=True, check=True,
        ).stdout.decode()  # fmt: skip
        files = [REPOSITORY / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        files = []
        for folder, names, here in os.walk(REPOSITORY):
            names[:] = [
                name
                for name in names
                if name not in NOT_SOURCE and "cache" not in name and not name.endswith(".egg-info")
            ]
            files += [Path(folder) / name for name in here]
    return sorted(path for path in files if path.is_file())
