"""Folds of the training rows: each row is held out once, groups stay whole, labels keep their shares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine.folds import fold_rows, part
from ftkit.engine.prepare import prepare
from ftkit.engine.train import plan
from ftkit.errors import RecipeError
from ftkit.recipe import Recipe
from tests.runs import Lab, refused, rows, write_rows


@pytest.mark.parametrize("kind", ["single", "ner", "multi"])
def test_folds_part_the_rows(lab: Lab, kind: str) -> None:
    prepared = lab.prepared(kind, "train.folds=4")
    parts = fold_rows(prepared)
    assert sorted(i for _, held in parts for i in held) == list(range(22))
    assert all(sorted(kept + held) == list(range(22)) for kept, held in parts)
    assert parts == fold_rows(prepared)
    assert not fold_rows(lab.prepared(kind))


def test_folds_are_drawn_with_the_seed_of_the_data(lab: Lab) -> None:
    recipe = lab.prepared("single", "train.folds=4", "data.seed=14")
    assert fold_rows(recipe) != fold_rows(lab.prepared("single", "train.folds=4"))


def grouped(lab: Lab, folder: Path, kind: str, groups: int, *settings: str) -> Recipe:
    """A recipe whose training rows are of `groups` groups, but for the last, which is in none."""
    own: list[dict[str, Any]] = [{**row, "author": f"a{i % groups}"} for i, row in enumerate(rows(kind, "train"))]
    del own[-1]["author"]
    file = write_rows(folder / "grouped.jsonl", own)
    return lab.recipe(kind, f"data.train={file}", "data.group=author", *settings)


@pytest.mark.parametrize("kind", ["single", "ner", "multi"])
def test_rows_of_one_group_are_held_out_together(lab: Lab, tmp_path: Path, kind: str) -> None:
    prepared = prepare(grouped(lab, tmp_path, kind, 7, "train.folds=3"))
    group = prepared.splits["train"]["group"]
    assert Counter(group).keys() == {*(f"a{i}" for i in range(7)), None}
    parts = fold_rows(prepared)
    assert sorted(i for _, held in parts for i in held) == list(range(22))
    for kept, held in parts:
        assert held and not {group[i] for i in kept} & {group[i] for i in held}


def test_passages_of_questions_are_held_out_whole(lab: Lab, tmp_path: Path) -> None:
    own = [{**row, "context": rows("qa", "train")[i // 4]["context"]} for i, row in enumerate(rows("qa", "train"))]
    for row in own:
        row["answers"] = {"text": [row["context"][:4]], "answer_start": [0]}
    file = write_rows(tmp_path / "qa.jsonl", own)
    prepared = prepare(lab.recipe("qa", f"data.train={file}", "train.folds=2"))
    context = prepared.splits["train"]["context"]
    for kept, held in fold_rows(prepared):
        assert not {context[i] for i in kept} & {context[i] for i in held}


@pytest.mark.parametrize(("kind", "groups"), [("single", None), ("single", 3), ("ner", None), ("ner", 3)])
def test_more_folds_than_can_be_filled_are_refused(lab: Lab, tmp_path: Path, kind: str, groups: int | None) -> None:
    recipe = lab.recipe(kind, "train.folds=23")
    if groups:
        recipe = grouped(lab, tmp_path, kind, groups, "train.folds=5")
    error = refused(recipe, tmp_path / "new" / "run")
    assert isinstance(error, RecipeError)
    assert error.message == f"train.folds: {'4 groups' if groups else '22 rows'} can't fill {5 if groups else 23} folds"
    with pytest.raises(RecipeError, match=r"train\.folds"):
        plan(recipe)


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["a", "b", "c", "d", None])), min_size=2, max_size=40),
    st.integers(2, 6),
    st.booleans(),
    st.booleans(),
)
def test_no_fold_is_empty_and_no_group_is_torn(
    own: list[tuple[str, str | None]], folds: int, labelled: bool, in_groups: bool
) -> None:
    labels = [label for label, _ in own] if labelled else None
    groups = [group for _, group in own] if in_groups else None
    units = len({group or i for i, (_, group) in enumerate(own)}) if in_groups else len(own)
    if units < folds:
        with pytest.raises(RecipeError, match="can't fill"):
            part(len(own), folds, seed=13, labels=labels, groups=groups)
        return
    parts = part(len(own), folds, seed=13, labels=labels, groups=groups)
    assert len(parts) == folds and all(kept and held for kept, held in parts)
    assert sorted(i for _, held in parts for i in held) == list(range(len(own)))
    for kept, held in parts if groups else []:
        assert not {own[i][1] for i in kept} & {own[i][1] for i in held} - {None}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), min_size=2, max_size=60), st.integers(2, 4))
def test_rows_that_are_alike_are_held_out_together(own: list[tuple[str, int]], folds: int) -> None:
    labels, alike = [label for label, _ in own], [key for _, key in own]
    if len(own) < folds:
        with pytest.raises(RecipeError, match=f"{len(own)} rows can't fill"):
            part(len(own), folds, seed=13, labels=labels, alike=alike)
        return
    parts = part(len(own), folds, seed=13, labels=labels, alike=alike)
    assert sorted(i for _, held in parts for i in held) == list(range(len(own)))
    assert len(parts) == folds and all(kept and held for kept, held in parts)
    for kept, held in parts if len(set(alike)) >= folds else []:
        assert not {alike[i] for i in kept} & {alike[i] for i in held}


def test_folds_tear_no_rows_that_ask_the_same(lab: Lab, tmp_path: Path) -> None:
    own = rows("single", "train")
    file = write_rows(tmp_path / "twice.jsonl", [*own, *({**row, "text": f" {row['text']}"} for row in own)])
    prepared = prepare(lab.recipe("single", f"data.train={file}", "train.folds=3"))
    texts = [text.strip() for text in prepared.splits["train"]["text"]]
    for kept, held in fold_rows(prepared):
        assert not {texts[i] for i in kept} & {texts[i] for i in held}


def test_labels_keep_their_shares_also_in_groups() -> None:
    labels = [label for label in "xxy" * 12 for _ in range(2)]
    groups = [str(i // 2) for i in range(72)]
    for _, held in part(72, 4, seed=13, labels=labels, groups=groups):
        assert Counter(labels[i] for i in held) == {"x": 12, "y": 6}
