"""Writes docs/flags.md, docs/characteristics.md, docs/fitting-criteria.md and docs/exit-codes.md from the registries.

python scripts/generate_docs.py            write the files
python scripts/generate_docs.py --check    exit 1 where a file is not what the registries say
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NOTE = "<!-- Written by scripts/generate_docs.py from the registry; change the registry, not this file. -->\n"
ABOUT_FLAGS = """\
A flag is a short name that travels with a result. It never changes a number. A part whose worst flag is `info` is
`measured`; with a `warning` or an `invalid` flag it is `measured_with_flags`.
"""
ABOUT_CHARACTERISTICS = """\
What can be measured. A recipe names the id: a size names its ISO 14405-1 operator, a form its reference element.
`G` says that the associated least-squares (Gaussian) feature stands for the real one.

## Features of a point cloud

*of*: the features it takes, in this order. *datum*: `in:` names the datum system in which it is evaluated; `at:` is its
theoretically exact location. *criterion*: the association that the characteristic demands; `own`: that of the feature
in the recipe. *length error acts on*: what the instrument's MPE is applied to.
"""
SEVERITIES = {
    "invalid": "The number must not be used for a decision.",
    "warning": "The reader must know this before acting on the number.",
    "info": "How the number was made; nothing to do.",
}
LENGTH_OF = {
    "value": "the value",
    "distance": "the distance",
    "angle": "the extent (tilt)",
    "none": "-",
}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip() or "-"


def _row(*cells: str) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |\n"


def _table(*headings: str) -> str:
    return _row(*headings) + "|" + "---|" * len(headings) + "\n"


def flags_page() -> str:
    """The flags by severity, worst first."""
    from metrology_core.flags import FLAGS

    text = f"# Flags\n\n{NOTE}\n{ABOUT_FLAGS}"
    for severity, meaning in SEVERITIES.items():
        text += f"\n## {severity}\n\n{meaning}\n\n" + _table("flag", "what it says", "what to do")
        for row in sorted(FLAGS.values(), key=lambda row: row.name):
            if row.severity == severity:
                text += _row(f"`{row.name}`", row.summary, row.remedy)
    return text


def characteristics_page() -> str:
    """The characteristics of point clouds, of images and of film maps."""
    # importing registers their rows
    import pointcloud.deviation.characteristics  # noqa: F401
    import wafer.characteristics  # noqa: F401
    from metrology_core.characteristics import available

    rows = list(available().values())
    text = f"# Characteristics\n\n{NOTE}\n{ABOUT_CHARACTERISTICS}\n"
    text += _table(
        "id", "characteristic", "standard", "of", "criterion", "datum", "unit", "length error acts on", "how"
    )
    for row in rows:
        if row.needs in ("image", "surface", "map"):
            continue
        of = "; ".join(", ".join(kind for kind in kinds if not kind.endswith("_2d")) for kinds in row.inputs)
        keys = " ".join(key for key, used in (("`in:`", row.uses_datum_system), ("`at:`", row.uses_position)) if used)
        text += _row(
            f"`{row.id}`",
            row.title,
            row.standard,
            of,
            row.criterion or "`own`",
            keys,
            row.dimension,
            LENGTH_OF[row.length_of],
            row.words,
        )
    text += "\n## A scan against its nominal\n\n" + _table("id", "characteristic", "measurand", "unit", "how")
    for row in rows:
        if row.needs == "surface":
            text += _row(f"`{row.id}`", row.title, row.standard, row.dimension, row.words)
    text += "\n## Images: lines, contacts, pillars\n\n" + _table("id", "characteristic", "source", "unit", "how")
    for row in rows:
        if row.needs == "image":
            text += _row(f"`{row.id}`", row.title, row.standard, row.dimension, row.words)
    text += "\n## Film maps\n\n" + _table("id", "characteristic", "source", "unit", "how")
    for row in rows:
        if row.needs == "map":
            text += _row(f"`{row.id}`", row.title, row.standard, row.dimension, row.words)
    return text


ABOUT_FITTING = """Criteria that `metrology_core.fit` takes for each feature (`metrology_core.fitting.available()`).

* One-sided criteria (`..._outside`, `..._inside`) need `material`; inscribed and circumscribed cones, tori and ellipses
  need the named shape in `fixed`. Anything else is a `CriterionError`.
* `fixed` holds axes and sizes, `bounds` limits sizes (the multiplier of an active bound is in `optimality`), `weights`
  go with the least-squares and least-absolute criteria, `covariances` (of points) with least squares,
  `robust="huber"|"tukey"` with least squares: outliers are dropped and listed.
* `fit.monte_carlo()` repeats a fit with simulated errors, where contacts are unstable.
* `metrology_core.fitting.fit_pattern` fits a rigid nominal pattern (holes, coaxial cylinders), least squares or
  minimum zone (one zone about all members), sizes free, tied or nominal.
"""


def fitting_page() -> str:
    """Features and criteria of the fits."""
    from metrology_core.fitting.table import markdown

    return f"# Fitting: features and criteria\n\n{NOTE}\n{ABOUT_FITTING}\n{markdown()}"


ABOUT_CODES = """\
What a command tells the shell, the same for all of them. Where several apply, the first of {precedence} is
returned: 1 means that everything was measured.

| code | meaning |
|---|---|
{meanings}
* A file that the command line names and that is not there is wrong use (2); one that is there and cannot be used is not
  measured (3).
* A provisional verdict counts as it reads; `run` and `status` say how many there are. With `--strict` (`run`, `status`,
  `deviation`) a part with one counts as indeterminate: 6, where nothing worse asks for another code ([decision
  0046](decisions/0046-exit-codes-of-provisional-verdicts.md)).
* A flag of information or warning alone asks for no code.
"""


def codes_page() -> str:
    """The exit codes, and which command gives which."""
    from pipelines.exit_codes import MEANING, OF_COMMANDS, PRECEDENCE

    meanings = "".join(_row(f"{int(code)}", words) for code, words in MEANING.items())
    precedence = ", ".join(f"{int(code)}" for code in PRECEDENCE)
    text = f"# Exit codes\n\n{NOTE}\n" + ABOUT_CODES.format(precedence=precedence, meanings=meanings)
    text += "\n## By command\n\nEvery command can give 2, 70 and, after Ctrl-C, 4. Beside these:\n\n"
    text += _table("command", "codes", "in its own words")
    for name, (codes, words) in OF_COMMANDS.items():
        text += _row(f"`abbe {name}`", " ".join(map(str, codes)), words)
    return text


PAGES: dict[str, Callable[[], str]] = {
    "docs/flags.md": flags_page,
    "docs/characteristics.md": characteristics_page,
    "docs/fitting-criteria.md": fitting_page,
    "docs/exit-codes.md": codes_page,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the pages that come from the registries.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is out of date")
    chosen = parser.parse_args(arguments)
    stale = []
    for name, page in PAGES.items():
        path, text = REPOSITORY / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not chosen.check:
            path.write_text(text, encoding="utf-8", newline="\n")
    for name in stale:
        sys.stdout.write(f"{name}: {'out of date' if chosen.check else 'written'}\n")
    return 1 if chosen.check and stale else 0


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    raise SystemExit(main())
