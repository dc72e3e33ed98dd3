"""Balanced training: rows of the training part alone, the same in each process, counted for what they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from ftkit.data.balance import balanced_weights
from ftkit.engine.folds import fold_rows
from ftkit.engine.prepare import encode_training, prepare, sampled, weighting
from ftkit.engine.train import plan, train
from ftkit.errors import RecipeError
from ftkit.recipe import Recipe
from tests.runs import Lab, curve, rows, weights, write_rows


def skewed(lab: Lab, tmp_path: Path, *settings: str) -> Recipe:
    """Two sports rows in five others of trade."""
    path = tmp_path / "skewed.jsonl"
    found = [{**row, "label": "sport" if i % 5 == 0 else "trade"} for i, row in enumerate(rows("single", "train", 40))]
    return lab.recipe(
        "single", f"data.train={write_rows(path, found)}", "data.validation=0.25", "data.test=null", *settings
    )


@pytest.mark.parametrize(
    ("how", "count", "distinct", "said"),
    [
        ("oversample", 48, 30, "an epoch goes over 48 rows, 18 of them copies (sport 6 -> 24)"),
        ("undersample", 12, 12, "18 of 30 training rows are left out (trade 24 -> 6)"),
    ],
)
def test_training_rows_alone_are_balanced(
    lab: Lab, tmp_path: Path, how: str, count: int, distinct: int, said: str
) -> None:
    recipe, notes = skewed(lab, tmp_path, f"data.balance={how}"), list[str]()
    run = train(recipe, tmp_path / "run", say=notes.append)
    assert notes[0] == f"note: data.balance={how}: {said}"
    assert run.steps == -(-count // 8) == plan(recipe)["steps"]
    assert run.examples == distinct
    prepared = prepare(recipe)
    assert {name: len(split) for name, split in prepared.splits.items()} == {"train": 30, "validation": 10}
    rows_ = prepared.splits["train"]
    learned = rows_.select(sampled(prepared, rows_))
    assert set(Counter(learned["label"]).values()) == {count // 2}
    assert not set(learned["row"]) & set(prepared.splits["validation"]["row"])
    again = train(recipe, tmp_path / "again")
    assert curve(again.run) == curve(run.run)
    assert all((weights(again.run)[name] == weight).all() for name, weight in weights(run.run).items())


def test_cut_rows_are_counted_once_however_often_they_come(lab: Lab, tmp_path: Path) -> None:
    prepared = prepare(skewed(lab, tmp_path, "data.balance=oversample", "task.max_length=9"))
    rows_ = prepared.splits["train"]
    assert encode_training(prepared, rows_, sampled(prepared, rows_))[1] == encode_training(prepared, rows_)[1] > 0


def test_each_fold_balances_its_own_training_rows(lab: Lab, tmp_path: Path) -> None:
    recipe, notes = skewed(lab, tmp_path, "data.balance=oversample", "train.folds=3", "train.epochs=0"), list[str]()
    train(recipe, tmp_path / "run", say=notes.append)
    assert notes[0].endswith("; each fold's own training rows alike")
    prepared = prepare(recipe)
    train_rows = prepared.splits["train"]
    for kept, held in fold_rows(prepared):
        own = train_rows.select(kept)
        learned = own.select(sampled(prepared, own))
        assert len(set(Counter(learned["label"]).values())) == 1
        assert not set(learned["row"]) & set(train_rows.select(held)["row"])
    told = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert told["scores"]["folds"]["accuracy"]["n"] == 30, "each row is held out once"


def test_a_label_that_every_row_has_is_learned_too() -> None:
    rows = [["news"], ["news", "sport"], ["news"], ["news"]]
    assert balanced_weights(rows, ("news", "sport", "trade")) == (1.0, 3.0, 1.0)


def test_weights_are_the_balanced_class_weights(lab: Lab, tmp_path: Path) -> None:
    found = [
        weighting(prepared, prepared.splits["train"])
        for prepared in (
            prepare(skewed(lab, tmp_path, setting))
            for setting in ("data.balance=weights", "train.class_weights=balanced")
        )
    ]
    assert found[0] == found[1] and found[0].class_weights == (30 / 12, 30 / 48)


def test_several_labels_are_balanced(lab: Lab, tmp_path: Path) -> None:
    for how in ("weights", "oversample", "undersample"):
        run = train(lab.recipe("multi", f"data.balance={how}"), tmp_path / how)
        assert run.steps >= 1


@pytest.mark.parametrize("kind", ["ner", "qa", "seq2seq", "regression"])
def test_what_has_no_labels_of_whole_texts_is_refused(lab: Lab, kind: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.balance: only labels of whole texts are balanced"):
        prepare(lab.recipe(kind, "data.balance=oversample"))


@pytest.mark.parametrize("weights", ["balanced", "{sport: 2}"])
def test_two_ways_at_once_are_refused(lab: Lab, weights: str) -> None:
    with pytest.raises(RecipeError, match=r"data\.balance and train\.class_weights: both"):
        lab.recipe("single", "data.balance=weights", f"train.class_weights={weights}")


def test_variants_are_balanced_with_their_rows(lab: Lab, tmp_path: Path) -> None:
    prepared = prepare(skewed(lab, tmp_path, "data.balance=oversample", "augment.by=[swap]"))
    learned = prepared.training()
    places = sampled(prepared, learned)
    assert len(learned) > 30 and len(set(places)) == len(learned), "no variant is left out"
    assert len(set(Counter(learned["label"][i] for i in places).values())) == 1
    assert f"an epoch goes over {len(places)} rows" in prepared.notes[-1]
