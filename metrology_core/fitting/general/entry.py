"""Which of the engines answers a call of `fit` that is not plain least squares of a compiled feature."""

from __future__ import annotations

from typing import Any

import numpy as np

from metrology_core.errors import CriterionError, ParameterError
from metrology_core.features.base import Feature
from metrology_core.fitting import problem as _problem
from metrology_core.fitting.general.base import Request
from metrology_core.fitting.general.finish import check, solve_request
from metrology_core.fitting.result import Fit
from metrology_core.fitting.table import CRITERIA, Row
from metrology_core.fitting.zone.criteria import ZONE_CRITERIA, compiled


def other_fit(
    points: Any,
    row: Row,
    criterion: str,
    given: Any,
    material: str | None,
    weights: np.ndarray,
    covariances: Any,
    held: dict[str, Any],
    bounds: Any,
    start: Feature | None,
    robust: Any,
    labels: Any,
) -> Fit | None:
    """The fit, or None where the compiled zone path answers it."""
    n = len(given.array)
    sides = _problem.read_labels(labels, row, n)
    if robust is not None:
        from metrology_core.fitting.general.robust import robust_fit

        if criterion != "least_squares":
            raise CriterionError(
                "the robust mode ends with plain least squares", expected="criterion='least_squares'", got=criterion
            )
        if covariances is not None or bounds is not None:
            raise ParameterError(
                "the robust mode takes neither covariances nor bounds", expected="weights, fixed, start"
            )
        return robust_fit(points, row, given, material, weights, held, start, robust, labels)
    if bounds is not None:
        from metrology_core.fitting.general.bounds import bounded_fit, read_bounds

        limits = read_bounds(bounds, row, held)
        options: dict[str, Any] = {
            "criterion": criterion, "material": material, "weights": weights if weights.size else None,
            "covariances": covariances, "start": start, "labels": labels,
        }  # fmt: skip
        if given.source is None:
            options["unit"] = given.unit
        return bounded_fit(points, row, held, limits, options)
    if weights.size and criterion in ZONE_CRITERIA:
        raise CriterionError(
            f"weights mean nothing to the {CRITERIA[criterion][1]} criterion: its contacts alone decide",
            remedy="leave weights out, or take criterion='least_squares'",
        )
    matrices = None
    if covariances is not None:
        from metrology_core.fitting.general.mahalanobis import read_covariances

        if criterion != "least_squares":
            raise CriterionError(
                f"covariances mean nothing to the {CRITERIA[criterion][1]} criterion",
                expected="criterion='least_squares'",
                remedy="leave covariances out, or take weights where the criterion takes them",
            )
        if weights.size:
            raise ParameterError("weights and covariances cannot both be given", expected="one of them")
        matrices = read_covariances(covariances, n, given.dimension)
    if matrices is None and compiled(row.kind, criterion) and "axis_ratio" not in held and sides is None:
        return None
    check(row, criterion, material, held)
    notes = list(given.source.flags) if given.source is not None else []
    settings: dict[str, Any] = {"start": "given" if start is not None else "search"}
    if held:
        settings["fixed"] = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in held.items()}
    if weights.size:
        settings["weighted"] = True
    request = Request(row, criterion, given, weights, held, start, material, matrices, sides, notes, settings)
    return solve_request(request)
