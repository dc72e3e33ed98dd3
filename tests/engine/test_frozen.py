"""Frozen layers: computed once, with the results of computing them each time, and left as they were found."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit import checkpoints
from ftkit.engine import frozen, pretrained
from ftkit.engine import model as models
from ftkit.engine.frozen import boundary, computed_once
from ftkit.engine.unpad import unpadded
from ftkit.methods._base import Method
from ftkit.methods._layers import layout, plain_model
from ftkit.methods.head import Head
from ftkit.plugins import Choice, resolve
from tests.engine.test_unpad import encoder
from tests.engine.test_unpad import inputs as batch_of
from tests.runs import Lab, log, slow_but, weights

MOST = 1 << 30
HEAD = ("method=head", "train.learning_rate=0.02")


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Frozen outputs of this test alone."""
    monkeypatch.setattr(checkpoints, "cache", lambda: tmp_path)
    return tmp_path / "frozen"


def built(lab: Lab, method: str, **options: Any) -> Any:
    p = lab.prepared("single")
    model = pretrained.build(p.base.path, p.task, p.labels)
    chosen: Any = resolve("method", Choice.model_validate({"name": method, **options}), Method)
    return chosen.apply(model, p.task.peft_name())


class Calls:
    """How often the layers of a model computed."""

    def __init__(self, model: Any) -> None:
        self.count = 0
        core = plain_model(model)
        self.handle = (
            core.get_submodule(layout(model).layers[0]).get_submodule("intermediate").register_forward_hook(self)
        )

    def __call__(self, *_: Any) -> None:
        self.count += 1


def inputs(lengths: tuple[int, ...], seed: int = 0) -> dict[str, torch.Tensor]:
    width = max(lengths)
    ids = torch.randint(5, 40, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("head", {}, "all"),
        ("head", {"layers": 1}, "all but one"),
        ("lora", {"layers": 1}, "all but one"),
        ("adapter", {"layers": 1}, "all but one"),
        ("lora", {}, "none"),
        ("adapter", {}, "none"),
        ("ia3", {}, "none"),
        ("full", {}, "none"),
    ],
)
def test_what_lies_below_everything_that_learns_is_frozen(
    lab: Lab, method: str, options: dict[str, Any], expected: str
) -> None:
    model = built(lab, method, **options)
    layers = len(layout(model).layers)
    assert boundary(model) == {"all": layers, "all but one": layers - 1, "none": 0}[expected]


@pytest.mark.parametrize("options", [{}, {"layers": 1}])
def test_a_text_is_computed_once_and_answers_the_same(lab: Lab, tmp_path: Path, options: dict[str, Any]) -> None:
    model = built(lab, "head", **options).eval()
    batch, other = inputs((7, 3, 5)), inputs((4, 6), seed=1)
    with torch.no_grad():
        wanted = [model(**each).logits for each in (batch, other)]
        calls = Calls(model)
        with unpadded(model):
            before = calls.count
            with computed_once(model, "sha", tmp_path, MOST):
                probes = calls.count
                found = [model(**each).logits for each in (batch, other, batch, other)]
                mixed = model(**inputs((3, 5, 4)) | {k: torch.cat([batch[k][1:], _wide(other[k][:1])]) for k in batch})
    assert before <= probes == calls.count - 2
    for one, two in zip(found, wanted * 2, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.logits, torch.cat([wanted[0][1:], wanted[1][:1]]), rtol=0, atol=1e-5)


def _wide(rows: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(rows, (0, 7 - rows.shape[1]))


def test_the_head_learns_from_what_was_held_as_from_what_was_computed(lab: Lab, tmp_path: Path) -> None:
    model, batch = built(lab, "head", layers=1).eval(), inputs((7, 3, 5))
    with unpadded(model), computed_once(model, "sha", tmp_path, MOST):
        gradients = []
        for _ in range(2):
            model.zero_grad()
            model(**batch).logits.square().sum().backward()
            gradients.append([w.grad.clone() for w in model.parameters() if w.grad is not None])
    assert len(gradients[0]) > 4
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_dropout_is_off_below_and_on_above(lab: Lab, tmp_path: Path) -> None:
    model = built(lab, "head", layers=1).train()
    seen: list[torch.Tensor] = []
    top = plain_model(model).get_submodule(layout(model).layers[-1])
    with unpadded(model), computed_once(model, "sha", tmp_path, MOST):
        top.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
        logits = [model(**inputs((7, 3))).logits for _ in range(3)]
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-6)
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(logits[1], logits[2])


def test_after_an_evaluation_it_is_off_below_and_on_above_again(lab: Lab, tmp_path: Path) -> None:
    model = built(lab, "head", layers=1).train()
    stack = [plain_model(model).get_submodule(name) for name in layout(model).layers]
    with unpadded(model), computed_once(model, "sha", tmp_path, MOST):
        for training in (True, True, False, False, True, True):
            model.train(training)
            model(**inputs((7, 3)))
            assert not any(module.training for layer in stack[:-1] for module in layer.modules())
            assert all(module.training is training for module in stack[-1].modules())
            assert model.training is training


@pytest.mark.parametrize(("kind", "first_only"), [("single", True), ("ner", False), ("qa", False)])
def test_only_what_the_head_reads_is_kept(lab: Lab, tmp_path: Path, kind: str, first_only: bool) -> None:
    p = lab.prepared(kind)
    method: Any = resolve("method", Choice.model_validate({"name": "head"}), Method)
    model = method.apply(pretrained.build(p.base.path, p.task, p.labels), p.task.peft_name())
    with unpadded(model) as can, computed_once(model, "sha", tmp_path, MOST) as layers:
        assert can
        assert layers is not None
        assert layers.first_only is first_only


def test_the_model_is_left_as_it_was(lab: Lab, tmp_path: Path) -> None:
    model = built(lab, "head")
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    forwards = [m.forward.__func__ for m in model.modules()]
    with pytest.raises(KeyError), unpadded(model), computed_once(model, "sha", tmp_path, MOST):
        raise KeyError
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert forwards == [m.forward.__func__ for m in model.modules()]


def test_other_weights_other_types_of_segment_other_precision_are_told_apart(lab: Lab, tmp_path: Path) -> None:
    model, batch = built(lab, "head", layers=1).eval(), inputs((7, 3))
    types = {"token_type_ids": torch.ones_like(batch["input_ids"])}
    with torch.no_grad(), unpadded(model):
        for checkpoint in ("one", "other"):
            with computed_once(model, checkpoint, tmp_path, MOST):
                calls = Calls(model)
                model(**batch)
                model(**batch, **types)
                with torch.autocast("cpu", torch.bfloat16):
                    model(**batch)
                assert calls.count == 3
                calls.handle.remove()
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("method", "precision"),
    slow_but(
        [*product(("head", "head,layers=1", "lora,layers=1", "adapter,layers=1"), ("fp32", "bf16"))],
        {("head", "bf16"), ("head,layers=1", "fp32"), ("lora,layers=1", "bf16"), ("adapter,layers=1", "fp32")},
    ),
)
def test_training_is_the_same_as_when_all_is_computed(lab: Lab, no_cache: Path, method: str, precision: str) -> None:
    name, _, options = method.partition(",")
    settings = (f"method={name}", *(f"method.{option}" for option in options.split(",") if option))
    usual = (
        *settings,
        f"train.precision={precision}",
        "train.epochs=3",
        "model.dropout=0",
        "train.learning_rate=0.003",
    )
    plain = lab.train("single", *usual, "train.frozen_cache=0")
    assert not no_cache.exists()
    once = lab.train("single", *usual, "train.frozen_cache=1")
    assert any(no_cache.iterdir())
    tolerance = 1e-5 if precision == "fp32" else 0.03
    for one, two in zip(log(plain.run), log(once.run), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=tolerance)
    if precision == "fp32":
        assert plain.scores == once.scores
        learned = dict(models.load(once.run).model.named_parameters())
        for weight, value in models.load(plain.run).model.named_parameters():
            if "original_module" in weight:  # PEFT keeps the head that the model was built with, a random one
                continue
            torch.testing.assert_close(value, learned[weight], rtol=0, atol=1e-4)


def test_a_second_training_computes_nothing_again(lab: Lab, no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    keep = frozen.FrozenLayers._keep
    monkeypatch.setattr(frozen.FrozenLayers, "_keep", lambda self, tokens: (kept.append(1), keep(self, tokens))[1])
    first = lab.train("single", *HEAD, "train.seed=3", "train.folds=2")
    computed = len(kept)
    second = lab.train("single", *HEAD, "train.seed=4", "train.folds=2")
    assert computed > 0
    assert len(kept) == computed
    assert first.run != second.run


@pytest.mark.parametrize("layers", [0, 1])
def test_a_full_cache_trains_the_same_weights_as_an_empty_one(lab: Lab, no_cache: Path, layers: int) -> None:
    from ftkit.engine.train import train

    recipe = lab.recipe("single", f"method={{name: head, layers: {layers}}}", "train.precision=bf16", "train.epochs=2")
    cold, warm = (train(recipe, lab.new()) for _ in range(2))
    first, second = weights(cold.run), weights(warm.run)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_else_comes_in_is_part_of_the_key(lab: Lab, tmp_path: Path) -> None:
    model, batch = built(lab, "head", layers=1).eval(), inputs((7, 3))
    with torch.no_grad(), unpadded(model), computed_once(model, "sha", tmp_path, MOST):
        calls = Calls(model)
        shifted = torch.arange(7).expand(2, 7) + 3
        found = [model(**batch).logits, model(**batch, position_ids=shifted).logits]
        again = [model(**batch).logits, model(**batch, position_ids=shifted).logits]
    assert calls.count == 2
    assert not torch.equal(found[0], found[1])
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_task_that_reads_for_itself_gets_all_tokens(lab: Lab, tmp_path: Path) -> None:
    model = built(lab, "head")
    with unpadded(model), computed_once(model, "sha", tmp_path, MOST, whole=True) as layers:
        assert layers is not None
        assert not layers.first_only


def test_no_folder_to_write_to_is_said_and_no_more(lab: Lab, no_cache: Path) -> None:
    from ftkit.engine.train import train

    no_cache.write_text("a file stands where the folder should")
    said: list[str] = []
    train(lab.recipe("single", *HEAD, "train.epochs=1"), lab.new(), say=said.append)
    assert any("no room" in line for line in said)


def test_a_run_says_that_layers_were_computed_once(lab: Lab, no_cache: Path) -> None:
    from ftkit.engine.train import train

    said: list[str] = []
    train(lab.recipe("single", *HEAD, "train.epochs=1"), lab.new(), say=said.append)
    assert any("computed once" in line and "without dropout" in line for line in said)
    said.clear()
    train(lab.recipe("single", *HEAD, "train.epochs=1", "train.frozen_cache=0"), lab.new(), say=said.append)
    assert not any("computed once" in line for line in said)


def test_what_has_no_room_is_computed_each_time(lab: Lab, no_cache: Path) -> None:
    from ftkit.engine.train import train

    said: list[str] = []
    tiny = train(
        lab.recipe("single", *HEAD, "train.frozen_cache=1.0e-7", "model.dropout=0"), lab.new(), say=said.append
    )
    whole = train(lab.recipe("single", *HEAD, "train.frozen_cache=0", "model.dropout=0"), lab.new())
    assert any("no room" in line for line in said)
    assert [e["loss"] for e in log(tiny.run)] == pytest.approx([e["loss"] for e in log(whole.run)], abs=1e-5)
    assert json.dumps(tiny.scores) == json.dumps(whole.scores)


@pytest.mark.parametrize("change", [{"num_attention_heads": 2}, {"hidden_act": "relu"}, {"layer_norm_eps": 0.1}])
def test_another_config_with_the_same_weights_is_told_apart(lab: Lab, tmp_path: Path, change: dict[str, Any]) -> None:
    p = lab.prepared("single")
    other = tmp_path / "other"
    shutil.copytree(p.base.path, other)
    config = json.loads((other / "config.json").read_text()) | change
    (other / "config.json").write_text(json.dumps(config))
    method: Any = resolve("method", Choice.model_validate({"name": "head", "layers": 1}), Method)
    for folder in (p.base.path, other):
        model = method.apply(pretrained.build(folder, p.task, p.labels), p.task.peft_name()).eval()
        with torch.no_grad(), unpadded(model), computed_once(model, "same sha", tmp_path / "frozen", MOST):
            calls = Calls(model)
            model(**inputs((7, 3)))
            assert calls.count == 1


def test_a_little_room_is_used(lab: Lab, tmp_path: Path) -> None:
    model = built(lab, "head", layers=1).eval()
    with torch.no_grad(), unpadded(model), computed_once(model, "sha", tmp_path, 20_000):
        calls = Calls(model)
        for _ in range(2):
            model(**inputs((7, 3)))
        assert calls.count == 1


def test_precisions_are_told_apart_where_the_first_token_is_kept(lab: Lab, tmp_path: Path) -> None:
    model = built(lab, "head").eval()
    with torch.no_grad(), unpadded(model), computed_once(model, "sha", tmp_path, MOST) as layers:
        assert layers is not None
        assert layers.first_only
        with torch.autocast("cpu", torch.bfloat16):
            model(**inputs((7, 3)))
        calls = Calls(model)
        model(**inputs((7, 3)))
        assert calls.count == 1
        assert {store.dtype for store in layers.stores.values()} == {torch.float32}
    assert len(list(tmp_path.iterdir())) == 2


def test_first_tokens_and_whole_texts_are_told_apart(lab: Lab, tmp_path: Path) -> None:
    model, batch, found = built(lab, "head").eval(), inputs((7, 3)), []
    with torch.no_grad(), unpadded(model):
        for whole in (False, True):
            with computed_once(model, "sha", tmp_path, MOST, whole=whole):
                calls = Calls(model)
                found.append(model(**batch).logits)
                assert calls.count == 1
                calls.handle.remove()
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_first_tokens_that_are_kept_answer_the_same(name: str, tmp_path: Path) -> None:
    """ModernBERT's last layer gives all tokens, for its norms stand before what they norm."""
    model = Head(Head.Options()).apply(encoder(name, "SEQ_CLS"), "SEQ_CLS").eval()
    given = batch_of(3, 10, (torch.arange(10) < torch.tensor([[10], [4], [1]])).long())
    with torch.no_grad():
        wanted = model(**given).logits
        with unpadded(model), computed_once(model, "sha", tmp_path, 1 << 30) as layers:
            assert layers is not None and layers.first_only
            for _ in range(2):
                torch.testing.assert_close(model(**given).logits, wanted, rtol=0, atol=1e-5)


def test_heads_that_read_all_tokens_keep_all(tmp_path: Path) -> None:
    model = Head(Head.Options()).apply(encoder("modernbert", "SEQ_CLS", classifier_pooling="mean"), "SEQ_CLS").eval()
    given = batch_of(3, 10, (torch.arange(10) < torch.tensor([[10], [4], [1]])).long())
    with torch.no_grad():
        wanted = model(**given).logits
        with unpadded(model), computed_once(model, "sha", tmp_path, 1 << 30) as layers:
            assert layers is not None and not layers.first_only
            for _ in range(2):
                torch.testing.assert_close(model(**given).logits, wanted, rtol=0, atol=1e-5)
