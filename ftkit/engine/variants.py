"""Training rows and their variants: what a recipe's `augment` section makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset, concatenate_datasets

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._variants import Made, Named, variants
from ftkit.errors import RecipeError, every, problems
from ftkit.plugins import resolve
from ftkit.settings import AugmentSpec
from ftkit.tasks._base import Labels, Task


@dataclass(frozen=True)
class Augmented:
    """Variants of training rows, ready to be learned from."""

    made: Made
    rows: Dataset
    """In the form that the task's methods read."""

    def beside(self, rows: Dataset, places: Sequence[int] | None = None) -> Dataset:
        """Training rows with their variants behind them; of the rows at `places` alone where they are given."""
        if places is None:
            return concatenate_datasets([rows, self.rows])
        wanted = set(places)
        own = [i for i, variant in enumerate(self.made.variants) if variant.origin in wanted]
        return concatenate_datasets([rows.select(places), self.rows.select(own)])

    def only(self, places: Sequence[int]) -> Augmented:
        """Some of the variants."""
        made = replace(self.made, variants=[self.made.variants[i] for i in places])
        return Augmented(made, self.rows.select(places))


def augment(rows: Dataset, task: Task, spec: AugmentSpec, labels: Labels) -> Made:
    """The variants of training rows as they were stored. Raises RecipeError with all that stands against it."""
    return variants(rows.to_list(), task, augmenters(task, spec, labels), spec, task.opposites(labels))


def augmenters(task: Task, spec: AugmentSpec, labels: Labels) -> Named:
    """The recipe's augmenters, ready for work. Raises FTKitError with all that stands against it."""
    name = type(task).__name__
    if not task.augments:
        raise RecipeError(f"augment.by: no word of a row of {name} may change: its answer may not be true then", _OUT)
    found = [(choice.name, resolve("augmenter", choice, Augmenter)) for choice in spec.by]
    refused = [
        f"{by} makes a text say the opposite, and {name} has no two opposite labels to go with it"
        for by, augmenter in found
        if augmenter.flips and not task.opposites(labels)
    ]
    if refused:
        raise problems(RecipeError, "augment.by", refused, _OUT)
    for _, augmenter in found:
        augmenter.set_strength(spec.strength)
    every([augmenter.prepare for _, augmenter in found])
    return found


_OUT = "leave it out of augment.by"


def stored_variants(made: Made, rows: Dataset) -> Dataset:
    """Variants as the rows that they were made of were stored."""
    return Dataset.from_list([variant.row for variant in made.variants], features=rows.features)


def summary(made: Made, rows: int) -> dict[str, Any]:
    """How many variants there are, and what became of the others."""
    by: dict[str, int] = {}
    for variant in made.variants:
        by[variant.by] = by.get(variant.by, 0) + 1
    return {
        "rows": rows,
        "variants": len(made.variants),
        "by": by,
        "unchanged": made.unchanged,
        "repeated": made.repeated,
        "flipped": made.flipped,
    }


def sentence(found: Mapping[str, Any]) -> str:
    """How many variants of training rows there are, and what became of the others."""
    left = [f"{found[name]} {what}" for name, what in _NO_VARIANTS.items() if found[name]]
    by = ", ".join(f"{count} by {name}" for name, count in found["by"].items())
    said = f"{found['variants']} variants of {found['rows']} training rows{f' ({by})' if by else ''}"
    return "; ".join([said, *left])


_NO_VARIANTS = {
    "flipped": "of them with the opposite label",
    "unchanged": "times nothing could change",
    "repeated": "left out, as they say what is there already",
}
