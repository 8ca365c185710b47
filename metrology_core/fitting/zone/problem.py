"""What a zone criterion means for a feature: which distances, which sides, which parameters move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import CriterionError
from metrology_core.fitting.table import Row
from metrology_core.kernels import layout


@dataclass(frozen=True, eq=False)
class ZoneProblem:
    """min over the free `columns` of the kernel's chart of the largest of +d_i (`plus`) and -d_i (`minus`).

    `law`: what d is (kernels.minimax_rows). Circle and ellipse in space: d is the distance in the plane, and the
    plane is that of the least-squares element (it does not move): roundness is a property of a section, whose plane
    the zone must not choose. Inscribed and circumscribed elements leave the radius out: it follows as that of the
    innermost or outermost point.
    """

    row: Row
    criterion: str
    law: int
    plus: bool
    minus: bool
    columns: np.ndarray
    radial: bool  # the radius follows from the answer

    @property
    def unknowns(self) -> int:
        return len(self.columns) + 1


def pose_problem(row: Row, criterion: str, free: np.ndarray, fixed: Mapping[str, Any]) -> ZoneProblem:
    """The problem for a criterion; `CriterionError` where a fixed size leaves nothing to inscribe or circumscribe."""
    kind = row.kind
    p = layout.N_PARAMETERS[kind]
    columns = [i for i in range(p) if free[i]]
    if kind in (layout.CIRCLE, layout.ELLIPSE):
        columns = [i for i in columns if i not in (2, 3, 4)]
    law = 1 if kind == layout.LINE and row.dimension == 3 else 0
    plus = minus = True
    radial = criterion in ("maximum_inscribed", "minimum_circumscribed")
    if radial:
        if "radius" in fixed:
            raise CriterionError(
                f"the radius of a {criterion.replace('_', ' ')} {row.name} is its result and cannot be held fixed",
                expected="fixed without 'radius'",
            )
        columns = [i for i in columns if i < p - layout.N_SIZES[kind]]
        plus, minus = criterion == "minimum_circumscribed", criterion == "maximum_inscribed"
    elif law == 1:
        minus = False
    return ZoneProblem(row, criterion, law, plus, minus, np.array(columns, dtype=np.int64), radial)
