"""Folds of the training rows, for cross-validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import sklearn.model_selection as sk

from ftkit.data.split import Distinct, numbered
from ftkit.engine.prepare import Prepared
from ftkit.errors import RecipeError
from ftkit.metrics.evidence import asked

Part = tuple[list[int], list[int]]
"""Places of the rows to train on, and of those held out."""


def fold_rows(prepared: Prepared) -> list[Part]:
    """The parts of each of `train.folds` folds; none where it is not set.

    Rows of one `group` (`data.group`, or the task's usual ones), and else rows that ask the same, are held out
    together, as a split keeps them. Raises RecipeError where a fold would stay empty.
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
        alike=asked(rows, prepared.task.texts).tolist(),
    )


def part(
    size: int,
    folds: int,
    *,
    seed: int,
    labels: Sequence[str] | None = None,
    groups: Sequence[str | None] | None = None,
    alike: Sequence[Hashable] | None = None,
) -> list[Part]:
    """`size` rows in `folds` folds, each row held out once.

    Rows of equal `groups` are held out together (None is in no group); without groups, those that are `alike`, which
    count as one. `labels` keep their shares, as nearly as groups allow, where each has a row for every fold. Raises
    RecipeError where a fold would stay empty.
    """
    numbers = None if groups is None else numbered(groups)
    distinct = Distinct.of(alike if alike is not None and groups is None else [None] * size)
    own = None if labels is None else [labels[index] for index in distinct.firsts]
    units, kind = len(distinct.firsts), "rows" if len(distinct.firsts) == size else "different rows"
    if numbers is not None:
        units, kind = len(set(numbers)), "groups"
    if units < folds:
        hint = f"set train.folds to {units} or less" if units > 1 else "leave train.folds out"
        raise RecipeError(f"train.folds: {units} {kind} can't fill {folds} folds", hint)
    stratified = own is not None and min(Counter(own).values()) >= folds
    if numbers is None:
        cutter = sk.StratifiedKFold if stratified else sk.KFold
    else:
        cutter = sk.StratifiedGroupKFold if stratified else sk.GroupKFold
    found = cutter(folds, shuffle=True, random_state=seed).split(range(len(distinct.firsts)), own, numbers)
    return [(distinct.rows(kept.tolist()), distinct.rows(held.tolist())) for kept, held in found]
