"""The one inference path: order, batches, and what it is not told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine import infer, pretrained
from ftkit.engine import model as models
from ftkit.engine.memory import Limit
from ftkit.errors import CheckpointError
from ftkit.settings import EvaluateSpec
from ftkit.tasks.classification import Classification
from tests.runs import KINDS, Lab, answers, assert_close, rows
from tests.tiny import tiny, tiny_tokenizer

FIVE_HUNDRED = EvaluateSpec(batch_tokens=500)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_size_changes_no_answer(lab: Lab, kind: str) -> None:
    run = lab.trained(kind, "full")
    examples = lab.prepared(kind).splits["test"].to_list()
    usual = answers(run.run, examples)
    for batch_tokens in (1, 150):
        assert_close(answers(run.run, examples, batch_tokens), usual, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_is_answered_in_its_place(lab: Lab, kind: str) -> None:
    run = lab.trained(kind, "full")
    examples = lab.prepared(kind).splits["train"].to_list()[:8]
    alone = [answers(run.run, [example])[0] for example in examples]
    assert_close(answers(run.run, examples), alone, 1e-5)
    assert_close(answers(run.run, examples[::-1]), alone[::-1], 1e-5)


def test_many_rows_go_through_in_chunks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    t = models.load(lab.trained("single", "full").run)
    examples = [{"text": row["text"]} for row in rows("single", "test", 25)]
    whole = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, FIVE_HUNDRED))
    monkeypatch.setattr(infer, "CHUNK", 10)
    told: list[int] = []
    parts = list(
        infer.predict(
            t.model,
            t.task,
            t.tokenizer,
            t.labels,
            iter(examples),
            FIVE_HUNDRED,
            told.append,
        )
    )
    assert_close(parts, whole, 1e-6)
    assert told == [10, 20, 25]


def test_cut_rows_are_told_by_any_of_their_windows() -> None:
    assert infer.truncated_rows({"example": [0, 1, 1, 2], "truncated": [False, False, True, False]}, 4) == [
        False,
        True,
        False,
        False,
    ]
    assert infer.truncated_rows({"example": [0, 0, 1], "truncated": [True, False, False]}, 2) == [True, False]
    assert infer.truncated_rows({"example": [0, 1]}, 2) == [False, False]


def test_observer_is_shown_all_that_answers_come_of(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    t = models.load(lab.trained("single", "full").run)
    examples, shown = rows("single", "test", 25), []
    whole = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, FIVE_HUNDRED))
    monkeypatch.setattr(infer, "CHUNK", 10)

    def observe(outputs: Any, encoded: Any, chunk: Any) -> None:
        shown.append((t.task.decode(outputs, encoded, chunk, t.tokenizer, t.labels), chunk))

    list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, FIVE_HUNDRED, observe=observe))
    assert_close([answer for found, _ in shown for answer in found], whole, 1e-6)
    assert [example for _, chunk in shown for example in chunk] == examples, "with their targets"


def test_nothing_is_answered_with_nothing(lab: Lab) -> None:
    assert answers(lab.train("single", "train.epochs=0").run, []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_for_an_answer_never_sees_the_answer(lab: Lab, kind: str) -> None:
    prepared = lab.prepared(kind)
    examples = prepared.splits["test"].to_list()
    encoded = infer.encode(prepared.task, examples, prepared.tokenizer, prepared.labels)
    assert not set(encoded) & {*prepared.task.targets, "labels"}
    blind = {column.name for shape in prepared.task.shapes() for column in shape if not column.is_input}
    unmarked = [{name: value for name, value in example.items() if name not in blind} for example in examples]
    assert infer.encode(prepared.task, unmarked, prepared.tokenizer, prepared.labels) == encoded


def test_model_keeps_its_mode_and_gets_no_gradient(lab: Lab) -> None:
    t = models.load(lab.train("single", "train.epochs=0").run)
    example = [{"text": "The film was sharp."}]
    for training in (True, False):
        t.model.train(training)
        first = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, example, EvaluateSpec(batch_tokens=100)))
        assert t.model.training is training
        assert all(weight.grad is None for weight in t.model.parameters())
    assert first == answers(t.source, example)


def test_a_model_wrapped_in_autocast_answers_in_fp32_and_stays_wrapped(lab: Lab) -> None:
    """As the Trainer wraps it."""
    t = models.load(lab.train("regression", "train.epochs=0").run)
    examples = lab.prepared("regression").splits["test"].to_list()
    plain = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, FIVE_HUNDRED))
    batch = dict(t.tokenizer(["The film was sharp."], return_tensors="pt"))
    AcceleratorState._reset_state(reset_partial_state=True)
    wrapped = Accelerator(cpu=True, mixed_precision="bf16").prepare(t.model)
    rough = wrapped(**batch).logits
    assert list(infer.predict(wrapped, t.task, t.tokenizer, t.labels, examples, FIVE_HUNDRED)) == plain
    assert torch.equal(wrapped(**batch).logits, rough)
    assert not torch.equal(models.load(t.source).model(**batch).logits, rough)
    AcceleratorState._reset_state(reset_partial_state=True)


@given(lengths=st.lists(st.integers(1, 50), max_size=60), most=st.integers(1, 300), room=st.integers(0, 20))
def test_batches_hold_each_row_once_and_no_more_tokens_than_allowed(lengths: list[int], most: int, room: int) -> None:
    found: list[Any] = list(infer.batches(lengths, Limit(most), room))
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * (max(lengths[i] for i in batch) + room) <= most


@pytest.mark.parametrize("kind", ["single", "ner", "qa"])
def test_dropout_touches_no_answer_and_the_model_goes_on_training(lab: Lab, kind: str) -> None:
    p = lab.prepared(kind)
    examples = p.splits["test"].to_list()
    model = pretrained.build(p.base.path, p.task, p.labels, dropout=0.5)
    inputs = dict(p.tokenizer(["The film was sharp."], return_tensors="pt"))
    name = "start_logits" if kind == "qa" else "logits"
    model.train()
    assert not torch.equal(model(**inputs)[name], model(**inputs)[name])
    in_training = list(infer.predict(model, p.task, p.tokenizer, p.labels, examples, FIVE_HUNDRED))
    assert model.training and all(part.training for part in model.modules())
    model.eval()
    assert list(infer.predict(model, p.task, p.tokenizer, p.labels, examples, FIVE_HUNDRED)) == in_training
    assert not model.training


def test_bf16_answers_are_near_and_fp32_ones_are_the_usual(lab: Lab) -> None:
    t = models.load(lab.trained("single", "full").run)
    examples = [{"text": row["text"]} for row in rows("single", "test")]
    usual = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, EvaluateSpec()))
    low = EvaluateSpec(precision="bf16")
    short = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, low))
    scores = [(one["score"], other["score"]) for one, other in zip(usual, short, strict=True)]
    assert any(one != other for one, other in scores)
    assert all(abs(one - other) < 0.05 for one, other in scores)
    assert all(weight.dtype == torch.float32 for weight in t.model.parameters())
    assert list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, EvaluateSpec())) == usual


@pytest.mark.parametrize("kind", ["single", "ner", "qa", "causal"])
def test_outputs_that_are_no_numbers_are_no_answers(lab: Lab, kind: str) -> None:
    t = models.load(lab.trained(kind, "full").run)
    with torch.no_grad():
        list(t.model.parameters())[-1].fill_(float("nan"))
    examples = lab.prepared(kind).splits["test"].to_list()
    with pytest.raises(CheckpointError, match="not finite"):
        list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, FIVE_HUNDRED))


def test_tasks_that_ask_in_a_way_of_their_own_get_all_tokens() -> None:

    class Own(Classification):
        """Reads the mean over all tokens."""

        def forward(self, model: Any, batch: Any) -> Any:
            states = model.base_model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
            return {"logits": (states * batch["attention_mask"][..., None]).sum(1)}

    t, tokenizer = Own(Own.Options()), tiny_tokenizer("bert")
    model = tiny("bert", "SEQ_CLS", vocab_size=len(tokenizer))
    encoded = dict(tokenizer(["The film was sharp.", "A film."]))
    outputs = infer.run(model, t, tokenizer, encoded, EvaluateSpec())
    for ids, output in zip(encoded["input_ids"], outputs, strict=True):
        with torch.no_grad():
            wanted = model.base_model(input_ids=torch.tensor([ids]))[0].sum(1)[0]
        assert np.abs(output["logits"] - wanted.numpy()).max() < 1e-4
