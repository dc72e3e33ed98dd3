"""Attribution: weights add up, belong to words at their places, and leave the model as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ftkit.engine import attribution, infer
from ftkit.engine import model as models
from ftkit.engine.attribution import integrated_gradients
from tests.runs import Lab
from tests.tiny import tiny

ENCODERS = ("bert", "roberta", "distilbert", "electra", "deberta_v2", "modernbert", "albert")


def difference(outputs: Any) -> torch.Tensor:
    found: torch.Tensor = outputs.logits[:, 0] - outputs.logits[:, 2]
    return found


@pytest.mark.parametrize("architecture", ENCODERS)
def test_weights_add_up_to_what_the_text_changes(architecture: str) -> None:
    model = tiny(architecture)
    ids = torch.tensor([[2, *range(40, 51), 3]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    baseline = torch.tensor([2, *[4] * 11, 3])
    weights, told = integrated_gradients(model, inputs, difference, baseline, steps=128)
    with torch.no_grad():
        change = difference(model(**inputs)) - difference(model(**{**inputs, "input_ids": baseline[None]}))
    assert abs(float(change)) > 1e-3
    assert weights.sum() == pytest.approx(float(change), rel=0.02)
    assert told == pytest.approx(float(change), rel=1e-4)
    assert weights[0] == weights[-1] == 0
    assert not model.get_input_embeddings()._forward_hooks
    assert all(weight.grad is None for weight in model.parameters())


class Linear(torch.nn.Module):
    """The mean of embeddings through one linear layer: its weights are known."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.top = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 3)

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.embed

    def forward(self, input_ids: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.top(self.embed(input_ids).mean(1)))


def test_weights_of_a_linear_model_are_its_own() -> None:
    model, ids, baseline = Linear(), torch.tensor([[1, 5, 7, 7]]), torch.tensor([1, 0, 0, 0])
    weights, change = integrated_gradients(model, {"input_ids": ids}, difference, baseline, steps=4)
    direction = model.top.weight[0] - model.top.weight[2]
    known = (model.embed(ids[0]) - model.embed(baseline)) @ direction / 4
    np.testing.assert_allclose(weights, known.detach().numpy(), atol=1e-6)
    assert weights.sum() == pytest.approx(change, rel=1e-5)
    assert weights[2] == pytest.approx(weights[3])


def test_words_of_a_text_and_of_its_pair_stand_where_they_are(lab: Lab) -> None:
    trained = models.load(lab.trained("single", "full").run)
    example = {"text": "The waiter forgot!", "text_pair": "Unheard-of  rubbish 🙂", "row": 1}
    (found,) = attribution.explain(trained, [(example, trained.labels[0], trained.labels[1])])
    assert found is not None
    spelled = [(word.column, example[word.column][word.start : word.end]) for word in found.words]  # type: ignore[literal-required]
    assert spelled[:4] == [("text", "The"), ("text", "waiter"), ("text", "forgot"), ("text", "!")]
    assert [text for column, text in spelled if column == "text_pair"][:4] == ["Unheard", "-", "of", "rubbish"]
    assert found.gap < 0.05
    assert any(word.weight for word in found.words)


def test_answers_in_other_names_than_the_models_are_not_explained(lab: Lab) -> None:
    trained = models.load(lab.trained("single", "full").run)
    example, known = {"text": "The waiter forgot!", "row": 1}, trained.labels[0]
    assert attribution.explain(trained, [(example, "Sports", known), (example, known, "Sports")]) == [None, None]


def test_tags_that_are_wrong_are_explained_by_the_words_of_the_row(lab: Lab) -> None:
    run = lab.trained("ner", "lora").run
    trained, rows = models.load(run), lab.prepared("ner").splits["test"]
    found = attribution.explain(trained, [(row, "", "") for row in rows])
    assert any(each is not None for each in found)
    for row, each in zip(rows, found, strict=True):
        if each:
            assert {(word.start, word.end) for word in each.words} <= {tuple(span) for span in row["spans"]}
            assert any(word.weight for word in each.words)
    right = dict(rows[0]) | {"tags": ["unknown"] * len(rows[0]["tags"])}
    assert attribution.explain(trained, [(right, "", "")]) == [None]


def test_weights_speak_for_the_answer_and_against_the_truth(lab: Lab) -> None:
    """They add up to what the text changes in the answer's logit less the truth's."""
    trained = models.load(lab.trained("single", "full").run)
    example = {"text": "The waiter forgot our order.", "row": 1}
    ids = torch.tensor([trained.tokenizer(example["text"])["input_ids"]])
    with torch.no_grad():
        text, empty = (trained.model(each).logits[0] for each in (ids, attribution._baseline(trained, ids)))
    labels = trained.labels
    for said, true in ((0, 1), (1, 0), (2, 1)):
        (found,) = attribution.explain(trained, [(example, labels[said], labels[true])])
        assert found is not None and (found.said, found.instead_of) == (labels[said], labels[true])
        change = float((text - empty)[said] - (text - empty)[true])
        assert sum(word.weight for word in found.words) == pytest.approx(change, rel=0.05, abs=1e-3)


def test_weights_of_tags_speak_for_what_was_said_and_against_what_is_true(lab: Lab) -> None:
    trained, rows = models.load(lab.trained("ner", "lora").run), lab.prepared("ner").splits["test"]
    told = 0
    for row, found in zip(rows, attribution.explain(trained, [(row, "", "") for row in rows]), strict=True):
        if found is None:
            continue
        encoded = infer.encode(trained.task, [row], trained.tokenizer, trained.labels)
        ids = torch.tensor([encoded["input_ids"][0]])
        with torch.no_grad():
            text, empty = (trained.model(each).logits[0] for each in (ids, attribution._baseline(trained, ids)))
        change = 0.0
        for place, word in enumerate(encoded["words"][0]):
            if word is not None:
                true, said = trained.labels.index(row["tags"][word]), int(text[place].argmax())
                change += float((text - empty)[place, said] - (text - empty)[place, true])
        assert sum(word.weight for word in found.words) == pytest.approx(change, rel=0.05, abs=1e-2)
        told += 1
    assert told


def test_the_empty_text_has_masks_for_words_and_keeps_what_is_special(lab: Lab) -> None:
    trained = models.load(lab.trained("single", "full").run)
    tokenizer = trained.tokenizer
    ids = torch.tensor([tokenizer.cls_token_id, 40, 41, tokenizer.sep_token_id])
    mask = tokenizer.mask_token_id
    assert attribution._baseline(trained, ids).tolist() == [tokenizer.cls_token_id, mask, mask, tokenizer.sep_token_id]


def test_what_would_take_too_long_is_left_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = models.load(lab.trained("single", "full").run)
    example = {"text": "The waiter forgot.", "row": 1}
    size = sum(w.numel() for w in trained.model.parameters()) - trained.model.get_input_embeddings().weight.numel()
    tokens = len(trained.tokenizer(example["text"])["input_ids"])
    monkeypatch.setattr(attribution, "_MOST_WORK", 6.0 * size * attribution.STEPS * tokens * 2)
    found = attribution.explain(trained, [(example, trained.labels[0], trained.labels[1])] * 3)
    assert [each is None for each in found] == [False, False, True]
