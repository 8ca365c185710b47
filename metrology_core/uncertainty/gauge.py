"""Gauge repeatability and reproducibility, crossed design (AIAG MSA 4th ed., ISO 22514-7): analysis of variance with
exact sums, each figure rounded once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from metrology_core.errors import ParameterError
from metrology_core.uncertainty.exact import Reading, as_fractions, root


@dataclass(frozen=True)
class GaugeStudy:
    """Standard deviations of a crossed study: ``ev`` repeatability (equipment), ``av`` reproducibility (appraisers with
    their interaction where it is kept), ``grr``, ``pv`` parts, ``tv`` total.

    ``sums`` of squares and ``dofs`` by source (part, operator, interaction, repeatability, total) are those before
    pooling; ``pooled`` says that the interaction (``p_interaction`` above the limit) was joined to repeatability.
    ``ndc`` is ``1.41 pv / grr`` (the manual rounds sqrt 2), not rounded; report it truncated.
    ``status``: ``measured``, or ``not_measurable`` where repeatability is
    zero: an excellent gauge, a coarse resolution and constant data look alike, so no ratio is given (``ndc`` is NaN).
    """

    ev: float
    av: float
    grr: float
    pv: float
    tv: float
    ndc: float
    sums: Mapping[str, float]
    dofs: Mapping[str, int]
    f_interaction: float
    p_interaction: float
    pooled: bool
    status: Literal["measured", "not_measurable"]

    @property
    def percent_study(self) -> float:
        """GRR as per cent of the total standard deviation."""
        return 100.0 * self.grr / self.tv if self.tv > 0.0 else math.nan

    @property
    def contributions(self) -> dict[str, float]:
        """Per cent of the total *variance*."""
        total = self.tv**2
        parts = {"av": self.av, "ev": self.ev, "grr": self.grr, "pv": self.pv}
        return {name: 100.0 * sd * sd / total if total > 0.0 else math.nan for name, sd in parts.items()}


def gauge_study(readings: Mapping[tuple[str, str], Sequence[Reading]], *, pool_above: float = 0.25) -> GaugeStudy:
    """Evaluate readings by (part, operator), all cells with the same number of trials.

    The interaction is pooled with repeatability where its probability exceeds ``pool_above`` (AIAG: 0.25). Negative
    variance components count as zero. Raises `ParameterError` for a design that is not crossed and balanced.
    """
    parts = sorted({part for part, _ in readings})
    operators = sorted({operator for _, operator in readings})
    p, o = len(parts), len(operators)
    counts = {len(cell) for cell in readings.values()}
    if p < 2 or o < 2 or len(readings) != p * o or len(counts) != 1 or min(counts) < 2:
        raise ParameterError(
            "a crossed gauge study needs every operator to measure every part equally often, at least twice",
            got=f"{p} parts, {o} operators, {len(readings)} cells with {sorted(counts)} readings",
        )
    r = counts.pop()
    cells = {key: as_fractions(list(cell)) for key, cell in readings.items()}
    n = p * o * r
    total = sum((v for cell in cells.values() for v in cell), Fraction(0))
    centre = total * total / n
    square = sum((v * v for cell in cells.values() for v in cell), Fraction(0)) - centre

    def between(groups: list[list[Fraction]]) -> Fraction:
        return sum((sum(g, Fraction(0)) ** 2 / len(g) for g in groups), Fraction(0)) - centre

    ss_part = between([[v for (a, _), cell in cells.items() if a == part for v in cell] for part in parts])
    ss_oper = between([[v for (_, b), cell in cells.items() if b == oper for v in cell] for oper in operators])
    ss_cells = between(list(cells.values()))
    ss_inter, ss_rep = ss_cells - ss_part - ss_oper, square - ss_cells
    dofs = {"part": p - 1, "operator": o - 1, "interaction": (p - 1) * (o - 1), "repeatability": p * o * (r - 1)}
    ms_inter, ms_rep = ss_inter / dofs["interaction"], ss_rep / dofs["repeatability"]
    f, probability = math.inf, 0.0
    if ms_rep:
        from scipy.special import fdtrc

        f = float(ms_inter / ms_rep)
        probability = float(fdtrc(dofs["interaction"], dofs["repeatability"], f))
    pooled = probability > pool_above
    zero = Fraction(0)
    error = (ss_inter + ss_rep) / (dofs["interaction"] + dofs["repeatability"]) if pooled else ms_rep
    inner = zero if pooled else max(zero, (ms_inter - ms_rep) / r)
    below = error if pooled else ms_inter
    v_oper = max(zero, (ss_oper / dofs["operator"] - below) / (p * r))
    v_part = max(zero, (ss_part / dofs["part"] - below) / (o * r))
    v_av = v_oper + inner
    measurable = error > 0
    grr, pv = root(error + v_av), root(v_part)
    sums = {"part": ss_part, "operator": ss_oper, "interaction": ss_inter, "repeatability": ss_rep, "total": square}
    return GaugeStudy(
        root(error),
        root(v_av),
        grr,
        pv,
        root(error + v_av + v_part),
        1.41 * pv / grr if measurable else math.nan,
        {name: float(value) for name, value in sums.items()},
        {**dofs, "total": n - 1},
        f,
        probability,
        pooled,
        "measured" if measurable else "not_measurable",
    )
