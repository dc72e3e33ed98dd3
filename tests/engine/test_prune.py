"""Pruned weights are zero and stay so; shut heads give nothing; nobody is promised speed for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from ftkit import api
from ftkit.engine import pretrained, prune
from ftkit.engine.prepare import encode_training, prepare
from ftkit.errors import RecipeError
from ftkit.methods._layers import linears, sublayer_outputs
from tests.engine.test_resume import Stops, same, stopped
from tests.runs import Lab, refused, weights
from tests.tiny import batch, tiny, usual_kind

HALF = "model.prune.weights=0.5"


def zeros(matrix: torch.Tensor) -> float:
    return float((matrix == 0).float().mean())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb", "adafactor"])
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_the_smallest_weights_are_zero_and_stay_so(lab: Lab, optimizer: str, precision: str) -> None:
    settings = (HALF, f"train.optimizer={optimizer}", f"train.precision={precision}", "train.learning_rate=0.01")
    prepared = prepare(lab.recipe("single", *settings))
    before = pretrained.build(prepared.base.path, prepared.task, prepared.labels)
    found = weights(lab.train("single", *settings).run)
    names = linears(before)
    assert names
    for name in names:
        start, end = before.get_submodule(name).weight.detach(), found[f"{name}.weight"]
        assert zeros(end) == pytest.approx(0.5, abs=0.01)
        assert start.abs()[end == 0].max() <= start.abs()[end != 0].min()
        assert not torch.equal(start[end != 0], end[end != 0])
    assert zeros(found["classifier.weight"]) == 0 and zeros(found["bert.embeddings.word_embeddings.weight"]) < 0.1


def test_zeros_are_in_the_export_too(lab: Lab, tmp_path: Path) -> None:
    run = lab.train("single", HALF).run
    to = api.export(run, tmp_path / "out", "torch-bf16")
    found = load_file(to / "model.safetensors")
    assert zeros(found["bert.encoder.layer.0.attention.self.query.weight"]) == pytest.approx(0.5, abs=0.01)


def test_a_stopped_training_ends_as_one_that_was_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (HALF, "model.dropout=0.2", "train.epochs=2", "train.precision=auto")
    whole, path = lab.train("single", *settings), lab.new()
    Stops(monkeypatch, at=(2, 4))
    stopped(lab.recipe("single", *settings), path, 2)
    same(path, whole.run)


def test_it_is_said_what_zeros_bring(lab: Lab) -> None:
    notes = prepare(lab.recipe("single", HALF)).notes
    assert any("bring no speed" in note and "50% of the layers' weights" in note for note in notes)


@pytest.mark.parametrize("method", ["lora", "adapter", "ia3"])
def test_methods_that_keep_the_checkpoint_apart_refuse_it(lab: Lab, method: str) -> None:
    assert "model.prune and method" in str(refused(lab.recipe("single", HALF, f"method={method}"), lab.new()))


@given(count=st.integers(1, 10**7), share=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_that_leaves_nothing_is_refused_and_the_one_that_is_named_is_not(count: int, share: float) -> None:
    assert 0 <= prune._left(count, share) <= count
    if prune._left(count, share):
        prune._refuse_all_heads(count, share)
        return
    with pytest.raises(RecipeError, match="leaves 0 of the") as caught:
        prune._refuse_all_heads(count, share)
    most = float(str(caught.value.hint).split()[3])
    assert most < share and (count == 1 or prune._left(count, most) >= 1)


def test_pruning_that_leaves_nothing_is_refused_before_the_first_step(lab: Lab) -> None:
    said = str(refused(lab.recipe("single", "model.prune.weights=0.999999"), lab.new()))
    assert "model.prune.weights: 0.999999 leaves 0 of the 1024 weights of bert.encoder.layer.0.attention" in said
    start = lab.trained("single", "full").run
    recipe = lab.recipe("single", f"model.checkpoint={start}", "model.prune.heads=0.99")
    assert "model.prune.heads: 0.99 leaves 0 of the 6 attention heads" in str(refused(recipe, lab.new()))


# ---------------------------------------------------------------------- heads


def shut(found: dict[str, torch.Tensor], name: str, heads: int = 2) -> list[bool]:
    parts = found[f"{name}.weight"].chunk(heads, 1)
    return [not part.any() for part in parts]


@pytest.mark.parametrize("kind", ["single", "ner", "qa"])
def test_heads_that_are_shut_stay_so(lab: Lab, kind: str) -> None:
    start = lab.trained(kind, "full").run
    settings = (f"model.checkpoint={start}", "model.prune.heads=0.34", "train.learning_rate=0.01")
    found = weights(lab.train(kind, *settings).run)
    names = [name for name in found if name.endswith("attention.output.dense.weight")]
    gone = [flag for name in names for flag in shut(found, name.removesuffix(".weight"))]
    assert len(gone) == 6 and sum(gone) == 2
    assert weights(start)[names[0]].all()


def test_heads_and_weights_are_pruned_together(lab: Lab) -> None:
    settings = (f"model.checkpoint={lab.trained('single', 'full').run}", "model.prune.heads=0.34", HALF)
    found = weights(lab.train("single", *settings, "train.learning_rate=0.01").run)
    names = [name for name in found if name.endswith("attention.output.dense.weight")]
    assert sum(flag for name in names for flag in shut(found, name.removesuffix(".weight"))) == 2
    assert all(zeros(found[name]) >= 0.5 for name in names)


def test_heads_are_judged_by_rows_from_everywhere(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(lab.recipe("single", f"model.checkpoint={lab.trained('single', 'full').run}"))
    model = pretrained.build(prepared.base.path, prepared.task, prepared.labels)
    encoded, _ = encode_training(prepared, prepared.training())
    monkeypatch.setattr(prune, "ROWS", 3)
    found = prune.importance(model, prepared, encoded)
    known = prune.importance(model, prepared, encoded.select([0, 10, 21]))
    assert all(torch.allclose(found[name], known[name]) for name in known)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "deberta_v2", "modernbert", "llama", "t5"])
def test_a_shut_head_gives_nothing(architecture: str) -> None:
    kind = usual_kind(architecture)
    model = tiny(architecture, kind)
    name = sublayer_outputs(model).attention[0]
    layer = model.get_submodule(name)
    masks = prune._without_heads(model, [(name, 1)])
    read: list[torch.Tensor] = []
    layer.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    with torch.no_grad():
        layer.weight.mul_(masks[name])
        model(**batch(kind))
        width = read[0].shape[-1] // 2
        changed = read[0].clone()
        changed[..., width:] = 7.0  # what the second head gives is not looked at
        assert torch.equal(layer(read[0]), layer(changed))


def test_the_head_that_matters_least_is_found(lab: Lab) -> None:
    start = lab.trained("single", "full").run
    prepared = prepare(lab.recipe("single", f"model.checkpoint={start}", "model.prune.heads=0.2"))
    model = pretrained.build(prepared.base.path, prepared.task, prepared.labels)
    name = "bert.encoder.layer.1.attention.output.dense"
    with torch.no_grad():
        model.get_submodule(name).weight[:, 16:] *= 1e-4  # hardly anything is made of what the second head gives
    encoded, _ = encode_training(prepared, prepared.training())
    found = prune.importance(model, prepared, encoded)
    assert found[name][1] < 1e-3 < found[name][0]
    assert prune._least_important(model, prepared, encoded, 1 / 6) == [(name, 1)]
    assert model.training is False and all(weight.grad is None for weight in model.parameters())


def test_heads_of_a_checkpoint_that_has_not_learned_the_task_are_not_judged(lab: Lab) -> None:
    error = refused(lab.recipe("single", "model.prune.heads=0.25"), lab.new())
    assert "has not learned this task" in str(error)
