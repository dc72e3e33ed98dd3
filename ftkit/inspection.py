"""`ftkit data check`: everything that is to be said of a recipe's rows, with nothing trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftkit import checkpoints, checks
from ftkit.checks._base import Data
from ftkit.checks.lengths import lengths
from ftkit.data.columns import unread_findings
from ftkit.data.load import Splits, load, unified, wanted_labels
from ftkit.data.several import is_data
from ftkit.errors import DataError
from ftkit.findings import Finding, Place, errors, located, merged
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, changed, load_recipe
from ftkit.tasks._base import Task
from ftkit.terminal import Say


@dataclass(frozen=True)
class Inspection:
    """What a recipe's rows are, and what is wrong with them."""

    recipe: Recipe
    task: Task
    rows: dict[str, int]
    """By split, those that can be read."""
    labels: dict[str, dict[str, int]]
    """By split, how many rows have each label, or mentions of each type; empty where there are none."""
    lengths: dict[str, dict[str, Any]]
    """Of each text: `median`, `p95` and `longest` in `unit` (tokens or words), and `limit`, what is read of it."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    splits: Splits = field(repr=False)

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a training."""
        return list(errors(self.findings))

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "task": self.recipe.task.name,
            "rows": self.rows,
            "labels": self.labels,
            "lengths": self.lengths,
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "findings": [finding.as_json() for finding in self.findings],
            "notes": list(self.notes),
        }


def recipe_for(source: str | Path, settings: Iterable[str], say: Say) -> Recipe:
    """The recipe that `source` is or names, or one for the data file that it is; `settings` laid over."""
    settings = list(settings)
    if not is_data(str(source)):
        return load_recipe(source, settings)
    from ftkit.init import recognised

    tasks = [value for name, _, value in (setting.partition("=") for setting in settings) if name == "task"]
    return changed(recognised(Path(source), tasks[-1] if tasks else None, say), settings)


def inspect(recipe: Recipe) -> Inspection:
    """Look through all rows that the recipe names, `data.limit` aside.

    Raises RecipeError and DataError for what can't be looked at at all: a missing file, columns that are not there.
    """
    task = resolve("task", recipe.task, Task)
    spec = recipe.data.model_copy(update={"limit": None})
    try:
        loaded = load(spec, task.shapes(), stratify=task.stratify(), groups=task.groups, strict=False)
    except DataError as error:
        if not error.faults:
            raise
        return Inspection(recipe, task, {}, {}, {}, (_unreadable(error),), (), Splits())
    found = [finding for split, rows in loaded.unread.items() for finding in unread_findings(rows, split)]
    if loaded.train is None:
        return Inspection(recipe, task, {}, {}, {}, tuple(located(merged(found), loaded.locate)), loaded.notes, loaded)
    of = {name: len(split) + len(loaded.unread.get(name, ())) for name, split in loaded.items()}
    return _inspected(recipe, task, loaded, [_counted(finding, of) for finding in found])


def _unreadable(error: DataError) -> Finding:
    places = tuple(Place(number, source, said) for source, number, said in error.faults)
    return Finding("unreadable", "error", "a line can't be read", places, error.hint)


def _counted(finding: Finding, of: dict[str, int]) -> Finding:
    split = finding.places[0].split
    return finding.within(split, of.get(split, 0))


def _inspected(recipe: Recipe, task: Task, loaded: Splits, found: list[Finding]) -> Inspection:
    splits = {}
    for name, split in loaded.items():
        refused: list[Finding] = []
        splits[name] = unified(task, split, refused)
        found += [finding.within(name, len(split)) for finding in refused]
    try:
        labels = task.labels(splits["train"], wanted_labels(recipe.data))
        found += checks.of_task(task, splits, labels)
    except DataError as error:
        labels = ()
        found.append(Finding("labels", "error", error.message, fix=error.hint))
    rows = {name: split.to_dict() for name, split in loaded.items()}
    data = Data(loaded.shape, rows, labels, task.limits(), _tokenizer(recipe))
    found += checks.of_data(data)
    return Inspection(
        recipe,
        task,
        {name: len(split) for name, split in loaded.items()},
        {name: dict(Counter(data.names(name)).most_common()) for name in rows if data.has_names},
        lengths(data),
        tuple(located(merged(found), loaded.locate)),
        tuple(dict.fromkeys([*loaded.notes, *data.notes])),
        loaded,
    )


def _tokenizer(recipe: Recipe) -> Path | None:
    folder = checkpoints.at_hand(recipe.model.checkpoint, recipe.model.revision)
    return folder / "tokenizer.json" if folder and (folder / "tokenizer.json").is_file() else None
