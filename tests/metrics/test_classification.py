from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    hamming_loss,
    matthews_corrcoef,
    precision_recall_fscore_support,
    r2_score,
)
from sklearn.preprocessing import MultiLabelBinarizer

from ftkit.errors import DataError, RunError
from ftkit.metrics.classification import multi_label, multi_label_tally, regression, single_label, single_label_tally

LABELS = ["bad", "fine", "good", "ünsure"]
row = st.sampled_from(LABELS)
rows = st.lists(st.tuples(row, row), min_size=1, max_size=30)
sets = st.lists(row, unique=True, max_size=4)
set_rows = st.lists(st.tuples(sets, sets), min_size=1, max_size=20)


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def averages_of(scores):
    kinds = ("", "micro_", "weighted_")
    return [scores[kind + name]["value"] for kind in kinds for name in ("precision", "recall", "f1")]


def reference_averages(truth, predicted, labels=None):
    values = []
    for average in ("macro", "micro", "weighted"):
        measured = precision_recall_fscore_support(truth, predicted, labels=labels, average=average, zero_division=0)
        values += measured[:3]
    return values


@settings(max_examples=60)
@given(rows)
def test_single_label_is_what_scikit_learn_gives_with_no_labels_named(pairs):
    truth, predicted = map(list, zip(*pairs, strict=True))
    scores = single_label(truth, predicted, LABELS)
    assert scores["accuracy"] == {"value": accuracy_score(truth, predicted), "n": len(truth)}
    assert averages_of(scores) == pytest.approx(reference_averages(truth, predicted), abs=1e-12)
    if len({*truth, *predicted}) > 1:  # scikit-learn warns otherwise
        assert scores["mcc"]["value"] == pytest.approx(matthews_corrcoef(truth, predicted), abs=1e-12)
    assert all(type(s["value"]) is float and type(s["n"]) is int for s in scores.values())


def test_a_label_that_does_not_occur_leaves_the_macro_mean_alone():
    truth, predicted = ["good", "bad"], ["good", "good"]
    assert single_label(truth, predicted, LABELS) == single_label(truth, predicted, ["bad", "good"])
    assert single_label(truth, predicted, LABELS)["f1"]["value"] == pytest.approx((2 / 3 + 0) / 2)


def test_one_class_alone_has_no_correlation():
    scores = single_label(["good"] * 3, ["good"] * 3, LABELS)
    assert (scores["accuracy"]["value"], scores["f1"]["value"], scores["mcc"]["value"]) == (1.0, 1.0, 0.0)


@settings(max_examples=60)
@given(set_rows)
def test_multi_label_is_what_scikit_learn_gives_over_the_labels_present(pairs):
    truth, predicted = map(list, zip(*pairs, strict=True))
    scores = multi_label(truth, predicted, LABELS)
    dense = MultiLabelBinarizer(classes=LABELS).fit([])
    true, said = dense.transform(truth), dense.transform(predicted)
    assert scores["accuracy"]["value"] == accuracy_score(true, said)
    assert scores["hamming_accuracy"]["value"] == pytest.approx(1 - hamming_loss(true, said))
    present = np.flatnonzero((true | said).any(0))
    among = present if len(present) else range(len(LABELS))
    assert averages_of(scores) == pytest.approx(reference_averages(true, said, labels=among), abs=1e-12)


def test_multi_label_by_hand():
    scores = multi_label([["bad", "good"], [], ["fine"]], [["good"], [], ["fine", "bad"]], LABELS)
    values = {name: score["value"] for name, score in scores.items()}
    assert values["accuracy"] == pytest.approx(1 / 3)  # only the empty row is exactly right
    assert values["hamming_accuracy"] == pytest.approx(10 / 12)
    assert values["micro_precision"] == values["micro_recall"] == pytest.approx(2 / 3)
    assert values["f1"] == pytest.approx((0 + 1 + 1) / 3)  # bad, fine, good; ünsure does not occur


def test_rows_without_any_label_are_right_when_nothing_is_predicted():
    scores = multi_label([[], []], [[], []], LABELS)
    assert scores["accuracy"]["value"] == 1.0
    assert scores["f1"]["value"] == scores["micro_f1"]["value"] == 0.0


@settings(max_examples=30)
@given(rows)
def test_per_class_is_the_classification_report(pairs):
    truth, predicted = map(list, zip(*pairs, strict=True))
    report = classification_report(truth, predicted, labels=LABELS, output_dict=True, zero_division=0)
    assert [r["label"] for r in single_label_tally(truth, predicted, LABELS).by_label()] == LABELS
    for got in single_label_tally(truth, predicted, LABELS).by_label():
        expected = report[got["label"]]
        assert (got["precision"], got["recall"], got["f1"], got["n"]) == pytest.approx(
            (expected["precision"], expected["recall"], expected["f1-score"], expected["support"])
        )


def test_per_class_of_several_labels():
    got = multi_label_tally([["bad", "good"], []], [["good"], ["good"]], ["bad", "good"]).by_label()
    assert got == [
        {"label": "bad", "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 1},
        {"label": "good", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "n": 1},
    ]


numbers = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=30)


@given(numbers)
def test_regression_is_what_scipy_and_scikit_learn_give(pairs):
    truth, predicted = (np.array(side) / 4 for side in zip(*pairs, strict=True))
    values = {name: score["value"] for name, score in regression(list(truth), list(predicted)).items()}
    constant = len(set(truth)) == 1 or len(set(predicted)) == 1
    pearson = 0 if constant else pearsonr(truth, predicted).statistic
    spearman = 0 if constant else spearmanr(truth, predicted).statistic
    assert values == pytest.approx(
        {
            "pearson": pearson,
            "spearman": spearman,
            "mse": np.mean((truth - predicted) ** 2),
            "mae": np.mean(np.abs(truth - predicted)),
            "r2": r2_score(truth, predicted),
        },
        abs=1e-9,
    )


def test_a_constant_prediction_has_no_correlation():
    scores = regression([0.1, 0.2, 0.4], [0.1, 0.1, 0.1])  # their mean is not 0.1 in floating point
    assert scores["pearson"] == scores["spearman"] == {"value": 0.0, "n": 3}


def test_a_single_number_is_scored_without_a_warning():
    assert {n: s["value"] for n, s in regression([1.0], [3.0]).items()} == {
        "pearson": 0.0, "spearman": 0.0, "mse": 4.0, "mae": 2.0, "r2": 0.0,
    }  # fmt: skip


def test_diverged_predictions_are_the_users_to_mend():
    with pytest.raises(RunError, match="2 of 3 predictions are not finite") as caught:
        regression([1, 2, 3], [math.nan, math.inf, 3.0])
    assert "learning_rate" in caught.value.hint


@pytest.mark.parametrize(
    ("measure", "truth", "predicted"),
    [
        (single_label, ["good"], ["great"]),
        (multi_label, [["good"]], [["great"]]),
        (single_label_tally, ["great"], ["good"]),
        (multi_label_tally, [["good"]], [["great"]]),
    ],
)
def test_unknown_labels_are_named(measure, truth, predicted):
    with pytest.raises(ValueError, match=r"\['great'\] are not among"):
        measure(truth, predicted, LABELS)


def test_rows_must_pair_up_and_exist():
    with pytest.raises(ValueError, match="2 rows of truth, but 1 predictions"):
        single_label(["good", "bad"], ["good"], LABELS)
    with pytest.raises(DataError, match="no rows to score"):
        multi_label([], [], LABELS)
