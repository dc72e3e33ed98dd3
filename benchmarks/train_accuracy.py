"""Accuracy: ftkit's shelf recipe beside the stock Trainer (B), trained on all rows, seed by seed; one test set.

Each training appends a line to a file, so that the program can be stopped and called again: it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import _common, _contestants, _data
from benchmarks._contestants import STOCK, Job
from ftkit.terminal import say

CONTESTANTS = ("B", "ftkit")
_RESAMPLES = 5000


def main() -> None:
    """Train what is missing, then compare what is there."""
    options = _options()
    known = {_key(line): line for line in _data.read(options.results)} if options.results.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        train, test = (_rows(options, split, Path(folder)) for split in ("train", "test"))
        for seed in range(options.seed, options.seed + options.seeds):
            for name in options.only or CONTESTANTS:
                key = {"task": options.task, "contestant": name, "seed": seed, "epochs": options.epochs}
                key |= {"train_rows": len(_data.read(train)), "test_rows": len(_data.read(test))}
                if _key(key) not in known:
                    known[_key(key)] = _train(key, train, test, options)
        present(options, _data.read(test), [line for line in known.values() if _matches(line, key)])


def _options() -> argparse.Namespace:
    parser = _common.parser(__doc__, rounds=None)
    parser.add_argument("--task", choices=_contestants.SHELF, default="sst2", help="the data set")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each contestant, from --seed on")
    parser.add_argument("--epochs", type=float, default=3.0, help="times that the rows are gone over")
    parser.add_argument("--only", choices=CONTESTANTS, action="append", help="train this contestant alone now")
    parser.add_argument("--results", type=Path, default=Path("accuracy.jsonl"), help="file that results are added to")
    return _common.parse(parser)


def _rows(options: argparse.Namespace, split: str, folder: Path) -> Path:
    count = options.rows if split == "train" else None
    rows = _data.draw(_data.READERS[options.task](options.data, split), count, seed=0)  # whatever the first --seed
    return _data.write(rows, folder / f"{split}.jsonl")


_SAME = ("task", "epochs", "train_rows", "test_rows")


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one training from another."""
    return tuple(line[name] for name in ("contestant", "seed", *_SAME))


def _matches(line: dict[str, Any], key: dict[str, Any]) -> bool:
    return all(line[name] == key[name] for name in _SAME)


# ---------------------------------------------------------------------- one training


def _train(key: dict[str, Any], train: Path, test: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train and answer in a fresh process; the line that is added to the results."""
    job = Job(_contestants.SHELF[options.task], train, options.epochs, key["seed"], test)
    answer = answer_ftkit if key["contestant"] == "ftkit" else answer_stock
    line = {**key, **_common.apart(partial(answer, job))}
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    say(f"{key['contestant']}, seed {key['seed']}: trained in {line['seconds']:.0f} s")
    return line


def answer_ftkit(job: Job) -> _common.Measured:
    """ftkit's answers to the test rows: labels, or [type, start, end] of a row's entities."""
    with tempfile.TemporaryDirectory() as folder:
        done, watch = _contestants.train_ftkit(job, Path(folder) / "run", [f"task.max_length={_contestants.LENGTH}"])
        rows = _data.read(Path(done.run) / "predictions" / "test.jsonl")
    return {"predictions": [_plain(row) for row in rows], "seconds": watch.ended - watch.began}


def _plain(answer: dict[str, Any]) -> Any:
    """One of ftkit's answers: a label, or [type, start, end] of each entity."""
    if "label" in answer:
        return answer["label"]
    return [[entity[name] for name in ("type", "start", "end")] for entity in answer["entities"]]


def answer_stock(job: Job) -> _common.Measured:
    """The stock Trainer's answers, in the same form."""
    from datasets import Dataset

    assert job.test
    rows, labels = _data.read(job.test), _contestants.label_names(_data.read(job.train))
    with tempfile.TemporaryDirectory() as folder:
        trainer = _contestants.stock_trainer(job, STOCK["B"], folder)
        seconds = trainer.train().metrics["train_runtime"]
        encoded = _contestants.encode(rows, labels, trainer.processing_class)
        best = trainer.predict(Dataset.from_list(encoded)).predictions.argmax(-1)
    if not job.per_token:
        return {"predictions": [labels[i] for i in best], "seconds": seconds}
    found = []
    for row, numbers, targets in zip(rows, best, (e["labels"] for e in encoded), strict=True):
        tags = [labels[i] for i, target in zip(numbers, targets, strict=False) if target != -100]
        tags += ["O"] * (len(row["tokens"]) - len(tags))  # words that were cut off
        found.append(places(row["tokens"], tags))
    return {"predictions": found, "seconds": seconds}


def places(tokens: Sequence[str], tags: Sequence[str]) -> list[list[Any]]:
    """[type, start, end] of the entities that the tags spell, in characters of the tokens with a space between."""
    from ftkit.metrics.spans import entities

    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token) + 1)
    return [[kind, starts[first], starts[after] - 1] for kind, first, after in entities(tags)]


# ---------------------------------------------------------------------- the comparison


def present(options: argparse.Namespace, rows: list[_data.Row], lines: list[dict[str, Any]]) -> None:
    """Print each contestant's scores, and the difference over the seeds that both have."""
    truth = [places(row["tokens"], row["tags"]) if "tags" in row else row["label"] for row in rows]
    counts: dict[str, dict[int, Any]] = {name: {} for name in CONTESTANTS}
    for line in lines:
        counts[line["contestant"]][line["seed"]] = count(line["predictions"], truth)
    scores = {name: {seed: f1(found.sum(0)) for seed, found in each.items()} for name, each in counts.items()}
    both = sorted(set(counts["B"]) & set(counts["ftkit"]))
    compared = difference([sum(counts[name][seed] for seed in both) for name in CONTESTANTS]) if both else None
    if options.json:
        print(json.dumps({"machine": _common.machine(), "scores": scores, "difference": compared, "seeds": both}))
        return
    print(f"{'entity F1' if options.task == 'conll2003' else 'accuracy'} on the test rows of {options.task}")
    for name, each in scores.items():
        if each:
            seeds = ", ".join(f"{each[seed]:.4f}" for seed in sorted(each))
            print(f"{name}: mean {sum(each.values()) / len(each):.4f} ({seeds})")
    if compared:
        low, high = compared["low"], compared["high"]
        print(f"ftkit - B over {len(both)} seeds: {compared['value']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")


def count(predictions: Sequence[Any], truth: Sequence[Any]) -> Any:
    """For each row how many answers are right, were given, and should have been: an array (rows, 3)."""
    import numpy as np

    def bag(value: Any) -> set[Any]:
        return {tuple(entity) for entity in value} if isinstance(value, list) else {value}

    pairs = [(bag(found), bag(true)) for found, true in zip(predictions, truth, strict=True)]
    return np.array([(len(found & true), len(found), len(true)) for found, true in pairs])


def f1(counts: Any) -> float:
    """F1 of (right, given, true); with one answer to each row that is accuracy."""
    right, given, true = counts
    return float(2 * right / max(1, given + true))


def difference(counts: Sequence[Any]) -> dict[str, float]:
    """Second minus first, with a 95 % interval: a paired bootstrap over test rows, each row's seeds kept together."""
    import numpy as np

    first, second = counts
    draws = np.random.default_rng(0).integers(len(first), size=(_RESAMPLES, len(first)))
    found = [f1(second[rows].sum(0)) - f1(first[rows].sum(0)) for rows in draws]
    low, high = np.quantile(found, (0.025, 0.975))
    return {"value": f1(second.sum(0)) - f1(first.sum(0)), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    main()
