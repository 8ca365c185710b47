"""Fields of correlated errors on surfaces: kernels, matrix-free covariances, sampling, estimation from residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metrology_core._lazy import load

if TYPE_CHECKING:
    from metrology_core.uncertainty.fields.correlated import CorrelatedFit, correlated
    from metrology_core.uncertainty.fields.estimate import CorrelationEstimate, estimate_correlation
    from metrology_core.uncertainty.fields.field import CorrelatedField, FieldOnPoints, Sandwich
    from metrology_core.uncertainty.fields.kernels import Kernel, exponential, gaussian, kernel_named, matern
    from metrology_core.uncertainty.fields.lobes import LobeAlias, lobe_alias
    from metrology_core.uncertainty.fields.posterior import SurfaceModel, SurfacePosterior
    from metrology_core.uncertainty.fields.sampling import FieldSampler

_HOMES = {
    "correlated": ("CorrelatedFit", "correlated"),
    "estimate": ("CorrelationEstimate", "estimate_correlation"),
    "field": ("CorrelatedField", "FieldOnPoints", "Sandwich"),
    "kernels": ("Kernel", "exponential", "gaussian", "kernel_named", "matern"),
    "lobes": ("LobeAlias", "lobe_alias"),
    "posterior": ("SurfaceModel", "SurfacePosterior"),
    "sampling": ("FieldSampler",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CorrelatedField",
    "CorrelatedFit",
    "CorrelationEstimate",
    "FieldOnPoints",
    "FieldSampler",
    "Kernel",
    "LobeAlias",
    "Sandwich",
    "SurfaceModel",
    "SurfacePosterior",
    "correlated",
    "estimate_correlation",
    "exponential",
    "gaussian",
    "kernel_named",
    "lobe_alias",
    "matern",
]


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)


def __dir__() -> list[str]:
    return sorted(__all__)
