"""A summary by vote: the sentences that most others resemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ftkit.baselines._base import Baseline, some
from ftkit.baselines._text import sentences, words
from ftkit.baselines.lead import usual_length
from ftkit.metrics.tally import Floats
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.summarization import Summarization

if TYPE_CHECKING:
    from datasets import Dataset

DOCUMENTS = 2000
"""Training documents that words are weighed by, drawn at random where there are more."""
SENTENCES = 200
"""Sentences of a document that are ranked, the first ones."""
_DAMPING = 0.85
"""Share of its rank that a sentence passes on; the rest is the same for all."""
_ROUNDS = 100
"""Steps after which ranks are taken as they are."""


class TextRank(Baseline):
    """The sentences with the highest rank in the graph of their likenesses (Mihalcea and Tarau 2004), in their order.

    Two sentences are as alike as the cosine of their words' TF-IDF, as in LexRank (Erkan and Radev 2004). There are as
    many sentences as the training rows' summaries have on average.
    """

    summary = "the sentences most like the others (TextRank)"
    family = Summarization

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Count the sentences of the summaries, and how many documents have each word."""
        self.length = usual_length(rows)
        self.weigher = _weigher(rows.select(some(len(rows), DOCUMENTS))["document"], self.stopwords)

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The highest sentences of each document."""
        return [{"summary": self._summary(document)} for document in rows["document"]]

    def _summary(self, document: str) -> str:
        found = [document[start:end] for start, end in sentences(document)[:SENTENCES]]
        if len(found) > self.length:
            best = np.argsort(-self._ranks(found), kind="stable")[: self.length]
            found = [found[i] for i in sorted(best)]
        return " ".join(found)

    def _ranks(self, found: list[str]) -> Floats:
        if self.weigher is None:
            return np.zeros(len(found))
        weights = self.weigher.transform(found)
        return ranks((weights @ weights.T).toarray())


def ranks(likeness: Floats) -> Floats:
    """The PageRank of each node of an undirected graph with edges so heavy, (n, n); no node votes for itself."""
    edges = likeness.copy()
    np.fill_diagonal(edges, 0)
    votes, n = edges.sum(-1, keepdims=True), len(edges)
    steps = np.divide(edges, votes, out=np.full_like(edges, 1 / n), where=votes > 0)
    found = np.full(n, 1 / n)
    for _ in range(_ROUNDS):
        before, found = found, (1 - _DAMPING) / n + _DAMPING * (found @ steps)
        if np.abs(found - before).sum() < 1e-9:
            break
    return found


def _weigher(documents: Sequence[str], stopwords: frozenset[str]) -> Any:
    """TF-IDF with the documents' word counts; None where they have no words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(set(words(document)) - stopwords for document in documents):
        return None
    how: dict[str, Any] = {"token_pattern": None, "lowercase": False, "stop_words": sorted(stopwords) or None}
    return TfidfVectorizer(tokenizer=words, **how).fit(documents)
