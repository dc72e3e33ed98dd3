"""Training learns from variants beside its rows; held-out rows, labels and baselines stay what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.engine.folds import fold_rows
from ftkit.engine.prepare import prepare
from ftkit.engine.train import plan
from ftkit.engine.variants import summary
from ftkit.errors import RecipeError
from ftkit.files import sha256
from tests.runs import KINDS, Lab, read_jsonl, refused

BY = "augment.by=[swap, keyboard]"
VARIED = [kind for kind in KINDS if kind not in ("seq2seq", "causal")]


@pytest.mark.parametrize("kind", VARIED)
def test_variants_stand_behind_their_originals_in_the_form_that_the_task_reads(lab: Lab, kind: str) -> None:
    prepared, plain = prepare(lab.recipe(kind, BY)), lab.prepared(kind)
    assert prepared.augmented is not None and prepared.labels == plain.labels
    made, train = prepared.augmented.made, prepared.training()
    count = len(plain.splits["train"])
    assert len(train) == count + len(made.variants) > count
    assert train.select(range(count)).to_list() == plain.splits["train"].to_list()
    assert train.features == plain.splits["train"].features
    assert [row["row"] for row in train.select(range(count, len(train)))] == [v.row["row"] for v in made.variants]
    for name in ("validation", "test"):
        assert prepared.splits[name].to_list() == plain.splits[name].to_list()


@pytest.mark.parametrize("kind", ["single", "ner", "qa"])
def test_cleaned_rows_are_varied(lab: Lab, kind: str) -> None:
    prepared = prepare(lab.recipe(kind, BY, "data.clean=[lowercase]"))
    train = prepared.training()
    assert len(train) > 22 and train.features == prepared.splits["train"].features
    column = "context" if kind == "qa" else "text"
    assert all(text == text.lower() for text in train[column])


def test_a_fold_learns_from_variants_of_its_own_rows_alone(lab: Lab) -> None:
    prepared = prepare(lab.recipe("single", BY, "train.folds=3"))
    for kept, held in fold_rows(prepared):
        train = prepared.splits["train"]
        rows = {train[i]["row"] for i in kept}
        learned = prepared.training(kept)
        assert {row["row"] for row in learned} == rows
        assert not rows & {train[i]["row"] for i in held}
        assert len(learned) > len(kept)


def test_a_run_keeps_its_variants_and_tells_of_them(lab: Lab) -> None:
    said: list[str] = []
    from ftkit.engine.train import train

    run = train(lab.recipe("ner", BY, "augment.share=0.5"), lab.new(), say=said.append).run
    variants = read_jsonl(run / "augmented.jsonl")
    counts = json.loads((run / "data.json").read_text())["augmented"]
    assert counts["variants"] == len(variants) == sum(counts["by"].values()) > 0
    assert counts["rows"] == 22
    assert {variant["augmenter"] for variant in variants} == {"swap", "keyboard"}
    assert all({"text", "entities", "row"} <= variant.keys() for variant in variants)
    assert any(line.startswith(f"note: {len(variants)} variants of 22 training rows (") for line in said)


def test_without_augmenters_nothing_is_kept_or_told(lab: Lab) -> None:
    run = lab.trained("single", "full").run
    assert not (run / "augmented.jsonl").exists()
    assert "augmented" not in json.loads((run / "data.json").read_text())


def test_a_trainings_weights_depend_on_the_variants_and_their_seed_alone(lab: Lab) -> None:
    def weights(*settings: str) -> str:
        return sha256(lab.train("single", BY, *settings).run / "model" / "model.safetensors")

    from ftkit.engine.train import train

    again = train(lab.recipe("single", BY, "augment.seed=1"), lab.new()).run / "model" / "model.safetensors"
    assert weights("augment.seed=1") == sha256(again) != weights("augment.seed=2")


@pytest.mark.slow
def test_two_processes_learn_from_the_same_variants(lab: Lab) -> None:
    one, two = lab.train("single", BY), lab.train("single", BY, processes=2)
    assert two.steps == one.steps
    counts = [json.loads((done.run / "data.json").read_text())["augmented"] for done in (one, two)]
    assert counts[0] == counts[1]


def test_a_plan_counts_variants(lab: Lab) -> None:
    prepared = prepare(lab.recipe("single", BY))
    found = plan(lab.recipe("single", BY))
    assert found["steps"] == -(-len(prepared.training()) // 8)


def test_where_nothing_can_change_the_rows_are_learned_from_alone(lab: Lab) -> None:
    prepared = prepare(lab.recipe("single", "augment.by=[{name: split, least: 40}]"))
    assert prepared.augmented is not None
    assert summary(prepared.augmented.made, 22)["unchanged"] == 22
    assert prepared.training().to_list() == prepared.splits["train"].to_list()


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_documents_are_not_varied(lab: Lab, kind: str) -> None:
    error = refused(lab.recipe(kind, BY), lab.new())
    assert isinstance(error, RecipeError)
    assert error.message.startswith("augment.by: ") and "Summarization" in error.message


@pytest.mark.parametrize(
    ("kind", "labels"), [("single", None), ("qa", None), ("ner", None), ("regression", None)], ids=lambda value: value
)
def test_antonyms_are_refused_where_labels_have_no_opposites(lab: Lab, kind: str, labels: None) -> None:
    error = refused(lab.recipe(kind, "augment.by=[swap, antonym]"), lab.new())
    assert "antonym makes a text say the opposite" in error.message


def test_a_file_of_ones_own_is_an_augmenter(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "shout.py").write_text(SHOUT)
    prepared = prepare(lab.recipe("single", f"augment.by={tmp_path}/shout.py"))
    assert prepared.augmented is not None
    variants = prepared.augmented.made.variants
    assert len(variants) == 22 and {variant.by for variant in variants} == {"shout"}
    assert all(any(word.isupper() and len(word) > 1 for word in v.row["text"].split()) for v in variants)


SHOUT = """
from ftkit.augmenters._base import WordAugmenter


class Shout(WordAugmenter):
    summary = "words are shouted"

    def able(self, word):
        return len(word) > 3

    def changed(self, word, random):
        return word.upper()
"""
