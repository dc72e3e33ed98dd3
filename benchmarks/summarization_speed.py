"""Summarization by a causal checkpoint with LoRA: the shelf recipe beside Trainer and PEFT, one epoch of SciTLDR."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import ftkit
from benchmarks import _common, _contestants, _data
from benchmarks._contestants import STOCK, Job
from ftkit.methods._base import Method
from ftkit.plugins import resolve
from ftkit.tasks._base import Task

SHELF = "summarization/causal-lora"


def main() -> None:
    """Run the rounds and print them."""
    parser = _common.parser(__doc__, rounds=3)
    parser.set_defaults(rows=64)
    options = _common.parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        rows = _data.draw(_data.scitldr(options.data, "train"), options.rows, options.seed)
        job = Job(SHELF, _data.write(rows, Path(folder) / "train.jsonl"), 1.0, options.seed)
        tokens = _common.apart(partial(count, job))
        found = _common.rounds({"stock": partial(stock, job), "ftkit": partial(_contestants.speed_ftkit, job)}, options)
    for rounds in found.values():
        for measured in rounds:
            measured["tokens_per_second"] = tokens / measured["seconds"]
    columns = {"tokens_per_second": "tokens/s", "seconds": "loop s", "startup": "start-up s", "memory": "peak MiB"}
    compared = _common.ratios(found, "ftkit", lambda measured: measured["tokens_per_second"])
    _common.present(options, "summarization with LoRA", found, columns, compared, rows=len(rows), tokens=tokens)


def stock(job: Job) -> _common.Measured:
    """Trainer and PEFT, as PEFT's examples have them: dynamic padding, fp32, the same targets, rank and batch."""
    import transformers
    from datasets import Dataset

    arrived = time.time()
    transformers.set_seed(job.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        trainer = transformers.Trainer(
            model=_adapted(job),
            args=_contestants.stock_arguments(job, STOCK["B"], folder),
            train_dataset=Dataset.from_list(encode(job, tokenizer)),
            data_collator=transformers.DataCollatorForSeq2Seq(tokenizer),  # the one that pads labels beside inputs
            processing_class=tokenizer,
        )
        return _contestants.run_stock(trainer, arrived)


def _adapted(job: Job) -> Any:
    """The checkpoint with the recipe's LoRA; PEFT's `all-linear` is every linear layer but the output layer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = resolve("method", ftkit.load_recipe(job.shelf).method, Method).options
    model = AutoModelForCausalLM.from_pretrained(job.checkpoint, dtype=torch.float32)
    config = LoraConfig(task_type="CAUSAL_LM", r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear")
    return get_peft_model(model, config)


def encode(job: Job, tokenizer: Any) -> list[_data.Row]:
    """The recipe's prompt through the checkpoint's chat template, then the summary, which alone has targets."""
    settings = resolve("task", ftkit.load_recipe(job.shelf).task, Task).options
    encoded = []
    for row in _data.read(job.train):
        document = tokenizer(row["document"], truncation=True, max_length=settings.max_length)["input_ids"]
        message = [{"role": "user", "content": settings.prompt.replace("{document}", tokenizer.decode(document))}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
        summary = tokenizer(row["summary"], truncation=True, max_length=settings.target_length - 1)["input_ids"]
        target = [*summary, tokenizer.eos_token_id]
        labels = [-100] * len(prompt) + target
        encoded.append({"input_ids": prompt + target, "attention_mask": [1] * len(labels), "labels": labels})
    return encoded


def count(job: Job) -> int:
    """Tokens of an epoch, padding not counted."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.checkpoint)
    return sum(len(row["input_ids"]) for row in encode(job, tokenizer))


if __name__ == "__main__":
    main()
