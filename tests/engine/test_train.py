"""From a recipe to a run: what stands in its directory, that it says the same when loaded, and what is refused."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ftkit.engine import model as models
from ftkit.engine.evaluate import evaluate
from ftkit.engine.folds import fold_rows
from ftkit.engine.predict import Predictor
from ftkit.engine.train import _over_seeds, over_folds, plan, train
from ftkit.errors import CheckpointError, DataError, FTKitError, MachineError, RecipeError, RunError
from ftkit.metrics.evidence import Evidence
from ftkit.run import RunDirectory
from tests.runs import CASES, Lab, curve, log, read_jsonl, refused, rows, weights, write_rows

FILES = {
    "recipe.yaml",
    "recipe.yaml.sha256",
    "begun.json",
    "fitted.json",
    "environment.json",
    "data.json",
    "scores.json",
    "log.jsonl",
    "analysis",
    "evidence",
    "predictions",
    "model",
    "learned.npy",
}


# ---------------------------------------------------------------------- evaluation is prediction


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_reloaded_run_scores_and_answers_as_it_did_to_the_last_digit(lab: Lab, kind: str, method: str) -> None:
    run = lab.trained(kind, method)
    for split in ("validation", "test"):
        again = evaluate(run.run, split)
        assert again.scores == run.scores[split]
        written = read_jsonl(run.run / "predictions" / f"{split}.jsonl")
        assert again.predictions == written
        assert list(Predictor(run.run).file(str(lab.file(kind, split)))) == written
    last = max(log(run.run, "validation"), key=lambda entry: entry["step"])
    assert {name: last[name] for name in run.scores["validation"]} == {
        name: score["value"] for name, score in run.scores["validation"].items()
    }


@pytest.mark.parametrize("method", ["full", "lora"])
def test_validation_is_in_fp32_while_training_in_bf16(lab: Lab, method: str) -> None:
    """The squared error has all its digits: one bfloat16 product anywhere would show."""
    run = lab.train("regression", f"method={method}", "train.precision=bf16", "train.epochs=2")
    assert json.loads((run.run / "environment.json").read_text())["precision"] == "bf16"
    assert curve(run.run) != curve(lab.train("regression", f"method={method}", "train.epochs=2").run)
    errors = [entry["mse"] for entry in log(run.run, "validation")]
    assert min(errors) == evaluate(run.run, "validation").scores["mse"]["value"]


def test_same_recipe_gives_the_same_weights(lab: Lab) -> None:
    first = lab.train("single", "model.dropout=0.1", "train.epochs=2")
    again = train(lab.recipe("single", "model.dropout=0.1", "train.epochs=2"), lab.new())
    assert curve(first.run) == curve(again.run)
    assert weights(first.run).keys() == weights(again.run).keys()
    assert all(torch.equal(weight, weights(again.run)[name]) for name, weight in weights(first.run).items())
    other = train(lab.recipe("single", "model.dropout=0.1", "train.epochs=2", "train.seed=14"), lab.new())
    assert curve(first.run) != curve(other.run)


def test_untrained_model_is_scored_with_no_epochs(lab: Lab) -> None:
    run = lab.train("single", "train.epochs=0")
    assert run.steps == 0
    assert not (run.run / "log.jsonl").exists()
    assert run.scores.keys() == {"validation", "test"}
    assert evaluate(run.run).scores == run.scores["test"]


# ---------------------------------------------------------------------- the directory


def test_run_holds_its_recipe_log_scores_predictions_and_model(lab: Lab) -> None:
    run = lab.trained("single", "full")
    assert {path.name for path in run.run.iterdir()} == FILES
    assert json.loads((run.run / "scores.json").read_text()) == run.as_json()
    assert run.as_json().keys() >= {"run", "scores", "steps", "train_seconds", "examples"}
    assert [entry["step"] for entry in log(run.run)] == [1, 2, 3]
    assert run.train_seconds > 0
    data = json.loads((run.run / "data.json").read_text())
    assert data["rows"] == {"train": 22, "validation": 6, "test": 7}
    assert sum(data["labels"]["train"].values()) == 22
    assert not [path for path in run.run.parent.iterdir() if path.name.startswith(".")]


def test_cut_training_rows_are_counted(lab: Lab) -> None:
    run = lab.train("single", "task.max_length=12")
    cut = json.loads((run.run / "data.json").read_text())["truncated_training_rows"]
    prepared = lab.prepared("single")
    long = [len(prepared.tokenizer(text)["input_ids"]) > 12 for text in prepared.splits["train"]["text"]]
    assert cut == sum(long) > 0


def test_existing_directory_is_refused_and_left_as_it_was(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        train(lab.recipe("single"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_second_training_into_one_directory_ends_and_leaves_the_first(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    first = train(lab.recipe("single"), tmp_path / "first")

    def overtaken(message: str) -> None:
        """The first comes to stand at `run` after the second has begun: it is told of its first fold then."""
        if message == "fold 1 of 2":
            first.run.rename(tmp_path / "run")

    with pytest.raises(RunError, match="exists already"):
        train(lab.recipe("single", "train.folds=2"), tmp_path / "run", processes, say=overtaken)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    assert evaluate(tmp_path / "run").scores == first.scores["test"]


REFUSED = {
    "fp16 on a processor": (("train.precision=fp16",), MachineError, "fp16 needs a GPU"),
    "a step that does not split": (("train.batch=9", "train.accumulate=2"), RecipeError, "accumulate"),
    "no such file": (("data.test=nowhere.csv",), DataError, "nowhere.csv"),
    "no such checkpoint": (("model.checkpoint=./nowhere",), CheckpointError, "nowhere"),
    "weights of no label": (("train.class_weights={art: 2}",), RecipeError, "'art'"),
    "a head to freeze under": (("method={name: head, layers: 9}",), FTKitError, "9"),
    "no such metric": (("train.metric=acuracy",), RecipeError, "acuracy"),
    "labels that are not listed": (("data.labels=[arts, sport]",), DataError, "trade"),
}


@pytest.mark.parametrize("folds", ["null", "2"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_run_leaves_nothing_behind(lab: Lab, tmp_path: Path, name: str, folds: str) -> None:
    settings, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said):
        raise refused(lab.recipe("single", *settings, f"train.folds={folds}"), tmp_path / "runs" / "new")
    assert not (tmp_path / "runs").exists()


def test_class_weights_are_refused_where_there_are_no_classes(lab: Lab, tmp_path: Path) -> None:
    for kind in ("regression", "ner"):
        error = refused(lab.recipe(kind, "train.class_weights=balanced"), tmp_path / "new")
        assert "train.class_weights" in error.message


def test_step_that_processes_cannot_share_is_refused(lab: Lab, tmp_path: Path) -> None:
    assert "3 processes" in refused(lab.recipe("single"), tmp_path / "new", processes=3).message
    assert "--processes 0" in refused(lab.recipe("single"), tmp_path / "new", processes=0).message


def test_diverging_training_says_so_and_leaves_no_model(lab: Lab, tmp_path: Path) -> None:
    settings = ("train.learning_rate=1e30", "train.optimizer=sgd", "train.max_grad_norm=0", "train.epochs=4")
    with pytest.raises(FTKitError, match="not finite") as caught:
        train(lab.recipe("regression", *settings), tmp_path / "run")
    assert "learning_rate" in caught.value.hint
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert not (tmp_path / "run" / "scores.json").exists()


def test_plan_tells_what_train_does(lab: Lab) -> None:
    told, run = plan(lab.recipe("single", "train.epochs=2")), lab.train("single", "train.epochs=2")
    assert told["steps"] == run.steps == 6
    assert told["rows"] == {"train": 22, "validation": 6, "test": 7}
    assert tuple(told["labels"]) == models.load(run.run).labels == ("arts", "sport", "trade")


# ---------------------------------------------------------------------- the best epoch


def test_named_metric_decides(lab: Lab) -> None:
    settings = ("train.epochs=6", "train.learning_rate=0.02")
    for metric, best in {"mae": min, "pearson": max}.items():
        run = lab.train("regression", *settings, f"train.metric={metric}")
        values = [entry[metric] for entry in log(run.run, "validation")]
        assert run.scores["validation"][metric]["value"] == best(values)


def test_training_stops_after_worse_evaluations_and_the_best_epoch_is_kept(lab: Lab) -> None:
    run = lab.train("regression", "train.epochs=60", "train.learning_rate=0.02", "train.patience=2")
    errors = [entry["mse"] for entry in log(run.run, "validation")]
    assert len(errors) < 60
    assert errors.index(min(errors)) == len(errors) - 3
    assert evaluate(run.run, "validation").scores["mse"]["value"] == min(errors) < errors[-1]


@pytest.mark.parametrize(("every", "steps"), [(2, [2, 4, 6]), (4, [4, 6]), (50, [6])])
def test_validation_comes_every_so_many_steps_and_at_the_end(lab: Lab, every: int, steps: list[int]) -> None:
    run = lab.train("regression", "train.epochs=2", f"train.evaluate_every={every}")
    assert [entry["step"] for entry in log(run.run, "validation")] == steps


def test_part_of_an_epoch_is_trained_and_kept(lab: Lab) -> None:
    run = lab.train("regression", "train.epochs=0.5")
    assert run.steps == 2
    assert len(log(run.run, "validation")) == 1


def test_without_validation_rows_the_last_weights_are_kept(lab: Lab) -> None:
    run = lab.train("regression", "data.validation=null")
    assert run.scores.keys() == {"test"}
    assert not log(run.run, "validation")
    assert evaluate(run.run).scores == run.scores["test"]


# ---------------------------------------------------------------------- cross-validation


def test_folds_score_each_row_once_with_a_model_that_never_saw_it(lab: Lab) -> None:
    run = lab.train("single", "train.folds=3")
    prepared = lab.prepared("single", "train.folds=3")
    seen = fold_rows(prepared)
    assert sorted(i for _, held in seen for i in held) == list(range(22))
    assert all(set(kept).isdisjoint(held) and len(kept) + len(held) == 22 for kept, held in seen)
    answers = read_jsonl(run.run / "predictions" / "folds.jsonl")
    assert len(answers) == 22
    train_rows = prepared.splits["train"]
    for fold, (kept, held) in enumerate(seen, 1):
        inner = run.run / "folds" / str(fold)
        model = Predictor(inner)
        assert [{"fold": fold, **answer} for answer in model(train_rows[held]["text"])] == [answers[i] for i in held]
        assert json.loads((inner / "environment.json").read_text())["epochs"] == 1
        assert len(log(inner)) == -(-len(kept) // 8)


def test_folds_give_mean_and_standard_deviation(lab: Lab) -> None:
    run = lab.train("single", "train.folds=3")
    each = []
    for fold in (1, 2, 3):
        scores = json.loads((run.run / "folds" / str(fold) / "scores.json").read_text())["scores"]["fold"]
        each.append(scores["accuracy"]["value"])
    found: Any = run.scores["folds"]["accuracy"]
    assert found["value"] == pytest.approx(statistics.fmean(each))
    assert found["sd"] == pytest.approx(statistics.stdev(each))
    assert found["each"] == each
    assert found["n"] == 22


def test_folds_keep_the_shares_of_labels(lab: Lab) -> None:
    prepared = lab.prepared("single", "train.folds=3")
    labels = prepared.splits["train"]["label"]
    for _, rows_held in fold_rows(prepared):
        held = [labels[i] for i in rows_held]
        assert all(abs(held.count(name) - labels.count(name) / 3) < 1 for name in set(labels))


# ---------------------------------------------------------------------- going on from a run


@pytest.mark.parametrize("method", ["full", "lora"])
def test_training_goes_on_from_a_run_with_its_head_and_label_order(lab: Lab, method: str) -> None:
    first = lab.train("single", f"method={method}", "train.learning_rate=0.02", "data.labels=[trade, sport, arts]")
    assert models.load(first.run).labels == ("trade", "sport", "arts")
    again = lab.train("single", f"model.checkpoint={first.run}", "train.epochs=0")
    assert models.load(again.run).labels == ("trade", "sport", "arts")
    ours, theirs = (read_jsonl(run.run / "predictions" / "test.jsonl") for run in (again, first))
    assert [row["label"] for row in ours] == [row["label"] for row in theirs]
    assert [row["score"] for row in ours] == pytest.approx([row["score"] for row in theirs], abs=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_other_labels_get_a_new_head_on_the_trained_body(lab: Lab, tmp_path: Path, method: str) -> None:
    first = lab.train("single", f"method={method}", "train.learning_rate=0.02")
    data = write_rows(
        tmp_path / "renamed.jsonl", [{**row, "label": row["label"][0]} for row in rows("single", "train")]
    )
    alone = (f"data.train={data}", "data.validation=null", "data.test=null", "train.epochs=0")
    again = train(lab.recipe("single", f"model.checkpoint={first.run}", *alone), tmp_path / "run")
    assert models.load(again.run).labels == ("a", "s", "t")
    after = weights(again.run)
    plain = models.load(first.run)
    before = plain.method.merge(plain.model).state_dict()
    assert not torch.equal(after["classifier.weight"], before["classifier.weight"])
    body = "bert.encoder.layer.1.attention.self.query.weight"
    assert torch.equal(after[body], before[body])


def test_run_goes_on_where_its_base_is_a_run_too(lab: Lab) -> None:
    """An adapter whose base is itself an adapter's run is merged, kept, and found again when loaded."""
    first = lab.train("single", "method=lora", "train.learning_rate=0.02")
    second = lab.train("single", f"model.checkpoint={first.run}", "method=lora", "train.learning_rate=0.02")
    assert evaluate(second.run).scores == second.scores["test"]


def test_baselines_stand_beside_the_scores(lab: Lab) -> None:
    done = lab.trained("single", "full")
    written = json.loads((done.run / "scores.json").read_text())
    for split in ("validation", "test"):
        assert set(written["baselines"][split]) == {"majority", "svm"}
        assert written["gains"][split]["baseline"] in ("majority", "svm")
        for name in ("majority", "svm"):
            beside = Evidence.load(RunDirectory.open(done.run).evidence(f"{split}.{name}"))
            ours = Evidence.load(RunDirectory.open(done.run).evidence(split))
            assert (beside.rows == ours.rows).all()


def test_scores_that_not_every_fold_has_are_over_those_that_have_them() -> None:
    some, all_ = {"f1": {"value": 0.5, "n": 4}}, {"f1": {"value": 1.0, "n": 2}, "no_answer": {"value": 0.25, "n": 1}}
    for each in ([some, all_], [all_, some]):
        found = over_folds(each)  # type: ignore[arg-type]
        assert {name: score["n"] for name, score in found.items()} == {"f1": 6, "no_answer": 1}
        assert found["no_answer"]["value"] == 0.25 and found["f1"]["value"] == 0.75


def test_scores_that_only_some_seeds_have_are_told_over_these() -> None:
    def one(**values: float) -> Any:
        return SimpleNamespace(scores={"test": {name: {"value": value, "n": 9} for name, value in values.items()}})

    found = _over_seeds([one(f1=0.5, rare=0.2), one(f1=0.7), one(f1=0.6, other=1.0)])["test"]
    assert {name: score["each"] for name, score in found.items()} == {
        "f1": [0.5, 0.7, 0.6],
        "rare": [0.2],
        "other": [1.0],
    }


def test_warnings_are_told_as_such(lab: Lab, tmp_path: Path) -> None:
    many = rows("single", "train")
    file = write_rows(tmp_path / "train.jsonl", [*many, many[0]])
    told: list[str] = []
    train(lab.recipe("single", f"data.train={file}"), lab.new(), say=told.append)
    assert any(line.startswith("warning: ") and "repeats another" in line for line in told), told
