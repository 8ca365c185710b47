"""The JSON Schema of recipes, for editors (``# yaml-language-server: $schema=...``)."""

from __future__ import annotations

from typing import Any

SCHEMA_URI = "urn:abbe:recipe:1"


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of ``abbe/recipe/1``: shapes and choices; names and units are checked on loading."""
    from pipelines.recipe.models import Recipe

    schema = Recipe.model_json_schema(by_alias=True, mode="validation")
    properties = schema["properties"]
    from_file = {
        "type": "object",
        "description": "The instrument in its own file, under the recipe's folder.",
        "properties": {"file": {"type": "string"}},
        "required": ["file"],
        "additionalProperties": False,
    }
    properties["instrument"] = {"anyOf": [from_file, {"$ref": "#/$defs/InstrumentSpec"}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_URI,
        **schema,
        "title": "Abbe recipe, version 1",
    }


def instrument_schema() -> dict[str, Any]:
    """JSON Schema of an instrument file: the keys of ``instrument`` in a recipe."""
    from pipelines.recipe.models import InstrumentSpec

    schema = InstrumentSpec.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:abbe:instrument:1",
        **schema,
        "title": "Abbe instrument file",
    }
