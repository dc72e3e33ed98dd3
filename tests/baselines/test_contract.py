"""What every baseline in the folder keeps, on the shipped samples and on small data of every kind of task."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from datasets import Dataset

from ftkit import plugins
from ftkit.baselines._base import Baseline
from ftkit.engine.baselines import of
from ftkit.engine.prepare import read_splits
from ftkit.engine.scoring import scored
from ftkit.recipe import Recipe, parse_recipe
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import INPUT_KINDS, Labels, Task
from tests.runs import KINDS, Lab

NAMES = plugins.names("baseline")
TASKS = plugins.names("task")
SAMPLES = {"classification": "topics"}
"""The sample of a task, where it has another name."""
SERVED = [(task, name) for task in TASKS for name in plugins.find("task", task, Task).baselines]
FORMS = {
    "single": {"label": str, "score": float},
    "multi": {"labels": list, "scores": dict},
    "regression": {"value": float},
    "entities": {"entities": list},
    "entity": {"type": str, "text": str, "start": int, "end": int, "score": float},
    "qa": {"answer": str, "start": (int, type(None)), "end": (int, type(None)), "score": float},
    "summarization": {"summary": str},
}
QUICK = EvaluateSpec(resamples=100)


def read(recipe: Recipe) -> tuple[Task, dict[str, Dataset], Labels]:
    task = plugins.resolve("task", recipe.task, Task)
    splits, _ = read_splits(recipe, task)
    return task, splits, task.labels(splits["train"])


@cache
def sample(task: str) -> tuple[Task, dict[str, Dataset], Labels]:
    data = {"train": f"sample:{SAMPLES.get(task, task)}"}
    return read(parse_recipe({"task": task, "model": {"checkpoint": "none"}, "data": data}, task))


def fitted(name: str, task: Task, rows: Dataset, labels: Labels) -> Baseline:
    baseline = plugins.find("baseline", name, Baseline)()
    baseline.fit(rows, task, labels)
    return baseline


def assert_form(task: Task, answer: dict[str, Any]) -> None:
    kind = getattr(task.options, "kind", None)
    forms = {"ner": "entities", "qa": "qa", "summarization": "summarization"}
    form = FORMS[kind or forms[type(task).__module__.rpartition(".")[2]]]
    assert answer.keys() == form.keys()
    for one in (answer, *answer.get("entities", ())):
        for key, value in one.items():
            assert isinstance(value, (form if one is answer else FORMS["entity"])[key])
    for score in (answer.get("score", 1.0), *answer.get("scores", {}).values()):
        assert 0 <= score <= 1


@pytest.mark.parametrize("name", NAMES)
def test_baseline_describes_itself_and_some_task_names_it(name: str) -> None:
    assert plugins.find("baseline", name, Baseline).summary
    assert name in {served for _, served in SERVED}


@pytest.mark.parametrize(("task", "name"), SERVED)
def test_sample_is_answered_in_the_form_of_the_task(task: str, name: str) -> None:
    it, splits, labels = sample(task)
    rows = splits["test"]
    answers = fitted(name, it, splits["train"], labels).predict(rows)
    assert len(answers) == len(rows)
    for row, answer in zip(rows, answers, strict=True):
        assert_form(it, answer)
        assert json.loads(json.dumps(answer)) == answer
        assert it.render(row, answer)
    found = scored(it, answers, rows, QUICK, labels)
    assert it.decider() in found.scores and found.evidence is not None
    assert 0 <= found.scores[it.decider()]["value"] < 1


@pytest.mark.parametrize(("task", "name"), SERVED)
def test_same_rows_give_the_same_answers(task: str, name: str) -> None:
    it, splits, labels = sample(task)
    one, other = (fitted(name, it, splits["train"], labels).predict(splits["test"]) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(("task", "name"), SERVED)
def test_no_target_is_read_and_no_other_row(task: str, name: str) -> None:
    """A row's answer is the same alone and without its truth."""
    it, splits, labels = sample(task)
    baseline, rows = fitted(name, it, splits["train"], labels), splits["test"]
    targets = {column.name for shape in it.shapes() for column in shape if column.kind not in INPUT_KINDS}
    bare = rows.remove_columns(sorted(targets & set(rows.column_names)))
    answers = baseline.predict(rows)
    assert baseline.predict(bare) == answers
    for i in range(0, len(rows), 5):
        (alone,) = baseline.predict(bare.select([i]))
        assert alone == pytest.approx(answers[i]) if "entities" not in alone else alone == answers[i]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_is_served(lab: Lab, kind: str) -> None:
    task, splits, labels = read(lab.recipe(kind))
    baselines = of(task)
    assert baselines
    for name in baselines:
        answers = fitted(name, task, splits["train"], labels).predict(splits["test"])
        for answer in answers:
            assert_form(task, answer)
        assert task.decider() in scored(task, answers, splits["test"], QUICK, labels).scores


@pytest.mark.parametrize("kind", KINDS)
def test_one_training_row_and_empty_texts(lab: Lab, kind: str) -> None:
    """The least that there can be: a row to learn from, and rows that say nothing."""
    task, splits, labels = read(lab.recipe(kind))
    rows = splits["test"].to_list()
    inputs = {column.name for column in task.shapes()[0] if column.kind == "text"}
    nothing = {"text": "", "tokens": [], "spans": [], "tags": [], "entities": []}
    for row in rows:
        row.update(
            {name: value for name, value in nothing.items() if name in row} | dict.fromkeys(inputs & set(row), "")
        )
    empty = Dataset.from_list(rows, features=splits["test"].features)
    for name in of(task):
        for train in (splits["train"].select([0]), empty):
            for answer in fitted(name, task, train, labels).predict(empty):
                assert_form(task, answer)
