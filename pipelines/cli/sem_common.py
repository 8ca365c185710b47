"""What the commands of ``abbe sem`` share: amounts on the command line, measurements as JSON and as a table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.cli.session import Session
from pipelines.cli.tables import show_flags, value_table

if TYPE_CHECKING:
    from pathlib import Path

    from metrology_core.quantity import Measured
    from metrology_core.units import Quantity


def amount(option: str, text: str, dimension: str, example: str) -> Quantity:
    """The amount given for an option; an error names the option and an example of what belongs there."""
    from metrology_core.errors import UnitError
    from metrology_core.units import quantity

    try:
        return quantity(text, dimension)
    except UnitError as error:
        article = "an" if dimension[:1] in "aeiou" else "a"
        raise UnitError(
            f"{option}: {error.what}",
            expected=f"{article} {dimension} such as {example}",
            got=error.got,
            remedy=error.remedy,
        ) from error


def level_of(text: str | None, criterion: str, *criteria: str) -> float:
    """``--level`` as a share of the step, 0.5 where it was not given. It belongs to some criteria only."""
    from metrology_core.errors import ParameterError

    if text is None:
        return 0.5
    level = amount("--level", text, "ratio", "'50 %'").to("1")
    if criterion not in criteria:
        words = ("criterion " if len(criteria) == 1 else "criteria ") + " and ".join(criteria)
        raise ParameterError(
            f"--level belongs to {words}",
            got=f"--criterion {criterion}",
            remedy="leave --level out, or choose one of those",
        )
    return level


def pixel_size(text: str) -> tuple[tuple[float, float], str]:
    """``0.827nm`` or ``0.827nm,0.831nm``: sizes in x and y, in the unit of the first."""
    from metrology_core.errors import ParameterError

    parts = [amount("--pixel", part, "length", "0.8nm") for part in text.split(",")]
    if len(parts) > 2:
        raise ParameterError("a pixel size is one number or x,y", got=text, expected="for example 0.827nm,0.831nm")
    x, y = parts[0], parts[-1]
    return (x.value, y.to(x.unit)), x.unit


PIXEL_U = (
    "Relative standard uncertainty of the pixel size: '0.5 %' of one calibration, x and y err alike, or "
    "'0.5 %,0.7 %' of x and y on their own."
)


def pixel_uncertainty(text: str | None, size: tuple[float, float] | None) -> dict[str, Any]:
    """A relative standard uncertainty (``0.5 %``) of both pixel sizes together, or of each (``0.5 %,0.7 %``), as
    arguments of `wafer.read_image`."""
    from metrology_core.errors import ParameterError

    if text is None:
        return {}
    if size is None:
        raise ParameterError("--pixel-u needs --pixel", remedy="state the pixel size that the uncertainty belongs to")
    parts = [amount("--pixel-u", part, "ratio", "'0.5 %'").to("1") for part in text.split(",")]
    if min(parts) < 0.0:
        raise ParameterError("--pixel-u is negative", expected="a ratio such as '0.5 %'", got=text)
    if len(parts) > 2:
        raise ParameterError(
            "an uncertainty of the pixel size is one ratio or x,y", got=text, expected="for example '0.5 %'"
        )
    return {"pixel_u": (size[0] * parts[0], size[1] * parts[-1]), "pixel_u_common": len(parts) == 1}


def output_file(option: str, path: Path | None, suffix: str | None = None) -> None:
    """Refuses, before anything is measured, a file that could not be written or that others would not open."""
    from metrology_core.errors import UsageError

    if path is None:
        return
    if suffix is not None and path.suffix.lower() != suffix:
        raise UsageError(
            f"{option} writes {suffix[1:].upper()}", expected=f"a name that ends with {suffix}", got=path.name,
            remedy=f"write {path.with_suffix(suffix).name}",
        )  # fmt: skip
    if path.is_dir():
        raise UsageError(f"{option}: {str(path)!r} is a folder", expected="the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: there is no folder {str(path.parent)!r}", remedy="make the folder first")


def row_range(text: str | None, what: str = "rows") -> tuple[int, int] | None:
    """``A:B``, end exclusive, of ``rows`` or ``columns``."""
    from metrology_core.errors import ParameterError

    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if match is None or int(match[1]) >= int(match[2]):
        raise ParameterError(f"{what} are FIRST:END with FIRST < END", got=text, expected="for example 0:889")
    return int(match[1]), int(match[2])


def values_document(measurements: Mapping[str, Measured], methods: Mapping[str, str]) -> dict[str, Any]:
    """Each measurement with its uncertainty, interval, budget, method and flags."""
    expanded = {name: m.stated_expanded() for name, m in measurements.items()}
    return {
        name: {
            "value": m.value,
            "unit": m.unit,
            "u": m.u,
            "k": expanded[name][1],
            "U": expanded[name][0],
            "interval": list(m.coverage_interval(0.95)),
            "p": 0.95,
            "text": m.short(),
            "budget": [row.to_dict() for row in m.budget()],
            "method": methods.get(name, ""),
            "flags": list(m.flags),
        }
        for name, m in measurements.items()
    }


def finite(value: Any) -> Any:
    """Numbers that are not known are null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value


def show_values(session: Session, measurements: Mapping[str, Measured], methods: Mapping[str, str]) -> None:
    """The numbers as a table, then how each was found; words that several share are said once."""
    from pipelines.footnotes import footnotes

    shown = values_document(measurements, methods)
    session.console.print(value_table([{"name": name, **row} for name, row in shown.items()]))
    words, notes = footnotes({name: methods[name] for name in measurements if methods.get(name)})
    for line in (
        ["how:", *(f"  {name}: {text}{_marks(found)}" for name, (text, found) in words.items())] if words else []
    ):
        session.console.print(line, markup=False)
    for mark, text in notes.items():
        session.console.print(f"  [{mark}] {text}", markup=False)


def _marks(numbers: Sequence[int]) -> str:
    return "".join(f" [{n}]" for n in numbers)


def show_scan(session: Session, scan: Mapping[str, Mapping[str, Any]]) -> None:
    """What the scan did to the image, each effect with its expanded uncertainty: what is seen, then what is not."""
    from wafer.scan import SEEN

    seen: list[str] = []
    others: list[str] = []
    for name, fact in scan.items():
        words = name.replace("_", " ")
        factor, unit = (100.0, "% of the step") if fact["unit"] == "1" else (1.0, fact["unit"])
        expanded = 2.0 * factor * float(fact["u"])
        decimals = max(0, 1 - math.floor(math.log10(expanded))) if expanded > 0.0 else 3
        text = f"{words} {factor * float(fact['value']):.{decimals}f} ± {expanded:.{decimals}f} {unit}"
        (seen if fact["seen"] else others).append(text)
    not_seen = f"not seen (within {SEEN:g} standard uncertainties of 0): {', '.join(others)}"
    parts = [*seen, *([not_seen] if others else [])]
    if parts:
        session.console.print(f"scan (value ± U, k = 2): {'; '.join(parts)}", markup=False)


def show_gaps(session: Session, missing: Mapping[str, str], flags: tuple[str, ...]) -> None:
    """What could not be measured, with the reason, and the flags: after the table."""
    for name, why in missing.items():
        session.console.print(f"{name}: not measured: {why}", markup=False)
    show_flags(session, flags)
