"""The shelf: the recipes that ship with ftkit, by name. Light, so that listing them takes no time."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import RecipeError, nearest
from ftkit.files import expanded

SHELF = next(
    folder for folder in (Path(__file__).parent / "_recipes", Path(__file__).parents[1] / "recipes") if folder.is_dir()
)
"""Inside an installed package, or beside the package in a clone."""


def names() -> list[str]:
    """Names of the shipped recipes, as `sentiment/lora`."""
    return sorted(path.relative_to(SHELF).with_suffix("").as_posix() for path in SHELF.rglob("*.yaml"))


def first_lines() -> list[tuple[str, str]]:
    """(name, what it does) of each recipe, from the comment that it opens with."""
    return [(name, _first_line(SHELF / f"{name}.yaml")) for name in names()]


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe: a path, a name on the shelf, or a run. Raises RecipeError with the nearest of these."""
    path = expanded(source, RecipeError)
    if path.is_file():
        return path
    if str(source) in names():
        return SHELF / f"{source}.yaml"
    if (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    near = nearest(str(source), [*names(), *(str(file) for file in path.parent.glob("*.y*ml"))])
    raise RecipeError(
        f"there is no recipe called {str(source)!r}",
        (f"did you mean {near}? " if near else "") + "`ftkit recipes list` shows the shipped ones",
    )
