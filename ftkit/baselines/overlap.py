"""Question answering by shared words: the sentence that repeats the most of the question."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import TYPE_CHECKING

from ftkit.baselines._base import Baseline
from ftkit.baselines._text import sentences, words
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.qa import QuestionAnswering

if TYPE_CHECKING:
    from datasets import Dataset


class Overlap(Baseline):
    """The sentence of the passage that shares most words with the question, rare words counting more.

    `No answer` is its answer to all questions where most of the training rows' have none, and to none otherwise. Its
    `score` is the share of the question's words, weighed, that the sentence has; it is no probability.
    """

    summary = "the passage's sentence that shares most words with the question"
    family = QuestionAnswering

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Count how many passages have each word, and how many questions have no answer."""
        passages = dict.fromkeys(rows["context"])
        self.passages = len(passages)
        self.occurs = Counter(word for passage in passages for word in set(words(passage)))
        self.unanswered = sum(not answers["text"] for answers in rows["answers"]) / len(rows)

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The best sentence of each passage; "" and nulls for no answer."""
        if self.unanswered > 0.5:
            return [_nothing(self.unanswered) for _ in range(len(rows))]
        return [self._answer(*row) for row in zip(rows["question"], rows["context"], strict=True)]

    def _answer(self, question: str, context: str) -> Prediction:
        asked = set(words(question))
        weights = {span: self._weight(asked & set(words(context[slice(*span)]))) for span in sentences(context)}
        if not weights:
            return _nothing(1.0)
        start, end = max(weights, key=lambda span: weights[span])
        share = weights[start, end] / (self._weight(asked) or 1)
        return {"answer": context[start:end], "start": start, "end": end, "score": share}

    def _weight(self, found: set[str]) -> float:
        """The sum of the words' inverse document frequencies."""
        return sum(log((1 + self.passages) / (1 + self.occurs[word])) + 1 for word in sorted(found - self.stopwords))


def _nothing(score: float) -> Prediction:
    return {"answer": "", "start": None, "end": None, "score": score}
