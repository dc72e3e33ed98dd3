"""What every method in the folder keeps: who learns, save and load, merge."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit import plugins
from ftkit.errors import CheckpointError
from ftkit.methods._base import Method
from ftkit.methods._layers import head_modules, plain_name, trainable
from tests.tiny import ENCODERS, KINDS, batch, logits, tiny

METHODS = plugins.names("method")
ENCODER_KINDS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
CASES = [
    (name, architecture, kind)
    for name in METHODS
    for architecture in (
        ENCODERS if name in {"lora", "adapter", "ia3"} else ("bert", "distilbert", "modernbert")
    )
    for kind in ENCODER_KINDS
]
every_case = pytest.mark.parametrize(("name", "architecture", "kind"), CASES, ids="-".join)


def method(name: str, **options: Any) -> Method:
    return plugins.resolve("method", plugins.Choice(name=name, **options), Method)


def plain_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights under the plain model's names; of what PEFT keeps twice, the copy that learns."""
    return {
        plain_name(name): weight.detach().clone()
        for name, weight in model.named_parameters()
        if "original_module" not in name
    }


def learn(model: torch.nn.Module, kind: str, steps: int = 2) -> torch.nn.Module:
    """A few steps of SGD, dropout off, large enough to be seen in every weight that has a gradient."""
    model.eval()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch(kind)).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return model


@pytest.mark.parametrize("name", METHODS)
def test_method_describes_itself(name: str) -> None:
    chosen = plugins.find("method", name, Method)
    assert chosen.summary
    assert all(field.description for field in chosen.Options.model_fields.values())  # type: ignore[attr-defined]


@every_case
def test_only_what_should_learn_changes_and_the_head_does(name: str, architecture: str, kind: str) -> None:
    base = tiny(architecture, kind)
    heads, before = tuple(f"{head}." for head in head_modules(base)), plain_state(base)
    model = method(name).apply(base, kind)
    learning = {plain_name(n) for n, weight in model.named_parameters() if weight.requires_grad}
    after = plain_state(learn(model, kind))
    changed = {n for n, weight in before.items() if not torch.equal(weight, after[n])}
    assert changed <= learning
    assert all(n in changed for n in before if n.startswith(heads) and n.endswith("weight"))
    frozen_share = {"full": 0.0, "head": 0.5, "lora": 0.5, "ia3": 0.5, "adapter": 0.5}[name]
    assert sum(n not in learning for n in before) >= frozen_share * len(before)
    if name in {"lora", "ia3"}:
        assert {n for n in before if not n.startswith(heads)}.isdisjoint(changed)


@every_case
def test_load_gives_the_trained_models_answers_to_the_last_bit(
    name: str, architecture: str, kind: str, tmp_path: Path
) -> None:
    chosen = method(name)
    model = learn(chosen.apply(tiny(architecture, kind), kind), kind)
    untrained, trained = logits(tiny(architecture, kind), kind), logits(model, kind)
    chosen.save(model, tmp_path)
    loaded = chosen.load(fresh(chosen, architecture, kind, tmp_path), tmp_path)
    assert torch.equal(logits(loaded, kind), trained)
    assert (trained - untrained).abs().max() > 1e-2
    assert not list(tmp_path.glob("*.bin"))
    assert (tmp_path / "config.json").exists() == chosen.standalone


def fresh(chosen: Method, architecture: str, kind: str, folder: Path) -> Any:
    """The base as a run builds it: from the saved folder where that is complete, else anew, its head random."""
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
    model = learn(chosen.apply(tiny(architecture, kind), kind), kind)
    trained = logits(model, kind)
    if name == "adapter":
        with pytest.raises(CheckpointError, match="can't be merged"):
            chosen.merge(model)
        return
    merged: Any = chosen.merge(model)
    assert type(merged) is type(tiny(architecture, kind))
    assert merged.state_dict().keys() == tiny(architecture, kind).state_dict().keys()
    assert (logits(merged, kind) - trained).abs().max() <= 1e-5
    merged.save_pretrained(tmp_path)
    plain = getattr(transformers, KINDS[kind]).from_pretrained(tmp_path, dtype=torch.float32)
    assert (logits(plain, kind) - trained).abs().max() <= 1e-5


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
    untrained = logits_of(tiny(architecture, kind), kind)
    trained = logits_of(learn(model, kind), kind)
    assert (trained - untrained).abs().max() > 1e-3
    chosen.save(model, tmp_path)
    assert torch.equal(logits_of(chosen.load(tiny(architecture, kind), tmp_path), kind), trained)
    if name != "adapter":
        assert (logits_of(chosen.merge(model), kind) - trained).abs().max() <= 1e-5


@torch.no_grad()
def logits_of(model: Any, kind: str) -> torch.Tensor:
    result: torch.Tensor = model.eval()(**batch(kind)).logits
    return result


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
