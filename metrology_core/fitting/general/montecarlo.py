"""Repeated fits with simulated point errors: uncertainty where a first-order propagation does not hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError


@dataclass(frozen=True, eq=False)
class Simulated:
    """Figures of repeated fits: standard deviation of each size and of the form, and by how much noise raises them.

    u and shift: by name (sizes, ``"form"``); shift is the mean of the repeats less the value of the fit: noise on
    top of noise widens a zone by about as much as the noise in the points has already done. trials, failed: fits
    made and fits that gave no feature.
    """

    u: dict[str, float]
    shift: dict[str, float]
    trials: int
    failed: int
    noise: float


def simulate(found: Any, trials: int, seed: int, noise: float | None) -> Simulated:
    """Refit the points of a fit with normal errors of standard deviation `noise` added to every coordinate."""
    from metrology_core.fitting.entry import fit

    if trials < 2:
        raise ParameterError("too few trials", expected="2 or more", got=str(trials))
    evidence = found._known()
    sigma = noise if noise is not None else getattr(found, "noise", found.sigma)
    if not (math.isfinite(sigma) and sigma >= 0.0):
        raise ParameterError("the noise of the points is not known", remedy="give noise=, a standard deviation")
    row = evidence.row
    xyz = evidence.xyz[:, : row.dimension]
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"criterion": found.criterion, "start": found.associated.with_material(None)}
    options["material"] = found.associated.material_side
    if "fixed" in found.settings:
        options["fixed"] = found.settings["fixed"]
    if evidence.weights.size:
        options["weights"] = evidence.weights
    if evidence.sides is not None:
        options["labels"] = np.where(evidence.sides > 0.0, 1, 0)
    sizes = [name for name, value in found.associated.parameters.items() if np.ndim(value) == 0]
    values: list[list[float]] = []
    lost = 0
    for _ in range(trials):
        again = fit(xyz + sigma * rng.standard_normal(xyz.shape), row.name, **options)
        if again.associated is None:
            lost += 1
            continue
        values.append([*(float(again.associated.parameters[name]) for name in sizes), again.form])
    names = [*sizes, "form"]
    if len(values) < 2:
        nan = dict.fromkeys(names, math.nan)
        return Simulated(nan, nan, trials, lost, sigma)
    table = np.array(values)
    here = np.array([*(float(found.associated.parameters[name]) for name in sizes), found.form])
    u, shift = table.std(axis=0, ddof=1), table.mean(axis=0) - here
    return Simulated(
        dict(zip(names, u.tolist(), strict=True)), dict(zip(names, shift.tolist(), strict=True)), trials, lost, sigma
    )
