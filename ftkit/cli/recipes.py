"""`ftkit recipes`: the shelf."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The shipped recipes: list, show, copy; and every setting explained.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A shelf name, as sentiment/lora.")]


@app.command("list")
def list_recipes() -> None:
    """List the shipped recipes, a line each."""
    from ftkit.shelf import first_lines

    lines = first_lines()
    width = max(len(name) for name, _ in lines)
    for name, line in lines:
        print(f"{name.ljust(width)}  {line}")


@app.command()
def show(name: Name) -> None:
    """Print a recipe as it is on the shelf."""
    from ftkit.shelf import find_recipe

    print(find_recipe(name).read_text(encoding="utf-8"), end="")


@app.command()
def copy(name: Name, to: Annotated[Path, typer.Argument(help="The new file.")]) -> None:
    """Copy a recipe, to change it."""
    from ftkit.errors import RecipeError
    from ftkit.shelf import find_recipe

    source = find_recipe(name)
    if to.is_dir():
        to = to / source.name
    if os.path.lexists(to):
        raise RecipeError(f"{to} exists already", "name another file")
    try:
        to.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{to} can't be written: {error.strerror}", "name another file") from error
    print(to)


@app.command()
def explain(
    setting: Annotated[str, typer.Argument(help="A setting or a section, as train.batch or data.")] = "",
) -> None:
    """Explain every setting: its type, its default, and what it does."""
    from ftkit.explain import choices
    from ftkit.explain import explain as rows

    for name, kind, default, sentence in rows(setting):
        print(f"{name}  ({kind}; default {default})\n    {sentence}")
        for choice, what in choices(name):
            print(f"    {choice}: {what}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors that complete and check YAML."""
    import json

    from ftkit.explain import schema as recipe_schema

    print(json.dumps(recipe_schema(), indent=2))
