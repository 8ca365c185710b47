"""Tables of values and lists of flags, as the commands print them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.cli.session import Session

if TYPE_CHECKING:
    from rich.table import Table


def value_table(rows: Sequence[Mapping[str, Any]], *, further: Mapping[str, Sequence[str]] | None = None) -> Table:
    """Values with U, its own factor k and the interval.

    ``rows`` hold ``name``, ``text``, ``unit``, ``U``, ``k``, ``interval`` and ``p``, as the documents of measurements
    do (None where not known); ``further`` are columns behind these, one text for each row. k has a column because U is
    not 2 u where a value has samples of its distribution (`Measured.stated_expanded`); the interval, because that of
    few degrees of freedom is wider than U = 2 u.
    """
    from rich.table import Table

    shares = sorted({float(row["p"]) for row in rows if row.get("p")})
    share = f"{100 * shares[0]:g} % interval" if len(shares) == 1 else "interval"
    table = Table(box=None, pad_edge=False)
    for title in ("characteristic", "value", "U", "k", share, *(further or {})):
        table.add_column(title, overflow="fold")
    for i, row in enumerate(rows):
        own = f" ({100 * float(row['p']):g} %)" if len(shares) > 1 and row.get("p") else ""
        table.add_row(
            str(row["name"]), str(row["text"] or "-"), *_spread(row), _interval(row) + own,
            *(column[i] for column in (further or {}).values()),
        )  # fmt: skip
    return table


def _spread(row: Mapping[str, Any]) -> tuple[str, str]:
    from metrology_core.quantity import round_pair

    if row.get("U") is None:
        return "-", "-"
    _, wide = round_pair(float(row["value"] or 0.0), float(row["U"]))
    factor = row.get("k")
    return f"{wide or 0} {row['unit']}".removesuffix(" 1"), "-" if factor is None else f"{float(factor):.3g}"


def _interval(row: Mapping[str, Any]) -> str:
    """Both ends to the last digit of U."""
    from metrology_core.quantity import round_pair

    ends = row.get("interval")
    if not ends or any(end is None for end in ends):
        return "-"
    wide = round_pair(0.0, float(row["U"]))[1] if row.get("U") else ""
    decimals = len(wide.partition(".")[2])
    low, high = (f"{float(end):.{decimals}f}" if wide else f"{float(end):.9g}" for end in ends)
    return f"{low} to {high}"


def show_flags(session: Session, flags: Iterable[str]) -> None:
    """Each flag with the line of the registry that says what it means."""
    from metrology_core.flags import FLAGS

    names = list(flags)
    if names:
        session.console.print("flags:", markup=False)
    for name in names:
        row = FLAGS.get(name)  # a record of another version may hold a flag that this one does not know
        said = f"  {name} ({row.severity}): {row.summary}" if row is not None else f"  {name}"
        session.console.print(said, markup=False)
