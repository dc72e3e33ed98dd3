"""Scores, how far they can be trusted, and what they were taken of; no model is known here.

Functions that score are pure: they take the truth and the predictions row by row and give `Scores`. `evidence` alone
keeps files, and `library` alone asks the network, for a metric that somebody names. Values are fractions from 0 to 1,
but for correlations (-1 to 1) and the errors of a regression; a ratio with nothing to divide by is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, NotRequired, TypedDict

from ftkit.errors import DataError


class Score(TypedDict, total=False):
    """A metric's value, the number of cases it was taken over, and its interval where one was computed."""

    value: float
    n: int
    low: float
    high: float
    method: str
    """Of the interval: `bca`, `wilson` or `jackknife` (`ftkit.metrics.intervals`)."""


class ClassScores(TypedDict):
    """Scores of one label or entity type; `n` is how often the truth has it, `low` and `high` the interval of `f1`."""

    label: str
    precision: float
    recall: float
    f1: float
    n: int
    low: NotRequired[float]
    high: NotRequired[float]


Scores = dict[str, Score]
"""Metric name -> score."""


def score(value: Any, n: int) -> Score:
    """A score as plain Python numbers, whatever numeric type `value` has."""
    return {"value": float(value), "n": int(n)}


def over_trainings(scores: Sequence[Score]) -> dict[str, Any]:
    """One metric over several trainings on the same rows: mean, standard deviation (`sd`), and `each` value."""
    values = [score["value"] for score in scores]
    deviation = stdev(values) if len(values) > 1 else 0.0
    return {"value": fmean(values), "sd": deviation, "n": scores[0]["n"], "each": values}


def percent(level: float) -> str:
    """The level of an interval as it was set: `95%`, `99.5%`."""
    return f"{100 * level:.6g}%"


def in_table(name: str) -> bool:
    """Whether tables show a score: of precision and recall the macro averages; scores.json has the others too."""
    return not (name.startswith(("micro_", "weighted_")) and name.endswith(("precision", "recall")))


def require_pairs(truth: Sequence[Any], predicted: Sequence[Any]) -> None:
    """Raises DataError where there is nothing to score, ValueError where the two differ in length."""
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} rows of truth, but {len(predicted)} predictions")
    if not len(truth):
        raise DataError("there are no rows to score", "look at the file or split that should be scored")
