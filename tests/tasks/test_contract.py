"""What every task promises, shipped ones by discovery: the truth scores best, and a row has an answer."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit import plugins
from ftkit.engine import infer
from ftkit.plugins import Choice
from ftkit.tasks._base import INPUT_KINDS, Prediction, Task
from tests.runs import KINDS, Lab, answers

NAMES = plugins.names("task")


@pytest.mark.parametrize("name", NAMES)
def test_task_describes_itself_and_works_with_no_option_set(name: str) -> None:
    found = plugins.find("task", name, Task)
    task = plugins.resolve("task", Choice(name=name), Task)
    assert found.summary and found.auto_class.startswith("AutoModelFor")
    assert task.options == found.Options()
    assert all(field.description for field in found.Options.model_fields.values())
    for shape in task.shapes():
        assert any(column.kind in INPUT_KINDS for column in shape)
        assert any(column.kind not in INPUT_KINDS for column in shape)


def test_every_task_is_tried_here() -> None:
    assert {task["name"] for _, _, task in KINDS.values()} | {"sentiment"} == set(NAMES)


def truth(kind: str, example: dict[str, Any]) -> Prediction:
    if kind in ("single", "windows"):
        return {"label": example["label"], "score": 1.0}
    if kind == "multi":
        return {"labels": example["label"], "scores": dict.fromkeys(example["label"], 1.0)}
    if kind == "regression":
        return {"value": example["label"]}
    if kind == "ner":
        text = example["text"]
        return {"entities": [{**e, "text": text[e["start"] : e["end"]], "score": 1.0} for e in example["entities"]]}
    if kind in ("qa", "qa2"):
        if not example["answers"]["text"]:
            return {"answer": "", "start": None, "end": None, "score": 1.0}
        text, start = example["answers"]["text"][0], example["answers"]["answer_start"][0]
        return {"answer": text, "start": start, "end": start + len(text), "score": 1.0}
    return {"summary": example["summary"][-1]}


@pytest.mark.parametrize("kind", KINDS)
def test_truth_gets_the_best_score(lab: Lab, kind: str) -> None:
    prepared = lab.prepared(kind)
    rows = prepared.splits["train"]
    scores = prepared.task.score([truth(kind, example) for example in rows], rows)
    metric = prepared.task.decider()
    assert scores[metric]["value"] == pytest.approx(0 if metric in prepared.task.lower_is_better else 1)
    assert all(score["n"] > 0 for score in scores.values())


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_has_an_answer_that_can_be_scored_and_read(lab: Lab, kind: str) -> None:
    run, prepared = lab.trained(kind, "full" if kind != "multi" else "lora"), lab.prepared(kind)
    rows = prepared.splits["test"]
    found = answers(run.run, rows.to_list())
    assert len(found) == len(rows)
    assert prepared.task.score(found, rows).keys() == run.scores["test"].keys()
    assert all(isinstance(prepared.task.render(row, answer), str) for row, answer in zip(rows, found, strict=True))
    predicted, expected = prepared.task.answers(found, rows)
    assert len(predicted) == len(expected) == len(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_change_no_input(lab: Lab, kind: str) -> None:
    """But for a causal checkpoint, which learns the summary as a part of its input."""
    p = lab.prepared(kind)
    examples = p.splits["test"].to_list()
    batch = {name: [example[name] for example in examples] for name in examples[0]}
    taught, asked = (
        dict(p.task.encode(batch, p.tokenizer, p.labels)),
        infer.encode(p.task, examples, p.tokenizer, p.labels),
    )
    assert set(taught) >= set(p.task.targets)
    if kind not in ("causal", "seq2seq"):
        assert taught["input_ids"] == asked["input_ids"]
    if kind == "causal":
        for i, ids in zip(taught["example"], taught["input_ids"], strict=True):
            assert ids[: len(asked["input_ids"][i])] == asked["input_ids"][i]
    if kind == "seq2seq":
        assert taught["input_ids"] == [asked["input_ids"][i] for i in taught["example"]]
