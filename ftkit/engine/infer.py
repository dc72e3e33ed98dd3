"""The one inference path: validation, `eval`, `predict`, cross-validation and exports all answer through `predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from typing import Any
from weakref import WeakSet

import numpy as np
import torch

from ftkit.engine import device_map
from ftkit.engine.generate import write
from ftkit.engine.lowered import lowered
from ftkit.engine.memory import Limit
from ftkit.engine.nonfinite import not_finite
from ftkit.engine.pretrained import refuse_token
from ftkit.engine.served import is_served, takes_one
from ftkit.engine.unpad import unpadded
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Batch, Example, Labels, Output, Prediction, Task

CHUNK = 1024
"""Examples that are encoded and answered together; logits are held for one chunk only."""
Observe = Callable[[list[Output], Batch, list[Example]], None]
"""Takes the outputs for some examples, the encoded rows that they are of, and the examples with their targets."""


def predict(
    model: torch.nn.Module,
    task: Task,
    tokenizer: Any,
    labels: Labels,
    examples: Iterable[Example],
    settings: EvaluateSpec,
    watch: Callable[[int], None] | None = None,
    observe: Observe | None = None,
) -> Iterator[Prediction]:
    """An answer for each example, in order; memory does not grow with their number.

    `settings` bound the tokens, padding included, that go through the model at once, and name the precision.
    `watch` is told the number of examples answered so far. `observe` is shown what the model gave for some examples at
    a time, before it is forgotten.
    """
    rows, done, limit = iter(examples), 0, Limit(settings.batch_tokens)
    while chunk := list(islice(rows, CHUNK)):
        encoded = encode(task, chunk, tokenizer, labels)
        outputs = run(model, task, tokenizer, encoded, settings, limit)
        if observe:
            observe(outputs, encoded, chunk)
        yield from task.decode(outputs, encoded, chunk, tokenizer, labels)
        done += len(chunk)
        if watch:
            watch(done)


def encode(task: Task, examples: Sequence[Example], tokenizer: Any, labels: Labels) -> Batch:
    """The encoded rows of some examples; what they should answer is left out, so that no answer can look at it."""
    targets = {column.name for shape in task.shapes() for column in shape if not column.is_input}
    batch = {name: [example[name] for example in examples] for name in examples[0] if name not in targets}
    encoded = dict(task.encode(batch, tokenizer, labels))
    encoded.setdefault("example", list(range(len(examples))))
    return encoded


def _refuse_unknown(model: torch.nn.Module, tokenizer: Any, ids: Iterable[Sequence[int]]) -> None:
    """Raises CheckpointError where a text has a token that the model has no embedding of."""
    if not is_served(model):  # a graph says so itself
        refuse_token(model, max((max(row, default=0) for row in ids), default=0), tokenizer)


def truncated_rows(encoded: Batch, count: int) -> list[bool]:
    """Of each of `count` examples that were encoded together whether something of it was cut."""
    cut = {i for i, was in zip(encoded["example"], encoded.get("truncated", ()), strict=False) if was}
    return [i in cut for i in range(count)]


def run(
    model: torch.nn.Module,
    task: Task,
    tokenizer: Any,
    encoded: Batch,
    settings: EvaluateSpec,
    limit: Limit | None = None,
) -> list[Output]:
    """The model's output for each encoded row, in order: float arrays, or what was written, see `_write`.

    A batch that memory does not hold is halved, and `limit` lowered for those that follow.
    """
    _refuse_unknown(model, tokenizer, encoded["input_ids"])
    lengths = [len(ids) for ids in encoded["input_ids"]]
    writes = task.generation(model.config, tokenizer)
    room = int(writes["max_new_tokens"]) * int(writes.get("candidates", 1)) if writes else 0
    names = [name for name in tokenizer.model_input_names if name in encoded]
    device = device_map.device(model)

    def answer(places: list[int]) -> list[Output]:
        rows = [{name: encoded[name][i] for name in names} for i in places]
        batch = {name: value.to(device) for name, value in task.collate(rows, tokenizer).items()}
        found = compute(model, task, tokenizer, batch)
        kept = [lengths[i] if task.per_token else None for i in places]
        return [{name: value[row][:most] for name, value in found.items()} for row, most in enumerate(kept)]

    return _each(model, task, lengths, settings, answer, limit or Limit(settings.batch_tokens), room)


def looked_at(
    model: torch.nn.Module,
    task: Task,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    settings: EvaluateSpec,
    look: Callable[[Any, Mapping[str, torch.Tensor]], list[Any]],
) -> list[Any]:
    """What `look` makes of the model's outputs for a batch, an entry a row, of some encoded rows with their targets."""
    device = device_map.device(model)

    def answer(places: list[int]) -> list[Any]:
        batch = {name: v.to(device) for name, v in task.collate([rows[i] for i in places], tokenizer).items()}
        return look(task.forward(model, batch), batch)

    lengths = [len(row["input_ids"]) for row in rows]
    return _each(model, task, lengths, settings, answer, Limit(settings.batch_tokens))


def _each(
    model: torch.nn.Module,
    task: Task,
    lengths: Sequence[int],
    settings: EvaluateSpec,
    answer: Callable[[list[int]], list[Any]],
    limit: Limit,
    room: int = 0,
) -> list[Any]:
    """What `answer` gives for each row, in order, asked for batches of rows of similar length, or one by one."""
    found: list[Any] = [None] * len(lengths)
    each = ([i] for i in range(len(lengths))) if takes_one(model) else batches(lengths, limit, room)
    with _answering(model, task, settings.precision):
        for places in each:
            for i, output in zip(places, limit.within(answer, places, lengths[places[0]] + room), strict=True):
                found[i] = output
    return found


def batches(lengths: Sequence[int], limit: Limit, room: int = 0) -> Iterator[list[int]]:
    """Row numbers in batches of similar length, the longest first, each of at most `limit.tokens` with padding.

    `room` is added to each row for what will be written. A single longer row is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    while order:
        size = max(1, limit.tokens // max(1, lengths[order[0]] + room))
        yield order[:size]
        order = order[size:]


def compute(model: Any, task: Task, tokenizer: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What the model gives for a batch, by name: logits, or what it writes."""
    writes = task.generation(model.config, tokenizer)
    return _write(model, batch, writes) if writes else _read(model, task, batch)


def _read(model: Any, task: Task, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    outputs = model.read(batch) if is_served(model) else task.forward(model, batch)
    found = {name: value.float().cpu().numpy() for name, value in outputs.items() if name.endswith("logits")}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise not_finite()
    return found


def _write(model: Any, batch: Mapping[str, torch.Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    """`tokens`, the likeliest one by one, and, `tokens` among them, all `candidates`."""
    candidates = write(model, batch, settings)
    return {"tokens": [each[0] for each in candidates], "candidates": candidates}


@contextmanager
def _answering(model: torch.nn.Module, task: Task, precision: str) -> Iterator[None]:
    """The model made `ready`, without gradients, in a precision."""
    autocast = torch.autocast(device_map.device(model).type, torch.bfloat16, enabled=precision == "bf16")
    with nullcontext() if model in _READY else ready(model, task), torch.inference_mode(), autocast:
        yield


@contextmanager
def ready(model: torch.nn.Module, task: Task) -> Iterator[None]:
    """The model in evaluation mode and in the quick ways around it, which hold its weights.

    `predict` and `run` see to it each time, which takes as long as a short text does: for a model that does nothing
    but answer, this lasts as long as its weights stay as they are. One whose weights come and go is left as it is,
    and so is one that another runtime computes.
    """
    with _evaluating(model), ExitStack() as quick:
        if not (is_served(model) or device_map.is_spread(model)):
            quick.enter_context(unpadded(model, task.reads_otherwise))
            quick.enter_context(lowered(model, still=True))
        _READY.add(model)
        try:
            yield
        finally:
            _READY.discard(model)


_READY: WeakSet[torch.nn.Module] = WeakSet()


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and without the autocast that training wraps it in."""
    training, wrapped = model.training, model.__dict__.pop("forward", None)
    if wrapped is not None and "_original_forward" not in model.__dict__:
        model.__dict__["forward"] = wrapped
        wrapped = None
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        if wrapped is not None:
            model.__dict__["forward"] = wrapped
