"""What makes deviations uncertain: noise of single points, common shifts, the alignment, the tessellation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metrology_core.errors import ParameterError
from metrology_core.instrument import Instrument
from metrology_core.quantity import Influence, Measured
from metrology_core.units import convert
from pointcloud.nominal.surface import FloatArray


@dataclass(frozen=True, eq=False)
class DeviationUncertainty:
    """Standard uncertainties behind a deviation, in the unit of the nominal.

    ``noise``: standard deviation of a point along the normal, one number or (n,), independent from point to point
    except over ``correlation_length``; ``common``: influences that shift every deviation alike, with their standard
    uncertainty; ``alignment`` (6, 6): covariance of the small motion (rotation x, y, z in rad, translation x, y, z)
    about ``pivot``, in the frame of the nominal; ``tessellation``: chord tolerance, rectangular between 0 and itself
    either side (None: taken from the nominal). ``scope`` makes the ids of the influences unique.
    """

    noise: float | FloatArray | None = None
    common: Mapping[Influence, float] = field(default_factory=dict)
    alignment: FloatArray | None = None
    pivot: FloatArray = field(default_factory=lambda: np.zeros(3))
    alignment_dof: float = math.inf
    tessellation: float | None = None
    correlation_length: float = 0.0
    scope: str = "deviation"
    declared_instrument: bool = False
    aligned: bool = True

    def __post_init__(self) -> None:
        if self.alignment is not None:
            matrix = np.asarray(self.alignment, dtype=np.float64)
            if matrix.shape != (6, 6) or not np.isfinite(matrix).all():
                raise ParameterError(
                    "the covariance of the alignment is not usable",
                    expected="(6, 6) finite numbers",
                    got=str(matrix.shape),
                    remedy="free motions have no covariance: pass that of the determined ones",
                )
            object.__setattr__(self, "alignment", matrix)
        object.__setattr__(self, "pivot", np.asarray(self.pivot, dtype=np.float64).reshape(3))
        if self.noise is not None and not (np.isfinite(self.noise).all() and np.min(self.noise, initial=0.0) >= 0.0):
            raise ParameterError("noise is a standard deviation", expected=">= 0")

    @classmethod
    def of_instrument(cls, instrument: Instrument, unit: str, **rest: Any) -> DeviationUncertainty:
        """Noise, correlation length and constant length error (A of ``E = A + L/K``) of a declared instrument.

        A deviation is a length near zero, so the part of the MPE that grows with length is left to the alignment.
        """
        factor = convert(1.0, instrument.unit, unit)
        common = {row: part * factor for row, part in instrument.length_contribution(0.0, "deviation").items()}
        return cls(
            noise=None if instrument.noise is None else instrument.noise * factor,
            common=common,
            correlation_length=(instrument.correlation_length or 0.0) * factor,
            declared_instrument=True,
            **rest,
        )

    def with_tessellation(self, chord: float) -> DeviationUncertainty:
        return replace(self, tessellation=chord)

    def flags(self) -> tuple[str, ...]:
        names = []
        if not self.declared_instrument:
            names.append("repeatability_only")
        if self.aligned and self.alignment is None:
            names.append("alignment_uncertainty_missing")
        if self.noise is not None and not self.correlation_length:
            names.append("independent_noise_assumed")
        return tuple(names)

    # --- per point
    def factor(self) -> FloatArray:
        """(6, 6) F with F F' = covariance, columns ordered and signed so that the ids keep their meaning."""
        if self.alignment is None:
            return np.zeros((6, 0))
        matrix = (self.alignment + self.alignment.T) / 2.0
        # rad and lengths differ in size: scale to unit diagonal before the decomposition
        root = np.sqrt(np.clip(np.diag(matrix), 0.0, None))
        safe = np.where(root > 0.0, root, 1.0)
        values, vectors = np.linalg.eigh(matrix / np.outer(safe, safe))
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(6)])
        return np.asarray(safe[:, None] * (vectors * signs * np.sqrt(np.clip(values, 0.0, None))))

    def of_points(self, foot: FloatArray, normal: FloatArray) -> FloatArray:
        """(n,) standard uncertainties of single deviations at these feet; noise of all points or of these."""
        variance = np.zeros(len(foot))
        if self.noise is not None:
            noise = np.asarray(self.noise, dtype=np.float64)
            if noise.ndim and len(noise) != len(foot):
                noise = np.asarray(float(np.sqrt(np.mean(np.square(noise)))))
            variance += np.square(noise)
        variance += sum(u * u for u in self.common.values())
        variance += (self.tessellation or 0.0) ** 2 / 3.0
        if self.alignment is not None:
            arm = np.cross(foot - self.pivot, normal)
            lever = np.concatenate([arm, normal], axis=1) @ self.factor()
            variance += np.einsum("ij,ij->i", lever, lever)
        return np.sqrt(variance)

    # --- anything linear in the deviations
    def linear(
        self,
        value: float,
        unit: str,
        foot: FloatArray,
        normal: FloatArray,
        weights: FloatArray,
        name: str,
        *,
        noise: FloatArray | None = None,
        density: float = 0.0,
        extra: Mapping[Influence, float] | None = None,
        lower_bound: float | None = None,
        flags: tuple[str, ...] = (),
    ) -> Measured:
        """A `Measured` whose change is ``sum(weights * deviations)`` over the given points.

        ``noise`` (k,) overrides that of the points; ``density`` (points per unit area) raises the effect of noise that
        is correlated over ``correlation_length`` by ``1 + 2 pi l^2 density`` points acting as one.
        """
        sigma = self.noise if noise is None else noise
        own = None
        if sigma is not None:
            own = float(np.sqrt(np.sum(np.square(weights * sigma))))
            own *= math.sqrt(1.0 + 2.0 * math.pi * self.correlation_length**2 * density)
            own = min(own, float(np.sum(np.abs(weights * sigma))))
        lever = None
        if self.alignment is not None:
            lever = weights @ np.concatenate([np.cross(foot - self.pivot, normal), normal], axis=1)
        return self.of_sums(
            value, unit, float(np.sum(weights)), lever, own, name, extra=extra, lower_bound=lower_bound, flags=flags
        )

    def of_sums(
        self,
        value: float,
        unit: str,
        total: float,
        lever: FloatArray | None,
        own: float | None,
        name: str,
        *,
        extra: Mapping[Influence, float] | None = None,
        lower_bound: float | None = None,
        flags: tuple[str, ...] = (),
    ) -> Measured:
        """As `linear`, from sums over the points: of the weights, of weight times lever arm (6,) (foot - pivot cross
        normal, then normal), and the standard uncertainty that the noise of the points gives (``own``)."""
        parts: dict[str, float] = {}
        rows: dict[str, Influence] = {}

        def put(row: Influence, part: float) -> None:
            if part:
                parts[row.id] = parts.get(row.id, 0.0) + part
                rows[row.id] = row

        if own is not None:
            put(Influence(f"noise/{self.scope}/{name}", "noise of the points", "B"), own)
        for row, u in self.common.items():
            put(row, total * u)
        if self.tessellation:
            put(
                Influence(f"tessellation/{self.scope}", "chord tolerance of the nominal (rectangular)", "B",
                          distribution="rectangular"),
                total * self.tessellation / math.sqrt(3.0),
            )  # fmt: skip
        if self.alignment is not None and lever is not None:
            group = f"alignment/{self.scope}"
            for k, part in enumerate(lever @ self.factor()):
                put(
                    Influence(f"{group}/{k}", "alignment of the scan", "A", self.alignment_dof, group=group),
                    float(part),
                )
        for row, part in (extra or {}).items():
            put(row, part)
        return Measured(value, unit, parts, rows, lower_bound, flags=flags)
