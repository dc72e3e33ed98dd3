"""Discriminative rates: the groups partition what learns, and the rates are those worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.engine.rates import param_groups
from ftkit.errors import CheckpointError
from ftkit.methods.adapter import Adapter
from ftkit.methods.full import Full
from ftkit.methods.head import Head
from ftkit.methods.ia3 import IA3
from ftkit.methods.lora import Lora
from tests.tiny import tiny

METHODS = {
    "full": Full(Full.Options()),
    "head": Head(Head.Options(layers=1)),
    "lora": Lora(Lora.Options(bias="lora_only")),
    "dora": Lora(Lora.Options(variant="dora")),
    "ia3": IA3(IA3.Options()),
    "adapter": Adapter(Adapter.Options()),
}
ARCHITECTURES = ("bert", "distilbert", "modernbert", "deberta_v2", "t5", "bart", "llama")
MODELS: dict[tuple[str, str], torch.nn.Module] = {}


def wrapped(architecture: str, method: str) -> torch.nn.Module:
    if (architecture, method) not in MODELS:
        MODELS[architecture, method] = METHODS[method].apply(tiny(architecture), "SEQ_CLS")
    return MODELS[architecture, method]


def rates(groups: list[dict[str, Any]]) -> dict[int, float]:
    return {group["depth"]: group["lr"] for group in groups}


@settings(max_examples=60, deadline=None)
@given(
    architecture=st.sampled_from(ARCHITECTURES),
    method=st.sampled_from(sorted(METHODS)),
    decay=st.floats(0.3, 1.0),
    head=st.floats(0.5, 20),
    weight_decay=st.floats(0, 0.3),
)
def test_groups_partition_what_learns(
    architecture: str, method: str, decay: float, head: float, weight_decay: float
) -> None:
    model = wrapped(architecture, method)
    groups = param_groups(model, 1e-4, weight_decay, layer_decay=decay, head_multiplier=head)
    listed = [id(weight) for group in groups for weight in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(weight) for weight in model.parameters() if weight.requires_grad}
    below = [group["lr"] for group in groups if not group["name"].startswith("head")]
    assert below == sorted(below)
    assert all(lr <= 1e-4 for lr in below)
    assert {group["weight_decay"] for group in groups} <= {0.0, weight_decay}


def test_layer_decay_by_hand() -> None:
    groups = param_groups(tiny("bert", num_hidden_layers=4), 1.0, 0.01, layer_decay=0.5, head_multiplier=10)
    assert rates(groups) == {0: 1 / 32, 1: 1 / 16, 2: 1 / 8, 3: 1 / 4, 4: 1 / 2, 5: 10.0}
    assert [group["name"] for group in groups] == [
        part + end
        for part in ("embeddings", "layer 1", "layer 2", "layer 3", "layer 4", "head")
        for end in ("", ", no decay")
    ]


def test_bottom_and_top_rate_by_hand() -> None:
    groups = param_groups(tiny("bert", num_hidden_layers=4), 2e-5, 0.01, bottom_rate=1e-5, head_multiplier=5)
    expected = {0: 1e-5, 1: 1.25e-5, 2: 1.5e-5, 3: 1.75e-5, 4: 2e-5, 5: 1e-4}
    assert rates(groups) == pytest.approx(expected, rel=1e-12)


def test_one_rate_for_all_is_the_default() -> None:
    assert set(rates(param_groups(tiny("bert"), 3e-5, 0.0)).values()) == {3e-5}


def test_weight_decay_spares_what_the_trainer_spares(tmp_path: Path) -> None:
    from transformers import Trainer, TrainingArguments

    for architecture in ("bert", "distilbert", "modernbert", "llama", "bart"):
        model = tiny(architecture)
        names = {id(weight): name for name, weight in model.named_parameters()}
        ours = {names[id(w)] for g in param_groups(model, 1e-4, 0.1) if g["weight_decay"] for w in g["params"]}
        trainer = Trainer(model, TrainingArguments(output_dir=str(tmp_path), use_cpu=True))
        assert ours == set(trainer.get_decay_parameter_names(model)) & set(names.values())


@pytest.mark.parametrize(("method", "part"), [("ia3", "ia3_l"), ("dora", "lora_magnitude_vector")])
def test_multiplying_vectors_are_not_drawn_to_zero(method: str, part: str) -> None:
    model = wrapped("bert", method)
    vectors = {id(weight) for name, weight in model.named_parameters() if part in name}
    still = {id(w) for g in param_groups(model, 1.0, 0.1) if g["weight_decay"] == 0 for w in g["params"]}
    assert vectors
    assert vectors <= still


def test_wrapped_models_keep_their_depths() -> None:
    decayed = {d: 0.5 ** (4 - d) for d in (1, 2, 3)} | {4: 1.0}
    for method in ("lora", "adapter", "ia3"):
        assert rates(param_groups(wrapped("bert", method), 1.0, 0.0, layer_decay=0.5)) == decayed


def test_an_optimizer_takes_the_groups_and_keeps_their_names() -> None:
    model = tiny("bert")
    optimizer = torch.optim.AdamW(param_groups(model, 1e-3, 0.1, layer_decay=0.9))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    first, last = optimizer.param_groups[0], optimizer.param_groups[-1]
    assert (first["name"], first["depth"], last["name"]) == ("embeddings", 0, "head, no decay")
    assert last["lr"] / first["lr"] == pytest.approx(0.9**-4)
    assert schedule.get_last_lr()[-1] == pytest.approx(5e-4)


@pytest.mark.parametrize("setting", [{"layer_decay": 0.9}, {"bottom_rate": 1e-5}])
def test_shared_layers_have_no_rates_of_their_own(setting: dict[str, float]) -> None:
    model = tiny("albert")
    assert rates(param_groups(model, 1e-4, 0.0, head_multiplier=2)) == {0: 1e-4, 1: 2e-4}
    with pytest.raises(CheckpointError, match="no stack of layers"):
        param_groups(model, 1e-4, 0.0, **setting)


def test_a_head_multiplier_without_a_head_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"train\.head_multiplier means nothing"):
        param_groups(tiny("llama", "CAUSAL_LM"), 1e-4, 0.0, head_multiplier=2)
