"""Rules of the source text: size, silence, and nothing in it that is true on one machine only."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source_tree import PACKAGES, REPOSITORY, module_files, module_name, source_files, tree_of

MAX_LINES = 600
# path -> why it is one subject although it is long
LONG_FILES: dict[str, str] = {}

TEXT = {
    ".py",
    ".md",
    ".toml",
    ".sh",
    ".yaml",
    ".yml",
    ".json",
    ".js",
    ".css",
    ".html",
    ".svg",
    ".csv",
    ".txt",
    ".cfg",
    "",
}

# Written in pieces so that this file does not match itself.
ONE_MACHINE = {
    "a path of one machine": re.compile(
        r"(?<![\w.~/-])/(?:wo" r"rk|ro" r"ot|ho" r"me/\w+|Us" r"ers/\w+)/|[A-Z]:\\\\?Us" r"ers\\"
    ),
    "a package registry or its settings": re.compile(
        r"https?://[^\s/]*(?:py" r"pi|python" r"hosted|arti" r"factory|nex" r"us|registry|mirr" r"or)"
        r"|(?:extra-)?index" r"-url|trusted" r"-host|PIP_[A-Z_]*INDEX|UV_[A-Z_]*INDEX",
        re.IGNORECASE,
    ),
    "a secret": re.compile(r"-----BEGIN [A-Z ]*PRIVATE" r" KEY-----|\bAK" r"IA[0-9A-Z]{16}\b"),
}  # fmt: skip


def prints_in(tree: ast.AST) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "pprint"}
    ]


def machine_traces(text: str) -> list[str]:
    return [
        f"line {number}: {what}: {match.group(0)}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in ONE_MACHINE.items()
        if (match := pattern.search(line))
    ]


def test_libraries_never_print() -> None:
    """The command line writes through click; everything below it returns what it has to say."""
    found = [f"{module_name(path)}:{line}" for path in module_files() for line in prints_in(tree_of(path))]
    assert not found, found


def test_a_print_would_be_seen() -> None:
    assert prints_in(ast.parse("def f():\n    print('x')")) == [2]


def test_files_have_one_subject() -> None:
    folders = (*PACKAGES, "tests", "benchmarks", "examples")
    found = {}
    for path in source_files():
        relative = path.relative_to(REPOSITORY)
        if path.suffix in {".py", ".js", ".css"} and relative.parts[0] in folders:
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > MAX_LINES and relative.as_posix() not in LONG_FILES:
                found[relative.as_posix()] = lines
    assert not found, f"longer than {MAX_LINES} lines, and not in LONG_FILES: {found}"


def test_the_list_of_long_files_is_current() -> None:
    for name, reason in LONG_FILES.items():
        assert reason
        assert len((REPOSITORY / name).read_text(encoding="utf-8").splitlines()) > MAX_LINES, f"{name} is short now"


def test_nothing_is_true_on_one_machine_only() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}: {trace}"
        for path in source_files()
        if path.suffix in TEXT
        for trace in machine_traces(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "line",
    ["data = '/ho" "me/ann/scan.ply'", "cd /ro" "ot/x", "pip install --index" "-url x", "C:\\Us" "ers\\ann"],
)  # fmt: skip
def test_a_machine_trace_would_be_seen(line: str) -> None:
    assert len(machine_traces(line)) == 1


def test_no_file_is_somebody_elses_bulk_data() -> None:
    """Data are simulated or live outside; a repository does not forget a large file."""
    limit = 1_000_000
    found = {
        str(path.relative_to(REPOSITORY)): path.stat().st_size for path in source_files() if path.stat().st_size > limit
    }
    assert not found, found


def test_extras_and_dependency_groups_are_the_same_lists() -> None:
    """Extras are for plain pip, groups for newer tools; neither may drift."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    assert extras["test"] == groups["test"]
    assert [item for item in extras["dev"] if item != "abbe[test]"] == [
        item for item in groups["dev"] if item != {"include-group": "test"}
    ]


def test_every_imported_library_is_declared() -> None:
    """Not by luck of another package's dependencies: what the code imports, the distribution asks for."""
    import sys

    from tests.architecture.source_tree import imports_in

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    names = ("cad", "e57", "gds", "pdf", "interop")
    wanted = [*project["dependencies"], *(item for name in names for item in extras[name])]
    declared = {re.match(r"[A-Za-z0-9_.-]+", item).group(0).lower() for item in wanted}  # type: ignore[union-attr]
    import_names = {
        "opencv-python-headless": "cv2", "scikit-image": "skimage", "pillow": "PIL", "ruamel.yaml": "ruamel",
        "open3d-cpu": "open3d", "cadquery-ocp-novtk": "OCP",
    }  # fmt: skip
    # Each is a part of another that is declared, and comes with the one version that fits it.
    parts = {"llvmlite": "numba", "markupsafe": "jinja2", "pydantic_core": "pydantic"}
    known = {import_names.get(name, name) for name in declared} | set(sys.stdlib_module_names) | set(PACKAGES)
    known |= {part for part, whole in parts.items() if whole in known}
    found = {
        f"{item.library} in {module_name(path)}"
        for path in module_files()
        for item in imports_in(tree_of(path))
        if item.library not in known
    }
    assert not found, found


def test_the_continuous_integration_runs_the_test_command() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in script and "set -euo pipefail" in script
    readme = REPOSITORY / "README.md"
    assert "make test" in readme.read_text(encoding="utf-8")
    assert Path(REPOSITORY / ".ci" / "run").stat().st_mode & 0o111, ".ci/run must be executable"
