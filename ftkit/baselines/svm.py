"""A bag of words with a linear model: what a text's words say without their order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.baselines._base import SEED, Baseline, some
from ftkit.baselines._text import words
from ftkit.data.typed import column
from ftkit.metrics.calibration import softmax
from ftkit.metrics.tally import Floats
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.classification import Classification

if TYPE_CHECKING:
    from datasets import Dataset

ROWS = 50_000
"""Training rows that are used, drawn at random where there are more."""
DECISIONS = 2_000_000
"""Rows times labels that are learned from; with more labels, fewer rows are used."""
CHARACTERS = 2000
"""Of a text that are read, the first ones."""
IN_ALL = 20_000_000
"""Characters that are read in all; of longer texts, fewer rows are used."""


class SVM(Baseline):
    """TF-IDF of words and pairs of words, and a linear support vector machine over them (Joachims 1998).

    Several labels have a machine each; numbers have ridge regression. The two texts of a pair count words apart.
    A label's `score` is the softmax (of several labels the sigmoid) of its margin, which is no probability.
    """

    summary = "TF-IDF of words and word pairs, with a linear support vector machine"
    family = Classification

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Learn from at most `ROWS` training rows."""
        inputs = [each.name for each in task.shapes()[0] if each.is_input]
        columns = [name for name in inputs if name in rows.column_names]
        length = sum(min(len(text or ""), CHARACTERS) for name in columns for text in column(rows, name))
        most = min(ROWS, DECISIONS // len(labels), len(rows) * IN_ALL // max(1, length))
        rows = rows.select(some(len(rows), max(1, most)))
        self.kind, self.labels = task.options.kind, labels
        self.vectorizers = {name: self._vectorizer() for name in columns if self._has_words(rows[name])}
        inputs = self._inputs(rows, "fit_transform")
        truth = list(rows["label"])
        if self.kind == "regression":
            self.models = [_regression(inputs, truth)]
        elif self.kind == "single":
            self.labels = tuple(label for label in labels if label in set(truth))
            self.models = [_machine(inputs, [self.labels.index(label) for label in truth])]
        else:
            self.models = [_machine(inputs, [int(label in value) for value in truth]) for label in labels]

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The label with the largest margin, the labels with a positive one, or the number."""
        inputs = self._inputs(rows)
        if self.kind == "regression":
            return [{"value": float(value)} for value in self.models[0].predict(inputs)]
        if self.kind == "single":
            margins = _margins(self.models[0], inputs)
            return [
                {"label": self.labels[i], "score": float(row[i])}
                for i, row in zip(margins.argmax(-1), softmax(margins), strict=True)
            ]
        margins = np.stack([_margins(model, inputs)[:, -1] for model in self.models], axis=1)
        return [self._given(row) for row in margins]

    def _given(self, margins: Floats) -> Prediction:
        given = {label: float(1 / (1 + np.exp(-m))) for label, m in zip(self.labels, margins, strict=True) if m > 0}
        return {"labels": list(given), "scores": given}

    def _has_words(self, values: Sequence[Any]) -> bool:
        return any(set(words(text)) - self.stopwords for text in _texts(values))

    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        left_out = sorted(self.stopwords) or None
        how: dict[str, Any] = {"tokenizer": words, "token_pattern": None, "lowercase": False, "stop_words": left_out}
        return TfidfVectorizer(**how, ngram_range=(1, 2), sublinear_tf=True)

    def _inputs(self, rows: Dataset, how: str = "transform") -> Any:
        """(rows, features), sparse; a column of zeros stands for texts without words."""
        from scipy.sparse import csr_array, hstack

        parts = [getattr(vectorizer, how)(_texts(rows[name])) for name, vectorizer in self.vectorizers.items()]
        return hstack([csr_array((len(rows), 1)), *parts], format="csr")


def _texts(values: Sequence[Any]) -> list[str]:
    return [(value or "")[:CHARACTERS] for value in values]


def _machine(inputs: Any, classes: list[int]) -> Any:
    """A linear support vector machine, or the class itself where there is but one."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    if len(set(classes)) == 1:
        return classes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one that is nearly there is baseline enough
        return LinearSVC(random_state=SEED).fit(inputs, classes)


def _margins(model: Any, inputs: Any) -> Floats:
    """(rows, classes); of two classes the first has 0."""
    if isinstance(model, int):
        return np.full((inputs.shape[0], 1), 1.0 if model else -1.0)
    margins = np.asarray(model.decision_function(inputs))
    return np.stack([np.zeros_like(margins), margins], axis=1) if margins.ndim == 1 else margins


def _regression(inputs: Any, truth: list[float]) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(random_state=SEED).fit(inputs, truth)
