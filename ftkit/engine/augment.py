"""`augment`: the variants of a recipe's training rows, to be looked at or written to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ftkit.augmenters._variants import Made, Variant
from ftkit.data.clean import GIVEN
from ftkit.data.split import SPLIT_NAMES
from ftkit.edits import Edited, Place
from ftkit.engine.prepare import read_rows
from ftkit.engine.variants import augment, summary
from ftkit.errors import DataError, RecipeError
from ftkit.files import replacing
from ftkit.plugins import resolve
from ftkit.recipe import Recipe
from ftkit.run import write_jsonl
from ftkit.tasks._base import Example, Task

Mark = tuple[str, str]
"""A part of a text, and what is to be seen of it: `changed`, `kept`, or nothing."""


@dataclass(frozen=True)
class Augmentation:
    """Training rows and their variants, as they are stored."""

    task: Task
    rows: list[dict[str, Any]]
    made: Made
    notes: tuple[str, ...]
    sources: tuple[Path, ...]
    """The files, or other sources, of the recipe's data."""
    held: dict[str, int]
    """How many rows each other split has, of which there are no variants."""

    def as_json(self) -> dict[str, Any]:
        """How many variants there are, and what became of the others."""
        return summary(self.made, len(self.rows))

    def pairs(self, most: int) -> list[dict[str, Any]]:
        """The first variants with their originals."""
        return [
            {"by": variant.by, "original": self.rows[variant.origin], "variant": variant.row}
            for variant in self.made.variants[:most]
        ]

    def shown(self, most: int) -> Iterator[tuple[str, list[tuple[str, list[Mark], list[Mark]]]]]:
        """What the first variants are, and for each of their texts: column, and what stood and stands in it."""
        for variant in self.made.variants[:most]:
            original = self.rows[variant.origin]
            kept = self.task.kept_parts(original)
            texts = [(column, *marks(edited, kept.get(column, []))) for column, edited in variant.texts.items()]
            yield self._title(original, variant), texts

    def _title(self, original: Example, variant: Variant) -> str:
        label = self.task.stratify()
        if label is None:
            return f"row {original['row']}, {variant.by}"
        before, after = original[label], variant.row[label]
        return f"row {original['row']}, {variant.by}: {before}" + (f" -> {after}" if after != before else "")

    def write(self, path: Path) -> int:
        """Write originals, each followed by its variants, as JSON Lines, whole or not at all; the number of rows.

        `augmenter` is null for an original. Rows of one `group` belong on one side of a split.
        """
        if path.is_dir():
            raise DataError(f"{path} is a folder", "name a file with --to")
        if path.exists() and any(os.path.samefile(path, source) for source in self.sources if source.exists()):
            raise DataError(f"{path} is the file that is read", "name another file with --to")
        if os.path.lexists(path):
            raise DataError(f"{path} exists already", "name another file with --to; none is overwritten")
        rows = list(self._written())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as beside:
                write_jsonl(beside, rows)
        except OSError as error:
            raise DataError(f"{path} can't be written: {error.strerror}", "name another file with --to") from error
        return len(rows)

    def _written(self) -> Iterator[dict[str, Any]]:
        of: dict[int, list[Variant]] = {}
        for variant in self.made.variants:
            of.setdefault(variant.origin, []).append(variant)
        for place, row in enumerate(self.rows):
            group = row.get("group") or f"row {row['row']}"
            own = [(None, row), *((variant.by, variant.row) for variant in of.get(place, []))]
            for by, one in own:
                yield {**_without(one, GIVEN), "group": group, "augmenter": by}


def _without(row: Example, column: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != column}


def augmentation(recipe: Recipe) -> Augmentation:
    """What the recipe's `augment` section makes of its training rows. Raises FTKitError with all that is wrong."""
    if not recipe.augment.by:
        raise RecipeError(
            "augment.by: the recipe names no augmenter", "for example --set 'augment.by=[swap, keyboard]'"
        )
    task = resolve("task", recipe.task, Task)
    stored, splits, notes = read_rows(recipe, task)
    labels = task.labels(splits["train"], recipe.data.label_names)
    made = augment(stored, task, recipe.augment, labels)
    named = [source for split in SPLIT_NAMES for source in recipe.data.sources(split)]
    held = {name: len(rows) for name, rows in splits.items() if name != "train"}
    return Augmentation(task, stored.to_list(), made, notes, tuple(map(Path, named)), held)


def marks(edited: Edited, kept: list[Place]) -> tuple[list[Mark], list[Mark]]:
    """A text before and after, in parts that say what was changed and what had to stay."""
    before: list[Mark] = []
    after: list[Mark] = []
    place = 0
    for old, new in edited.parts():
        if old != new:
            before.append((old, "changed"))
            after.append((new, "changed"))
        else:
            same = list(_split(old, place, kept))
            before += same
            after += same
        place += len(old)
    return before, after


def _split(text: str, offset: int, kept: list[Place]) -> Iterator[Mark]:
    """A part of a text that was not changed, cut where what had to stay begins and ends."""
    cuts = {0, len(text)} | {edge - offset for place in kept for edge in place if 0 < edge - offset < len(text)}
    edges = sorted(cuts)
    for start, end in pairwise(edges):
        inside = any(first <= offset + start and offset + end <= last for first, last in kept)
        yield text[start:end], "kept" if inside else ""
