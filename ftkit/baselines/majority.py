"""The one answer that is right most often."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING

from ftkit.baselines._base import Baseline
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.classification import Classification

if TYPE_CHECKING:
    from datasets import Dataset


class Majority(Baseline):
    """The most frequent label; the set of labels with the best micro-F1; the mean of the numbers."""

    summary = "the most frequent label, or the mean"
    family = Classification

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Count the labels of the training rows."""
        truth, kind = list(rows["label"]), task.options.kind
        if kind == "regression":
            self.answer: Prediction = {"value": fmean(truth)}
            return
        counts = Counter(label for value in truth for label in ([value] if kind == "single" else value))
        frequent = sorted(labels, key=lambda label: -counts[label])
        shares = {label: counts[label] / len(truth) for label in frequent}
        if kind == "single":
            self.answer = {"label": frequent[0], "score": shares[frequent[0]]}
            return
        given = frequent[: _best_size([counts[label] for label in frequent], len(truth))]
        self.answer = {"labels": given, "scores": {label: shares[label] for label in given}}

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The same answer for each row."""
        return [dict(self.answer) for _ in range(len(rows))]


def _best_size(counts: list[int], rows: int) -> int:
    """How many of the most frequent labels, given to every row, have the highest micro-F1."""
    total = sum(counts)
    return max(range(len(counts) + 1), key=lambda size: 2 * sum(counts[:size]) / (size * rows + total or 1))
