"""What the gate measures: how far outputs, tokens and answers lie from the run's, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftkit.engine import parity


def out(*values: float, name: str = "logits") -> dict[str, Any]:
    return {name: np.array(values, np.float32)}


def test_the_largest_difference_has_its_row() -> None:
    ours, theirs = [out(1, 2), out(3, 4), out(5, 6)], [out(1, 2.25), out(3, 4.5), out(5, 6)]
    assert parity._difference(ours, theirs) == (0.5, 2)
    assert parity._average(ours, theirs) == pytest.approx(0.75 / 6)


@pytest.mark.parametrize(
    ("ours", "row"),
    [
        ([out(1, 2)], 2),
        ([out(1, 2), out(3, 4), out(5, 6)], 3),
        ([out(1, 2), out(3)], 2),
        ([out(1, 2, name="start_logits"), out(3, 4)], 1),
        ([out(1, 2), out(3, float("nan"))], 2),
    ],
    ids=["fewer rows", "more rows", "fewer numbers", "another name", "no number"],
)
def test_what_can_not_be_compared_lies_as_far_as_can_be(ours: list[Any], row: int) -> None:
    assert parity._difference(ours, [out(1, 2), out(3, 3)]) == (float("inf"), row)


def test_the_first_row_of_other_tokens_is_named() -> None:
    assert parity._other_tokens([[1, 2], [3]], [[1, 2], [3]]) is None
    assert parity._other_tokens([[1, 2], [4], [5]], [[1, 2], [3], [6]]) == 2
    assert parity._other_tokens([[1, 2]], [[1, 2], [3]]) == parity._other_tokens([[1, 2], [3]], [[1, 2]]) == 2


def test_confidence_is_compared_of_answers_that_are_the_same() -> None:
    class Task:
        confidence = staticmethod(lambda answer: answer)

    ours, theirs, same = [0.9, 0.1, None, 0.5], [0.8, 0.9, 0.2, 0.5], [True, False, True, True]
    assert parity._confidence(Task, ours, theirs, same) == pytest.approx(0.1)  # type: ignore[arg-type]


def test_numbers_that_are_nearly_the_same_are_one_answer() -> None:
    assert parity._same(1.0, 1.0005) and not parity._same(1.0, 1.002)
    assert parity._same("a", "a") and not parity._same("a", "b")
