"""The budget file as strict pydantic models (schema ``abbe/budget/1``)."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.budget.values import read_value
from pipelines.recipe.base import relative_path
from pipelines.recipe.models import Strict

SCHEMA_ID = "abbe/budget/1"
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _hinted(value: object) -> object:
    """Names of distributions that other documents use, answered with ours."""
    if isinstance(value, str) and value not in FORMS:
        known = SYNONYMS.get(re.sub(r"[^a-z]", "", value.lower()))
        if known is not None:
            raise PydanticCustomError(
                "bad_value", "'{given}' is called '{known}' here", {"given": value[:40], "known": known}
            )
    return value


def _degrees(value: object) -> object:
    """Degrees of freedom; ``infinite`` is what a missing key means as well."""
    if isinstance(value, str) and value.strip().lower() in ("inf", "infinite", "infinity", "\u221e"):
        return None
    return _whole_as_float(value)


def _probability(value: object) -> object:
    """A probability as a number or in per cent (``95 %``)."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*%\s*", value) if isinstance(value, str) else None
    if match is not None:
        return float(Fraction(match.group(1)) / 100)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1.0 < value < 100.0:
        raise PydanticCustomError("out_of_range", "a probability lies between 0 and 1: {p} or '{v} %'",
                                  {"p": f"{value / 100:g}", "v": f"{value:g}"})  # fmt: skip
    return _whole_as_float(value)


def _count(value: object) -> object:
    """A whole number, also where it is written 1e6."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _whole_as_float(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Value = Annotated[Any, PlainValidator(read_value)]
Positive = Annotated[float, BeforeValidator(_whole_as_float), Field(gt=0.0)]
Plain = Annotated[float, BeforeValidator(_whole_as_float)]
Probability = Annotated[float, Field(gt=0.0, lt=1.0)]

# distribution -> sets of keys, one of which must be given whole
FORMS: dict[str, tuple[frozenset[str], ...]] = {
    name: tuple(frozenset(form.split()) for form in forms)
    for name, forms in {
        "normal": ("value u", "value expanded k", "value expanded p"),
        "rectangular": ("low high", "value half_width", "value u"),
        "triangular": ("low high", "value half_width", "value u"),
        "arcsine": ("low high", "value half_width", "value u"),
        "trapezoidal": ("low high beta", "value half_width beta"),
        "curvilinear": ("low high d", "value half_width d"),
        "t": ("value dof scale", "value dof sd"),
        "exponential": ("mean",),
        "gamma": ("shape scale", "value u"),
        "counting": ("count",),
        "beta": ("a b", "a b low high"),
        "lognormal": ("median s", "value u"),
        "weibull": ("shape scale",),
        "constant": ("value",),
        "readings": ("readings", "readings together"),
        "certificate": ("file quantity", "file quantity item"),
    }.items()
}
_SHAPE_KEYS = frozenset().union(*(form for forms in FORMS.values() for form in forms))
# names that other documents give to distributions and keys, letters only -> ours
SYNONYMS = {
    "uniform": "rectangular", "rectangle": "rectangular", "r": "rectangular", "gaussian": "normal", "gauss": "normal",
    "n": "normal", "student": "t", "studentt": "t", "tdistribution": "t", "ushaped": "arcsine", "arcsin": "arcsine",
    "u": "arcsine", "triangle": "triangular", "trapezoid": "trapezoidal", "trapez": "trapezoidal",
    "ctrap": "curvilinear", "curvilineartrapezoid": "curvilinear", "curvilineartrapezoidal": "curvilinear",
    "poisson": "counting", "count": "counting", "exp": "exponential", "lognorm": "lognormal", "exact": "constant",
    "fixed": "constant", "typea": "readings", "dcc": "certificate",
}  # fmt: skip
KEYS = {
    "U": "expanded", "expanded_uncertainty": "expanded", "standard_uncertainty": "u", "uncertainty": "u", "std": "u",
    "sigma": "u", "stdev": "u", "nu": "dof", "df": "dof", "degrees_of_freedom": "dof", "min": "low", "max": "high",
    "lower": "low", "upper": "high", "halfwidth": "half_width", "limit": "half_width", "pm": "half_width",
    "estimate": "value", "mu": "value", "units": "unit", "dist": "distribution", "coverage_factor": "k",
    "data": "readings", "values": "readings", "observations": "readings",
}  # fmt: skip
DistributionName = Literal[
    "normal",
    "rectangular",
    "triangular",
    "arcsine",
    "trapezoidal",
    "curvilinear",
    "t",
    "exponential",
    "gamma",
    "counting",
    "beta",
    "lognormal",
    "weibull",
    "constant",
    "readings",
    "certificate",
]


class InputSpec(Strict):
    """One input quantity. Numbers are in ``unit``; a text such as '25 nm' is converted to it."""

    distribution: Annotated[DistributionName, BeforeValidator(_hinted)]
    label: Name | None = None
    unit: Annotated[str, Field(max_length=40)] | None = None
    type: Literal["A", "B"] | None = None
    dof: Annotated[Positive | None, BeforeValidator(_degrees)] = None
    value: Value | None = None
    u: Value | None = None
    expanded: Value | None = None
    k: Positive | None = None
    p: Annotated[Probability | None, BeforeValidator(_probability)] = None
    low: Value | None = None
    high: Value | None = None
    half_width: Value | None = None
    beta: Annotated[Plain, Field(ge=0.0, lt=1.0)] | None = None
    d: Value | None = None
    scale: Value | None = None
    sd: Value | None = None
    mean: Value | None = None
    shape: Positive | None = None
    count: Annotated[Plain, Field(ge=0.0)] | None = None
    a: Positive | None = None
    b: Positive | None = None
    median: Value | None = None
    s: Positive | None = None
    readings: Annotated[list[Value], Field(min_length=2, max_length=100_000)] | None = None
    together: Name | None = None
    file: str | None = None
    quantity: Name | None = None
    item: Annotated[int, Field(ge=1)] | None = None

    @field_validator("file")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else relative_path(value, "file")

    @model_validator(mode="after")
    def _whole(self) -> InputSpec:
        given = {key for key in _SHAPE_KEYS if getattr(self, key) is not None}
        forms = FORMS[self.distribution]
        shape = given - ({"dof"} if self.distribution != "t" else set())
        if self.distribution == "t" and not given & {"scale", "sd"}:
            raise PydanticCustomError(
                "contradiction",
                "Student's t needs 'scale' (u as in JCGM 101 6.4.9) or 'sd' (u as in NIST TN 1900): say which one the "
                "number is",
                {"key": "distribution"},
            )
        if shape in forms:
            return self
        needs = " or ".join(" + ".join(sorted(form)) for form in forms)
        for key in sorted(shape):
            if not any(key in form for form in forms):
                raise PydanticCustomError(
                    "contradiction",
                    "'{wrong}' does not belong to the distribution '{name}', which takes {needs}",
                    {"key": key, "wrong": key, "name": self.distribution, "needs": needs},
                )
        raise PydanticCustomError(
            "contradiction",
            "the distribution '{name}' takes {needs}; given: {given}",
            {
                "key": "distribution",
                "name": self.distribution,
                "needs": needs,
                "given": ", ".join(sorted(shape)) or "nothing",
            },
        )


def _input(value: object) -> object:
    """A bare number is an exact input."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"distribution": "constant", "value": value}
    return value


class CorrelationSpec(Strict):
    between: Annotated[list[Name], Field(min_length=2, max_length=2)]
    r: Annotated[Plain, Field(ge=-1.0, le=1.0)]


class OutputSpec(Strict):
    unit: Annotated[str, Field(max_length=40)] | None = None
    label: Name | None = None


class CoverageSpec(Strict):
    p: Annotated[Probability, BeforeValidator(_probability)] = 0.95
    interval: Literal["shortest", "symmetric"] = "shortest"
    region: Literal["ellipsoid", "box", "smallest"] = "ellipsoid"


class GumSpec(Strict):
    order: Literal[1, 2] = 1
    moments: Literal["normal", "actual"] = "normal"
    truncate: bool = True


class MonteCarloSpec(Strict):
    trials: Annotated[Annotated[int, Field(ge=1000, le=20_000_000)] | Literal["adaptive"], BeforeValidator(_count)] = (
        1_000_000
    )
    digits: Annotated[int, Field(ge=1, le=4)] = 2
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1


class Budget(Strict):
    """A whole budget file. ``model`` maps outputs to expressions; ``where`` defines shorthands, in order."""

    schema_: Literal["abbe/budget/1"] = Field(alias="schema")
    title: Name | None = None
    model: Annotated[dict[str, Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=50)]
    where: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    inputs: Annotated[dict[str, Annotated[InputSpec, BeforeValidator(_input)]], Field(min_length=1, max_length=500)]
    outputs: dict[str, OutputSpec] = Field(default_factory=dict)
    correlations: list[CorrelationSpec] = Field(default_factory=list)
    coverage: CoverageSpec = CoverageSpec()
    gum: GumSpec = GumSpec()
    monte_carlo: MonteCarloSpec = MonteCarloSpec()
    check_units: bool = True


def is_identifier(name: str) -> bool:
    return bool(_IDENTIFIER.match(name))
