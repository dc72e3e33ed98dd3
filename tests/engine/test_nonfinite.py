"""A step with numbers that are none moves nothing, and says where they come from."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ftkit.engine import nonfinite
from ftkit.engine.train import train
from ftkit.engine.trainer import FTTrainer
from ftkit.errors import FTKitError, RecipeError
from tests.runs import Lab, log, weights


def broken_rows(monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...], layer: str) -> None:
    """In some steps, a layer's output for one row of the micro-batch (the longest) is infinite."""
    loss = FTTrainer.compute_loss

    def compute(trainer: Any, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        if trainer.state.global_step + 1 not in steps:
            return loss(trainer, model, inputs, *rest, **more)
        longest = max(int(row["length"]) for row in trainer.watch.rows)

        module = model.get_submodule(layer)
        forward = module.forward

        def spoiled(*args: Any, **kwargs: Any) -> Any:
            factor = math.inf if int(inputs["attention_mask"].sum(1).max()) == longest else 1.0
            return forward(*args, **kwargs) * factor

        with monkeypatch.context() as patch:
            patch.setattr(module, "forward", spoiled)
            return loss(trainer, model, inputs, *rest, **more)

    monkeypatch.setattr(FTTrainer, "compute_loss", compute)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("norm", [1.0, 0.0])
def test_a_step_is_left_out_and_its_rows_and_layer_are_named(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, optimizer: str, norm: float
) -> None:
    settings = ("train.epochs=2", f"train.optimizer={optimizer}", f"train.max_grad_norm={norm}")
    broken_rows(monkeypatch, (2,), "classifier")
    told: list[str] = []
    found = train(lab.recipe("single", *settings), lab.new(), say=told.append)
    entries = log(found.run)
    assert not math.isfinite(entries[1]["grad_norm"]) and all(math.isfinite(e["loss"]) for e in entries[2:])
    assert all(weight.isfinite().all() for weight in weights(found.run).values())
    said = " ".join(told)
    assert "step 2: the loss of training rows" in said and "from classifier on; nothing was learned" in said


def test_the_row_that_is_named_is_the_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_rows(monkeypatch, (1,), "bert.encoder.layer.1")
    named: list[Any] = []
    passes = nonfinite.Watch.passes

    def look(self: Any, trainer: Any, norm: Any) -> bool:
        if trainer.state.global_step == 0:
            longest = max(row["length"] for row in self.rows)
            named.extend(row["row"] for row in self.rows if row["length"] == longest)
        return passes(self, trainer, norm)

    monkeypatch.setattr(nonfinite.Watch, "passes", look)
    told: list[str] = []
    train(lab.recipe("single"), lab.new(), say=told.append)
    rows = " ".join(told)
    assert f"of training rows {', '.join(map(str, named))} is not finite, from bert.encoder.layer.1 on" in rows


def test_three_such_steps_in_a_row_end_the_training(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_rows(monkeypatch, (3, 4, 5), "classifier")
    path = lab.new()
    with pytest.raises(FTKitError, match=r"step 5: .*3 such steps in a row") as caught:
        train(lab.recipe("single", "train.epochs=3", "train.checkpoint_every=2"), path)
    assert "precision" in caught.value.hint
    assert (path / "checkpoints" / "step-00000002").is_dir()


def test_three_that_are_apart_do_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_rows(monkeypatch, (2, 3, 5, 6), "classifier")
    assert train(lab.recipe("single", "train.epochs=3"), lab.new()).steps == 9


def test_a_gradient_that_is_none_is_named_by_its_layer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = FTTrainer.compute_loss

    def compute(trainer: Any, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        found = loss(trainer, model, inputs, *rest, **more)
        if trainer.state.global_step == 0 and torch.is_grad_enabled():
            found.register_hook(lambda gradient: gradient * math.nan)
        return found

    monkeypatch.setattr(FTTrainer, "compute_loss", compute)
    told: list[str] = []
    train(lab.recipe("single", "train.epochs=1"), lab.new(), say=told.append)
    assert "step 1: the gradient of training rows" in (said := " ".join(told))
    assert "of classifier.bias first" in said


def test_families_that_overflow_in_fp16_are_told_before_they_start() -> None:
    for family in ("t5", "mt5", "deberta-v2"):
        with pytest.raises(RecipeError, match="fp16 can't hold") as caught:
            nonfinite.refuse_overflow(family, "fp16")
        assert "bf16 or fp32" in caught.value.hint
        nonfinite.refuse_overflow(family, "bf16")
    nonfinite.refuse_overflow("bert", "fp16")
