"""Values at sites of one wafer, and the summary that instruments print beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from metrology_core.errors import DataError, ParameterError


@dataclass(frozen=True)
class SiteSummary:
    """``n`` values: ``mean``, ``sd`` (n - 1), ``minimum``, ``maximum``; ``range``; ``sd3`` = 3 sd; percentages of the
    mean."""

    n: int
    mean: float
    sd: float
    minimum: float
    maximum: float

    @property
    def range(self) -> float:
        return self.maximum - self.minimum

    @property
    def sd3(self) -> float:
        return 3.0 * self.sd

    @property
    def sd_percent(self) -> float:
        return 100.0 * self.sd / self.mean if self.mean else math.nan

    @property
    def sd3_percent(self) -> float:
        return 3.0 * self.sd_percent

    def figures(self) -> dict[str, float]:
        """By the names that film tools use; NaN where one value has no spread."""
        return {
            "MEAN": self.mean, "MIN": self.minimum, "MAX": self.maximum, "% STDDEV": self.sd_percent,
            "STDDEV": self.sd, "3 % STDDEV": self.sd3_percent, "3 STDDEV": self.sd3, "RANGE": self.range,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class SiteMap:
    """One measurand over one wafer: ``x``, ``y`` (n,) in mm from the middle, ``value`` (n,) in ``unit`` (text as the
    file's tool names it, ``""`` for pure numbers); ``wafer``, ``lot``, ``title`` in words; ``reported`` the figures
    that the file itself states, by name, as text; ``block`` the wafer's number in its file, from 0;
    ``own_unit`` whether the file itself says the unit; ``unread`` the texts, by index of their site, that stand where a
    value belongs and are no number (the value is NaN); ``doubts`` flags that the reader gives it."""

    x: np.ndarray
    y: np.ndarray
    value: np.ndarray
    unit: str
    wafer: str = ""
    lot: str = ""
    title: str = ""
    reported: Mapping[str, str] = field(default_factory=dict)
    block: int = 0
    own_unit: bool = False
    unread: Mapping[int, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "y", "value"):
            values = np.array(getattr(self, name), np.float64)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        if not self.x.shape == self.y.shape == self.value.shape or self.x.ndim != 1:
            raise ParameterError("a map has one place for each value", got=f"{self.x.shape}, {self.value.shape}")

    def summary(self) -> SiteSummary:
        """Over the finite values; raises `DataError` where there are none."""
        v = self.value[np.isfinite(self.value)]
        if not v.size:
            raise DataError("the map has no value", got=self.wafer)
        return SiteSummary(
            v.size, float(v.mean()), float(v.std(ddof=1)) if v.size > 1 else math.nan, float(v.min()), float(v.max())
        )

    def figures(self) -> dict[str, float | None]:
        """The summary by the names that film tools use; None where the map has no value, or one and no spread."""
        if not np.isfinite(self.value).any():
            return dict.fromkeys(SiteSummary(0, 0.0, 0.0, 0.0, 0.0).figures())
        return {name: v if math.isfinite(v) else None for name, v in self.summary().figures().items()}

    def differences(self) -> dict[str, tuple[float, float]]:
        """Reported figures against ours: name -> (reported, ours), for those farther apart than rounding explains: half
        of the last digit of the figure, and what half of the last digit of every value can do to it."""
        if not np.isfinite(self.value).any():
            return {}
        ours = self.summary().figures()
        half = 0.5 * self._step()
        relative = 100.0 / abs(ours["MEAN"]) if ours["MEAN"] else math.inf
        # a standard deviation moves by at most sqrt(n / (n - 1)) of what every value does
        spread = 1.1 * half
        moved = {"STDDEV": spread, "3 STDDEV": 3.0 * spread, "RANGE": 2.0 * half, "% STDDEV": 1.1 * spread * relative,
                 "3 % STDDEV": 3.3 * spread * relative}  # fmt: skip
        out = {}
        for name, text in self.reported.items():
            if name not in ours:
                continue
            rounding = 0.5 * 10.0 ** -len(text.partition(".")[2])
            if abs(ours[name] - float(text)) > 1.0001 * rounding + moved.get(name, half):
                out[name] = (float(text), ours[name])
        return out

    def _step(self) -> float:
        """The last decimal place that any value uses."""
        v = self.value[np.isfinite(self.value)]
        for digits in range(9):
            scaled = v * 10.0**digits
            if np.all(np.abs(scaled - np.rint(scaled)) < 1e-6):
                return 10.0**-digits
        return 0.0
