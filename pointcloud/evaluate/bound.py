"""Second-order uncertainty of what cannot be negative: zones and angles that are the size of a small vector.

A position, a coaxiality, the leaning of an axis is ``|v|`` of a vector v with errors. Near zero the linear law fails:
the derivative along v sees one component of the error, the others only enlarge ``|v|``. There, the mean square change
of ``|v|^2`` under the covariance C of v is its trace, and that is what the distance from the bound is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metrology_core.propagation import UncertainFeature
from metrology_core.quantity import Influence, Measured

# In units of the root of the trace: up to the first the whole second-order part counts, beyond the second none does
# (there the folding shifts a value by less than a tenth of its standard uncertainty); linear between.
_WHOLE, _NONE = 2.0, 4.0


def at_the_bound(
    measured: Measured,
    function: Callable[[Mapping[str, Any]], float],
    features: Mapping[str, UncertainFeature],
    scope: str,
    name: str,
    upper: float | None = None,
) -> Measured:
    """``measured`` with the second-order part of the fits' covariances where it lies near 0 (or near ``upper``).

    ``u^2 = u_linear^2 + (tr C - u_linear^2)``: at the bound the vector's own uncertainty. The added part has its own
    influence, ``bound/<scope>/<name>``. A length not distinguishable from zero gets the flag ``zone_not_resolved``.
    ``upper`` is the other physical bound (90 degrees for an angle of two axes); Source: JCGM 100 F.2.4.4, JCGM 101 9.4.
    """
    folded = upper is not None and measured.value > upper / 2.0
    plain: dict[str, Any] = {key: row.feature for key, row in features.items()}

    def height(changed: Mapping[str, Any]) -> float:
        here = function({**plain, **changed})
        return upper - here if folded and upper is not None else here

    distance = height({})
    trace = 0.0
    for key, row in features.items():
        chart: Any = row.feature
        for column in row.factor().T:
            if np.any(column):
                squares = [height({key: chart.moved(sign * column)}) ** 2 for sign in (1.0, -1.0)]
                trace += (squares[0] + squares[1]) / 2.0 - distance**2
    if not trace > 0.0:
        return measured
    near = distance / math.sqrt(trace)
    share = min(1.0, max(0.0, (_NONE - near) / (_NONE - _WHOLE)))
    linear = sum(part**2 for key, part in measured.contributions.items() if key.startswith(f"fit/{scope}/"))
    # rounding of the differences, and curvature that is not that of a bound, are below a thousandth
    missing = share * (trace - linear) if trace - linear > 1e-3 * trace else 0.0
    flags = ("zone_not_resolved",) if upper is None and near <= _WHOLE else ()
    if missing <= 0.0:
        return measured.with_flags(*flags)
    drawn = any(row.kind == "A" for row in features.values())
    influence = Influence(
        f"bound/{scope}/{name}",
        f"{name} lies at its bound: errors across the small vector (second order)",
        "A" if drawn else "B",
        min(row.dof for row in features.values()),
    )
    return measured.with_contributions(
        {influence.id: math.sqrt(missing)}, {influence.id: influence}, (*measured.flags, *flags)
    )
