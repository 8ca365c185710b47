"""Reading the documentation: its code blocks, its commands, its links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (
        REPOSITORY / "README.md",
        REPOSITORY / "CHANGELOG.md",
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "examples").glob("*.md"),
    )
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_INLINE = re.compile(r"(?<!`)`(abbe [^`\n]+)`(?!`)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``shown`` is the text block that follows it directly, None where none does."""

    language: str
    body: str
    line: int
    shown: str | None


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[Block]:
    """The fenced blocks of one language, in order."""
    text = text_of(name)
    found = list(_FENCE.finditer(text))
    result = []
    for position, match in enumerate(found):
        if match.group(1) != language:
            continue
        after = found[position + 1] if position + 1 < len(found) else None
        shown = None
        if after is not None and after.group(1) == "text" and not text[match.end() : after.start()].strip():
            shown = after.group(2)
        result.append(Block(match.group(1), match.group(2), text.count("\n", 0, match.start()) + 2, shown))
    return result


def commands(name: str) -> list[list[str]]:
    """Every ``abbe ...`` that the document tells its reader to type, split into words."""
    lines = [line for block in blocks(name, "sh") for line in block.body.splitlines()]
    lines += _INLINE.findall(text_of(name))
    found = []
    for line in lines:
        words = shlex.split(line.replace("[", " ").replace("]", " "), comments=True)
        if words[:1] == ["abbe"]:
            found.append(words)
    return found


def links(name: str) -> list[str]:
    """Targets of the links that stay inside the repository."""
    return [m.group(1) for m in _LINK.finditer(text_of(name)) if "://" not in m.group(1)]
