"""Baselines are learned from the training rows alone, scored on all others, and set against the model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from ftkit import plugins
from ftkit.engine.baselines import gain, of, run_baselines
from ftkit.engine.prepare import read_splits
from ftkit.engine.scoring import Scored, scored
from ftkit.errors import RecipeError
from ftkit.plugins import Choice
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Task
from tests.runs import KINDS, Lab

SPEC = EvaluateSpec(resamples=200)
TASK = """
import dataclasses
from pathlib import Path
from ftkit.tasks.classification import Classification
class Mine(Classification):
    summary = "mine"
    baselines = ({named})
"""
BASELINE = """
from ftkit.baselines._base import Baseline
class Recorder(Baseline):
    summary = "remembers what it was shown"
    seen = []
    def fit(self, rows, task, labels):
        self.seen.append(("fit", rows["text"][:]))
    def predict(self, rows):
        self.seen.append(("predict", rows["text"][:]))
        return [{"label": "sport", "score": 1.0}] * len(rows)
"""


def task_of(name: str, **options: Any) -> Task:
    return plugins.resolve("task", Choice(name=name, **options), Task)


def baselines(lab: Lab, kind: str) -> tuple[Task, dict[str, Any], dict[str, dict[str, Scored]]]:
    recipe = lab.recipe(kind)
    task = plugins.resolve("task", recipe.task, Task)
    splits, _ = read_splits(recipe, task)
    return task, splits, run_baselines(task, task.labels(splits["train"]), splits, SPEC)


@pytest.mark.parametrize("kind", KINDS)
def test_each_split_but_the_training_rows_is_scored(lab: Lab, kind: str) -> None:
    task, splits, found = baselines(lab, kind)
    assert list(found) == ["validation", "test"]
    for split, each in found.items():
        assert list(each) == list(type(task).baselines)
        for one in each.values():
            assert "low" in one.scores[task.decider()]
            assert one.evidence is not None and len(one.evidence.rows) == len(splits[split])


def test_training_rows_alone_are_learned_from(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "recorder.py").write_text(BASELINE)
    path = str(tmp_path / "recorder.py")
    (tmp_path / "mine.py").write_text(TASK.format(named=f"{path!r},"))
    task = task_of(str(tmp_path / "mine.py"))
    splits, _ = read_splits(lab.recipe("single"), task)
    found = run_baselines(task, task.labels(splits["train"]), splits, SPEC)
    assert set(found["test"]) == {"recorder"}
    seen = of(task)["recorder"].seen  # type: ignore[attr-defined]
    assert seen == [("fit" if name == "train" else "predict", splits[name]["text"][:]) for name in splits]


def test_metrics_that_a_recipe_adds_are_not_asked(lab: Lab) -> None:
    recipe = lab.recipe("single")
    task = plugins.resolve("task", recipe.task, Task)
    splits, _ = read_splits(recipe, task)
    spec = SPEC.model_copy(update={"metrics": ("nobody-has-it",)})
    assert run_baselines(task, task.labels(splits["train"]), splits, spec)["test"]["majority"].scores


def test_no_held_out_rows_need_no_baseline(lab: Lab) -> None:
    task, splits, _ = baselines(lab, "single")
    assert run_baselines(task, task.labels(splits["train"]), {"train": splits["train"]}, SPEC) == {}


def test_task_of_ones_own_has_the_baselines_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TASK.format(named=""))
    assert of(task_of(str(path))) == {}
    path = tmp_path / "other.py"
    path.write_text(TASK.format(named='"svm",'))
    assert list(of(task_of(str(path)))) == ["svm"]
    path = tmp_path / "silent.py"
    path.write_text("\n".join(TASK.splitlines()[:-1]))
    assert of(task_of(str(path))) == {}


def test_baseline_that_there_is_not_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TASK.format(named='"swm",'))
    with pytest.raises(RecipeError, match="there is no baseline called 'swm'"):
        of(task_of(str(path)))


@pytest.mark.parametrize("task", ["ner", "qa", "summarization", "sentiment"])
def test_baseline_of_another_family_is_refused_with_all_that_are_wrong(tmp_path: Path, task: str) -> None:
    """Before anything is learned."""
    family = plugins.find("task", task, Task)
    others = [name for name in plugins.names("baseline") if name not in family.baselines]
    path, inherits = tmp_path / "mine.py", f"from {family.__module__} import {family.__name__}"
    path.write_text(f"{inherits}\nclass Mine({family.__name__}):\n    baselines = {tuple(plugins.names('baseline'))}\n")
    with pytest.raises(RecipeError) as caught:
        of(task_of(str(path)))
    for name in others:
        assert f"the baseline {name} " in caught.value.message
    for name in family.baselines:
        assert f"the baseline {name} " not in caught.value.message
    assert "Mine" in caught.value.message and caught.value.hint


def test_task_of_no_family_may_have_a_baseline_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "recorder.py").write_text(BASELINE)
    path = tmp_path / "mine.py"
    named = str(tmp_path / "recorder.py")
    path.write_text(f"from ftkit.tasks._base import Task\nclass Mine(Task):\n    baselines = ({named!r},)\n")
    assert list(of(task_of(str(path)))) == ["recorder"]


def test_options_decide_who_serves() -> None:
    assert list(of(task_of("sentiment"))) == ["majority", "svm", "lexicon"]
    assert list(of(task_of("sentiment", kind="regression"))) == ["majority", "svm"]


# ------------------------------------------------------------------ what a model adds


def answered(lab: Lab, right: float, kind: str = "single") -> tuple[Task, Scored]:
    """The training rows' scores where the first share of them is answered rightly."""
    recipe = lab.recipe(kind)
    task = plugins.resolve("task", recipe.task, Task)
    rows = read_splits(recipe, task)[0]["train"]
    truth = list(rows["label"])
    if kind == "regression":
        return task, scored(task, [{"value": value * right} for value in truth], rows, SPEC, ("value",))
    wrong = {"arts": "sport", "sport": "trade", "trade": "arts"}
    said = [label if i < right * len(truth) else wrong[label] for i, label in enumerate(truth)]
    answers = [{"label": label, "score": 1.0} for label in said]
    return task, scored(task, answers, rows, SPEC, tuple(wrong))


@pytest.mark.parametrize(
    ("model", "verdict"), [(1.0, "better"), (0.5, "not distinguishable"), (0.45, "not distinguishable"), (0.0, "worse")]
)
def test_model_is_set_against_the_best_baseline(lab: Lab, model: float, verdict: str) -> None:
    task, ours = answered(lab, model)
    others = {"poor": answered(lab, 0.1)[1], "good": answered(lab, 0.5)[1]}
    found = gain(task, ours, others, "accuracy", 500)
    assert found is not None and found["baseline"] == "good" and found["verdict"] == verdict
    difference = ours.scores["accuracy"]["value"] - others["good"].scores["accuracy"]["value"]
    assert found["value"] == pytest.approx(difference)
    assert found["low"] <= found["value"] <= found["high"]


def test_of_errors_less_is_better(lab: Lab) -> None:
    task, ours = answered(lab, 0.9, "regression")
    others = {"poor": answered(lab, -1.0, "regression")[1], "good": answered(lab, 0.2, "regression")[1]}
    found = gain(task, ours, others, "mse", 500)
    assert found is not None and found["baseline"] == "good"
    assert found["value"] < 0 and found["verdict"] == "better"


def test_nothing_is_said_without_draws_baselines_or_the_metric(lab: Lab) -> None:
    task, ours = answered(lab, 1.0)
    others = {"good": answered(lab, 0.5)[1]}
    assert gain(task, ours, others, "accuracy", 0) is None
    assert gain(task, ours, {}, "accuracy", 500) is None
    assert gain(task, ours, others, "bleurt", 500) is None


def test_rows_of_documents_are_compared_by_document(lab: Lab) -> None:
    """Twenty rows rightly answered against none tell a lot; two documents of ten rows tell nothing."""
    task = task_of("classification")
    rows = Dataset.from_dict({"text": ["a"] * 20, "label": ["yes"] * 20, "group": [f"d{i // 10}" for i in range(20)]})
    found = {}
    for name, each in (("documents", rows), ("rows", rows.remove_columns("group"))):
        ours, theirs = (
            scored(task, [{"label": label, "score": 1.0}] * 20, each, SPEC, ("no", "yes")) for label in ("yes", "no")
        )
        found[name] = gain(task, ours, {"no": theirs}, "accuracy", 500)
    assert found["rows"]["verdict"] == "better"  # type: ignore[index]
    assert found["documents"]["verdict"] == "not distinguishable"  # type: ignore[index]


def test_what_is_added_has_the_level_of_the_models_scores(lab: Lab) -> None:
    task, ours = answered(lab, 0.8)
    others = {"good": answered(lab, 0.5)[1]}
    width = {}
    for level in (0.5, 0.99):
        found = gain(task, dataclasses.replace(ours, level=level), others, "accuracy", 2000)
        assert found is not None
        width[level] = found["high"] - found["low"]
    assert width[0.5] < width[0.99] / 2


def test_stopwords_are_the_baselines_alone(lab: Lab) -> None:
    plain, without = (
        lab.train("single", "train.epochs=1"),
        lab.train("single", "train.epochs=1", "evaluate.stopwords=english"),
    )
    assert without.scores == plain.scores
    assert without.baselines["test"]["majority"] == plain.baselines["test"]["majority"]
    settings = lab.prepared("single").recipe.evaluate
    splits, task, labels = (getattr(lab.prepared("single"), name) for name in ("splits", "task", "labels"))
    words = sorted({word for text in splits["train"]["text"] for word in text.split()})
    found = run_baselines(task, labels, splits, settings.model_copy(update={"stopwords": tuple(words)}))
    usual = run_baselines(task, labels, splits, settings)
    assert found["test"]["svm"].scores != usual["test"]["svm"].scores
