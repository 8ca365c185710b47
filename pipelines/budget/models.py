"""The budget file as strict pydantic models (schema ``abbe/budget/1``)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipelines.recipe.amounts import Amount, parse_amount
from pipelines.recipe.base import relative_path
from pipelines.recipe.models import Strict

SCHEMA_ID = "abbe/budget/1"
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
_IDENTIFIER = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def _number(value: object) -> float | Amount:
    """A plain number in the input's own unit, or a quantity with a unit of its own."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise PydanticCustomError("wrong_type", "expected a number, or a quantity such as '25 nm'")
    if isinstance(value, str):
        return parse_amount(value)
    return float(value)


def _whole_as_float(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


Value = Annotated[Any, PlainValidator(_number)]
Positive = Annotated[float, BeforeValidator(_whole_as_float), Field(gt=0.0)]
Plain = Annotated[float, BeforeValidator(_whole_as_float)]

# distribution -> sets of keys, one of which must be given whole
FORMS: dict[str, tuple[frozenset[str], ...]] = {
    name: tuple(frozenset(form.split()) for form in forms)
    for name, forms in {
        "normal": ("value u", "value expanded k", "value expanded p"),
        "rectangular": ("low high", "value half_width"),
        "triangular": ("low high", "value half_width"),
        "arcsine": ("low high", "value half_width"),
        "trapezoidal": ("low high beta", "value half_width beta"),
        "curvilinear": ("low high d", "value half_width d"),
        "t": ("value dof scale", "value dof sd"),
        "exponential": ("mean",),
        "gamma": ("shape scale",),
        "counting": ("count",),
        "beta": ("a b low high",),
        "lognormal": ("median s",),
        "weibull": ("shape scale",),
        "constant": ("value",),
        "readings": ("readings", "readings together"),
        "certificate": ("file quantity", "file quantity item"),
    }.items()
}
_SHAPE_KEYS = frozenset().union(*(form for forms in FORMS.values() for form in forms))
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

    distribution: DistributionName
    label: Name | None = None
    unit: Annotated[str, Field(max_length=40)] | None = None
    type: Literal["A", "B"] | None = None
    dof: Positive | None = None
    value: Value | None = None
    u: Value | None = None
    expanded: Value | None = None
    k: Positive | None = None
    p: Annotated[Plain, Field(gt=0.0, lt=1.0)] | None = None
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
    p: Annotated[Plain, Field(gt=0.0, lt=1.0)] = 0.95
    interval: Literal["shortest", "symmetric"] = "shortest"
    region: Literal["ellipsoid", "box", "smallest"] = "ellipsoid"


class GumSpec(Strict):
    order: Literal[1, 2] = 1
    moments: Literal["normal", "actual"] = "normal"
    truncate: bool = True


class MonteCarloSpec(Strict):
    trials: Annotated[int, Field(ge=1000, le=20_000_000)] | Literal["adaptive"] = 1_000_000
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
