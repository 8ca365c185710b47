"""What is wrong with a recipe: every fault at once, each with file, line, column, excerpt and a stable code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from metrology_core.errors import RecipeError

CODES = {
    "recipe/not-readable": "The file cannot be read, is too large, or is not UTF-8 text.",
    "recipe/syntax": "The text is not YAML 1.2.",
    "recipe/duplicate-key": "A mapping holds the same key twice.",
    "recipe/not-plain": "Anchors, aliases, tags, merge keys and directives are refused: a recipe is plain data.",
    "recipe/too-deep": "The nesting is deeper than any recipe needs.",
    "recipe/unknown-key": "A key that the schema does not hold.",
    "recipe/missing-key": "A key that must be there is not.",
    "recipe/wrong-type": "A value of the wrong type.",
    "recipe/needs-unit": "A dimensional value without a unit.",
    "recipe/bad-unit": "A unit that is not known, or text that is not a quantity.",
    "recipe/wrong-dimension": "A quantity of another dimension than the key wants.",
    "recipe/out-of-range": "A value outside its range.",
    "recipe/unknown-choice": "A value that is not one of the choices.",
    "recipe/bad-value": "A value that cannot be used.",
    "recipe/duplicate-name": "Two things of one name.",
    "recipe/unknown-feature": "A feature that the recipe does not define.",
    "recipe/unknown-datum-system": "A datum system that the recipe does not define.",
    "recipe/unknown-characteristic": "A characteristic that the registry does not hold.",
    "recipe/ambiguous-characteristic": "A characteristic that does not say which operator or criterion is meant.",
    "recipe/wrong-feature": "A characteristic that does not apply to this feature.",
    "recipe/tolerance": "A tolerance that contradicts itself or its characteristic.",
    "recipe/contradiction": "Keys that do not go together.",
    "recipe/expression": "An expression that cannot be read, or that names something unknown.",
    "recipe/file": "A file named in the recipe is missing, not readable, or lies outside the recipe's folder.",
}


@dataclass(frozen=True)
class Problem:
    """One fault. ``line`` and ``column`` count from 1; ``path`` is the place in the data (``measure.features[0]``)."""

    code: str
    message: str
    file: str
    line: int | None = None
    column: int | None = None
    length: int = 1
    path: str = ""
    hint: str | None = None
    excerpt: str | None = field(default=None, compare=False)

    @property
    def where(self) -> str:
        place = [self.file]
        if self.line is not None:
            place.append(str(self.line))
            if self.column is not None:
                place.append(str(self.column))
        return ":".join(place)

    def render(self) -> str:
        """The fault as a compiler would print it."""
        lines = [f"error[{self.code}]: {self.message}", f"  --> {self.where}"]
        if self.excerpt is not None and self.line is not None:
            gutter = " " * len(str(self.line))
            caret = " " * ((self.column or 1) - 1) + "^" * max(1, self.length)
            lines += [f" {gutter} |", f" {self.line} | {self.excerpt}", f" {gutter} | {caret}"]
        if self.hint:
            lines.append(f"   = {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "hint": self.hint,
            "excerpt": self.excerpt,
        }


class RecipeProblems(RecipeError):
    """All faults of a recipe, in ``problems``; file, line, column and excerpt are those of the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line or 0, p.column or 0, p.code)))
        first = self.problems[0]
        more = len(self.problems) - 1
        super().__init__(
            first.message + (f" (and {more} more fault{'s' if more > 1 else ''})" if more else ""),
            where=first.where,
            remedy=first.hint,
            file=first.file,
            line=first.line,
            column=first.column,
            excerpt=first.excerpt,
        )

    @property
    def code(self) -> str:
        return self.problems[0].code if len(self.problems) == 1 else "RecipeError"

    def render(self) -> str:
        """All faults, laid out for a terminal."""
        return "\n\n".join(problem.render() for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "problems": [problem.to_dict() for problem in self.problems]}


def did_you_mean(word: str, choices: Iterable[str], *, otherwise: str = "known", most: int = 16) -> str | None:
    """A hint: the nearest choices, or all of them where they are few."""
    names = sorted(set(choices))
    near = difflib.get_close_matches(word, names, n=2, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    if names and len(names) <= most:
        return f"{otherwise}: {', '.join(names)}"
    return None
