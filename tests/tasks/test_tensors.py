"""Padding and losses: sums over their size are the means that PyTorch gives."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch.nn import CrossEntropyLoss

from ftkit.tasks._base import Weighting
from ftkit.tasks._tensors import collate, cross_entropy, target_weight
from tests.tiny import tiny_tokenizer

WEIGHTINGS = [Weighting(), Weighting(0.1), Weighting(0.0, (3.0, 0.5, 1.0)), Weighting(0.2, (3.0, 0.5, 1.0))]


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=str)
@pytest.mark.parametrize("shape", [(8,), (4, 6)])
def test_cross_entropy_over_its_size_is_pytorchs_mean(weighting: Weighting, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(*shape, 3, generator=generator)
    targets = torch.randint(0, 3, shape, generator=generator)
    targets.view(-1)[::3] = -100
    weight = None if weighting.class_weights is None else torch.tensor(weighting.class_weights)
    reference = CrossEntropyLoss(weight, label_smoothing=weighting.label_smoothing)
    ours = cross_entropy(logits, targets, weighting) / target_weight(targets, weighting)
    assert ours.item() == pytest.approx(reference(logits.flatten(0, -2), targets.flatten()).item(), rel=1e-6)


def test_targets_that_are_all_ignored_add_nothing() -> None:
    targets = torch.full((2, 3), -100)
    for weighting in WEIGHTINGS:
        assert cross_entropy(torch.randn(2, 3, 3), targets, weighting) == 0
        assert target_weight(targets, weighting) == 0


def test_cross_entropy_is_computed_in_float32() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    assert cross_entropy(logits, torch.tensor([0]), Weighting()).dtype == torch.float32


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_padded_on_the_side_that_is_asked_for(side: str) -> None:
    tokenizer = tiny_tokenizer("bert")
    rows = [dict(tokenizer("a film"), labels=[1, 2, 3, 4]), dict(tokenizer("a"), labels=[5, 6, 7])]
    short = rows[1]["input_ids"]
    width = max(len(row["input_ids"]) for row in rows)
    rows[0]["labels"] = list(range(width))
    rows[1]["labels"] = list(range(len(short)))
    batch = collate(rows, tokenizer, ("labels",), True, side)
    gap = width - len(short)
    expected = {"left": [-100] * gap + rows[1]["labels"], "right": rows[1]["labels"] + [-100] * gap}
    assert batch["labels"][1].tolist() == expected[side]
    assert batch["attention_mask"][1].tolist() == [0 if value == -100 else 1 for value in expected[side]]
    assert batch["input_ids"][1][batch["attention_mask"][1].bool()].tolist() == short


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "llama"])
def test_inputs_are_padded_as_the_tokenizer_does(architecture: str, side: Literal["left", "right"]) -> None:
    tokenizer = tiny_tokenizer(architecture)
    rows = [dict(tokenizer(text)) for text in ("a film", "a", "a good film of a good story")]
    expected = tokenizer.pad(rows, padding_side=side, return_tensors="pt")
    found = collate(rows, tokenizer, (), False, side)
    assert list(found) == [name for name in tokenizer.model_input_names if name in rows[0]]
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name])


def test_one_target_a_row_is_not_padded() -> None:
    tokenizer = tiny_tokenizer("bert")
    rows = [dict(tokenizer("a film"), labels=2), dict(tokenizer("a"), labels=0)]
    assert collate(rows, tokenizer, ("labels",), False)["labels"].tolist() == [2, 0]
    assert "labels" not in collate([dict(tokenizer("a"))], tokenizer, ("labels",), False)


def test_one_vector_a_row_is_not_padded_though_it_is_as_long_as_the_row() -> None:
    tokenizer = tiny_tokenizer("bert")
    rows = [dict(tokenizer("a"), labels=[1.0, 0.0, 1.0]), dict(tokenizer("a film"), labels=[0.0, 0.0, 1.0])]
    assert len(rows[0]["input_ids"]) == 3
    batch = collate(rows, tokenizer, ("labels",), per_token=False)
    assert batch["labels"].tolist() == [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
