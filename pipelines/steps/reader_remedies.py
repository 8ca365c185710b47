"""Remedies of the readers in the words of a recipe: the readers name their arguments, a recipe has keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from metrology_core.errors import AbbeError

_KEYS = {
    "columns": "inputs.text.columns",
    "separator": "inputs.text.separator",
    "decimal": "inputs.text.decimal",
    "points_are": "inputs.points_are",
    "unit": "inputs.unit",
    "format": "inputs.format",
    "dataset": "inputs.dataset",
}
_LIST = re.compile(r"columns=\(([^)]*)\)")
_VALUE = re.compile(rf"\b({'|'.join(_KEYS)})='(\w+)'")
_BARE = re.compile(rf"\b({'|'.join(_KEYS)})=")


@contextmanager
def recipe_remedies() -> Iterator[None]:
    """Errors raised inside name keys of the recipe in their remedy."""
    try:
        yield
    except AbbeError as error:
        if error.remedy is not None:
            error.remedy = in_the_recipe(error.remedy)
        raise


def in_the_recipe(remedy: str) -> str:
    """A remedy that names arguments of the readers, with the keys of the recipe instead."""
    remedy = remedy.replace('pass separator=","', "write 'inputs.text.separator: comma'")
    remedy = remedy.replace("with label_column=", "as label in 'inputs.text.columns'")
    remedy = remedy.replace("pass label_column= with the number of the column, from 0", "name it label in columns=")
    remedy = _LIST.sub(lambda found: f"'inputs.text.columns: [{found[1].replace(chr(34), '')}]'", remedy)
    remedy = _VALUE.sub(lambda found: f"'{_KEYS[found[1]]}: {found[2]}'", remedy)
    remedy = _BARE.sub(lambda found: f"'{_KEYS[found[1]]}'", remedy)
    return re.sub(r"\bpass (?='inputs\.)", "write ", remedy)
