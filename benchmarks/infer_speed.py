"""Inference speed: the path of `ftkit eval` and `predict` beside transformers' pipeline, on one fine-tuned folder.

The clock runs from texts in memory to answers in memory; loading is told apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import _common, _contestants, _data
from benchmarks._contestants import Job

TASKS = {"sst2": ("sentiment/full", 128), "long": ("classification/full", 512)}
"""The recipe of each task, and the tokens that its texts are cut to."""
_BATCH = 32
_WORDS = 380
"""Words of a long document: about 512 tokens."""
PIPELINES = ("pipeline", "pipeline, sorted")
"""As its page shows it; and given the longest texts first, as people do who know what padding costs."""

OURS = {"ftkit fp32": "fp32", "ftkit": "auto"}
"""With `--precision fp32`, and as it comes: in bf16 where training found that this changes nothing."""
_VALIDATION = 0.25
"""Share of the training rows that this is found out on."""


def main() -> None:
    """Fine-tune a model, run the rounds and print them."""
    options = _options()
    shelf, length = TASKS[options.task]
    train, test = _splits(options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = Job(shelf, _data.write(train, folder / "train.jsonl"), 1.0, options.seed)
        rows = _data.write(test, folder / "test.jsonl")
        _common.apart(partial(fine_tune, job, length, folder / "run", folder / "model"))
        calls = {name: partial(answer_pipeline, folder / "model", rows, length, name) for name in PIPELINES}
        ours = {name: partial(answer_ftkit, folder / "model", rows, name) for name in OURS}
        found = _common.rounds({**calls, **ours}, options)
    _show(options, found)


def _options() -> argparse.Namespace:
    parser = _common.parser(__doc__)
    parser.add_argument("--task", choices=TASKS, default="sst2", help="test rows of SST-2, or joined rows of AG News")
    parser.add_argument("--train-rows", type=int, default=2000, help="rows that the model is fine-tuned on first")
    return _common.parse(parser)


def _splits(options: argparse.Namespace) -> tuple[list[_data.Row], list[_data.Row]]:
    """Rows to fine-tune on, and rows to answer: `options.rows` of them."""
    read = _data.sst2 if options.task == "sst2" else _data.ag_news
    train, test = (read(options.data, split) for split in ("train", "test"))
    if options.task == "long":
        test = _data.long_documents(train + test, _WORDS, options.seed)
    return _data.draw(train, options.train_rows, options.seed), _data.draw(test, options.rows, options.seed)


def fine_tune(job: Job, length: int, run: Path, model: Path) -> None:
    """Train on short texts, and write the plain transformers folder that all contestants load."""
    from ftkit.api import export

    _contestants.train_ftkit(job, run, [f"task.max_length={length}", f"data.validation={_VALIDATION}"])
    export(run, model)


def answer_ftkit(folder: Path, rows: Path, name: str) -> _common.Measured:
    """What `ftkit predict FOLDER --input FILE` does once model and rows are read."""
    from ftkit.engine.predict import Predictor

    predictor = Predictor(folder, precision=OURS[name])
    texts = [row["text"] for row in _data.read(rows)]
    began = time.perf_counter()
    answers = [answer["label"] for answer in predictor(texts)]
    return _measured(time.perf_counter() - began, answers)


def answer_pipeline(folder: Path, rows: Path, length: int, name: str) -> _common.Measured:
    """The pipeline in batches of 32, in fp32 as it comes, cut to the same length."""
    import torch
    from transformers import pipeline

    texts = [row["text"] for row in _data.read(rows)]
    classify = pipeline("text-classification", model=str(folder), batch_size=_BATCH, dtype=torch.float32)
    began = time.perf_counter()
    order = list(range(len(texts)))
    if name == "pipeline, sorted":
        order.sort(key=lambda i: -len(texts[i]))
    found = classify([texts[i] for i in order], truncation=True, max_length=length)
    answers = [label for _, label in sorted(zip(order, (answer["label"] for answer in found), strict=True))]
    return _measured(time.perf_counter() - began, answers)


def _measured(seconds: float, answers: list[str]) -> _common.Measured:
    speed = len(answers) / seconds
    return {"seconds": seconds, "texts_per_second": speed, "memory": _common.peak_memory(), "answers": answers}


def _show(options: argparse.Namespace, found: dict[str, list[_common.Measured]]) -> None:
    ours = found["ftkit"][0]["answers"]
    for rounds in found.values():
        for measured in rounds:
            pairs = zip(measured.pop("answers"), ours, strict=True)
            measured["equal"] = sum(one == other for one, other in pairs) / len(ours)
    columns = {"texts_per_second": "texts/s", "seconds": "seconds", "memory": "peak MiB", "equal": "answers as ftkit's"}
    compared = _common.ratios(found, "ftkit", lambda measured: measured["texts_per_second"])
    _common.present(options, f"inference speed, {options.task}", found, columns, compared, rows=len(ours))


if __name__ == "__main__":
    main()
