"""A summary by place: how the document begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftkit.baselines._base import Baseline
from ftkit.baselines._text import sentences
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.summarization import Summarization

if TYPE_CHECKING:
    from datasets import Dataset


class Lead(Baseline):
    """The document's first sentences, as many as the training rows' summaries have on average."""

    summary = "the document's first sentences"
    family = Summarization

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Count the sentences of the summaries."""
        self.length = usual_length(rows)

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The beginning of each document."""
        return [{"summary": _beginning(document, self.length)} for document in rows["document"]]


def usual_length(rows: Dataset) -> int:
    """Mean number of sentences of a summary, rounded, 1 or more."""
    counts = [len(sentences(summary)) for summaries in rows["summary"] for summary in summaries]
    return max(1, round(sum(counts) / max(1, len(counts))))


def _beginning(document: str, length: int) -> str:
    found = sentences(document)[:length]
    return document[found[0][0] : found[-1][1]] if found else ""
