"""Recipes: what to measure, in strict, versioned YAML. `load_recipe` is the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.recipe.amounts import Amount, amount
    from pipelines.recipe.convert import calibration_flags, decision_rule, instrument, tolerance
    from pipelines.recipe.load import LoadedRecipe, load_recipe, parse_recipe
    from pipelines.recipe.models import Recipe
    from pipelines.recipe.problems import Problem, RecipeProblems
    from pipelines.recipe.schema import recipe_schema
    from pipelines.recipe.templates import template

_HOME = {
    "Amount": "amounts",
    "amount": "amounts",
    "calibration_flags": "convert",
    "decision_rule": "convert",
    "instrument": "convert",
    "tolerance": "convert",
    "LoadedRecipe": "load",
    "load_recipe": "load",
    "parse_recipe": "load",
    "Recipe": "models",
    "Problem": "problems",
    "RecipeProblems": "problems",
    "recipe_schema": "schema",
    "template": "templates",
}
__all__ = [
    "Amount",
    "LoadedRecipe",
    "Problem",
    "Recipe",
    "RecipeProblems",
    "amount",
    "calibration_flags",
    "decision_rule",
    "instrument",
    "load_recipe",
    "parse_recipe",
    "recipe_schema",
    "template",
    "tolerance",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        value = getattr(import_module(f"pipelines.recipe.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
