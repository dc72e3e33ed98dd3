"""Rows -> their variants: which rows, how often, by whom; the answers stay true, and the seed decides alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words
from ftkit.data.clean import GIVEN
from ftkit.edits import Edited
from ftkit.tasks._base import Example, Task

if TYPE_CHECKING:
    from ftkit.settings import AugmentSpec

Named = Sequence[tuple[str, Augmenter]]
"""Augmenters by what the recipe calls them."""


@dataclass(frozen=True)
class Variant:
    """A row that was made of another."""

    row: dict[str, Any]
    """As a data file would have it: the columns of its original, `row` and `group` among them."""
    origin: int
    """The place of its original among the rows."""
    by: str
    """The augmenter."""
    texts: dict[str, Edited]
    """What changed, by column."""


@dataclass
class Made:
    """The variants of some rows, and what became of the others."""

    variants: list[Variant] = field(default_factory=list)
    unchanged: int = 0
    """Attempts in which nothing could change."""
    repeated: int = 0
    """Variants left out that were another row's or another variant's text again."""
    flipped: int = 0
    """Variants whose label is the opposite of their original's."""


def variants(
    rows: Sequence[Example], task: Task, augmenters: Named, spec: AugmentSpec, opposites: Mapping[str, str]
) -> Made:
    """What `augmenters` make of rows as they were stored, in the order of the rows.

    A row's variants depend on nothing but the row, its number and the seed: other rows beside it change nothing, unless
    they say the same, for no text is there twice. `opposites` are the task's, for augmenters that flip labels.
    """
    made, seen = Made(), {_said(row, task) for row in rows}
    for place, row in enumerate(rows):
        for name, augmenter, copy in _wanted(row, augmenters, spec):
            texts = varied(row, task, augmenter, f"{spec.seed}/{row['row']}/{copy}/{name}")
            if not texts:
                made.unchanged += 1
                continue
            new = task.edited(row, texts)
            if (said := _said(new, task)) in seen:
                made.repeated += 1
                continue
            seen.add(said)
            if GIVEN in new:
                new[GIVEN] = None  # nobody gave it
            if augmenter.flips:
                label = str(task.stratify())
                new[label] = opposites[row[label]]
                made.flipped += 1
            made.variants.append(Variant(new, place, name, texts))
    return made


def varied(row: Example, task: Task, augmenter: Augmenter, key: str) -> dict[str, Edited]:
    """The texts of a row that an augmenter changes; `key` decides all chance."""
    kept, found = task.kept_parts(row), {}
    for column in task.augments:
        if row.get(column):
            words = Words(row[column], kept.get(column, ()))
            edits = augmenter.edits(words, Random(crc32(f"{key}/{column}".encode())))
            if edits:
                found[column] = Edited(words.text, tuple(edits))
    return found


def _wanted(row: Example, augmenters: Named, spec: AugmentSpec) -> Iterator[tuple[str, Augmenter, int]]:
    """Who makes a variant of a row, and for the how-manieth time."""
    known = Counter[str]()
    for name, augmenter in augmenters:
        name = Path(name).stem if name.endswith(".py") else name  # the folder of one's own file decides nothing
        known[name] += 1
        name = name if known[name] == 1 else f"{name}-{known[name]}"  # two of one name draw apart
        if Random(crc32(f"{spec.seed}/{row['row']}/{name}".encode())).random() < spec.share:
            for copy in range(spec.copies):
                yield name, augmenter, copy


def _said(row: Example, task: Task) -> str:
    """All that a row says to the model."""
    return json.dumps([row.get(column.name) for shape in task.shapes() for column in shape if column.is_input])
