"""How fast models answer and how large they are: the survey asks here, and the parity of exports, for gate and card.

Timed is what `predict` and `serve` do between the tokenizer and the task's reading of the logits: the one inference
path, in the precision given, with its quick ways around a model that was made ready once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from ftkit.engine import infer
from ftkit.engine import model as models
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Example

SIZES = (1, 32)
"""Rows at once that speed is measured at."""
PATIENCE = 2.0
"""Seconds that each model is timed for at each size, unless to compute each batch twice takes longer."""
_LEAST, _LEAST_WRITTEN = 32, 4
"""Rows in all that speed is taken of, or more: of models that read, and of those that write."""


class Ready(NamedTuple):
    """A model, and the settings that it answers with."""

    trained: models.Trained
    settings: EvaluateSpec


class Size(NamedTuple):
    """Bytes of all that a model needs to answer."""

    total: int
    base: int
    """Those of them that are the checkpoint below an adapter."""


def size(trained: models.Trained) -> Size:
    """A trained folder's, with that of the checkpoint that an adapter can't do without."""
    base = trained.contract.base
    below = _bytes(models.locate_base(base["checkpoint"], base.get("revision")).path) if base else 0
    return Size(_bytes(trained.source) + below, below)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def seconds(ready: Sequence[Ready], rows: Dataset) -> list[dict[str, float]]:
    """Of each model the time of a batch, by the number of its rows."""
    found: list[dict[str, float]] = [{} for _ in ready]
    with ExitStack() as made:
        for trained, _ in ready:
            made.enter_context(infer.ready(trained.model, trained.task))
        for count in SIZES:
            for times, once in zip(found, by_turns([_batches(one, rows, count) for one in ready]), strict=True):
                times[str(count)] = once
    return found


def by_turns(models: Sequence[Sequence[Callable[[], Any]]]) -> list[float]:
    """Of each model the seconds of a batch: the mean over its batches, of each its shortest time.

    So others at work on the machine count for little, and what they do meets all models alike: these take turns at
    each batch, another one first each time. The first round warms up.
    """
    best = [[float("inf")] * len(batches) for batches in models]
    begun, rounds = time.perf_counter(), 0
    while models and (rounds < 2 or time.perf_counter() - begun < PATIENCE * len(models)):
        for place in range(len(models[0])):
            for turn in range(len(models)):
                model = (turn + rounds + place) % len(models)
                before = time.perf_counter()
                models[model][place]()
                if rounds:
                    best[model][place] = min(best[model][place], time.perf_counter() - before)
        rounds += 1
    return [float(np.mean(times)) for times in best]


def _batches(ready: Ready, rows: Dataset, count: int) -> list[Callable[[], Any]]:
    """What computes some batches of so many rows, taken evenly of all (again where they are fewer)."""
    t, settings = ready

    def compute(examples: list[Example]) -> Callable[[], Any]:
        encoded = infer.encode(t.task, examples, t.tokenizer, t.labels)
        return lambda: infer.run(t.model, t.task, t.tokenizer, encoded, settings)

    writes = t.task.writes(t.model.config, t.tokenizer)
    places = np.linspace(0, len(rows) - 1, max(count, _LEAST_WRITTEN if writes else _LEAST)).astype(int).tolist()
    return [compute([rows[i] for i in places[start : start + count]]) for start in range(0, len(places), count)]
