"""Differences of pairs of trainings: the interval holds what it promises, over trainings and rows."""

from __future__ import annotations

import numpy as np
import pytest

from ftkit.metrics.classification import single_label_tally
from ftkit.metrics.intervals import Resampling, draws
from ftkit.metrics.paired import paired
from ftkit.metrics.tally import Tally


def tally(right: np.ndarray) -> Tally:
    truth = ["a", "b"] * (len(right) // 2)
    other = {"a": "b", "b": "a"}
    said = [label if is_right else other[label] for label, is_right in zip(truth, right, strict=True)]
    return single_label_tally(truth, said, ["a", "b"])


def test_means_and_each_difference() -> None:
    one, two = np.array([True] * 6 + [False] * 4), np.array([True] * 8 + [False] * 2)
    found = paired([tally(one), tally(one)], [tally(two), tally(one)], "accuracy")
    assert found.without == pytest.approx(0.6)
    assert found.each == pytest.approx((0.2, 0.0))
    assert found.value == pytest.approx(0.1)
    assert found.low < 0.1 < found.high


def test_equal_trainings_differ_by_nothing() -> None:
    one = tally(np.array([True, False] * 20))
    found = paired([one, one], [one, one], "accuracy")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_one_pair_is_none() -> None:
    one = tally(np.array([True, False]))
    with pytest.raises(ValueError, match="no pairs"):
        paired([one], [one], "accuracy")


@pytest.mark.parametrize("gain", [0.0, 0.04])
def test_the_true_difference_lies_in_the_interval(gain: float) -> None:
    """Three pairs whose accuracy differs from training to training, on 400 rows that some find harder than others."""
    random = np.random.default_rng(3)
    held, trials = 0, 200
    for _ in range(trials):
        hard = random.normal(0, 0.15, 400)
        pairs = []
        for more in (0.0, gain):
            chances = [np.clip(0.7 + more + random.normal(0, 0.03) + hard, 0, 1) for _ in range(3)]
            pairs.append([tally(random.random(400) < chance) for chance in chances])
        found = paired(*pairs, "accuracy", resampling=Resampling(resamples=200))
        held += found.low <= gain <= found.high
    assert held / trials >= 0.93


def test_where_rows_agree_it_is_the_t_interval_of_the_pairs() -> None:
    none, every = tally(np.zeros(20, bool)), tally(np.ones(20, bool))
    found = paired([none] * 4, [every, every, every, none], "accuracy")
    assert found.high - found.value == pytest.approx(3.1824 * 0.5 / 4**0.5, rel=1e-3)


def test_where_pairs_agree_it_is_that_of_the_rows() -> None:
    few, more = (tally(np.arange(200) < count) for count in (100, 120))
    found = paired([few, few], [more, more], "accuracy")
    assert found.high - found.value == pytest.approx(1.972 * (0.1 * 0.9 / 200) ** 0.5, rel=0.1)


def test_documents_are_what_is_drawn_and_counted() -> None:
    few, more = (tally(np.arange(200) < count) for count in (100, 120))
    alone = paired([few, few], [more, more], "accuracy", range(200))
    assert alone == paired([few, few], [more, more], "accuracy")
    five = paired([few, few], [more, more], "accuracy", [i // 40 for i in range(200)])
    assert five.high - five.low > 3 * (alone.high - alone.low)


def test_few_documents_have_few_degrees_of_freedom() -> None:
    few, more = (tally(np.arange(200) < count) for count in (100, 120))
    groups = [i // 40 for i in range(200)]
    found = paired([few, few], [more, more], "accuracy", groups)
    _, drawn = draws([few, more], "accuracy", groups)
    assert found.high - found.value == pytest.approx(2.776 * (drawn[1] - drawn[0]).std(ddof=1), rel=1e-3)  # t of 4
