"""Baselines of a task, scored on the rows that the trained model is scored on, and what that one adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from datasets import Dataset

from ftkit import plugins
from ftkit.baselines import _text as words
from ftkit.baselines._base import Baseline
from ftkit.engine.scoring import Scored, scored
from ftkit.errors import RecipeError, problems
from ftkit.metrics import intervals
from ftkit.metrics.intervals import Resampling, Verdict
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Labels, Task


class Gain(TypedDict):
    """What a model adds to the best baseline in the deciding metric: model minus baseline, over the same rows."""

    baseline: str
    metric: str
    n: int
    """Rows."""
    value: float
    low: float
    high: float
    p: float
    test: str
    """What `p` is of, as of a `Difference`."""
    verdict: Verdict


def of(task: Task, stopwords: frozenset[str] = frozenset()) -> dict[str, Baseline]:
    """The baselines that the task's own class names and that serve its options; `stopwords` don't count for them.

    Raises RecipeError for a name that there is not, and for baselines of another family of tasks. What another class
    names goes for that class's answers, which one that inherits from it may well have changed.
    """
    names = vars(type(task)).get("baselines", ())
    found = {_short(name): plugins.find("baseline", name, Baseline)(stopwords) for name in names}
    own = type(task).__name__
    if foreign := {name: each.family.__name__ for name, each in found.items() if not isinstance(task, each.family)}:
        told = [f"the baseline {name} answers as {family} does, which {own} is not" for name, family in foreign.items()]
        raise problems(RecipeError, f"{own}.baselines", told, "name others, or write one that answers as the task does")
    return {name: baseline for name, baseline in found.items() if baseline.serves(task)}


def run_baselines(
    task: Task, labels: Labels, splits: Mapping[str, Dataset], settings: EvaluateSpec
) -> dict[str, dict[str, Scored]]:
    """Split -> baseline -> its scores, learned from `splits["train"]`, for each other split.

    The task's own metrics only: those that a recipe adds may take longer than the training.
    """
    found: dict[str, dict[str, Scored]] = {split: {} for split in splits if split != "train"}
    settings = settings.model_copy(update={"metrics": ()})
    for name, baseline in of(task, words.stopwords(settings.stopwords)).items() if found else ():
        baseline.fit(splits["train"], task, labels)
        for split, each in found.items():
            each[name] = scored(task, baseline.predict(splits[split]), splits[split], settings, labels)
    return {split: each for split, each in found.items() if each}


def _short(name: str) -> str:
    """The name of a shipped baseline, or of a file or module of one's own."""
    return Path(name.removesuffix(".py")).name.rpartition(".")[2]


def gain(task: Task, model: Scored, baselines: Mapping[str, Scored], metric: str, resamples: int) -> Gain | None:
    """What the model adds to the baseline that is best in `metric`; None where they can't be compared in it."""
    sign = task.sign(metric)
    able = {name: its.evidence for name, its in baselines.items() if its.evidence and metric in its.scores}
    if not able or model.evidence is None or not resamples:
        return None
    best = max(able, key=lambda name: sign * baselines[name].scores[metric]["value"])
    resampling = Resampling(model.level, resamples)
    found = intervals.differences(model.evidence.tally, able[best].tally, model.evidence.groups, resampling)
    if metric not in found:
        return None
    difference = found[metric]
    return {
        "baseline": best,
        "metric": metric,
        "n": len(model.evidence.tally),
        "value": difference.value,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "test": difference.test,
        "verdict": difference.verdict(model.level, sign < 0),
    }
