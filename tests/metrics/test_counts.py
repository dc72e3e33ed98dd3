from __future__ import annotations

import pytest

from ftkit.metrics.counts import averages, by_label, count


def first(item):
    return item[0]


def test_items_count_once_a_row_under_their_label():
    truth = [["a1", "a2", "b1"], ["a1"], []]
    predicted = [("a2", "a2", "b9"), {"a1"}, ["c1"]]
    counts = count(truth, predicted, first)
    assert counts.correct == {"a": 2}
    assert counts.said == {"a": 2, "b": 1, "c": 1}
    assert counts.true == {"a": 3, "b": 1}


def test_averages_by_hand():
    counts = count([["a1", "a2", "b1"], ["a1"], []], [["a2", "b9"], ["a1"], ["c1"]], first)
    # a: precision 2/2, recall 2/3, F1 4/5; b and c: 0; b is true once, c never.
    assert averages(counts) == pytest.approx(
        {
            "precision": 1 / 3, "recall": 2 / 9, "f1": 4 / 15,
            "micro_precision": 2 / 4, "micro_recall": 2 / 4, "micro_f1": 2 / 4,
            "weighted_precision": 3 / 4, "weighted_recall": 2 / 4, "weighted_f1": 3 / 5,
        }
    )  # fmt: skip


def test_rows_keep_the_order_asked_for_and_labels_that_do_not_occur():
    counts = count([["b1"]], [["b1"]], first)
    assert by_label(counts, ["z", "b"]) == [
        {"label": "z", "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0},
        {"label": "b", "precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 1},
    ]


def test_all_right_is_exactly_one_and_nothing_at_all_is_zero():
    rows = [[f"{name}{i}" for name in "abcdefg"] for i in range(3)]
    assert set(averages(count(rows, rows, first)).values()) == {1.0}
    assert set(averages(count([[]], [[]], first)).values()) == {0.0}
