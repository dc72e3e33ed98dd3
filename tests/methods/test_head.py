"""The head, and the layers right below it."""

from __future__ import annotations

import pytest

from ftkit.errors import CheckpointError
from ftkit.methods.head import Head
from tests.tiny import tiny


def learning(architecture: str, layers: int, kind: str = "SEQ_CLS") -> set[str]:
    model = Head(Head.Options(layers=layers)).apply(tiny(architecture, kind), kind)
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_head_alone() -> None:
    assert learning("distilbert", 0) == {
        "pre_classifier.weight",
        "pre_classifier.bias",
        "classifier.weight",
        "classifier.bias",
    }


def test_top_layers_learn_too_and_the_norm_that_closes_them() -> None:
    names = learning("modernbert", 1)
    assert {name.rsplit(".", 2)[0] for name in names if name.startswith("model.layers")} == {
        "model.layers.2",
        "model.layers.2.attn",
        "model.layers.2.mlp",
    }
    assert "model.final_norm.weight" in names
    assert "model.embeddings.tok_embeddings.weight" not in names


def test_all_layers_leave_only_the_embeddings_still() -> None:
    still = {name for name, _ in tiny("bert").named_parameters()} - learning("bert", 3)
    assert still
    assert all(name.startswith("bert.embeddings.") for name in still)


def test_positions_that_the_architecture_freezes_stay_frozen() -> None:
    model = tiny("distilbert")
    model.distilbert.transformer.layer[2].ffn.lin1.weight.requires_grad_(False)
    Head(Head.Options(layers=2)).apply(model, "SEQ_CLS")
    assert not model.distilbert.transformer.layer[2].ffn.lin1.weight.requires_grad
    assert model.distilbert.transformer.layer[1].ffn.lin1.weight.requires_grad


@pytest.mark.parametrize(
    ("architecture", "kind"), [("t5", "SEQ_2_SEQ_LM"), ("llama", "CAUSAL_LM"), ("bert", "CAUSAL_LM")]
)
def test_models_without_a_head_of_their_own_are_refused(architecture: str, kind: str) -> None:
    with pytest.raises(CheckpointError, match="no head of its own") as caught:
        learning(architecture, 0, kind)
    assert "method: lora" in caught.value.hint


def test_more_layers_than_there_are() -> None:
    with pytest.raises(CheckpointError, match=r"has 3 layers, and method\.layers asks for 4"):
        learning("bert", 4)


def test_shared_layers_have_no_top() -> None:
    assert learning("albert", 0)
    with pytest.raises(CheckpointError, match="no stack of layers"):
        learning("albert", 1)
