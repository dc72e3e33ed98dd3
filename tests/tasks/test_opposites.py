"""Which labels are opposites: two polarities, and nothing else."""

from __future__ import annotations

import pytest

from ftkit import plugins
from ftkit.plugins import Choice
from ftkit.tasks._base import Task


def opposites(name: str, labels: tuple[str, ...], **options: object) -> dict[str, str]:
    return plugins.resolve("task", Choice(name=name, **options), Task).opposites(labels)


@pytest.mark.parametrize("labels", [("negative", "positive"), ("0", "1"), ("bad", "good"), ("nay", "aye")])
def test_two_polarities_are_opposite(labels: tuple[str, str]) -> None:
    assert opposites("sentiment", labels) == {labels[0]: labels[1], labels[1]: labels[0]}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("sentiment", ("negative", "neutral", "positive")),
        ("sentiment", ("neutral", "positive")),
        ("sentiment", ("negative", "very positive")),
        ("classification", ("negative", "positive")),
        ("ner", ("O", "B-PER", "I-PER")),
        ("qa", ()),
    ],
)
def test_all_else_is_not(name: str, labels: tuple[str, ...]) -> None:
    assert opposites(name, labels) == {}


def test_several_labels_a_row_have_no_opposites() -> None:
    assert opposites("sentiment", ("negative", "positive"), kind="multi") == {}
