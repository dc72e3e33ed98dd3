"""Layers and heads of every architecture, plain and wrapped."""

from __future__ import annotations

import pytest
import torch

from ftkit.errors import CheckpointError
from ftkit.methods import _layers
from ftkit.methods.lora import Lora
from tests.tiny import ENCODERS, build, tiny

HEADS = {
    ("bert", "SEQ_CLS"): ["bert.pooler", "classifier"],
    ("bert", "TOKEN_CLS"): ["classifier"],
    ("bert", "QUESTION_ANS"): ["qa_outputs"],
    ("roberta", "SEQ_CLS"): ["classifier"],
    ("roberta", "TOKEN_CLS"): ["classifier"],
    ("roberta", "QUESTION_ANS"): ["qa_outputs"],
    ("distilbert", "SEQ_CLS"): ["pre_classifier", "classifier"],
    ("distilbert", "TOKEN_CLS"): ["classifier"],
    ("distilbert", "QUESTION_ANS"): ["qa_outputs"],
    ("electra", "SEQ_CLS"): ["classifier"],
    ("electra", "TOKEN_CLS"): ["classifier"],
    ("electra", "QUESTION_ANS"): ["qa_outputs"],
    ("deberta_v2", "SEQ_CLS"): ["pooler", "classifier"],
    ("deberta_v2", "TOKEN_CLS"): ["classifier"],
    ("deberta_v2", "QUESTION_ANS"): ["qa_outputs"],
    ("modernbert", "SEQ_CLS"): ["head", "classifier"],
    ("modernbert", "TOKEN_CLS"): ["head", "classifier"],
    ("modernbert", "QUESTION_ANS"): ["head", "classifier"],
    ("albert", "SEQ_CLS"): ["albert.pooler", "classifier"],
    ("albert", "TOKEN_CLS"): ["classifier"],
    ("albert", "QUESTION_ANS"): ["qa_outputs"],
    ("t5", "SEQ_2_SEQ_LM"): [],
    ("t5", "SEQ_CLS"): ["classification_head"],
    ("t5", "QUESTION_ANS"): ["qa_outputs"],
    ("bart", "SEQ_2_SEQ_LM"): [],
    ("bart", "SEQ_CLS"): ["classification_head"],
    ("llama", "CAUSAL_LM"): [],
    ("llama", "SEQ_CLS"): ["score"],
    ("llama", "QUESTION_ANS"): ["qa_outputs"],
    ("gpt2", "CAUSAL_LM"): [],
    ("gpt2", "SEQ_CLS"): ["score"],
}
STACKS = {
    "bert": ["bert.encoder.layer"],
    "roberta": ["roberta.encoder.layer"],
    "distilbert": ["distilbert.transformer.layer"],
    "electra": ["electra.encoder.layer"],
    "deberta_v2": ["deberta.encoder.layer"],
    "modernbert": ["model.layers"],
    "albert": [],
    "t5": ["transformer.encoder.block", "transformer.decoder.block"],
    "bart": ["model.encoder.layers", "model.decoder.layers"],
    "llama": ["model.layers"],
    "gpt2": ["transformer.h"],
}
OUTPUTS = {
    "bert": ("attention.output.dense", "output.dense"),
    "roberta": ("attention.output.dense", "output.dense"),
    "distilbert": ("attention.out_lin", "ffn.lin2"),
    "electra": ("attention.output.dense", "output.dense"),
    "deberta_v2": ("attention.output.dense", "output.dense"),
    "modernbert": ("attn.Wo", "mlp.Wo"),
    "albert": ("albert_layers.0.attention.dense", "albert_layers.0.ffn_output"),
    "llama": ("self_attn.o_proj", "mlp.down_proj"),
    "gpt2": ("attn.c_proj", "mlp.c_proj"),
}


@pytest.mark.parametrize(("architecture", "kind"), HEADS)
def test_head_is_what_the_task_put_on_top(architecture: str, kind: str) -> None:
    assert _layers.head_modules(tiny(architecture, kind)) == HEADS[architecture, kind]


@pytest.mark.parametrize("architecture", STACKS)
def test_stacks(architecture: str) -> None:
    assert _layers.stacks(tiny(architecture)) == STACKS[architecture]


@pytest.mark.parametrize("architecture", OUTPUTS)
def test_sublayer_outputs_are_the_ends_of_the_sublayers(architecture: str) -> None:
    model = tiny(architecture)
    blocks = _layers.blocks(model)
    attention, feed_forward = OUTPUTS[architecture]
    assert len(blocks) == (1 if architecture == "albert" else 3)
    assert _layers.sublayer_outputs(model) == (
        [f"{block}.{attention}" for block in blocks],
        [f"{block}.{feed_forward}" for block in blocks],
    )


@pytest.mark.parametrize(
    ("architecture", "self_attention", "cross_attention", "feed_forward"),
    [
        ("t5", "layer.0.SelfAttention.o", "layer.1.EncDecAttention.o", "DenseReluDense.wo"),
        ("bart", "self_attn.out_proj", "encoder_attn.out_proj", "fc2"),
    ],
)
def test_sublayer_outputs_of_a_decoder_hold_its_cross_attention(
    architecture: str, self_attention: str, cross_attention: str, feed_forward: str
) -> None:
    found = _layers.sublayer_outputs(tiny(architecture, "SEQ_2_SEQ_LM"))
    assert [name.endswith(cross_attention) for name in found.attention] == [False, False, *[False, True] * 2]
    assert sum(name.endswith(self_attention) for name in found.attention) == 4
    assert len(found.feed_forward) == 4
    assert all(name.endswith(feed_forward) for name in found.feed_forward)


def test_mixtures_of_experts_have_no_single_output() -> None:
    from transformers import MixtralConfig

    config = MixtralConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=2,
    )
    with pytest.raises(CheckpointError, match="no single feed-forward output"):
        _layers.sublayer_outputs(build(config, "CAUSAL_LM"))


@pytest.mark.parametrize(
    ("architecture", "name", "depth"),
    [
        ("bert", "bert.embeddings.word_embeddings.weight", 0),
        ("bert", "bert.encoder.layer.0.attention.self.query.weight", 1),
        ("bert", "bert.encoder.layer.2.output.LayerNorm.bias", 3),
        ("bert", "bert.pooler.dense.weight", 4),
        ("bert", "classifier.bias", 4),
        ("modernbert", "model.final_norm.weight", 3),
        ("deberta_v2", "deberta.encoder.rel_embeddings.weight", 0),
        ("deberta_v2", "deberta.encoder.LayerNorm.weight", 0),
        ("llama", "model.norm.weight", 3),
        ("gpt2", "transformer.ln_f.weight", 3),
        ("t5", "transformer.shared.weight", 0),
        ("t5", "transformer.encoder.final_layer_norm.weight", 2),
        ("t5", "transformer.decoder.block.0.layer.0.layer_norm.weight", 3),
        ("t5", "transformer.decoder.final_layer_norm.weight", 4),
        ("bart", "model.encoder.layernorm_embedding.weight", 0),
        ("bart", "model.decoder.embed_positions.weight", 0),
        ("bart", "model.decoder.layers.1.fc1.weight", 4),
        ("bart", "classification_head.dense.weight", 5),
        ("albert", "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", 0),
        ("albert", "albert.pooler.weight", 1),
    ],
)
def test_depth(architecture: str, name: str, depth: int) -> None:
    model = tiny(architecture)
    assert name in dict(model.named_parameters())
    assert _layers.layout(model).depth(name) == depth


def test_an_untied_output_layer_lies_on_top_and_a_tied_one_with_the_embeddings() -> None:
    untied = _layers.layout(tiny("llama", "CAUSAL_LM", tie_word_embeddings=False))
    assert untied.top == ("lm_head",)
    assert untied.depth("lm_head.weight") == 4
    assert _layers.layout(tiny("llama", "CAUSAL_LM")).top == ()


@pytest.mark.parametrize("architecture", [*ENCODERS, "llama"])
def test_wrapping_changes_no_depth(architecture: str) -> None:
    plain = tiny(architecture)
    before = {name: _layers.layout(plain).depth(name) for name in dict(plain.named_parameters())}
    wrapped = Lora(Lora.Options(variant="dora")).apply(tiny(architecture), "SEQ_CLS")
    parts = _layers.layout(wrapped)
    assert parts == _layers.layout(plain)
    new = [name for name in dict(wrapped.named_parameters()) if "lora_" in name]
    assert new
    for name in new:
        owner = _layers.plain_name(name).split(".lora_")[0]
        assert parts.depth(name) == before[f"{owner}.weight"]
    seen = {_layers.plain_name(n): parts.depth(n) for n in dict(wrapped.named_parameters()) if n not in new}
    assert seen == before


def test_wrappers_of_other_libraries_are_seen_through() -> None:
    parts = _layers.layout(torch.nn.DataParallel(tiny("bert")))
    assert parts.depth("_orig_mod.bert.encoder.layer.1.output.dense.weight") == 2
    assert parts.depth("module.bert.encoder.layer.1.output.dense.weight") == 2
    assert parts.depth("module.base_model.model.classifier.modules_to_save.default.weight") == 4


def test_lists_that_lie_side_by_side_are_not_layers() -> None:
    from transformers import XLMConfig

    config = XLMConfig(vocab_size=50, emb_dim=16, n_layers=2, n_heads=2, max_position_embeddings=32)
    model = build(config)
    assert _layers.stacks(model) == []
    assert any(name.endswith("attentions.1.q_lin") for name in _layers.linears(model))


def test_a_model_that_is_not_of_transformers_is_refused() -> None:
    with pytest.raises(CheckpointError, match="Linear is not a transformers model"):
        _layers.layout(torch.nn.Linear(2, 2))


def test_trainable_counts_shared_weights_once() -> None:
    model = tiny("llama", "CAUSAL_LM")
    model.requires_grad_(False)
    model.lm_head.weight.requires_grad_(True)
    learning, total = _layers.trainable(model)
    assert learning == 100 * 32
    assert total == sum(weight.numel() for weight in model.state_dict().values()) - 100 * 32
