"""The recipe's `train` section in the Trainer's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftkit.engine.arguments import arguments, epochs, evaluation_steps
from ftkit.errors import MachineError, RecipeError
from ftkit.settings import TrainSpec


@pytest.mark.parametrize(
    ("rows", "batch", "expected"),
    [(16, 16, 20), (160, 16, 20), (320, 16, 10), (336, 16, 10), (1000, 16, 4), (1056, 16, 4), (5000, 16, 3)],
)
def test_auto_epochs_grow_on_small_data_up_to_200_steps(rows: int, batch: int, expected: float) -> None:
    assert epochs(TrainSpec(batch=batch), rows) == expected
    assert epochs(TrainSpec(epochs=0.5), rows) == 0.5


def test_settings_reach_the_trainer(tmp_path: Path) -> None:
    spec = TrainSpec(
        batch=8, accumulate=2, learning_rate=3e-4, warmup=0.2, weight_decay=0.3, max_grad_norm=2, schedule="cosine",
        precision="bf16", seed=5, evaluate_every=7, epochs=2, optimizer="adafactor",
    )  # fmt: skip
    args = arguments(spec, 100, tmp_path, validates=True)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (4, 1)
    assert (args.learning_rate, args.warmup_steps, args.weight_decay, args.max_grad_norm) == (3e-4, 0.2, 0.3, 2)
    assert (args.lr_scheduler_type, args.optim, args.bf16, args.fp16) == ("cosine", "adafactor", True, False)
    assert (args.seed, args.eval_strategy, args.eval_steps, args.num_train_epochs) == (5, "steps", 7, 2)
    assert args.save_strategy == "no" and args.report_to == []


def test_validation_comes_with_each_epoch_where_there_are_rows(tmp_path: Path) -> None:
    assert arguments(TrainSpec(precision="fp32", epochs=2), 10, tmp_path, validates=True).eval_strategy == "epoch"
    assert arguments(TrainSpec(precision="fp32"), 10, tmp_path, validates=False).eval_strategy == "no"


def test_step_that_does_not_split_over_the_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(RecipeError, match="3 processes and 2 micro-batches") as caught:
        arguments(TrainSpec(batch=8, accumulate=2), 10, tmp_path, validates=True)
    assert "multiple of 6" in caught.value.hint


def test_fp16_on_a_processor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="fp16 needs a GPU"):
        arguments(TrainSpec(precision="fp16"), 10, tmp_path, validates=True)


@pytest.mark.parametrize(
    ("rows", "given", "expected"),
    [
        (294, {}, 42),  # 11 epochs, 209 steps
        (6920, {}, None),  # 3 epochs
        (294, {"epochs": 5}, None),
        (294, {"epochs": 60}, None),
        (500, {}, 45),  # 7 epochs, 224 steps
        (294, {"evaluate_every": "epoch"}, None),
        (294, {"evaluate_every": 7}, 7),
        (1, {}, 4),  # 20 epochs
    ],
)
def test_validation_is_scored_five_times_where_small_data_has_many_epochs(
    rows: int, given: dict[str, Any], expected: int | None
) -> None:
    assert evaluation_steps(TrainSpec(**given), rows) == expected
