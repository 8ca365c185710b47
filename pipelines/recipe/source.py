"""YAML 1.2 text to plain data, with the place of every key and value.

The node tree is composed but never constructed: no object of the file is ever built, so a tag can do nothing. Anchors,
aliases, tags, merge keys and directives are refused; scalars become text, int, float, bool or None by our own rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.recipe.problems import Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
_MAX_DIGITS = 40
Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Span:
    """Place of a node: line and column from 1, length on its first line."""

    line: int
    column: int
    length: int = 1


@dataclass
class Document:
    """Plain data and the places of its keys and values, addressed by path tuples."""

    file: str
    text: str
    data: Any = None
    keys: dict[Path_, Span] = field(default_factory=dict)
    values: dict[Path_, Span] = field(default_factory=dict)
    raw: dict[Path_, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = self.text.splitlines()

    def span(self, path: Path_, *, key: bool = False) -> Span:
        """Place of the value (or of the key) at ``path``; of the nearest known parent where it is not there."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        while True:
            for table in (first, second):
                if path in table:
                    return table[path]
            if not path:
                return Span(1, 1)
            path = path[:-1]
            first, second = self.keys, self.values  # a parent is best shown by its key

    def problem(self, code: str, message: str, path: Path_, *, key: bool = False, hint: str | None = None) -> Problem:
        """Make a `Problem` at ``path``."""
        return self.at(code, message, self.span(path, key=key), path=path, hint=hint)

    def at(self, code: str, message: str, span: Span, *, path: Path_ = (), hint: str | None = None) -> Problem:
        """Make a `Problem` at a place."""
        excerpt = self.lines[span.line - 1] if 0 < span.line <= len(self.lines) else None
        return Problem(code, message, self.file, span.line, span.column, span.length, dotted(path), hint, excerpt)


def dotted(path: Path_) -> str:
    """``("a", 0, "b")`` as ``a[0].b``."""
    out = ""
    for item in path:
        out += f"[{item}]" if isinstance(item, int) else (f".{item}" if out else str(item))
    return out


def read_text(path: Path, name: str) -> Document:
    """Read a file as UTF-8; faults come back as problems, never as exceptions."""

    def fail(message: str, hint: str | None = None) -> Document:
        document = Document(name, "")
        document.problems.append(Problem("recipe/not-readable", message, name, hint=hint))
        return document

    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        return fail(f"cannot read the file: {error.strerror}", "check the path")
    if len(raw) > MAX_BYTES:
        return fail(f"the file is larger than {MAX_BYTES} bytes", "a recipe is a short text; is this the right file?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        document = Document(name, "")
        document.problems.append(
            Problem("recipe/not-readable", "the file is not UTF-8 text", name, line, column, hint="save it as UTF-8")
        )
        return document
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """Parse YAML text; faults are collected in ``Document.problems``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    document = Document(name, text)

    def syntax(message: str, mark: Any, hint: str | None = None, code: str = "recipe/syntax") -> None:
        span = Span(1, 1) if mark is None else Span(mark.line + 1, mark.column + 1)
        document.problems.append(document.at(code, message, span, hint=hint))

    try:
        if not _scan(document):
            return document
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        hint = "indent with spaces, not tabs" if "\\t" in str(error.problem) else None
        syntax(str(error.problem or error.context or "not YAML"), error.problem_mark or error.context_mark, hint)
        return document
    except ReaderError as error:
        before = text[: error.position]
        span = Span(before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        document.problems.append(
            document.at("recipe/syntax", f"character #x{error.character:04x} is not allowed", span)
        )
        return document
    except YAMLError as error:
        syntax(str(error).splitlines()[0], None)
        return document
    if node is None:
        syntax("the file is empty", None, "'abbe recipe init my-part.yaml' writes an example")
        return document
    document.data = _build(document, node, ())
    return document


def _scan(document: Document) -> bool:
    """Refuse what plain data does not need; token by token, so that no nesting can exhaust the stack."""
    from ruamel.yaml import YAML

    depth = 0
    sound = True
    for token in YAML(typ="safe", pure=True).scan(document.text):
        kind = type(token).__name__
        span = Span(token.start_mark.line + 1, token.start_mark.column + 1)
        if kind in ("AnchorToken", "AliasToken", "TagToken", "DirectiveToken"):
            word = kind.removesuffix("Token").lower()
            document.problems.append(
                document.at(
                    "recipe/not-plain", f"a YAML {word} is not allowed in a recipe", span, hint="write the value out"
                )
            )
            sound = False
        if kind.endswith("StartToken") and kind != "StreamStartToken" and kind != "DocumentStartToken":
            depth += 1
            if depth > MAX_DEPTH:
                document.problems.append(document.at("recipe/too-deep", f"nested deeper than {MAX_DEPTH} levels", span))
                return False
        elif kind in ("BlockEndToken", "FlowSequenceEndToken", "FlowMappingEndToken"):
            depth -= 1
    return sound


def _build(document: Document, node: Any, path: Path_) -> Any:
    start, end = node.start_mark, node.end_mark
    length = (
        end.column - start.column if end.line == start.line else len(document.lines[start.line].rstrip()) - start.column
    )
    document.values[path] = Span(start.line + 1, start.column + 1, max(1, length))
    if node.id == "mapping":
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            span = Span(
                key_node.start_mark.line + 1,
                key_node.start_mark.column + 1,
                max(1, key_node.end_mark.column - key_node.start_mark.column),
            )
            if key_node.id != "scalar":
                document.problems.append(document.at("recipe/wrong-type", "a key must be a text", span, path=path))
                continue
            key = key_node.value
            if key == "<<":
                document.problems.append(
                    document.at(
                        "recipe/not-plain",
                        "merge keys are not allowed in a recipe",
                        span,
                        path=path,
                        hint="write the keys out",
                    )
                )
                continue
            if key in out:
                first = document.keys[(*path, key)]
                document.problems.append(
                    document.at(
                        "recipe/duplicate-key",
                        f"key {key!r} appears twice",
                        span,
                        path=(*path, key),
                        hint=f"first in line {first.line}; keep one of them",
                    )
                )
                continue
            document.keys[(*path, key)] = span
            out[key] = _build(document, value_node, (*path, key))
        return out
    if node.id == "sequence":
        return [_build(document, item, (*path, index)) for index, item in enumerate(node.value)]
    document.raw[path] = node.value
    return _scalar(document, node, path)


def _scalar(document: Document, node: Any, path: Path_) -> Any:
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind in ("int", "float") and len(text) > _MAX_DIGITS:
        document.problems.append(document.problem("recipe/bad-value", "a number of too many digits", path))
        return 0
    if kind == "int":
        plain = text.replace("_", "")
        return int(plain, 0 if "0x" in plain or "0o" in plain else 10)
    if kind == "float":
        value = float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(value):
            document.problems.append(document.problem("recipe/bad-value", f"{text} is not a finite number", path))
            return 0.0
        return value
    return text


def get(data: Any, path: Path_) -> Any:
    """Value at ``path``, None where there is none."""
    for item in path:
        if isinstance(data, Mapping) and item in data:
            data = data[item]
            continue
        if not isinstance(item, int) or not isinstance(data, list) or not 0 <= item < len(data):
            return None
        data = data[item]
    return data
