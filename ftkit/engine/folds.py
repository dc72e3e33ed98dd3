"""Folds of the training rows, for cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import sklearn.model_selection as sk

from ftkit.alike import asks
from ftkit.data.split import joined
from ftkit.engine.prepare import Prepared
from ftkit.errors import RecipeError

Part = tuple[list[int], list[int]]
"""Places of the rows to train on, and of those held out."""


def fold_rows(prepared: Prepared) -> list[Part]:
    """The parts of each of `train.folds` folds; none where it is not set.

    Rows of one `group` (`data.group`, or the task's usual ones), and those of none that ask the same, are held
    out together, as a split keeps them. Raises RecipeError where a fold would stay empty.
    """
    rows, folds, label = prepared.splits["train"], prepared.recipe.train.folds, prepared.task.stratify()
    if folds is None:
        return []
    return part(
        len(rows),
        folds,
        seed=prepared.recipe.data.seed,
        labels=rows[label] if label else None,
        groups=rows["group"] if "group" in rows.column_names else None,
        alike=[asks(prepared.task.texts(row).values()) for row in rows],
    )


def part(
    size: int,
    folds: int,
    *,
    seed: int,
    labels: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    alike: Sequence[Hashable | None] | None = None,
) -> list[Part]:
    """`size` rows in `folds` folds, each row held out once.

    Rows of equal `groups` are held out together (None is in no group), and those of no group that are `alike`, where
    these can fill the folds. `labels` keep their shares, as nearly as groups allow, where each has one for every fold.
    Raises RecipeError where a fold would stay empty.
    """
    numbers = joined(groups, alike)
    units, kind = size if numbers is None else len(set(numbers)), "rows" if groups is None else "groups"
    if groups is None and units < folds:  # so few different rows can't fill them
        numbers, units = None, size
    if units < folds:
        hint = f"set train.folds to {units} or less" if units > 1 else "leave train.folds out"
        raise RecipeError(f"train.folds: {units} {kind} can't fill {folds} folds", hint)
    stratified = labels is not None and min(Counter(labels).values()) >= folds
    if numbers is None:
        cutter = sk.StratifiedKFold if stratified else sk.KFold
    else:
        cutter = sk.StratifiedGroupKFold if stratified else sk.GroupKFold
    found = cutter(folds, shuffle=True, random_state=seed).split(range(size), labels, numbers)
    return [(kept.tolist(), held.tolist()) for kept, held in found]
