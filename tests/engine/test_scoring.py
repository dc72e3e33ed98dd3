"""Scores with intervals, of tasks that tally and of tasks that score for themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from sklearn.metrics import hamming_loss
from sklearn.preprocessing import MultiLabelBinarizer

from ftkit.engine.scoring import documents, scored
from ftkit.metrics import Scores
from ftkit.metrics.tally import LabelTally, Tally
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Column, Task
from ftkit.tasks.classification import Classification
from ftkit.tasks.qa import QuestionAnswering

LABELS = ("no", "yes")
ROWS = Dataset.from_dict({"text": [f"text {i}" for i in range(40)], "label": [LABELS[i % 2] for i in range(40)]})
PREDICTIONS = [{"label": LABELS[i % 2 if i % 5 else 0], "score": 0.9} for i in range(40)]


class Own(Task):
    """Scores for itself, and keeps no tally."""

    summary, auto_class, peft_type, best_metric = "own", "AutoModel", "SEQ_CLS", "right"
    columns = (Column("text", "text"), Column("label", "label"))

    def score(self, predictions: Any, examples: Any) -> Scores:
        right = [p["label"] == label for p, label in zip(predictions, examples["label"], strict=True)]
        return {"right": {"value": sum(right) / len(right), "n": len(right)}}


class Harsh(Classification):
    """Adds a score to those that are tallied."""

    def score(self, predictions: Any, examples: Any) -> Scores:
        scores = super().score(predictions, examples)
        return {**scores, "squared": {"value": scores["accuracy"]["value"] ** 2, "n": scores["accuracy"]["n"]}}


class Doubled(LabelTally):
    """A tally of one's own, which no file can be read back as."""

    def measure(self, sums: Any) -> dict[str, Any]:
        return {**super().measure(sums), "doubled": 2 * super().measure(sums)["accuracy"]}


class Tallied(Classification):
    """Tallies in a way of its own."""

    def tally(self, predictions: Any, examples: Any) -> Tally:
        found: Any = super().tally(predictions, examples)
        return Doubled(found.names, found.rows, found.kind)


def test_every_score_has_an_interval() -> None:
    found = scored(Classification(Classification.Options()), PREDICTIONS, ROWS, EvaluateSpec(), LABELS)
    assert found.level == 0.95 and all({"low", "high", "method"} <= set(score) for score in found.scores.values())
    assert [row["label"] for row in found.breakdown] == ["no", "yes"] and all("low" in row for row in found.breakdown)
    assert found.evidence is not None and len(found.evidence.rows) == 40 and found.evidence.groups is None


def test_a_tasks_own_score_has_the_interval_of_parts() -> None:
    found = scored(Own(Own.Options()), PREDICTIONS, ROWS, EvaluateSpec(), LABELS)
    right = found.scores["right"]
    assert right["method"] == "jackknife" and right["low"] < right["value"] < right["high"]
    assert found.evidence is None and found.breakdown == []


def test_scores_that_a_task_adds_stand_beside_the_tallied_ones() -> None:
    found = scored(Harsh(Harsh.Options()), PREDICTIONS, ROWS, EvaluateSpec(), LABELS)
    methods = {name: score["method"] for name, score in found.scores.items()}
    assert methods["accuracy"] == "wilson" and methods["f1"] == "bca" and methods["squared"] == "jackknife"


def test_a_tally_of_ones_own_is_scored_and_leaves_no_evidence() -> None:
    found = scored(Tallied(Tallied.Options()), PREDICTIONS, ROWS, EvaluateSpec(), LABELS)
    assert found.scores["doubled"]["value"] == 2 * found.scores["accuracy"]["value"]
    assert "low" in found.scores["doubled"] and found.breakdown
    assert found.evidence is None


def test_named_metrics_have_intervals_too() -> None:
    settings = EvaluateSpec(metrics=("ftkit/mcc",))
    found = scored(Classification(Classification.Options()), PREDICTIONS, ROWS, settings, LABELS)
    assert found.scores["mcc"]["method"] == "bca", "as without it: the tally has it"


@pytest.mark.parametrize("task", [Classification(Classification.Options()), Own(Own.Options())])
def test_no_draws_no_intervals(task: Task) -> None:
    found = scored(task, PREDICTIONS, ROWS, EvaluateSpec(resamples=0), LABELS)
    assert not any("low" in score for score in (*found.scores.values(), *found.breakdown))


def test_rows_of_one_group_or_passage_are_one_document() -> None:
    grouped = ROWS.add_column("group", [f"g{i // 4}" for i in range(40)])
    assert documents(Classification(Classification.Options()), grouped) == tuple(i // 4 for i in range(40))
    assert documents(Classification(Classification.Options()), ROWS) is None
    passages = Dataset.from_dict({"context": ["one", "two", "one"], "question": ["a", "b", "c"]})
    assert documents(QuestionAnswering(QuestionAnswering.Options()), passages) == (0, 1, 0)
    assert documents(QuestionAnswering(QuestionAnswering.Options()), passages.select([0, 1])) is None


def test_the_recipes_level_and_draws_are_those_of_every_interval() -> None:
    """Of the tally's scores, of a task's own, and of named metrics."""
    width = {}
    for level in (0.6, 0.99):
        settings = EvaluateSpec(level=level, metrics=("ftkit/mcc",))
        found = scored(Harsh(Harsh.Options()), PREDICTIONS, ROWS, settings, LABELS)
        assert found.level == level
        width[level] = {name: score["high"] - score["low"] for name, score in found.scores.items()}
    assert all(width[0.6][name] < width[0.99][name] / 2 for name in ("accuracy", "f1", "squared", "mcc"))


def test_what_stands_first_of_groups_and_passages_is_the_document() -> None:
    rows = Dataset.from_dict({"group": ["x", "x", "y"], "context": ["one", "two", "one"], "question": ["a", "b", "c"]})
    assert documents(QuestionAnswering(QuestionAnswering.Options()), rows) == (0, 0, 1)


def test_right_decisions_are_counted_over_all_labels_that_the_model_knows() -> None:
    """The Hamming loss of the field, however few of the labels occur."""
    labels = tuple("abcdefghij")
    truth, said = [["a"], ["b"], ["a", "b"], []], [["a"], ["a"], ["b"], []]
    rows = Dataset.from_dict({"text": ["x"] * 4, "label": truth})
    predictions = [{"labels": labels_, "scores": {}} for labels_ in said]
    task = Classification(Classification.Options(kind="multi"))
    found = scored(task, predictions, rows, EvaluateSpec(resamples=0), labels)
    binary = MultiLabelBinarizer(classes=labels)
    expected = 1 - hamming_loss(binary.fit_transform(truth), binary.transform(said))
    assert found.scores["hamming_accuracy"]["value"] == pytest.approx(expected)
    named = scored(task, predictions, rows, EvaluateSpec(resamples=0, metrics=("ftkit/hamming_accuracy",)), labels)
    assert named.scores == found.scores
    assert [row["label"] for row in found.breakdown] == ["a", "b"]
    plain = task.score(predictions, rows)
    assert {name: plain[name] for name in plain if name != "hamming_accuracy"} == {
        name: score for name, score in found.scores.items() if name != "hamming_accuracy"
    }


METRIC = """
import datasets, evaluate

class Mine(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        right = sum(a == b for a, b in zip(predictions, references)) / len(references)
        return {"accuracy": right, "f1": right / 2, "hits": right}
"""


def test_a_named_metric_takes_no_scores_place(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    task = Classification(Classification.Options())
    plain = scored(task, PREDICTIONS, ROWS, EvaluateSpec(), LABELS).scores
    found = scored(task, PREDICTIONS, ROWS, EvaluateSpec(metrics=(str(tmp_path / "mine.py"),)), LABELS).scores
    assert {name: found[name] for name in plain} == plain
    assert found.keys() - plain.keys() == {"mine/accuracy", "mine/f1", "hits"}, "by its name, whatever its value"
    assert found["mine/f1"]["value"] == plain["accuracy"]["value"] / 2


def test_rows_of_a_document_are_left_out_together() -> None:
    right = [i // 40 % 3 > 0 for i in range(400)]
    said = [{"label": LABELS[(i + 1 - hit) % 2]} for i, hit in enumerate(right)]
    rows = Dataset.from_dict({"text": ["x"] * 400, "label": [LABELS[i % 2] for i in range(400)]})
    alone = scored(Own(Own.Options()), said, rows, EvaluateSpec(), LABELS).scores["right"]
    grouped = rows.add_column("group", [str(i // 40) for i in range(400)])
    together = scored(Own(Own.Options()), said, grouped, EvaluateSpec(), LABELS).scores["right"]
    assert together["value"] == alone["value"]
    assert together["high"] - together["low"] > 3 * (alone["high"] - alone["low"])
    few = rows.add_column("group", [str(i // 200) for i in range(400)])
    assert "low" not in scored(Own(Own.Options()), said, few, EvaluateSpec(), LABELS).scores["right"]


def test_a_named_metric_leaves_documents_out_together(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METRIC)
    task, settings = Classification(Classification.Options()), EvaluateSpec(metrics=(str(tmp_path / "mine.py"),))
    said = [{"label": LABELS[(i + (i // 40 % 3 == 0)) % 2], "score": 0.9} for i in range(400)]
    rows = Dataset.from_dict({"text": ["x"] * 400, "label": [LABELS[i % 2] for i in range(400)]})
    grouped = rows.add_column("group", [str(i // 40) for i in range(400)])
    alone, together = (scored(task, said, each, settings, LABELS).scores["hits"] for each in (rows, grouped))
    assert together["high"] - together["low"] > 3 * (alone["high"] - alone["low"])
