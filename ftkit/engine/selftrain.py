"""Self-training: texts without labels are learned from under the labels that a first model is sure of.

Scudder (1965); Yarowsky (1995). Each round begins at the pretrained checkpoint again, so that what an earlier one took
for true is not carried on in the weights.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset, concatenate_datasets

from ftkit.alike import folded
from ftkit.data.load import load_file, unified
from ftkit.engine import asking
from ftkit.engine import model as models
from ftkit.engine.finish import finish
from ftkit.engine.fit import Fitted, finished, fit
from ftkit.engine.prepare import Prepared
from ftkit.errors import DataError, RecipeError
from ftkit.metrics import intervals
from ftkit.metrics.evidence import Evidence
from ftkit.metrics.intervals import of_differences
from ftkit.run import SCORES, SELF_TRAINING, RunDirectory
from ftkit.terminal import Progress, Say, silence


@dataclass(frozen=True)
class Round:
    """A training, the first one on labelled rows alone."""

    run: RunDirectory
    fitted: Fitted
    labels: dict[str, int]
    """How many texts were learned from under each label that the round before gave them."""
    validation: float
    """The score that decides, more being better."""


def read(prepared: Prepared) -> Dataset | None:
    """The texts without labels, but those that held-out rows have; None where the recipe names none.

    Raises RecipeError for a task that can't learn from them, DataError where none is left.
    """
    spec, task = prepared.recipe.data, prepared.task
    if spec.unlabeled is None:
        return None
    if task.stratify() is None or not task.calibrates():
        raise RecipeError(
            f"data.unlabeled: {type(task).__name__} gives a text no single label that a probability stands beside",
            "leave it out",
        )
    if "validation" not in prepared.splits:
        raise RecipeError("data.unlabeled: there are no validation rows to choose a round by", "set data.validation")
    found, _ = load_file(spec.sources("unlabeled"), spec, task.shapes(), targets=False)
    rows = unified(task, found)
    held = {
        folded(task.texts(row).values()) for name, split in prepared.splits.items() if name != "train" for row in split
    }
    rows = rows.select([i for i, row in enumerate(rows) if folded(task.texts(row).values()) not in held])
    if not len(rows):
        raise DataError(
            f"data.unlabeled: {' and '.join(spec.sources('unlabeled'))} has no text that no held-out row has",
            "name another file",
        )
    return rows


def self_train(run: RunDirectory, prepared: Prepared, unlabeled: Dataset, progress: Progress, say: Say) -> Fitted:
    """Train on the labelled rows, then in each round also on the texts whose label the round before is sure of.

    The run is given the model of the best round by validation. What the last round is worth, against none, is told.
    """
    if run.has(SELF_TRAINING):
        done = finished(run.part("rounds", str(run.read_json(SELF_TRAINING)["kept"])))
        assert done is not None
        return done
    rounds = [_round(run, prepared, prepared.training(), 0, {}, progress, say)]
    for number in range(1, prepared.recipe.data.unlabeled_rounds + 1):
        labelled, counts = _labelled(rounds[-1], prepared, unlabeled, progress)
        say(f"round {number}: {len(labelled)} of {len(unlabeled)} texts have a sure label ({_counted(counts)})")
        if not len(labelled):
            break
        rows = concatenate_datasets([prepared.training(), labelled])
        rounds.append(_round(run, prepared, rows, number, counts, progress, say))
    best = max(rounds, key=lambda one: one.validation)  # of equal ones the first
    run.take_record(best.run)
    run.take_model(best.run)
    told = _told(prepared, rounds, best, len(unlabeled))
    run.write_json(SELF_TRAINING, told)
    say(_sentence(told, prepared.metric))
    for one in rounds:
        shutil.rmtree(one.run.model, ignore_errors=True)
    return best.fitted


def learned_from(run: RunDirectory, unlabeled: Dataset | None) -> Dataset | None:
    """The texts without labels, where the round that was kept had learned from some of them."""
    return unlabeled if run.has(SELF_TRAINING) and run.read_json(SELF_TRAINING)["kept"] else None


def _round(
    run: RunDirectory,
    prepared: Prepared,
    rows: Dataset,
    number: int,
    counts: dict[str, int],
    progress: Progress,
    say: Say,
) -> Round:
    part = run.part("rounds", str(number))
    fitted = fit(part, prepared, rows, progress, say=say)
    done = finish(part, prepared, fitted, silence, progress, analyse=False)
    value = done.scores["validation"][prepared.metric]["value"]
    return Round(part, fitted, counts, prepared.task.sign(prepared.metric) * value)


def _labelled(one: Round, prepared: Prepared, unlabeled: Dataset, progress: Progress) -> tuple[Dataset, dict[str, int]]:
    """The texts that a round's model is sure of, under the labels that it gives them, and how many have each."""
    trained = models.load(one.run.path)
    settings = asking.spec_of(trained, prepared.recipe)
    answers = list(asking.answer(trained, unlabeled, settings, progress=progress))
    sure = [i for i, answer in enumerate(answers) if answer["score"] >= prepared.recipe.data.unlabeled_confidence]
    labels = [str(answers[i].get("label") or answers[i].get("withheld")) for i in sure]
    train = prepared.splits["train"]
    columns = {name: _column(unlabeled, name, sure) for name in train.column_names}
    columns[str(prepared.task.stratify())] = labels
    return Dataset.from_dict(columns, features=train.features), dict(Counter(labels))


def _column(rows: Dataset, name: str, places: Sequence[int]) -> list[Any]:
    """Values of some rows; None where they have no such column."""
    return list(rows.select(places)[name]) if name in rows.column_names else [None] * len(places)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items())) or "none"


def _told(prepared: Prepared, rounds: Sequence[Round], best: Round, texts: int) -> dict[str, Any]:
    """Each round with its scores, and the last one's difference from the one without unlabelled texts."""
    metric = prepared.metric
    split = "test" if "test" in prepared.splits else "validation"
    each = [
        {
            "round": number,
            "texts": sum(one.labels.values()),
            "labels": one.labels,
            **{name: scores[metric]["value"] for name, scores in one.run.read_json(SCORES)["scores"].items()},
        }
        for number, one in enumerate(rounds)
    ]
    found = {"texts": texts, "kept": rounds.index(best), "split": split, "metric": metric, "rounds": each}
    if len(rounds) == 1:
        return found
    first, last = (Evidence.load(one.run.evidence(split)) for one in (rounds[0], rounds[-1]))
    settings = prepared.recipe.evaluate
    resampling = of_differences(settings.level, settings.resamples)
    difference = intervals.differences(last.tally, first.tally, first.groups, resampling)[metric]
    lower = metric in prepared.task.lower_is_better
    return {**found, "verdict": difference.verdict(resampling.level, lower), "difference": difference._asdict()}


def _sentence(told: dict[str, Any], metric: str) -> str:
    if "difference" not in told:
        return (
            "self-training: the model is sure of no text, and the one of the labelled rows alone is kept;"
            " data.unlabeled_confidence says how sure it must be"
        )
    found, kept = told["difference"], told["kept"]
    value = f"{metric} {found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}], p = {found['p']:.2g}"
    model = f"round {kept}" if kept else "the one without unlabelled texts"
    after = f"after round {len(told['rounds']) - 1}"
    against = f"{told['verdict']} on the {told['split']} rows than without ({value})"
    return f"self-training: {after} {against}; kept, by validation: {model}"
