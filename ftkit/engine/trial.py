"""What a training will take: some of its steps are done, in a folder that is thrown away."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from datasets import Dataset

from ftkit.data.typed import column
from ftkit.engine import machine
from ftkit.engine.arguments import epochs, steps
from ftkit.engine.callbacks import Clock
from ftkit.engine.fit import fit
from ftkit.engine.prepare import Prepared, encode_training
from ftkit.engine.steps import examples_of
from ftkit.recipe import changed
from ftkit.run import RunDirectory
from ftkit.terminal import Progress

STEPS = 4
"""Of the first epoch, and again of a second, which finds the outputs of frozen layers; the first of all warms up."""


def measure(prepared: Prepared, encoded: Dataset) -> dict[str, Any]:
    """What the training will take of one process, from a few steps of it; `encoded` are all its rows.

    `seconds` is for the training loops alone: all epochs, folds, seeds and rounds. `memory` is
    the process's peak in bytes, in a step of the longest rows. `batch` is how many of these would fit at once.
    """
    train, settings = prepared.training(), prepared.recipe.train
    memory = _memory(prepared, train)
    chosen = train.shuffle(seed=settings.seed).select(range(min(len(train), STEPS * settings.batch)))
    tokens, times = _steps(prepared, chosen, epochs=2)
    half = len(times) // 2
    first, later = statistics.fmean(times[1:half] or times), statistics.fmean(times[half:])
    if prepared.stream:
        return {"seconds": round(steps(settings, len(encoded)) * first * (settings.seeds or 1), 1), **memory}
    per_epoch = sum(column(encoded, "length")) / tokens * half
    trainings = settings.seeds or settings.folds or 1  # k folds without a kth of the rows, and the final model: k
    if prepared.recipe.data.unlabeled:
        trainings += prepared.recipe.data.unlabeled_rounds  # on no fewer rows: how many more, the first round tells
    trainings += prepared.recipe.augment.teacher
    seconds = per_epoch * (first + later * (epochs(settings, len(examples_of(encoded))) - 1)) * trainings
    return {"seconds": round(seconds, 1), **memory}


def _memory(prepared: Prepared, train: Dataset) -> dict[str, int]:
    """The peak of a step of the longest rows, and how many of them would fit: from one of them, and from many at once.

    Many are more than a step has: what grows with them has to stand out from what loading took.
    """
    machine.forget_peak()  # what this process held before, in a training or a plan, is none of this one's
    settings, free, before = prepared.recipe.train, _free(), _held()
    longest = int(np.argmax(np.sum([_sizes(column(train, name)) for name in train.column_names], axis=0)))
    one, _ = _steps(prepared, train.select([longest]), epochs=1, batch=1)
    alone = _peak()
    count = max(2, min(_MANY * settings.batch, settings.batch_tokens // one))
    _steps(prepared, train.select([longest] * count), epochs=1, batch=count)
    each = max(1, _peak() - alone) / (count - 1)
    at_once = max(1, min(settings.batch // settings.accumulate, settings.batch_tokens // one))
    return {"memory": int(alone + each * (at_once - 1)), "batch": max(1, int((free - (alone - before)) / each))}


_MANY = 4
"""Steps whose rows are computed at once, to see what rows take."""


def _sizes(values: Iterable[Any]) -> list[int]:
    return [len(value) if isinstance(value, (str, list)) else 0 for value in values]


def _steps(prepared: Prepared, rows: Dataset, epochs: int, batch: int | None = None) -> tuple[int, list[float]]:
    """The tokens of some rows, and the seconds of each step when the recipe is trained on them; `batch` at once."""
    at_once = [f"train.batch={batch}", "train.accumulate=1"] if batch else []
    recipe = changed(prepared.recipe, [f"train.epochs={epochs}", "train.steps=null", *_PLAIN, *at_once])
    alone = replace(prepared, recipe=recipe, stream=None)
    clock = Clock(Progress(show=False), recipe.train.batch)
    with tempfile.TemporaryDirectory() as folder:
        fit(RunDirectory.create(recipe, Path(folder) / "trial"), alone, rows, clock.progress, trial=clock)
    return sum(encode_training(alone, rows)[0]["length"]), clock.times


_PLAIN = ("train.class_weights=null", "data.balance=null", "data.stream=false", "data.bad_rows=stop")
"""Settings of which a few steps take no time and no memory of their own."""


def _held() -> int:
    """Bytes that are held where the model computes."""
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else psutil.Process().memory_info().rss


def _peak() -> int:
    """The most that was held."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else machine.peak_memory()


def _free() -> int:
    """Bytes that are left."""
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else int(psutil.virtual_memory().available)
