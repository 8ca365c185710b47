"""``abbe recipe check | init | schema``."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.session import Session, json_option


@click.group()
def recipe() -> None:
    """Check a recipe, start one, print its JSON Schema."""


@recipe.command()
@click.argument("path", metavar="RECIPE", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def check(session: Session, path: Path) -> int:
    """Check RECIPE; every fault is shown with file, line and column."""
    from pipelines.recipe import load_recipe

    loaded = load_recipe(path)
    measure = loaded.recipe.measure
    session.answer(
        {
            "valid": True,
            "path": str(path),
            "name": loaded.recipe.name,
            "kind": measure.kind,
            "characteristics": len(measure.characteristics),
            "sha256": loaded.sha256,
            "files": dict(loaded.files),
        }
    )
    session.answer_text(
        f"{path}: valid; {measure.kind}, {len(measure.characteristics)} characteristics, digest {loaded.sha256[:16]}\n"
    )
    return 0


@recipe.command()
@click.argument("path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(["features", "sem_lines", "sem_contacts", "sem_contours", "film_map"]),
    default="features",
    show_default=True,
)
@json_option
@click.pass_obj
def init(session: Session, path: Path, kind: str) -> int:
    """Write a commented recipe to start from; an existing file is never overwritten."""
    from metrology_core.errors import UsageError
    from pipelines.recipe import template

    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(template(kind))
    except FileExistsError:
        raise UsageError(f"{str(path)!r} exists", remedy="give another name") from None
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}", remedy="check the folder") from None
    session.answer({"path": str(path), "kind": kind})
    session.answer_text(f"{path}\n")
    return 0


@recipe.command()
@click.option("--instrument", is_flag=True, help="The schema of instrument files instead.")
@json_option
@click.pass_obj
def schema(session: Session, instrument: bool) -> int:
    """Print the JSON Schema of recipes, for editors."""
    import json

    from pipelines.recipe.schema import instrument_schema, recipe_schema

    document = instrument_schema() if instrument else recipe_schema()
    session.answer(document)
    session.answer_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    return 0
