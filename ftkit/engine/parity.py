"""What a run and its exports give for the same held-out rows, measured in a process that did not write the exports."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, load_from_disk
from transformers.modeling_outputs import BaseModelOutput

from ftkit import exporters
from ftkit.engine import device_map, infer, machine, speed
from ftkit.engine import model as models
from ftkit.engine.scoring import scored
from ftkit.errors import FTKitError
from ftkit.files import write_json
from ftkit.settings import EvaluateSpec
from ftkit.startup import spare_imports
from ftkit.tasks._base import Batch, Example, Output, Prediction, Task
from ftkit.tasks._tensors import IGNORED

WRITTEN = 8
"""Rows whose logits are compared, of models that write: each token has one for every word that there is."""
ROUGHLY = 1e-3
"""Numbers as near as this count as the same answer."""


@dataclass
class Measured:
    """One folder's answers, and how far they lie from the first one's."""

    error: str = ""
    """Why it does not answer; then the rest is empty."""
    labels: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    """Of the task: temperature and threshold among them."""
    data: dict[str, Any] = field(default_factory=dict)
    """How its rows are read."""
    rows: int = 0
    other_tokens: int | None = None
    """The first encoded row, counted from 1, of which the tokenizer makes other tokens than the run's."""
    difference: float = 0.0
    """Largest difference of a logit."""
    row: int = 0
    """The encoded row where it is, counted from 1."""
    average: float = 0.0
    """Mean difference of all logits."""
    spread: float = 0.0
    """Range of the run's logits, 0 in it."""
    agreement: float = 1.0
    """Share of the rows with the same answer."""
    confidence: float = 0.0
    """Largest difference of the probability of an answer that is the same."""
    scores: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Time of a batch, by its size."""
    bytes: int = 0
    """Of all that it needs to answer."""
    base_bytes: int = 0
    """Those of them that are the checkpoint below an adapter."""


@dataclass
class _Given:
    """What a model gave for the rows."""

    trained: models.Trained
    settings: EvaluateSpec
    """With the precision that it was asked in."""
    encoded: list[list[int]] = field(default_factory=list)
    logits: list[Output] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


def measure(
    run: Path, folders: Sequence[tuple[str, Path]], rows: Dataset, settings: EvaluateSpec
) -> tuple[Measured, list[Measured]]:
    """The run's own answers, and those of each folder (format, path)."""
    reference = _given(run, "fp32", rows, settings)
    first = _measured(reference, reference, rows, settings)
    found = []
    for format, folder in folders:
        try:
            given = _given(folder, exporters.find(format).precision, rows, settings)
            found.append(_measured(given, reference, rows, settings))
        except FTKitError as error:
            found.append(Measured(error=str(error)))
    return first, found


def _given(source: Path, precision: str, rows: Dataset, settings: EvaluateSpec) -> _Given:
    t = models.load(source)
    settings = settings.model_copy(update={"precision": machine.at_hand(precision)})
    found = _Given(t, settings)
    writes = t.task.writes(t.model.config, t.tokenizer)

    def observe(outputs: list[Output], encoded: Batch, examples: list[Example]) -> None:
        found.encoded += encoded["input_ids"]
        if not writes:
            found.logits += outputs

    found.predictions = list(infer.predict(t.model, t.task, t.tokenizer, t.labels, rows, settings, observe=observe))
    if writes:
        found.logits = [_written(t, example, settings) for example in rows.select(range(min(WRITTEN, len(rows))))]
    return found


def _measured(given: _Given, run: _Given, rows: Dataset, settings: EvaluateSpec) -> Measured:
    t = given.trained
    difference, row = _difference(given.logits, run.logits)
    same = [_same(*pair) for pair in zip(*(_answers(t.task, one, rows) for one in (given, run)), strict=True)]
    values = [value for output in run.logits for value in output.values()]
    size = speed.size(t)
    return Measured(
        labels=list(t.labels),
        options=t.task.options.model_dump(mode="json"),
        data=t.contract.data,
        rows=len(rows),
        other_tokens=_other_tokens(given.encoded, run.encoded),
        difference=difference,
        row=row,
        average=_average(given.logits, run.logits) if np.isfinite(difference) else difference,
        spread=max(0.0, *(float(v.max()) for v in values)) - min(0.0, *(float(v.min()) for v in values)),
        agreement=float(np.mean(same)),
        confidence=_confidence(t.task, given.predictions, run.predictions, same),
        scores=dict(scored(t.task, given.predictions, rows, settings, t.labels).scores),
        seconds=speed.seconds([speed.Ready(t, given.settings)], rows)[0],
        bytes=size.total,
        base_bytes=size.base,
    )


def _difference(ours: Sequence[Output], theirs: Sequence[Output]) -> tuple[float, int]:
    """The largest difference, and the row where it is; infinite where there are more or fewer logits, or none."""
    if len(ours) != len(theirs):
        return float("inf"), min(len(ours), len(theirs)) + 1
    each = [_apart(one, other) for one, other in zip(ours, theirs, strict=True)]
    worst = int(np.argmax(each))
    return float(each[worst]), worst + 1


def _average(ours: Sequence[Output], theirs: Sequence[Output]) -> float:
    """The mean difference of outputs that are alike in shape; 0 of none."""
    pairs = [(one[name], other[name]) for one, other in zip(ours, theirs, strict=True) for name in one]
    total = sum(float(np.abs(one.astype(np.float64) - other).sum()) for one, other in pairs)
    return float(total / max(1, sum(one.size for one, _ in pairs)))


def _apart(one: Output, other: Output) -> float:
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return float("inf")
    found = max(float(np.abs(one[name].astype(np.float64) - other[name]).max(initial=0)) for name in one)
    return found if np.isfinite(found) else float("inf")


def _other_tokens(ours: list[list[int]], theirs: list[list[int]]) -> int | None:
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False), 1):
        if list(one) != list(other):
            return number
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs)) + 1


def _answers(task: Task, given: _Given, rows: Dataset) -> list[Any]:
    return list(task.answers(given.predictions, rows)[0])


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= ROUGHLY
    return bool(one == other)


def _confidence(task: Task, ours: Sequence[Prediction], theirs: Sequence[Prediction], same: Sequence[bool]) -> float:
    apart = [0.0]
    for one, other, alike in zip(ours, theirs, same, strict=True):
        found, known = task.confidence(one), task.confidence(other)
        if alike and found is not None and known is not None:
            apart.append(abs(found - known))
    return max(apart)


# ------------------------------------------------------------------ models that write


def _written(t: models.Trained, example: Example, settings: EvaluateSpec) -> Output:
    """Logits of a row's own target, the most of it as steps behind the first: what the model keeps of these is used."""
    encoded = t.task.encode({name: [value] for name, value in example.items()}, t.tokenizer, t.labels)
    names = [name for name in (*t.tokenizer.model_input_names, "labels") if name in encoded]
    batch = t.task.collate([{name: encoded[name][0] for name in names}], t.tokenizer)
    device = device_map.device(t.model)
    batch = {name: value.to(device) for name, value in batch.items()}
    low = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")
    with torch.inference_mode(), low:
        found = _forced(t.model, batch)
    return {"logits": found.float().cpu().numpy()}


def _forced(model: Any, batch: Mapping[str, torch.Tensor]) -> Any:
    """Logits of a batch's targets: the first one's, then those of all others at once."""
    ids, mask, targets = batch["input_ids"], batch["attention_mask"], batch["labels"]
    if model.config.is_encoder_decoder:
        start = torch.full_like(targets[:, :1], model.config.decoder_start_token_id)
        tokens = torch.cat([start, targets[:, :-1].clamp(min=0)], 1)
        first = model(input_ids=ids, attention_mask=mask, decoder_input_ids=tokens[:, :1], use_cache=True)
        if tokens.shape[1] == 1:
            return first.logits
        rest = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=first.encoder_last_hidden_state),
            attention_mask=mask,
            decoder_input_ids=tokens[:, 1:],
            past_key_values=first.past_key_values,
            use_cache=True,
        )
        return torch.cat([first.logits, rest.logits], 1)
    begin = int((targets[0] != IGNORED).nonzero()[0])
    places = batch["position_ids"]
    first = model(
        input_ids=ids[:, :begin], attention_mask=mask[:, :begin], position_ids=places[:, :begin], use_cache=True
    )
    rest = model(
        input_ids=ids[:, begin:],
        attention_mask=mask,
        position_ids=places[:, begin:],
        past_key_values=first.past_key_values,
        use_cache=True,
    )
    return torch.cat([first.logits[:, -1:], rest.logits], 1)


if __name__ == "__main__":
    spare_imports()
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    each = measure(
        Path(job["run"]),
        [(format, Path(folder)) for format, folder in job["folders"]],
        load_from_disk(job["rows"]),
        EvaluateSpec.model_validate(job["settings"]),
    )
    write_json(Path(job["result"]), {"run": asdict(each[0]), "exports": [asdict(one) for one in each[1]]})
