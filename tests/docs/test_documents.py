"""Whatever the documents print: commands exist, links lead somewhere, code runs and prints what is shown."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import DOCUMENTS, REPOSITORY, blocks, commands, links, text_of

_PYTHON = [name for name in DOCUMENTS if blocks(name, "python")]


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """The click command of the words and what is left of them; fails where there is none."""
    import click

    from pipelines.cli.entry import cli

    context = click.Context(cli, info_name="abbe")
    command: Any = cli
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no command {' '.join(words)!r}"
        command, rest = found, rest[1:]
    return command, rest


def test_documents_name_commands() -> None:
    """Guards the test below against finding nothing."""
    assert sum(len(commands(name)) for name in DOCUMENTS) > 20


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_exist_with_their_options(name: str) -> None:
    for words in commands(name):
        command, rest = _command(words)
        options = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        options |= {"-h", "--help"}
        for word in rest:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0] in options, f"{name}: {' '.join(words)!r} has no option {word}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in links(name):
        assert ((REPOSITORY / name).parent / target).exists(), f"{name}: {target}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M))
    for found in re.findall(r"(?:^|`)make ([a-z]+)\b", text_of(name), re.M):
        assert found in targets, f"{name}: make {found}"


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first five parts of the demo: every part depends on its own number and the seed only."""
    from pointcloud.simulate import DEFAULT_BAD, simulate_lot

    folder = tmp_path_factory.mktemp("docs")
    simulate_lot(folder / "demo-run" / "blades" / "data", 5, 20261123, {4: DEFAULT_BAD[4]})
    return folder


@pytest.fixture
def registry_of_others() -> Iterator[None]:
    """A document may register a characteristic of its own; tests that run later in this process must not meet it."""
    yield
    from metrology_core.characteristics import registry

    for name, row in registry.available().items():
        if getattr(row.function, "__module__", None) == "document":
            del registry._REGISTRY[name]


@pytest.mark.usefixtures("registry_of_others")
@pytest.mark.parametrize("name", _PYTHON)
def test_code_prints_what_is_shown(name: str, demo_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a document run in order, in one namespace, as a reader would type them."""
    monkeypatch.chdir(demo_files)
    monkeypatch.syspath_prepend(str(demo_files))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    namespace: dict[str, Any] = {"__name__": "document"}
    for block in blocks(name, "python"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (block.line - 1) + block.body, name, "exec"), namespace)
        assert printed.getvalue() == (block.shown or ""), f"{name}, line {block.line}"


def _abbe(*words: str) -> str:
    """stdout and stderr of a command, as a reader sees them."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        from pipelines.cli import main

        main(list(words))
    return shown.getvalue()


def test_recipe_check_prints_what_is_shown(demo_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tutorial's faulty recipe is the demo's with three faults; each fault is shown as it is printed."""
    monkeypatch.chdir(demo_files)
    name = "docs/tutorials/process-engineer.md"
    recipe = Path("demo-run/blades/data/recipe.yaml")
    (good,) = [block for block in blocks(name, "sh") if block.body == f"abbe recipe check {recipe.as_posix()}\n"]
    assert _abbe("recipe", "check", recipe.as_posix()) == good.shown
    text = recipe.read_text(encoding="utf-8")
    for right, wrong in (
        ("tip_radius_u", "tip_radus_u"),
        ("iso14405.GG, of: bore,", "diameter, of: bore,"),
        ("plus_minus: 15 um", "plus_minus: 15"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    recipe.with_name("wrong.yaml").write_text(text, encoding="utf-8")
    printed = _abbe("recipe", "check", recipe.with_name("wrong.yaml").as_posix())
    (shown,) = [block.body for block in blocks(name, "text") if block.body.startswith("error[recipe/")]
    for fault in shown.strip().split("\n\n"):
        assert fault in printed


def test_readme_first_screen() -> None:
    """One sentence, two commands, a picture, about eight lines of Python whose value is printed with one digit of u."""
    readme = text_of("README.md")
    head = readme[: readme.index("\n## ")]
    assert blocks("README.md", "sh")[0].body.split("\n")[0].startswith("make demo")
    assert blocks("README.md", "sh")[0].body.split("\n")[1].startswith("make test")
    assert "docs/images/report.png" in head
    code = blocks("README.md", "python")[0]
    assert sum(bool(line.strip()) for line in code.body.splitlines()) <= 12
    assert re.search(r"^20\.0013\(\d\) mm", code.shown or "", re.M)


def test_picture_is_small() -> None:
    """A clone should not grow by its documentation."""
    for path in (REPOSITORY / "docs" / "images").glob("*.png"):
        assert path.stat().st_size <= 250_000, path.name


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_machine_paths(name: str) -> None:
    """What a document prints must be true on the reader's machine."""
    assert not re.search(r"(?<![\w.])/(?:work|root|home|tmp|Users)/", text_of(name))
