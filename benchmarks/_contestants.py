"""ftkit and the stock Trainer, given the same rows, checkpoint, batch, rates, epochs, warm-up and seed.

The stock Trainer is set up as transformers' own examples (`run_glue.py`, `run_ner.py`) set it up:

- `A` pads every row to 128 tokens, the default of `run_glue.py` (for NER: `run_ner.py --pad_to_max_length`); fp32.
- `B` pads to the longest row of a batch, as the examples do with `--pad_to_max_length False`; fp32.
- `C` is B with the two switches of TrainingArguments that help most: bf16 autocast and batches of similar length.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ftkit
from benchmarks import _data
from benchmarks._common import Measured, peak_memory
from ftkit import checkpoints
from ftkit.settings import TrainSpec
from ftkit.terminal import Progress

SHELF = {"sst2": "sentiment/full", "conll2003": "ner/full", "ag_news": "classification/full"}
"""The recipe of each data set."""
LENGTH = 128
"""Tokens to which all contestants cut a row: the default of `run_glue.py`."""


@dataclass(frozen=True)
class Job:
    """One training, whoever does it."""

    shelf: str
    train: Path
    epochs: float
    seed: int
    test: Path | None = None

    @property
    def settings(self) -> TrainSpec:
        """The shelf recipe's `train` section."""
        return ftkit.load_recipe(self.shelf).train

    @property
    def checkpoint(self) -> Path:
        """The folder of the shelf recipe's checkpoint."""
        return checkpoints.locate(ftkit.load_recipe(self.shelf).model.checkpoint).path

    @property
    def per_token(self) -> bool:
        """Whether words are labelled, not texts."""
        return self.shelf.startswith("ner/")


# ---------------------------------------------------------------------- ftkit


class Watch(Progress):
    """Sees the training loop begin and end: the stock Trainer measures its `train_runtime` between the same places.

    (`train_seconds` of a run leaves out what lies between steps, so it would flatter ftkit here.)
    """

    def __init__(self) -> None:
        super().__init__(show=False)
        self.began = self.ended = self.memory = 0.0

    def start(self, steps: int, what: str = "training") -> None:
        """The first step is next."""
        self.began = self.began or time.time()

    def stop(self) -> None:
        """The last step is done."""
        self.ended, self.memory = self.ended or time.time(), self.memory or peak_memory()


def train_ftkit(job: Job, folder: Path, settings: Sequence[str] = ()) -> tuple[Any, Watch]:
    """Train as the shelf recipe says, into the new `folder`; returns what `ftkit.train` does, and the loop's times.

    No epoch is chosen by validation rows, because the examples of transformers choose none.
    """
    watch = Watch()
    given = [f"data.train={job.train}", "data.validation=0", f"train.epochs={job.epochs}", f"train.seed={job.seed}"]
    if job.test:
        given.append(f"data.test={job.test}")
    return ftkit.train(job.shelf, [*given, *settings], run=folder, progress=watch), watch


def _forget_frozen(folder: Path) -> None:
    """Take a new cache, with the checkpoints of the usual one and without what earlier rounds left of frozen layers."""
    usual = checkpoints.cache()
    folder.mkdir()
    for path in usual.iterdir():
        if path.name != "frozen":
            (folder / path.name).symlink_to(path)
    os.environ["FTKIT_CACHE"] = str(folder)


def speed_ftkit(job: Job, settings: Sequence[str] = ()) -> Measured:
    """Seconds and memory of ftkit's training loop."""
    arrived = time.time()
    with tempfile.TemporaryDirectory() as folder:
        _forget_frozen(Path(folder) / "cache")
        done, watch = train_ftkit(job, Path(folder) / "run", settings)
        precision = ftkit.RunDirectory.open(done.run).read_json("environment")["precision"]
    return {
        "startup": watch.began - arrived,
        "seconds": watch.ended - watch.began,
        "train_seconds": done.train_seconds,
        "memory": watch.memory,
        "precision": precision,
    }


# ---------------------------------------------------------------------- the stock Trainer


@dataclass(frozen=True)
class Stock:
    """How the stock Trainer is set up."""

    pad_all: bool = False
    bf16: bool = False
    grouped: bool = False


STOCK = {"A": Stock(pad_all=True), "B": Stock(), "C": Stock(bf16=True, grouped=True)}


def speed_stock(job: Job, stock: Stock) -> Measured:
    """Seconds and memory of the stock Trainer's loop."""
    arrived = time.time()
    with tempfile.TemporaryDirectory() as folder:
        return run_stock(stock_trainer(job, stock, folder), arrived)


def run_stock(trainer: Any, arrived: float) -> Measured:
    """Train, and say what the loop took; `arrived` is when this process began its work."""
    began = time.time()
    seconds = trainer.train().metrics["train_runtime"]
    precision = "bf16" if trainer.args.bf16 else "fp32"
    return {"startup": began - arrived, "seconds": seconds, "memory": peak_memory(), "precision": precision}


def stock_trainer(job: Job, stock: Stock, folder: str, frozen: bool = False) -> Any:
    """The Trainer of an example script, with its model and its encoded rows."""
    import transformers
    from datasets import Dataset

    transformers.set_seed(job.seed)
    rows = _data.read(job.train)
    labels = label_names(rows)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.checkpoint)
    model = stock_model(job, labels)
    if frozen:
        freeze(model)
    encoded = Dataset.from_list(encode(rows, labels, tokenizer, stock.pad_all))
    return transformers.Trainer(
        model=model,
        args=stock_arguments(job, stock, folder),
        train_dataset=encoded,
        data_collator=collator(job, stock, tokenizer),
        processing_class=tokenizer,
    )


def label_names(rows: Sequence[_data.Row]) -> list[str]:
    """The labels of texts or of words, sorted."""
    return sorted({label for row in rows for label in row.get("tags", [row.get("label")])})


def stock_model(job: Job, labels: Sequence[str]) -> Any:
    """The checkpoint with a new head, in float32."""
    import torch
    import transformers

    kind = transformers.AutoModelForTokenClassification if job.per_token else None
    return (kind or transformers.AutoModelForSequenceClassification).from_pretrained(
        job.checkpoint,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        dtype=torch.float32,
    )


def freeze(model: Any) -> None:
    """Leave the head to learn, and the pooler that it reads: the weights that `method: head` trains."""
    model.base_model.requires_grad_(False)
    model.base_model.pooler.requires_grad_(True)


def stock_arguments(job: Job, stock: Stock, folder: str) -> Any:
    """The recipe's settings in the Trainer's words; what the recipe does not say is the Trainer's default."""
    from transformers import TrainingArguments

    from ftkit.engine.machine import has_accelerator

    settings = job.settings
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=job.epochs,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=32,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        seed=job.seed,
        use_cpu=not has_accelerator(),  # else it refuses bf16
        bf16=stock.bf16,
        train_sampling_strategy="group_by_length" if stock.grouped else "random",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def collator(job: Job, stock: Stock, tokenizer: Any) -> Any:
    """The example's: rows of one length need no padding, others are padded to the longest of the batch."""
    import transformers

    if job.per_token:
        return transformers.DataCollatorForTokenClassification(tokenizer)
    return transformers.default_data_collator if stock.pad_all else transformers.DataCollatorWithPadding(tokenizer)


def encode(rows: Sequence[_data.Row], labels: Sequence[str], tokenizer: Any, pad_all: bool = False) -> list[_data.Row]:
    """Rows as the examples encode them: cut at 128 tokens; of a word's pieces the first carries its label."""
    number = {label: i for i, label in enumerate(labels)}
    padding = "max_length" if pad_all else False
    words = "tokens" in rows[0]
    found = tokenizer(
        [row["tokens" if words else "text"] for row in rows],
        is_split_into_words=words,
        padding=padding,
        truncation=True,
        max_length=LENGTH,
    )
    encoded = [{name: values[i] for name, values in found.items()} for i in range(len(rows))]
    for i, row in enumerate(rows):
        encoded[i]["labels"] = _word_labels(row["tags"], found.word_ids(i), number) if words else number[row["label"]]
    return encoded


def _word_labels(tags: Sequence[str], words: Sequence[int | None], number: dict[str, int]) -> list[int]:
    before = [None, *words]
    return [-100 if w is None or w == b else number[tags[w]] for w, b in zip(words, before, strict=False)]


# ---------------------------------------------------------------------- the work that had to be done


def amount(job: Job) -> Measured:
    """Real tokens of one epoch (padding is none), and weights of the linear layers that each of them goes through."""
    import transformers

    from ftkit.methods._layers import linears

    tokenizer = transformers.AutoTokenizer.from_pretrained(job.checkpoint)
    rows = _data.read(job.train)
    model = transformers.AutoModel.from_pretrained(job.checkpoint)
    tokens = sum(len(row["input_ids"]) for row in encode(rows, label_names(rows), tokenizer))
    weights = sum(model.get_submodule(name).weight.numel() for name in linears(model))
    return {"rows": len(rows), "tokens": tokens, "weights": weights}
