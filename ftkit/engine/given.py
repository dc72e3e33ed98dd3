"""Predictions in the text as a person gave it, where it was cleaned before the model read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ftkit.data.clean import GIVEN, given_places
from ftkit.tasks._base import Example, Prediction, Task


def as_given(task: Task, rows: Iterable[Example], predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    """The predictions, in order, with their places counted in each row's text as it was given."""
    for row, prediction in zip(rows, predictions, strict=True):
        kept = row.get(GIVEN)
        yield prediction if not kept or task.places_in is None else _placed(task, kept, prediction)


def texts_as_given(task: Task, row: Example) -> dict[str, str]:
    """The texts that the model reads, by column, as they were before they were cleaned."""
    kept = row.get(GIVEN)
    return {name: given_places(kept, name)[0] if kept else text for name, text in task.texts(row).items()}


def _placed(task: Task, kept: str, prediction: Prediction) -> Prediction:
    assert task.places_in is not None
    text, made = given_places(kept, task.places_in)

    def place(start: int, end: int) -> tuple[str, int, int]:
        start, end = made.given(start, end)
        return text[start:end], start, end

    return task.placed(prediction, place)
