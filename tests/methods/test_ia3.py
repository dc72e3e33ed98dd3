"""IA3's targets, by PEFT's table and by structure."""

from __future__ import annotations

import pytest
import torch
from peft.tuners.ia3 import IA3Layer

from ftkit.errors import CheckpointError
from ftkit.methods._layers import plain_name
from ftkit.methods.ia3 import IA3
from tests.tiny import build, logits, tiny

STRETCHED = {
    "bert": {"attention.self.key", "attention.self.value"},
    "distilbert": {"attention.k_lin", "attention.v_lin"},
    "electra": {"attention.self.key", "attention.self.value"},
    "deberta_v2": {"attention.self.key_proj", "attention.self.value_proj"},
    "modernbert": {"attn.Wqkv"},
    "albert": {"attention.key", "attention.value"},
    "llama": {"self_attn.k_proj", "self_attn.v_proj"},
}


@pytest.mark.parametrize("architecture", STRETCHED)
def test_keys_values_and_activations_are_stretched(architecture: str) -> None:
    model = IA3(IA3.Options()).apply(tiny(architecture), "SEQ_CLS")
    layers = {plain_name(n + ".").rstrip("."): m for n, m in model.named_modules() if isinstance(m, IA3Layer)}
    outputs = {name for name, layer in layers.items() if not layer.is_feedforward}
    assert {next(end for end in STRETCHED[architecture] if name.endswith(end)) for name in outputs} == STRETCHED[
        architecture
    ]
    blocks = 1 if architecture == "albert" else 3
    assert len(outputs) == blocks * len(STRETCHED[architecture])
    assert len(layers) - len(outputs) >= blocks


def test_training_starts_from_the_checkpoints_own_answers() -> None:
    assert torch.equal(logits(IA3(IA3.Options()).apply(tiny("bert"), "SEQ_CLS")), logits(tiny("bert")))


def test_models_whose_keys_are_no_linear_layers_are_refused() -> None:
    from transformers import XLNetConfig

    model = build(XLNetConfig(vocab_size=50, d_model=16, n_layer=2, n_head=2, d_inner=32))
    with pytest.raises(CheckpointError, match="can't tell the keys and values of XLNet"):
        IA3(IA3.Options()).apply(model, "SEQ_CLS")
