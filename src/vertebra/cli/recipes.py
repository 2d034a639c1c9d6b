"""``vertebra recipes``."""

from __future__ import annotations

from typing import Annotated

import typer

from vertebra.cli import output


def command(
    action: Annotated[str, typer.Argument(help="'list', or 'show' with a name.")] = "list",
    name: Annotated[str | None, typer.Argument(help="A recipe's name, or a YAML file.")] = None,
    json: output.Json = False,
) -> None:
    """List the built-in recipes with what each reached, or show one with its source."""
    from vertebra.core import VertebraError, unknown

    if action == "show" and name is not None:
        _show(name, json)
    elif action == "show":
        raise VertebraError("which recipe? vertebra recipes lists them")
    elif action == "list" and name is None:
        _list(json)
    else:
        raise unknown("action", action if name is None else f"{action} {name}", ("list", "show"))


def _list(json: bool) -> None:
    from vertebra.runs import Recipe, list_recipes

    recipes = {name: Recipe.load(name) for name in list_recipes()}
    if json:
        rows = [
            {"name": name, **recipe.about.model_dump(), "duration": str(recipe.train.duration)}
            for name, recipe in recipes.items()
        ]
        output.document({"schema": "vertebra.recipes/1", "recipes": rows})
        return
    rows_of_text = [
        (name, recipe.train.optimizer, str(recipe.train.duration), recipe.about.reached)
        for name, recipe in recipes.items()
    ]
    output.table(("recipe", "optimiser", "length", "reached"), rows_of_text, text=4)


def _show(name: str, json: bool) -> None:
    from vertebra.runs import Recipe
    from vertebra.runs.recipe import recipe_text

    recipe = Recipe.load(name)  # refuses what is none, also for --json
    if json:
        content = {"schema": "vertebra.recipe/1", "name": name, **recipe.model_dump(mode="json")}
        output.document(content)
        return
    output.document_text(recipe_text(name).rstrip("\n"))
