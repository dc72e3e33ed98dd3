"""Texts read in windows, through training, scoring, answers, exports and explanations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine import attribution, infer
from ftkit.engine import model as models
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.engine.prepare import encode_training
from ftkit.engine.steps import Steps, examples_of
from ftkit.engine.train import plan, train
from ftkit.settings import EvaluateSpec
from tests.runs import Lab, assert_close, read_jsonl, rows


def test_a_step_holds_all_windows_of_its_texts(lab: Lab) -> None:
    prepared = lab.prepared("windows")
    encoded, cut = encode_training(prepared, prepared.splits["train"])
    texts = len(prepared.splits["train"])
    assert cut == 0 and len(encoded) > 2 * texts
    steps = Steps(list(encoded["length"]), 8, 13, examples_of(encoded))
    found = list(steps)
    assert len(found) == len(steps) == -(-texts // 8)
    held = [{encoded[i]["example"] for i in step} for step in found]
    assert sorted(example for step in held for example in step) == list(range(texts)), "each text in one step"
    assert sorted(i for step in found for i in step) == list(range(len(encoded)))


@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=1, max_size=60), st.integers(1, 9))
def test_examples_stay_together_and_come_once(examples: list[list[int]], batch: int) -> None:
    lengths = [length for example in examples for length in example]
    numbers = iter(range(len(lengths)))
    together = [[next(numbers) for _ in example] for example in examples]
    found = list(Steps(lengths, batch, 0, together))
    assert sorted(i for step in found for i in step) == list(range(len(lengths)))
    for step in found:
        held = [example for example in together if set(example) & set(step)]
        assert len(held) <= batch and {i for example in held for i in example} == set(step)
        assert [lengths[i] for i in step] == sorted((lengths[i] for i in step), reverse=True)


def test_a_run_counts_texts_and_says_of_none_that_it_was_cut(lab: Lab) -> None:
    said: list[str] = []
    run = train(lab.recipe("windows"), lab.new(), say=said.append)
    assert run.examples == 22 and run.steps == 3 == plan(lab.recipe("windows"))["steps"]
    assert not [line for line in said if "cut to" in line]
    assert run.scores["test"]["accuracy"]["n"] == 7
    assert len(read_jsonl(run.run / "predictions" / "test.jsonl")) == 7


@pytest.mark.parametrize(
    ("how", "kept"), [("head", ""), ("tail", ", their last ones"), ("head+tail", ", their first and last ones")]
)
def test_what_is_cut_is_counted_and_said(lab: Lab, tmp_path: Path, how: str, kept: str) -> None:
    said: list[str] = []
    settings = ("task.max_length=24", f"task.truncate={how}", "train.epochs=0")
    train(lab.recipe("single", *settings), tmp_path / "run", say=said.append)
    counts = [line for line in said if "training rows were cut" in line]
    assert len(counts) == 1 and counts[0].endswith(f"of 22 training rows were cut to task.max_length=24 tokens{kept}")


def test_answers_are_of_the_mean_of_all_windows(lab: Lab) -> None:
    run = lab.trained("windows", "full").run
    t = models.load(run)
    examples = lab.prepared("windows").splits["test"].to_list()
    encoded = infer.encode(t.task, examples, t.tokenizer, t.labels)
    outputs = infer.run(t.model, t.task, t.tokenizer, encoded, EvaluateSpec())
    found = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, EvaluateSpec()))
    for i, answer in enumerate(found):
        own = [o["logits"] for o, example in zip(outputs, encoded["example"], strict=True) if example == i]
        assert answer["label"] == t.labels[int(np.mean(own, axis=0).argmax())]


def test_a_text_that_fits_has_the_logits_of_head(lab: Lab) -> None:
    t = models.load(lab.trained("windows", "full").run)
    head = type(t.task)(t.task.options.model_copy(update={"truncate": "head", "stride": 64}))
    examples = [{"text": "The film was sharp."}, {"text": "Rain fell."}]
    given = [
        [
            o["logits"].tolist()
            for o in infer.run(
                t.model, task, t.tokenizer, infer.encode(task, examples, t.tokenizer, t.labels), EvaluateSpec()
            )
        ]
        for task in (t.task, head)
    ]
    assert given[0] == given[1]


def test_an_export_says_how_windows_are_read_and_answers_as_the_run(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("windows", "full")
    folder = export(run.run, tmp_path / "plain")
    told = json.loads((folder / "ftkit.json").read_text())["task"]
    assert (told["truncate"], told["max_length"], told["stride"]) == ("window", 24, 6)
    card = (folder / "README.md").read_text()
    assert "windows of 24 tokens that share 6" in card and "mean of their logits" in card
    assert "plain transformers does not" in card
    texts = [row["text"] for row in rows("windows", "test")]
    assert_close(list(Predictor(folder)(texts)), list(Predictor(run.run)(texts)), 1e-6)
    scores = evaluate(folder, data=str(lab.file("windows", "test"))).scores
    assert scores == evaluate(run.run).scores == run.scores["test"]


def test_frozen_layers_are_computed_once_for_each_window(lab: Lab) -> None:
    kept, computed = (
        lab.train("windows", "method=head", f"train.frozen_cache={size}", "train.epochs=3", "train.learning_rate=0.02")
        for size in (1, 0)
    )
    assert_close(kept.scores, computed.scores, 1e-6)


def test_words_of_all_windows_are_weighed(lab: Lab) -> None:
    """The weights add up to what the text changes in the mean of its windows' contrasts."""
    trained = models.load(lab.trained("windows", "full").run)
    row: dict[str, Any] = max(rows("windows", "test"), key=lambda row: len(row["text"]))
    (found,) = attribution.explain(trained, [(row, trained.labels[0], trained.labels[2])])
    assert found is not None
    encoded = infer.encode(trained.task, [row], trained.tokenizer, trained.labels)
    assert len(encoded["input_ids"]) > 2
    changes = []
    for ids in map(torch.tensor, encoded["input_ids"]):
        with torch.no_grad():
            text, empty = (trained.model(each[None]).logits[0] for each in (ids, attribution._baseline(trained, ids)))
        changes.append(float((text - empty)[0] - (text - empty)[2]))
    assert sum(word.weight for word in found.words) == pytest.approx(np.mean(changes), rel=0.05, abs=1e-2)
    assert len({(word.start, word.end) for word in found.words}) == len(found.words), "a word in two windows is one"
    assert [row["text"][word.start : word.end] for word in found.words][-1] == row["text"].rstrip()[-1]
