"""`ftkit data check`: everything that is to be said of a recipe's rows, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ftkit import checkpoints, checks
from ftkit.checks.lengths import lengths
from ftkit.data.columns import unread_findings
from ftkit.data.load import Splits, load, load_file
from ftkit.data.read import looks_like_file, missing, parted, unread_folder
from ftkit.data.several import is_data
from ftkit.errors import CheckpointError, DataError, counted, every
from ftkit.findings import Finding, Place, errors, located, merged
from ftkit.init import recognised
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, changed, load_recipe, override, parse_data
from ftkit.run import RunDirectory
from ftkit.settings import DataSpec
from ftkit.tasks._base import Limit, Task
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
    copy: Inspection | None = None
    """What the repaired copy is, where one was written."""

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a training."""
        return list(errors(self.findings))

    @property
    def stopped_by(self) -> str:
        """How many rows have errors, and how many errors belong to no row."""
        rows = len({(place.split, place.row) for finding in self.errors for place in finding.places})
        others = sum(not finding.places for finding in self.errors)
        told = [f"{counted(rows, 'row')} can't be read or labelled"] if rows else []
        return " and ".join([*told, *([f"{counted(others, 'error')} of no single row"] if others else [])])

    @property
    def way_out(self) -> str:
        """What to do about errors."""
        if self.copy:
            return "the copy has none" if not self.copy.errors else "mend what is left of them in the copy"
        if self.recipe.data.stream:
            return "mend them, or data.bad_rows=skip leaves such training rows out"
        if any(finding.kind == UNREADABLE for finding in self.findings):
            return "mend these lines"
        return "mend them, or let --fix do what it can"

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
            **({"copy": self.copy.as_json()} if self.copy else {}),
        }


def recipe_for(source: str | Path, settings: Iterable[str], say: Say) -> Recipe:
    """The recipe that `source` is or names, or one for the data file that it is; `settings` laid over."""
    settings = list(settings)
    if not is_data(str(source)):
        path = Path(parted(str(source))[0])
        if looks_like_file(str(source)) and not path.exists():
            raise missing(path)
        if path.is_dir() and not RunDirectory.is_run(path):
            raise unread_folder(path)
        return load_recipe(source, settings)
    given = override({}, settings)
    task, data = given.get("task"), given.get("data")
    name = task.get("name") if isinstance(task, dict) else task
    spec = parse_data(data if isinstance(data, dict) else {})
    return changed(recognised(Path(source), name and str(name), spec.encoding, say), settings)


def inspect(recipe: Recipe) -> Inspection:
    """Look through all rows that the recipe names, `data.limit` aside.

    Raises RecipeError, DataError and CheckpointError for what can't be looked at at all: a missing file, columns that
    are not there, a task that the checkpoint is not for.
    """
    task = resolve("task", recipe.task, Task)
    spec = recipe.data.model_copy(update={"limit": None})
    try:
        loaded = _loaded(spec, task)
    except DataError as error:
        if not error.faults:
            raise
        return Inspection(recipe, task, {}, {}, {}, (_unreadable(error),), (), Splits())
    found = [_unreadable(loaded.unreadable)] if loaded.unreadable else []
    found += [finding for split, rows in loaded.unread.items() for finding in unread_findings(rows, split)]
    if loaded.train is None:
        return Inspection(
            recipe, task, {}, {}, {}, tuple(located(merged(found), loaded.numbering)), loaded.notes, loaded
        )
    of = {name: len(split) + len(loaded.unread.get(name, ())) for name, split in loaded.items()}
    return _inspected(recipe, task, loaded, [_counted(finding, of) for finding in found])


def _left_out(recipe: Recipe, found: Iterable[Finding]) -> Iterator[Finding]:
    """What is found, where errors of training rows that the recipe leaves out are none."""
    for finding in found:
        is_skipped = finding.level == "error" and set(finding.splits) == {"train"} and recipe.data.bad_rows == "skip"
        yield replace(finding, level="warning", fix=_SKIPPED) if is_skipped else finding


_SKIPPED = "such rows of the stream are left out of the training and counted (data.bad_rows: skip)"


def _loaded(spec: DataSpec, task: Task) -> Splits:
    """The rows; texts without labels are read, too, to tell of what can't be."""
    calls: list[Callable[[], Any]] = [
        lambda: load(spec, task.shapes(), stratify=task.stratify(), groups=task.groups, strict=False)
    ]
    if unlabeled := spec.sources("unlabeled"):
        calls.append(lambda: load_file(unlabeled, spec, task.shapes(), targets=False))
    loaded: Splits = every(calls)[0]
    return loaded


UNREADABLE = "unreadable"
"""The kind of lines that can't even be told apart."""


def _unreadable(error: DataError) -> Finding:
    places = tuple(Place(number, source, said, unit="line") for source, number, said in error.faults)
    return Finding(UNREADABLE, "error", "a line can't be read", places, error.hint)


def _counted(finding: Finding, of: dict[str, int]) -> Finding:
    split = finding.places[0].split
    return finding.within(split, of.get(split, 0))


def _inspected(recipe: Recipe, task: Task, loaded: Splits, found: list[Finding]) -> Inspection:
    notes = list(loaded.notes)
    config, tokenizer = _checkpoint(recipe, task, notes)
    own = checks.checked(task, dict(loaded.items()), recipe.data, config)
    limits = _limits(own.task, config, tokenizer)
    data = checks.as_data(loaded, own.labels, limits, tokenizer, balanced=recipe.is_balanced)
    if recipe.data.limit is not None and loaded.train is not None and recipe.data.limit < len(loaded.train):
        notes.append(f"all rows are looked at; training draws {recipe.data.limit:,} of them (data.limit)")
    return Inspection(
        recipe,
        own.task,
        {name: len(split) for name, split in loaded.items()},
        {name: dict(data.counts(name).most_common()) for name in data.splits if data.has_names},
        lengths(data),
        tuple(located(merged([*_left_out(recipe, [*found, *own.findings]), *checks.found_in(data)]), loaded.numbering)),
        tuple(dict.fromkeys([*notes, *data.notes])),
        loaded,
    )


def _checkpoint(recipe: Recipe, task: Task, notes: list[str]) -> tuple[Any, Any]:
    """The checkpoint's config and tokenizer; None of one that would have to be fetched, or that can't be used."""
    folder = checkpoints.at_hand(recipe.model.checkpoint, recipe.model.revision)
    if folder is None:
        return None, None
    from ftkit.engine import pretrained

    try:
        return pretrained.read_config(folder), pretrained.read_tokenizer(folder, task)
    except CheckpointError as error:
        notes.append(f"looked at without the checkpoint, of which training will say: {error.message}")
        return None, None


def _limits(task: Task, config: Any, tokenizer: Any) -> tuple[Limit, ...]:
    """What is read of texts, as far as the checkpoint has positions for it."""
    if config is None:
        return task.limits()
    from ftkit.engine import pretrained

    return pretrained.within_positions(task, config, tokenizer).limits()
