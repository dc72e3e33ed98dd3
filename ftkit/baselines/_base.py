"""What a baseline is: a simple model that answers as a task does, to be scored beside the trained one.

A baseline is one file with one class that inherits `Baseline`, in `ftkit/baselines/`; a task names those that serve
it. Nothing heavy is imported at module level.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, ClassVar, TypeVar

from ftkit.tasks._base import Labels, Prediction, Task

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")
SEED = 13


class Baseline:
    """Learns from the training rows in seconds; the same rows give the same answers."""

    summary: ClassVar[str]
    """What it does, in a line."""
    family: ClassVar[type[Task]] = Task
    """The tasks whose rows and answers it knows: this class and what inherits it."""

    def __init__(self, stopwords: frozenset[str] = frozenset()) -> None:
        self.stopwords = stopwords
        """Words that do not count, in lower case."""

    def serves(self, task: Task) -> bool:
        """Whether it can answer for the task with the options that this one has."""
        return True

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Learn from training rows in the form that the task's methods read."""
        raise NotImplementedError

    def predict(self, rows: Dataset) -> list[Prediction]:
        """An answer for each row, in the form of the task's `decode`. Reads no target."""
        raise NotImplementedError


def some(size: int, most: int) -> Sequence[int]:
    """Places of all of `size` rows, or of `most` of them at random, ascending."""
    return range(size) if size <= most else sorted(Random(SEED).sample(range(size), most))
