"""Scores of predictions with their intervals: the one place where training, `eval`, folds and baselines get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from ftkit.data.split import numbered
from ftkit.errors import FTKitError
from ftkit.metrics import ClassScores, Scores, intervals, library
from ftkit.metrics.evidence import Evidence, asked, fingerprints
from ftkit.metrics.intervals import Resampling
from ftkit.metrics.tally import LabelTally, Tally
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Labels, Prediction, Task


@dataclass(frozen=True)
class Scored:
    """A split's scores, a row for each label, and what they were taken of.

    Without `evidence` where a task has no tally, or one of a class of its own, which no file can hold.
    """

    scores: Scores
    level: float
    """Share of the scores' intervals that should hold the true score."""
    breakdown: list[ClassScores]
    evidence: Evidence | None


def scored(
    task: Task, predictions: Sequence[Prediction], rows: Dataset, settings: EvaluateSpec, labels: Labels
) -> Scored:
    """Scores of predictions, each with its interval; also those of the metrics that a recipe names."""
    resampling = Resampling(settings.level, settings.resamples)
    tally, groups = tallied(task, predictions, rows, labels), documents(task, rows)
    scores, breakdown = ({}, []) if tally is None else intervals.scores(tally, groups, resampling)
    said = _said(tally)
    breakdown = [row for row in breakdown if row["n"] or row["label"] in said]
    if type(task).score is not Task.score:
        scores = _own(task, predictions, rows, scores, resampling, groups)
    if type(task).breakdown is not Task.breakdown:
        breakdown = task.breakdown(predictions, rows)
    for name in settings.metrics:
        scores |= _beside(scores, name, _more(name, task, predictions, rows, labels, resampling, groups))
    kept = tally if tally is not None and Evidence.keeps(tally) else None
    evidence = None if kept is None else Evidence(kept, groups, fingerprints(rows), asked(rows, task.texts))
    return Scored(scores, settings.level, breakdown, evidence)


def tallied(task: Task, predictions: Sequence[Prediction], rows: Dataset, labels: Labels) -> Tally | None:
    """What a task's scores are taken of; where a row may have several labels, over all that the model knows.

    The share of decisions that are right has as many decisions in a row as there are labels (the Hamming loss of the
    field), however few of them occur.
    """
    found = task.tally(predictions, rows)
    if isinstance(found, LabelTally) and found.kind == "multi":
        return found.under(tuple(dict.fromkeys((*labels, *found.names))))
    return found


def _said(tally: Tally | None) -> set[str]:
    """Labels that were predicted somewhere."""
    if not isinstance(tally, LabelTally):
        return set()
    return {name for name, said in zip(tally.names, tally.counts(tally.total)[1], strict=True) if said}


def documents(task: Task, rows: Dataset) -> tuple[int, ...] | None:
    """A number for the document (or other group) of each row; None where rows stand alone."""
    names = [name for name in ("group", *task.groups) if name in rows.column_names]
    if not names:
        return None
    found = numbered(rows[names[0]])
    return None if len(set(found)) == len(rows) else found


def _own(
    task: Task,
    predictions: Sequence[Prediction],
    rows: Dataset,
    known: Scores,
    resampling: Resampling,
    groups: Sequence[int] | None,
) -> Scores:
    """What a task's own `score` gives; intervals from the tally where it says the same, else from parts left out."""

    def measure(places: Sequence[int]) -> dict[str, float]:
        found = task.score([predictions[i] for i in places], rows.select(places))
        return {name: score["value"] for name, score in found.items()}

    scores = task.score(predictions, rows)
    same = {name for name in scores if name in known and known[name]["value"] == scores[name]["value"]}
    if same == set(scores):
        return {name: known[name] for name in scores}
    return {**_by_parts(scores, measure, len(rows), resampling, groups), **{name: known[name] for name in same}}


def _beside(known: Scores, name: str, found: Scores) -> Scores:
    """What a named metric adds to the scores that are known, none of which it may take the place of.

    A score that is called as one of them has the metric's name before its own. ftkit's own metrics say what the tally
    does, which is over all labels.
    """
    if name.startswith("ftkit/"):
        return {metric: score for metric, score in found.items() if metric not in known}
    return {f"{Path(name).stem}/{metric}" if metric in known else metric: score for metric, score in found.items()}


def _more(
    name: str,
    task: Task,
    predictions: Sequence[Prediction],
    rows: Dataset,
    labels: Labels,
    resampling: Resampling,
    groups: Sequence[int] | None,
) -> Scores:
    """Scores of a metric that a recipe names besides the task's own."""
    compute = library.load(name, labels)
    said, true = task.answers(predictions, rows)

    def measure(places: Sequence[int]) -> dict[str, float]:
        return compute([said[i] for i in places], [true[i] for i in places])

    scores: Scores = {metric: {"value": value, "n": len(rows)} for metric, value in compute(said, true).items()}
    return _by_parts(scores, measure, len(rows), resampling, groups)


def _by_parts(
    scores: Scores,
    measure: Callable[[Sequence[int]], dict[str, float]],
    n: int,
    resampling: Resampling,
    groups: Sequence[int] | None,
) -> Scores:
    """The scores with jackknife intervals; without, where some part of the rows can't be scored on its own."""
    values = {name: score["value"] for name, score in scores.items()}
    try:
        found = intervals.by_parts(measure, values, n, resampling, groups)
    except (FTKitError, ValueError):
        return scores
    return {
        name: {**score, "low": found[name][0], "high": found[name][1], "method": "jackknife"}
        if name in found
        else score
        for name, score in scores.items()
    }
