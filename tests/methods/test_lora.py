"""LoRA's targets, variants and what PEFT makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer

from ftkit.errors import CheckpointError
from ftkit.methods._layers import linears, plain_name
from ftkit.methods.lora import Lora
from tests.tiny import ENCODERS, learn, logits, tiny


def updated(model: torch.nn.Module) -> list[str]:
    return [plain_name(n + ".").rstrip(".") for n, m in model.named_modules() if isinstance(m, LoraLayer)]


@pytest.mark.parametrize("architecture", [*ENCODERS, "t5", "bart", "llama", "gpt2"])
def test_every_linear_layer_of_the_blocks_has_an_update_and_no_other(architecture: str) -> None:
    base = tiny(architecture)
    there = linears(base)
    assert there
    assert sorted(updated(Lora(Lora.Options()).apply(base, "SEQ_CLS"))) == sorted(there)


def test_linear_layers_are_those_of_the_blocks() -> None:
    assert linears(tiny("distilbert"))[:6] == [
        f"distilbert.transformer.layer.0.{name}"
        for name in (
            "attention.q_lin",
            "attention.k_lin",
            "attention.v_lin",
            "attention.out_lin",
            "ffn.lin1",
            "ffn.lin2",
        )
    ]


def test_training_starts_from_the_checkpoints_own_answers() -> None:
    base = logits(tiny("bert"))
    assert torch.equal(logits(Lora(Lora.Options()).apply(tiny("bert"), "SEQ_CLS")), base)


def test_named_targets_match_whole_parts_of_names() -> None:
    model = Lora(Lora.Options(targets=("query", "value"))).apply(tiny("bert"), "SEQ_CLS")
    assert updated(model) == [
        f"bert.encoder.layer.{i}.attention.self.{name}" for i in range(3) for name in ("query", "value")
    ]


def test_all_unknown_targets_are_named_with_what_there_is() -> None:
    with pytest.raises(CheckpointError) as caught:
        Lora(Lora.Options(targets=("q_proj", "query", "uery"))).apply(tiny("bert"), "SEQ_CLS")
    assert "'q_proj'" in caught.value.message
    assert "'uery'" in caught.value.message
    assert "'query'" not in caught.value.message
    assert "attention.self.query, attention.self.key" in caught.value.hint


def test_no_targets_at_all_are_refused() -> None:
    with pytest.raises(CheckpointError, match="names nothing"):
        Lora(Lora.Options(targets=())).apply(tiny("bert"), "SEQ_CLS")


@pytest.mark.parametrize("variant", ["lora", "dora", "rslora"])
@pytest.mark.parametrize("bias", ["none", "all", "lora_only"])
def test_variants_load_and_merge_exactly(variant: str, bias: str, tmp_path: Path) -> None:
    method = Lora(Lora.Options(rank=4, variant=variant, bias=bias))
    model = learn(method.apply(tiny("bert"), "SEQ_CLS"), "SEQ_CLS")
    trained = logits(model)
    method.save(model, tmp_path)
    assert torch.equal(logits(method.load(tiny("bert"), tmp_path)), trained)
    assert (logits(method.merge(model)) - trained).abs().max() <= 1e-5


def test_the_variants_are_not_the_same() -> None:
    answers = [
        logits(learn(Lora(Lora.Options(variant=v, rank=4)).apply(tiny("bert"), "SEQ_CLS"), "SEQ_CLS"))
        for v in ("lora", "dora", "rslora")
        if torch.manual_seed(0)
    ]
    assert not torch.allclose(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])


def test_a_bf16_checkpoint_is_merged_in_float32() -> None:
    method = Lora(Lora.Options())
    merged = method.merge(learn(method.apply(tiny("bert").bfloat16(), "SEQ_CLS"), "SEQ_CLS"))
    assert {weight.dtype for weight in merged.parameters()} == {torch.float32}


def test_saving_asks_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for module in ("peft.utils.other", "peft.utils.save_and_load"):
        monkeypatch.setattr(f"{module}.check_file_exists_on_hf_hub", lambda name, *_, **__: asked.append(name))
    base = tiny("bert")
    base.name_or_path = "someone/some-model"
    method = Lora(Lora.Options())
    model: Any = method.apply(base, "SEQ_CLS")
    method.save(model, tmp_path)
    method.load(tiny("bert"), tmp_path)
    assert asked == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    model.save_pretrained(str(tmp_path))
    assert asked == ["someone/some-model"]


def test_alpha_over_rank_is_the_strength_of_every_update() -> None:
    model = Lora(Lora.Options(rank=4, alpha=32)).apply(tiny("bert"), "SEQ_CLS")
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    assert layers
    assert {(layer.r["default"], layer.scaling["default"]) for layer in layers} == {(4, 8.0)}


@pytest.mark.parametrize(("dropout", "same"), [(0.0, True), (0.5, False)])
def test_dropout_of_the_updates_acts_in_training_alone(dropout: float, same: bool) -> None:
    base = tiny("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = learn(Lora(Lora.Options(dropout=dropout)).apply(base, "SEQ_CLS"), "SEQ_CLS")
    assert torch.equal(logits(model), logits(model))
    model.train()
    inputs = {"input_ids": torch.arange(6, 30).reshape(2, 12)}
    first, second = (model(**inputs).logits for _ in range(2))
    assert torch.equal(first, second) is same
