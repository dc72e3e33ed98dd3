"""A recipe's `train` section as the Trainer's arguments: the only place that speaks `TrainingArguments`."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from ftkit.engine import machine, sharding
from ftkit.errors import RecipeError
from ftkit.settings import TrainSpec

_OPTIMIZERS = {"adamw": "adamw_torch_fused", "sgd": "sgd", "adafactor": "adafactor", "lamb": "adamw_torch"}
_AUTO_EPOCHS, _AUTO_STEPS, _AUTO_MOST = 3, 200, 20
_AUTO_SCORINGS = 5
"""Of many scores on few validation rows the highest is mostly luck, and with many epochs rows are few."""


def epochs(settings: TrainSpec, rows: int) -> float:
    """Times the training rows are gone over; `auto` grows on small data, where three epochs are too few steps."""
    steps = -(-rows // settings.batch)
    if settings.steps:
        return settings.steps / steps
    if settings.epochs != "auto":
        return float(settings.epochs)
    return float(min(max(_AUTO_EPOCHS, -(-_AUTO_STEPS // steps)), _AUTO_MOST))


def steps(settings: TrainSpec, rows: int) -> int:
    """Steps of a training on so many rows."""
    return settings.steps or math.ceil(-(-rows // settings.batch) * epochs(settings, rows))


def evaluation_steps(settings: TrainSpec, rows: int) -> int | None:
    """Steps from one scoring of the validation rows to the next; None for each epoch's end."""
    if isinstance(settings.evaluate_every, int):
        return settings.evaluate_every
    if settings.steps and settings.evaluate_every == "auto":
        return math.ceil(settings.steps / _AUTO_SCORINGS)
    times = epochs(settings, rows)
    if settings.evaluate_every == "epoch" or settings.epochs != "auto" or times <= _AUTO_SCORINGS:
        return None
    return math.ceil(-(-rows // settings.batch) * times / _AUTO_SCORINGS)


def checkpoint_steps(settings: TrainSpec) -> int | None:
    """Steps from one checkpoint to the next; None for as many as the time that one takes allows."""
    return None if settings.checkpoint_every == "auto" else settings.checkpoint_every


def micro_batch(settings: TrainSpec, processes: int) -> int:
    """Rows that a process computes at once. Raises RecipeError where a step can't be split evenly."""
    parts = processes * settings.accumulate
    if settings.batch % parts:
        raise RecipeError(
            f"train.batch: {settings.batch} examples a step can't be split evenly over {processes} processes"
            f" and {settings.accumulate} micro-batches",
            f"take a multiple of {parts}",
        )
    return settings.batch // parts


def arguments(settings: TrainSpec, rows: int, folder: Path, validates: bool, model: Any = None) -> TrainingArguments:
    """The Trainer's arguments; `model` is asked for its layers where it is to be split.

    Raises RecipeError where a step can't be split over the processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    every = evaluation_steps(settings, rows)
    when = "no" if not validates else "epoch" if every is None else "steps"
    dtype = machine.precision(settings.precision)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs(settings, rows),
        max_steps=settings.steps or -1,
        activation_checkpointing=settings.activation_checkpointing,
        per_device_train_batch_size=micro_batch(settings, world),
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule if settings.schedule != "constant" else "constant_with_warmup",
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim=_OPTIMIZERS[settings.optimizer],
        use_cpu=not machine.has_accelerator(),
        bf16=dtype == "bf16",
        fp16=dtype == "fp16",
        seed=settings.seed,
        eval_strategy=when,
        eval_steps=every,
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        **sharding.arguments(settings.sharding, model),
    )
