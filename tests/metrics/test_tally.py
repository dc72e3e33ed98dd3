"""Sums over rows give the scores: of all rows, of some, and of rows that are drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, matthews_corrcoef, mean_absolute_error, mean_squared_error, r2_score

from ftkit.metrics import tally
from ftkit.metrics.classification import regression_tally, single_label_tally

LABELS = ["bad", "fine", "good"]
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=2, max_size=25)


def first(item: str) -> str:
    return item[0]


def test_items_count_once_a_row_under_their_label() -> None:
    truth = [["a1", "a2", "b1"], ["a1"], []]
    predicted = [("a2", "a2", "b9"), {"a1"}, ["c1"]]
    found = tally.labels(truth, predicted, "abc", "entities", first)
    right, said, true = found.counts(found.total)
    assert (right.tolist(), said.tolist(), true.tolist()) == ([2, 0, 0], [2, 1, 1], [3, 1, 0])
    # a: precision 2/2, recall 2/3, F1 4/5; b and c: 0; b is true once, c never.
    values = {name: score["value"] for name, score in found.scores().items()}
    expected = {"precision": 2 / 4, "recall": 2 / 4, "f1": 2 / 4, "macro_f1": 4 / 15, "weighted_f1": 3 / 5}
    assert values == pytest.approx(expected)
    assert {score["n"] for score in found.scores().values()} == {4}


def test_rows_of_labels_keep_their_order_and_those_that_do_not_occur() -> None:
    assert tally.labels([["b1"]], [["b1"]], "zb", "entities", first).by_label() == [
        {"label": "z", "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0},
        {"label": "b", "precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 1},
    ]


def test_all_right_is_exactly_one_and_nothing_at_all_is_zero() -> None:
    rows = [[f"{name}{i}" for name in "abcdefg"] for i in range(3)]
    for truth, value in ((rows, 1.0), ([[]], 0.0)):
        found = tally.labels(truth, truth, "abcdefg", "entities", first)
        assert {score["value"] for score in found.scores().values()} == {value}


@settings(max_examples=50, deadline=None)
@given(pairs, st.integers(0, 2**20))
def test_sums_of_drawn_rows_give_the_scores_of_the_drawn_rows(found: list[tuple[str, str]], seed: int) -> None:
    """Several draws at once, as scikit-learn scores each."""
    truth, predicted = (np.array(side) for side in zip(*found, strict=True))
    whole = single_label_tally(truth.tolist(), predicted.tolist(), LABELS)
    drawn = np.random.default_rng(seed).integers(0, len(truth), (4, len(truth)))
    sums = np.stack([whole.rows.toarray()[places].sum(0) for places in drawn])
    measured = whole.measure(sums)
    for i, places in enumerate(drawn):
        macro = f1_score(truth[places], predicted[places], average="macro", zero_division=0)
        assert measured["f1"][i] == pytest.approx(macro, abs=1e-12)
        assert measured["accuracy"][i] == pytest.approx((truth[places] == predicted[places]).mean())
        assert measured["mcc"][i] == pytest.approx(matthews_corrcoef(truth[places], predicted[places]), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**20), st.integers(3, 40), st.floats(1e-3, 1e6), st.floats(-1e6, 1e6))
def test_moments_of_drawn_rows(seed: int, n: int, scale: float, offset: float) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(size=n) * scale + offset
    predicted = truth + random.normal(size=n) * scale
    places = random.integers(0, n, n)
    whole = regression_tally(truth.tolist(), predicted.tolist())
    got = whole.measure(whole.rows.toarray()[places].sum(0))
    true, said = truth[places], predicted[places]
    assert got["mse"] == pytest.approx(mean_squared_error(true, said))
    assert got["mae"] == pytest.approx(mean_absolute_error(true, said))
    if len(set(places.tolist())) > 2:
        assert got["pearson"] == pytest.approx(pearsonr(true, said).statistic, abs=1e-6)
        assert got["r2"] == pytest.approx(r2_score(true, said), rel=1e-6, abs=1e-6)


def test_means_ask_each_row_or_not() -> None:
    found = tally.means({"all": [1.0, 0.0, 0.5], "some": [None, 0.25, None], "none": [None, None, None]})
    assert found.scores() == {"all": {"value": 0.5, "n": 3}, "some": {"value": 0.25, "n": 1}}


def test_a_label_that_was_predicted_and_never_true_has_an_f1_of_nothing_else_none() -> None:
    found = tally.labels([["a"], ["a"]], [["a"], ["b"]], "abc", "single")
    assert found.label_f1(found.total)[:2].tolist() == [pytest.approx(2 / 3), 0.0]
    assert np.isnan(found.label_f1(found.total)[2])


def test_one_number_alone_explains_nothing_of_the_spread() -> None:
    scores = regression_tally([0.5], [0.5]).scores()
    assert {name: score["value"] for name, score in scores.items()} == {
        "pearson": 0.0, "spearman": 0.0, "mse": 0.0, "mae": 0.0, "r2": 0.0
    }  # fmt: skip


def test_the_true_labels_are_those_of_the_rows() -> None:
    assert single_label_tally(["a", "b", "b"], ["b", "b", "a"], ["a", "b"]).truth == ["a", "b", "b"]
