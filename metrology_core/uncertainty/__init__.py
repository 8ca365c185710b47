"""Measurement uncertainty: the GUM, propagation of distributions, conformity and risk, certified least squares.

Everything loads when first used; the names below are the public ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metrology_core._lazy import load

if TYPE_CHECKING:
    from metrology_core.uncertainty.calibrated import Assessment, artefact_ratio, assess
    from metrology_core.uncertainty.derivatives import expand, gradient_of
    from metrology_core.uncertainty.distributions import (
        ArcSine,
        Beta,
        Constant,
        CurvilinearTrapezoidal,
        Distribution,
        Exponential,
        Gamma,
        Lognormal,
        Normal,
        Rectangular,
        StudentT,
        Trapezoidal,
        Triangular,
        Weibull,
        readings,
    )
    from metrology_core.uncertainty.exact import one_way, summary
    from metrology_core.uncertainty.gauge import GaugeStudy, gauge_study
    from metrology_core.uncertainty.gum import GumResult, propagate_measured, propagate_model
    from metrology_core.uncertainty.intervals import coverage_interval, coverage_region, numerical_tolerance
    from metrology_core.uncertainty.linear import LinearFit, linear_fit, polynomial_fit
    from metrology_core.uncertainty.model import Input, Joint, Model
    from metrology_core.uncertainty.montecarlo import MonteCarloResult, Validation, monte_carlo, validate
    from metrology_core.uncertainty.nonlinear import NonlinearFit, nonlinear_fit
    from metrology_core.uncertainty.risk import (
        GlobalRisk,
        SpecificRisk,
        acceptance_limits,
        capability_index,
        global_risk,
        guard_band_for,
        process_from_in_tolerance,
        specific_risk,
    )
    from metrology_core.uncertainty.sampling import seed_of, vectorised

_HOMES = {
    "calibrated": (
        "Assessment",
        "artefact_ratio",
        "assess",
    ),
    "derivatives": (
        "expand",
        "gradient_of",
    ),
    "distributions": (
        "ArcSine",
        "Beta",
        "Constant",
        "CurvilinearTrapezoidal",
        "Distribution",
        "Exponential",
        "Gamma",
        "Lognormal",
        "Normal",
        "Rectangular",
        "StudentT",
        "Trapezoidal",
        "Triangular",
        "Weibull",
        "readings",
    ),
    "exact": (
        "one_way",
        "summary",
    ),
    "gauge": (
        "GaugeStudy",
        "gauge_study",
    ),
    "gum": (
        "GumResult",
        "propagate_measured",
        "propagate_model",
    ),
    "intervals": (
        "coverage_interval",
        "coverage_region",
        "numerical_tolerance",
    ),
    "linear": (
        "LinearFit",
        "linear_fit",
        "polynomial_fit",
    ),
    "model": (
        "Input",
        "Joint",
        "Model",
    ),
    "montecarlo": (
        "MonteCarloResult",
        "Validation",
        "monte_carlo",
        "validate",
    ),
    "nonlinear": (
        "NonlinearFit",
        "nonlinear_fit",
    ),
    "risk": (
        "GlobalRisk",
        "SpecificRisk",
        "acceptance_limits",
        "capability_index",
        "global_risk",
        "guard_band_for",
        "process_from_in_tolerance",
        "specific_risk",
    ),
    "sampling": (
        "seed_of",
        "vectorised",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArcSine",
    "Assessment",
    "Beta",
    "Constant",
    "CurvilinearTrapezoidal",
    "Distribution",
    "Exponential",
    "Gamma",
    "GaugeStudy",
    "GlobalRisk",
    "GumResult",
    "Input",
    "Joint",
    "LinearFit",
    "Lognormal",
    "Model",
    "MonteCarloResult",
    "NonlinearFit",
    "Normal",
    "Rectangular",
    "SpecificRisk",
    "StudentT",
    "Trapezoidal",
    "Triangular",
    "Validation",
    "Weibull",
    "acceptance_limits",
    "artefact_ratio",
    "assess",
    "capability_index",
    "coverage_interval",
    "coverage_region",
    "expand",
    "gauge_study",
    "global_risk",
    "gradient_of",
    "guard_band_for",
    "linear_fit",
    "monte_carlo",
    "nonlinear_fit",
    "numerical_tolerance",
    "one_way",
    "polynomial_fit",
    "process_from_in_tolerance",
    "propagate_measured",
    "propagate_model",
    "readings",
    "seed_of",
    "specific_risk",
    "summary",
    "validate",
    "vectorised",
]


def __getattr__(name: str) -> Any:
    return load(__name__, _HOME_OF, name)


def __dir__() -> list[str]:
    return sorted(__all__)
