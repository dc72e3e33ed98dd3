"""The teacher: variants are kept where a model trained without them gives their label, and nowhere else."""

from __future__ import annotations

import json

import pytest

from ftkit.engine.prepare import prepare
from ftkit.errors import RecipeError
from tests.runs import Lab, answers, read_jsonl, refused

BY = ("augment.by=[swap, delete]", "augment.teacher=true", "train.learning_rate=0.02")


def test_it_is_the_training_without_variants_that_judges(lab: Lab) -> None:
    judge = lab.train("single", BY[2])
    run = lab.train("single", *BY).run
    augmented = prepare(lab.recipe("single", *BY)).augmented
    assert augmented is not None
    said = answers(judge.run, list(augmented.rows))
    agreed = [
        i for i, (answer, row) in enumerate(zip(said, augmented.rows, strict=True)) if answer["label"] == row["label"]
    ]
    told = json.loads((run / "teacher.json").read_text())
    assert told == {"variants": len(augmented.rows), "kept": agreed}
    assert 0 < len(agreed) < len(augmented.rows)
    kept = read_jsonl(run / "augmented.jsonl")
    assert [row["text"] for row in kept] == [augmented.rows[i]["text"] for i in agreed]
    assert not (run / "teacher").exists()


def test_training_learns_from_what_is_kept_alone(lab: Lab) -> None:
    run = lab.train("single", *BY)
    kept = json.loads((run.run / "teacher.json").read_text())["kept"]
    assert run.examples == 22 + len(kept)


@pytest.mark.slow
def test_several_processes_learn_from_the_same_rows(lab: Lab) -> None:
    one, two = lab.train("single", *BY), lab.train("single", *BY, processes=2)
    assert one.examples == two.examples
    assert json.loads((one.run / "teacher.json").read_text()) == json.loads((two.run / "teacher.json").read_text())


@pytest.mark.parametrize("kind", ["ner", "qa"])
def test_tasks_without_labels_of_texts_refuse_it(lab: Lab, kind: str) -> None:
    error = refused(lab.recipe(kind, "augment.by=[swap]", "augment.teacher=true"), lab.new())
    assert "augment.teacher" in str(error)


def test_folds_and_a_teacher_are_refused(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"augment\.teacher and train\.folds"):
        lab.recipe("single", *BY, "train.folds=2")
