"""What every method in the folder keeps: who learns, save and load, merge."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit import plugins
from ftkit.errors import CheckpointError
from ftkit.methods._base import Method
from ftkit.methods._layers import head_modules, plain_name, trainable
from tests.tiny import ENCODERS, KINDS, batch, learn, logits, tiny

METHODS = plugins.names("method")
ENCODER_KINDS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
CASES = [
    pytest.param(name, architecture, kind, id=f"{name}-{architecture}-{kind}")
    for name in METHODS
    for architecture in ENCODERS
    for kind in ENCODER_KINDS
    if architecture in {"bert", "distilbert", "modernbert"} or (kind == "SEQ_CLS" and name in {"lora", "adapter"})
]
every_case = pytest.mark.parametrize(("name", "architecture", "kind"), CASES)


def method(name: str, **options: Any) -> Method:
    return plugins.resolve("method", plugins.Choice(name=name, **options), Method)


def plain_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights under the plain model's names; of what PEFT keeps twice, the copy that learns."""
    return {
        plain_name(name): weight.detach().clone()
        for name, weight in model.named_parameters()
        if "original_module" not in name
    }


@pytest.mark.parametrize("name", METHODS)
def test_method_describes_itself(name: str) -> None:
    chosen: Any = plugins.find("method", name, Method)
    assert chosen.summary
    assert all(field.description for field in chosen.Options.model_fields.values())


@cache
def trained(name: str, architecture: str, kind: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A model that has learned, and its answers; to be left as it is."""
    model = learn(method(name).apply(tiny(architecture, kind), kind), kind)
    return model, logits(model, kind)


@every_case
def test_only_what_should_learn_changes_and_the_head_does(name: str, architecture: str, kind: str) -> None:
    base = tiny(architecture, kind)
    heads, before = tuple(f"{head}." for head in head_modules(base)), plain_state(base)
    after = plain_state(trained(name, architecture, kind)[0])
    changed = {n for n, weight in before.items() if not torch.equal(weight, after[n])}
    assert {n for n in before if n.startswith(heads) and n.endswith("weight")} <= changed
    below = {n for n in changed if not n.startswith(heads)}
    norms = {n for n in before if "norm" in n.lower()}
    may_change = {"full": set(before), "adapter": norms - {n for n in norms if "embedding" in n.lower()}}
    assert below <= may_change.get(name, set())
    assert bool(below) == (name in may_change)


@every_case
def test_load_gives_the_trained_models_answers_to_the_last_bit(
    name: str, architecture: str, kind: str, tmp_path: Path
) -> None:
    chosen = method(name)
    model, answers = trained(name, architecture, kind)
    chosen.save(model, tmp_path)
    loaded = chosen.load(fresh(chosen, architecture, kind, tmp_path), tmp_path)
    assert torch.equal(logits(loaded, kind), answers)
    assert (answers - logits(tiny(architecture, kind), kind)).abs().max() > 1e-2
    assert not list(tmp_path.glob("*.bin"))
    assert (tmp_path / "config.json").exists() == chosen.standalone


def fresh(chosen: Method, architecture: str, kind: str, folder: Path) -> Any:
    """The base as a run builds it: from the saved folder where that is complete, else with a new head."""
    if chosen.standalone:
        return getattr(transformers, KINDS[kind]).from_pretrained(folder, dtype=torch.float32)
    model, other = tiny(architecture, kind), tiny(architecture, kind, seed=1)
    for head in head_modules(model):
        model.get_submodule(head).load_state_dict(other.get_submodule(head).state_dict())
    return model


@every_case
def test_merged_model_is_a_plain_checkpoint_with_the_same_answers(
    name: str, architecture: str, kind: str, tmp_path: Path
) -> None:
    chosen = method(name)
    original, answers = trained(name, architecture, kind)
    model = deepcopy(original)
    if name == "adapter":
        with pytest.raises(CheckpointError, match="can't be merged"):
            chosen.merge(model)
        return
    merged: Any = chosen.merge(model)
    assert type(merged) is type(tiny(architecture, kind))
    assert merged.state_dict().keys() == tiny(architecture, kind).state_dict().keys()
    assert (logits(merged, kind) - answers).abs().max() <= 1e-5
    merged.save_pretrained(tmp_path)
    plain = getattr(transformers, KINDS[kind]).from_pretrained(tmp_path, dtype=torch.float32)
    assert (logits(plain, kind) - answers).abs().max() <= 1e-5


@pytest.mark.parametrize("name", sorted({"lora", "ia3", "adapter"}))
@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("t5", "SEQ_2_SEQ_LM"), ("bart", "SEQ_2_SEQ_LM"), ("llama", "CAUSAL_LM"), ("gpt2", "CAUSAL_LM")],
)
def test_generative_models_learn_and_load(name: str, architecture: str, kind: str, tmp_path: Path) -> None:
    chosen = method(name)
    model = chosen.apply(tiny(architecture, kind), kind)
    learning, total = trainable(model)
    assert 0 < learning < total / 2
    untrained = logits(tiny(architecture, kind), kind)
    answers = logits(learn(model, kind), kind)
    assert (answers - untrained).abs().max() > 1e-3
    chosen.save(model, tmp_path)
    assert torch.equal(logits(chosen.load(tiny(architecture, kind), tmp_path), kind), answers)
    if name != "adapter":
        assert (logits(chosen.merge(model), kind) - answers).abs().max() <= 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_a_copy_learns_apart_from_its_original(name: str) -> None:
    model = method(name).apply(tiny("bert"), "SEQ_CLS")
    before = logits(model)
    copy = learn(deepcopy(model), "SEQ_CLS")
    assert torch.equal(logits(model), before)
    assert not torch.equal(logits(copy), before)


@pytest.mark.parametrize("name", METHODS)
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model: Any = method(name).apply(tiny("bert", hidden_dropout_prob=0.0), "SEQ_CLS")
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model(**batch("SEQ_CLS")).loss.backward()
        return {n: weight.grad for n, weight in model.named_parameters() if weight.grad is not None}

    plain, checkpointed = gradients(False), gradients(True)
    assert plain.keys() == checkpointed.keys()
    for n, gradient in plain.items():
        torch.testing.assert_close(checkpointed[n], gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {"full", "head"}])
def test_weights_that_do_not_fit_are_all_named(name: str, tmp_path: Path) -> None:
    chosen = method(name)
    chosen.save(chosen.apply(tiny("bert"), "SEQ_CLS"), tmp_path)
    with pytest.raises(CheckpointError) as caught:
        chosen.load(tiny("bert", labels=5), tmp_path)
    assert "classifier.weight has the shape (3, 32), the model's is (5, 32)" in str(caught.value)
    assert "classifier.bias" in str(caught.value)
    with pytest.raises(CheckpointError, match="fit"):
        chosen.load(tiny("distilbert"), tmp_path)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {"full", "head"}])
def test_a_folder_without_the_methods_files_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no adapter\w*\.json"):
        method(name).load(tiny("bert"), tmp_path)
