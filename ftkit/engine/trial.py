"""What a training will take: its first steps are done, in a folder that is thrown away."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import torch

from ftkit.engine import machine
from ftkit.engine.arguments import epochs
from ftkit.engine.fit import fit
from ftkit.engine.prepare import Prepared, encode_training
from ftkit.engine.trainer import Steps
from ftkit.report import Progress
from ftkit.run import RunDirectory

STEPS = 4
"""The first, which warms up and is not counted, and three that are."""


def measure(prepared: Prepared) -> dict[str, Any]:
    """Seconds and bytes that the training will take, from its first steps, and the largest batch that fits.

    `seconds` is for the training loop alone, all epochs; `memory` is the peak of the process's own; `batch` the rows,
    each as long as the longest one, that one micro-batch could hold in the memory that is left.
    """
    settings = prepared.recipe.train
    rows, _ = encode_training(prepared, prepared.splits["train"])
    lengths = list(rows["length"])
    steps = [sum(lengths[i] for i in step) for step in islice(Steps(lengths, settings.batch, settings.seed), STEPS)]
    before = _memory()
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(prepared.recipe, Path(folder) / "trial")
        alone = replace(prepared, splits={"train": prepared.splits["train"]})
        fitted = fit(run, alone, prepared.splits["train"], Progress(show=False), most_steps=len(steps))
    counted = steps[1:] or steps
    pace = (fitted.seconds - (fitted.first_seconds if steps[1:] else 0)) / sum(counted)
    peak = _memory(peak=True)
    each = max(1, peak - before) / max(steps)
    return {
        "seconds": round(pace * sum(lengths) * epochs(settings, len(rows)), 1),
        "memory": peak,
        "batch": int(_free() / each / max(lengths)),
    }


def _memory(peak: bool = False) -> int:
    """Bytes that this process holds, or held at most, where the model computes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    process = psutil.Process()
    return machine.peak_memory() if peak else process.memory_info().rss


def _free() -> int:
    """Bytes that are left where the model computes."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    return int(psutil.virtual_memory().available)
