"""Bottleneck adapters: where they stand, how they start, what is kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit.errors import CheckpointError
from ftkit.methods._layers import trainable
from ftkit.methods.adapter import Adapter
from tests.tiny import CAUSAL, ENCODERS, SEQ2SEQ, batch, build, learn, logits, tiny, usual_kind


def adapted(architecture: str, kind: str = "SEQ_CLS", **options: Any) -> Any:
    return Adapter(Adapter.Options(**options)).apply(tiny(architecture, kind), kind)


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("architecture", [*ENCODERS, *SEQ2SEQ, *CAUSAL])
def test_training_starts_from_the_checkpoints_own_answers(architecture: str, placement: str) -> None:
    kind = usual_kind(architecture)
    start = logits(adapted(architecture, kind, placement=placement), kind)
    assert torch.equal(start, logits(tiny(architecture, kind), kind))


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("architecture", [*ENCODERS, *SEQ2SEQ, *CAUSAL])
def test_every_adapter_is_on_the_way_of_the_data(architecture: str, placement: str) -> None:
    kind = usual_kind(architecture)
    model = adapted(architecture, kind, placement=placement)
    model(**batch(kind)).loss.backward()
    ups = {name: weight.grad for name, weight in model.named_parameters() if name.endswith("adapter.up.weight")}
    blocks = {"albert": 1, "t5": 4, "bart": 4}.get(architecture, 3)
    crossed = 2 if architecture in SEQ2SEQ else 0
    assert len(ups) == (2 * blocks + crossed if placement == "houlsby" else blocks)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in ups.values())


def test_adapter_computes_what_the_paper_says() -> None:
    model = learn(adapted("bert", activation="relu", reduction=8), "SEQ_CLS")
    output = model.bert.encoder.layer[1].output
    hidden, residual = torch.randn(2, 5, 64), torch.randn(2, 5, 32)
    dense, adapter = output.dense, output.dense.adapter
    projected = torch.nn.functional.linear(hidden, dense.weight, dense.bias)
    bottleneck = torch.relu(projected @ adapter.down.weight.T + adapter.down.bias)
    assert bottleneck.shape == (2, 5, 4)
    expected = output.LayerNorm(projected + bottleneck @ adapter.up.weight.T + adapter.up.bias + residual)
    torch.testing.assert_close(output(hidden, residual), expected)
    assert (expected - output.LayerNorm(projected + residual)).abs().max() > 1e-3


def test_the_number_of_weights_that_learn_is_the_papers() -> None:
    width, narrow, layers = 32, 4, 3
    each = 2 * width * narrow + width + narrow
    head = (width * width + width) + (3 * width + 3)
    norms = layers * 2 * 2 * width
    assert trainable(adapted("bert", reduction=8))[0] == 2 * layers * each + norms + head
    pfeiffer = adapted("bert", reduction=8, placement="pfeiffer", layer_norms=False)
    assert trainable(pfeiffer)[0] == layers * each + head


def test_dropout_is_in_training_only() -> None:
    model = learn(adapted("bert", dropout=0.5), "SEQ_CLS")
    adapter = model.get_submodule("bert.encoder.layer.0.output.dense.adapter")
    hidden = torch.randn(50, 32)
    assert torch.equal(adapter(hidden), adapter(hidden))
    adapter.train()
    assert 0.3 < (adapter(hidden) == 0).float().mean() < 0.7


def test_the_checkpoints_own_names_do_not_change() -> None:
    before = tiny("bert").state_dict()
    after = adapted("bert").state_dict()
    assert before.keys() <= after.keys()
    assert all(".dense.adapter." in name for name in after.keys() - before.keys())


def test_what_is_saved_is_what_learned_and_says_how_it_is_built(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    method = Adapter(Adapter.Options(reduction=8, activation="tanh", placement="pfeiffer"))
    model = learn(method.apply(tiny("bert"), "SEQ_CLS"), "SEQ_CLS")
    method.save(model, tmp_path)
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert load_file(tmp_path / "adapter.safetensors").keys() == learned
    assert json.loads((tmp_path / "adapter.json").read_text())["reduction"] == 8
    loaded = Adapter(Adapter.Options()).load(tiny("bert"), tmp_path)
    assert torch.equal(logits(loaded), logits(model))


def test_settings_that_this_version_does_not_know_are_named(tmp_path: Path) -> None:
    method = Adapter(Adapter.Options())
    method.save(method.apply(tiny("bert"), "SEQ_CLS"), tmp_path)
    (tmp_path / "adapter.json").write_text('{"reduction": 0.5, "shape": "round"}')
    with pytest.raises(CheckpointError) as caught:
        method.load(tiny("bert"), tmp_path)
    assert "reduction" in str(caught.value)
    assert "shape: no such setting" in str(caught.value)


def test_attention_that_is_no_linear_layer_has_no_adapter_after_it() -> None:
    from transformers import XLNetConfig

    config = XLNetConfig(vocab_size=50, d_model=16, n_layer=2, n_head=2, d_inner=32)
    model = build(config)
    with pytest.raises(CheckpointError, match="output of each attention of XLNet") as caught:
        Adapter(Adapter.Options()).apply(model, "SEQ_CLS")
    assert "pfeiffer" in caught.value.hint
    Adapter(Adapter.Options(placement="pfeiffer")).apply(model, "SEQ_CLS")
    assert all(weight.requires_grad for name, weight in model.named_parameters() if ".adapter." in name)
