"""Scores of a trained model on held-out rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.engine import machine
from ftkit.engine import model as models
from ftkit.engine.asking import spec_of
from ftkit.engine.evaluate import evaluate
from ftkit.engine.train import train
from ftkit.errors import DataError, RecipeError, RunError
from tests.runs import Lab, rows, write_rows


def test_file_gets_the_scores_of_the_same_split(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "full")
    assert evaluate(run.run, data=str(lab.file("single", "test"))).scores == run.scores["test"]
    renamed = [{"body": row["text"], "topic": row["label"]} for row in rows("single", "test")]
    file = write_rows(tmp_path / "other.jsonl", renamed)
    settings = ["data.columns={text: body, label: topic}"]
    assert evaluate(run.run, data=str(file), settings=settings).scores == run.scores["test"]


def test_unknown_labels_and_splits_and_settings_are_refused(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "full").run
    file = write_rows(tmp_path / "x.jsonl", [{"text": "a", "label": "sport"}, {"text": "b", "label": "Arts"}])
    with pytest.raises(DataError, match="did you mean 'arts'"):
        evaluate(run, data=str(file))
    with pytest.raises(RunError, match="it has train, validation, test"):
        evaluate(run, "dev")
    with pytest.raises(RecipeError, match=r"only data\.\*"):
        evaluate(run, data=str(file), settings=["train.epochs=3"])


def test_changed_data_is_told(lab: Lab, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "test.jsonl", rows("single", "test"))
    run = train(lab.recipe("single", f"data.test={file}", "train.epochs=0"), tmp_path / "run").run
    said: list[str] = []
    evaluate(run, say=said.append)
    assert not said
    write_rows(file, rows("single", "test")[:3])
    assert evaluate(run, say=said.append).scores["accuracy"]["n"] == 3
    assert any("has changed since the run was trained" in line for line in said)


def test_first_validation_rows_alone_are_scored_where_the_recipe_says_so(lab: Lab) -> None:
    run = lab.train("regression", "evaluate.validation_rows=4")
    assert run.scores["validation"]["mse"]["n"] == 4
    assert run.scores["test"]["mse"]["n"] == 7
    assert evaluate(run.run, "validation").scores == run.scores["validation"]


def test_labels_have_a_row_each(lab: Lab) -> None:
    found = evaluate(lab.trained("single", "full").run)
    seen = {row["label"] for row in (*rows("single", "test"), *found.predictions)}
    assert [row["label"] for row in found.breakdown] == sorted(seen)


def test_precision_is_the_named_one_the_recipes_or_the_models_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = models.load(lab.trained("single", "full").run)
    recipe = lab.recipe("single", "evaluate.batch_tokens=77", "evaluate.precision=bf16")
    monkeypatch.setattr(machine, "precision", lambda *_: None)
    monkeypatch.setattr(machine, "has_bf16", lambda: True)
    assert trained.contract.precision == "fp32"
    assert (spec_of(trained, recipe).batch_tokens, spec_of(trained, recipe).precision) == (77, "bf16")
    assert spec_of(trained, recipe, "fp32").precision == "fp32"
    assert spec_of(trained, recipe, "auto").precision == "fp32"
    assert spec_of(trained, None).precision == "fp32"
    with pytest.raises(RecipeError, match="--precision fp16: there is no such precision"):
        spec_of(trained, None, "fp16")


def test_a_precision_that_the_machine_lacks_is_told_by_its_name(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = models.load(lab.trained("single", "full").run)
    recipe, asked = lab.recipe("single", "evaluate.precision=bf16"), []
    monkeypatch.setattr(machine, "precision", lambda *given: asked.append(given))
    spec_of(trained, recipe, "bf16")
    spec_of(trained, recipe)
    assert asked == [("bf16", "--precision"), ("bf16", "evaluate.precision")]


def test_data_that_are_no_settings_are_refused(lab: Lab) -> None:
    with pytest.raises(RecipeError, match="data: must have settings inside it, and it is 5"):
        evaluate(lab.trained("single", "full").run, data=str(lab.file("single", "test")), settings=["data=5"])


@pytest.mark.parametrize("setting", ["limit=5", "seed=5", "validation=0.5", "train=other.csv", "balance=weights"])
def test_settings_that_say_what_is_learned_from_are_refused(lab: Lab, setting: str) -> None:
    run, rows = lab.trained("single", "full").run, str(lab.file("single", "test"))
    with pytest.raises(RecipeError, match=f"data.{setting.partition('=')[0]}: it says what is learned from"):
        evaluate(run, data=rows, settings=[f"data.{setting}"])
