"""The published table of what `fit` takes: features, their sizes and directions, and the criteria of each."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass, replace

from metrology_core.errors import CriterionError, ParameterError
from metrology_core.fitting.zone.criteria import PARALLEL_PLANES, SHAPE, SLOT, criteria_of
from metrology_core.kernels import layout

# criterion -> (ISO 1101 letter, words)
CRITERIA: dict[str, tuple[str, str]] = {
    "least_squares": ("G", "least squares (Gaussian)"),
    "minimum_zone": ("C", "minimum zone (Chebyshev)"),
    "maximum_inscribed": ("X", "maximum inscribed"),
    "minimum_circumscribed": ("N", "minimum circumscribed"),
    "least_absolute": ("", "least absolute deviations"),
    "minimum_zone_outside": ("CE", "minimum zone, outside the material"),
    "minimum_zone_inside": ("CI", "minimum zone, inside the material"),
    "least_squares_outside": ("GE", "least squares, outside the material"),
    "least_squares_inside": ("GI", "least squares, inside the material"),
}


@dataclass(frozen=True)
class Row:
    """What the solver must know of one feature in one dimension.

    ``free`` columns of the kernel's chart; ``minimum`` points that can determine it; ``axis`` and ``sizes`` are the
    names of its parameters that may be fixed; ``exact_is_unique``: whether as many points as parameters leave one
    solution.
    """

    kind: int
    dimension: int
    free: tuple[bool, ...]
    minimum: int
    axis: str | None
    sizes: tuple[str, ...]
    exact_is_unique: bool
    criteria: tuple[str, ...] = ("least_squares",)

    @functools.cached_property
    def name(self) -> str:
        return {SLOT: "slot", PARALLEL_PLANES: "parallel_planes"}.get(self.kind) or layout.KIND_NAMES[self.kind]

    @property
    def compiled(self) -> bool:
        """Whether the kernels know this kind; slots and parallel planes are solved by `fitting.general` alone."""
        return self.kind < SLOT

    @property
    def rows_per_point(self) -> int:
        if not self.compiled:
            return 2 if self.kind == SLOT and self.dimension == 3 else 1
        return 1 if self.dimension == 2 else layout.N_ROWS[self.kind]


def _all(kind: int) -> tuple[bool, ...]:
    return (True,) * layout.N_PARAMETERS[kind]


_T, _F = True, False
ROWS: dict[tuple[str, int], Row] = {
    (row.name, row.dimension): replace(row, criteria=("least_squares", *criteria_of(row.kind, row.dimension)))
    for row in (
        Row(layout.LINE, 3, _all(layout.LINE), 2, "direction", (), True),
        Row(layout.PLANE, 3, _all(layout.PLANE), 3, "normal", (), True),
        Row(layout.CIRCLE, 3, _all(layout.CIRCLE), 3, "normal", ("radius",), True),
        Row(layout.SPHERE, 3, _all(layout.SPHERE), 4, None, ("radius",), True),
        Row(layout.CYLINDER, 3, _all(layout.CYLINDER), 5, "axis", ("radius",), False),
        Row(layout.CONE, 3, _all(layout.CONE), 6, "axis", ("", "half_angle"), False),
        Row(layout.TORUS, 3, _all(layout.TORUS), 7, "axis", ("major_radius", "minor_radius"), False),
        Row(layout.ELLIPSE, 3, _all(layout.ELLIPSE), 5, "normal", ("semi_major", "semi_minor"), True),
        Row(layout.LINE, 2, (_T, _F, _T, _F), 2, None, (), True),
        Row(layout.CIRCLE, 2, (_T, _T, _F, _F, _F, _T), 3, None, ("radius",), True),
        Row(layout.ELLIPSE, 2, (_T, _T, _F, _F, _F, _T, _T, _T), 5, None, ("semi_major", "semi_minor"), True),
        Row(SLOT, 3, (_T,) * 8, 5, "normal", ("length", "width"), False),
        Row(SLOT, 2, (_T,) * 5, 5, None, ("length", "width"), False),
        Row(PARALLEL_PLANES, 3, (_T,) * 4, 4, "normal", ("width",), True),
        Row(PARALLEL_PLANES, 2, (_T,) * 3, 3, "normal", ("width",), True),
    )
}


def available() -> dict[str, dict[str, tuple[str, ...]]]:
    """The table: feature -> dimension ("2-D", "3-D") -> criteria that `fit` takes now."""
    table: dict[str, dict[str, tuple[str, ...]]] = {}
    for (name, dimension), row in ROWS.items():
        table.setdefault(name, {})[f"{dimension}-D"] = row.criteria
    return table


def markdown() -> str:
    """The table as a page of the documentation: features in rows, criteria in columns."""
    names = list(CRITERIA)
    text = "| feature | " + " | ".join(f"`{name}`" for name in names) + " |\n"
    text += "|---|" + "---|" * len(names) + "\n"
    for (name, dimension), row in sorted(ROWS.items(), key=lambda item: (item[1].kind, -item[0][1])):
        cells = []
        for criterion in names:
            if criterion not in row.criteria:
                cells.append("")
            elif criterion in ("maximum_inscribed", "minimum_circumscribed") and row.kind in SHAPE:
                cells.append(f"`fixed={SHAPE[row.kind]}`")
            else:
                cells.append("yes")
        text += f"| {name}, {dimension}-D | " + " | ".join(cells) + " |\n"
    return text


def _nearest(word: str, names: list[str]) -> str | None:
    found = difflib.get_close_matches(word, names, 1)
    return f"did you mean {found[0]!r}?" if found else None


def find(feature: str, dimension: int, criterion: str) -> Row:
    """The row of a feature, or the typed error that says what there is."""
    row = ROWS.get((feature, dimension))
    if row is None:
        names = sorted(name for name, size in ROWS if size == dimension)
        if feature in available():
            raise ParameterError(
                f"a {feature} cannot be fitted to {dimension}-D points",
                expected="one of " + ", ".join(names),
                got=f"points of shape (n, {dimension})",
            )
        raise ParameterError(
            f"unknown feature {feature!r}", expected="one of " + ", ".join(names), remedy=_nearest(feature, names)
        )
    if criterion not in CRITERIA:
        raise CriterionError(
            f"unknown criterion {criterion!r}",
            expected="one of " + ", ".join(row.criteria),
            remedy=_nearest(str(criterion), list(CRITERIA)),
        )
    if criterion not in row.criteria:
        raise CriterionError(
            f"{CRITERIA[criterion][1]} is not available for a {dimension}-D {feature}",
            expected="one of " + ", ".join(row.criteria),
            got=criterion,
        )
    return row
