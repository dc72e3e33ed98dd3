"""Sentiment by rules: a lexicon of English words with negation and boosters, that learns only where to cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ftkit import vader
from ftkit.baselines._base import Baseline, some
from ftkit.metrics.tally import Floats
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.classification import Classification

if TYPE_CHECKING:
    from datasets import Dataset

ROWS = 5000
"""Training rows that are used, drawn at random where there are more."""
CHARACTERS = 2000
"""Of a text that are read, the first ones: VADER's time grows with the square of a text's length."""


class Lexicon(Baseline):
    """VADER (Hutto and Gilbert 2014); a text has the label whose training rows' mean polarity is nearest to its own.

    Among labels that are equally near the more frequent one wins, as in a language whose words VADER lacks. A label's
    `score` is how much nearer it is than the next: 0.5 halfway between the two, 1 at its mean. It is no probability.
    """

    summary = "a lexicon of English with negation and boosters (VADER)"
    family = Classification

    def serves(self, task: Task) -> bool:
        """Where a row has one label."""
        return bool(task.options.kind == "single")

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Find the mean polarity of each label over at most `ROWS` training rows."""
        rows = rows.select(some(len(rows), ROWS))
        truth, found = np.array(rows["label"]), polarities(rows["text"])
        self.labels = [label for label, _ in Counter(truth.tolist()).most_common()]
        self.means = np.array([found[truth == label].mean() for label in self.labels])

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The label with the nearest mean."""
        away = np.abs(polarities(rows["text"])[:, None] - self.means)
        return [
            {"label": self.labels[i], "score": _nearness(row)} for i, row in zip(away.argmin(-1), away, strict=True)
        ]


def polarities(texts: Sequence[str]) -> Floats:
    """VADER's compound score of each text, from -1 to 1."""
    return np.array([vader.of_text(text[:CHARACTERS]) for text in texts])


def _nearness(away: Floats) -> float:
    """The second smallest distance as a share of the two smallest together."""
    if len(away) == 1:
        return 1.0
    first, second = np.sort(away)[:2]
    return float(second / (first + second)) if second else 0.5
