"""Calibration: what is known by hand, what an independent reckoning says, and a model that is too sure of itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftkit.metrics import calibration
from ftkit.metrics.calibration import Decisions, ece, nll, reliability, softmax, temperature, threshold_for

ANSWERS = st.lists(st.tuples(st.sampled_from([0.2, 0.31, 0.5, 0.61, 0.8, 0.9, 1.0]), st.booleans()), min_size=1)


def columns(answers: list[tuple[float, bool]]) -> tuple[Any, Any]:
    confidence, correct = zip(*answers, strict=True)
    return np.array(confidence), np.array(correct)


def too_sure(times: float, n: int = 20_000, labels: int = 4, seed: int = 0) -> tuple[Any, Any]:
    """Logits that are `times` those that the truth was drawn by."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, labels))
    truth = (softmax(logits).cumsum(-1) < random.random((n, 1))).sum(-1)
    return times * logits, truth


# ---------------------------------------------------------------------- the temperature


def test_temperature_by_hand() -> None:
    """Of two labels with logits 4 and 0, three of four right: the likeliest probability is 3/4."""
    logits, truth = np.array([[4.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    found = temperature(logits, truth)
    assert found == pytest.approx(4 / math.log(3), rel=1e-5)
    assert softmax(logits, found)[0] == pytest.approx([0.75, 0.25], abs=1e-5)


@pytest.mark.parametrize("times", [0.5, 1, 3])
def test_temperature_undoes_what_a_model_is_too_sure_by(times: float) -> None:
    logits, truth = too_sure(times)
    found = temperature(logits, truth)
    assert found == pytest.approx(times, rel=0.05)
    right = logits.argmax(-1) == truth
    before, after = (ece(softmax(logits, t).max(-1), right) for t in (1.0, found))
    assert after < 0.02
    assert times == 1 or before > 3 * after
    assert (softmax(logits, found).argmax(-1) == logits.argmax(-1)).all()


@given(times=st.floats(0.1, 10), seed=st.integers(0, 50))
def test_temperature_of_logits_times_a_number_is_the_temperature_times_it(times: float, seed: int) -> None:
    logits, truth = too_sure(1.0, n=80, seed=seed)
    assert temperature(times * logits, truth) == pytest.approx(times * temperature(logits, truth), rel=1e-4)


def test_no_other_temperature_is_likelier() -> None:
    logits, truth = too_sure(2.0, n=300)
    least = nll(logits, truth, temperature(logits, truth))
    assert all(nll(logits, truth, t) >= least - 1e-6 for t in np.geomspace(0.05, 20, 200))


def test_temperature_stays_within_its_limits() -> None:
    right, wrong = np.array([[2.0, 0.0]] * 5), np.zeros(5, dtype=int)
    assert calibration.LIMITS[0] <= temperature(right, wrong) < 0.1
    assert 99 < temperature(right, wrong + 1) <= calibration.LIMITS[1]


@pytest.mark.parametrize("logits", [np.empty((0, 2)), np.array([[np.nan, 1.0]]), np.array([[np.inf, 1.0]])])
def test_nothing_is_fitted_to_nothing(logits: Any) -> None:
    with pytest.raises(ValueError, match="finite"):
        temperature(logits, np.zeros(len(logits), dtype=int))


def test_likelihood_is_pytorchs_cross_entropy() -> None:
    logits, truth = too_sure(3.0, n=50)
    reference = torch.nn.functional.cross_entropy(torch.tensor(logits / 1.7), torch.tensor(truth), reduction="sum")
    assert nll(logits.astype(np.float64), truth, 1.7) == pytest.approx(reference.item())
    assert softmax(logits, 1.7) == pytest.approx(torch.tensor(logits / 1.7).softmax(-1).numpy())


def test_large_logits_overflow_nothing() -> None:
    logits = np.array([[3e4, -3e4], [1e4, 3e4]], dtype=np.float32)
    assert np.isfinite(softmax(logits, 0.01)).all()
    assert nll(logits, np.array([1, 1])) == pytest.approx(6e4)


# ---------------------------------------------------------------------- the error


def test_error_and_bins_by_hand() -> None:
    confidence, correct = columns([(0.95, True), (0.85, False), (0.9, True), (0.2, False), (0.0, False), (1.0, True)])
    bins = reliability(confidence, correct, 5)
    assert [(row["low"], row["high"], row["n"]) for row in bins] == [(0.0, 0.2, 2), (0.8, 1.0, 4)]
    assert bins[1]["confidence"] == pytest.approx(0.925)
    assert bins[1]["accuracy"] == 0.75
    assert ece(confidence, correct, 5) == pytest.approx((2 * 0.1 + 4 * 0.175) / 6)
    assert ece(confidence, correct, 1) == pytest.approx(abs(confidence.mean() - 0.5))


def test_there_is_no_error_without_answers() -> None:
    assert ece(np.empty(0), np.empty(0, dtype=bool)) == 0
    assert reliability(np.empty(0), np.empty(0, dtype=bool)) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 20))
def test_error_is_what_a_plain_reckoning_says(answers: list[tuple[float, bool]], bins: int) -> None:
    """Confidences on an edge may go to either side in floats: they are moved off it."""
    moved = [(min(1.0, max(0.0, round(c * bins * 8) / (bins * 8) - 1 / (bins * 16))), right) for c, right in answers]
    total = 0.0
    for i in range(bins):
        inside = [(c, right) for c, right in moved if i / bins < c <= (i + 1) / bins or (i == 0 and c == 0)]
        if inside:
            total += abs(sum(right for _, right in inside) - sum(c for c, _ in inside))
    assert ece(*columns(moved), bins) == pytest.approx(total / len(moved), abs=1e-9)
    assert sum(row["n"] for row in reliability(*columns(moved), bins)) == len(moved)


# ---------------------------------------------------------------------- thresholds


def given_at(confidence: Any, correct: Any, threshold: float) -> tuple[float, float]:
    """(precision, coverage) of answers at `threshold` or above."""
    given = confidence >= threshold
    return correct[given].mean(), given.mean()


@given(ANSWERS, st.sampled_from([0.3, 0.5, 2 / 3, 0.75, 0.9, 1.0]))
def test_threshold_lets_most_answers_through_that_keep_the_precision(
    answers: list[tuple[float, bool]], wished: float
) -> None:
    confidence, correct = columns(answers)
    found = threshold_for(confidence, correct, precision=wished)
    possible = [given_at(confidence, correct, c) for c in confidence]
    enough = [coverage for precision, coverage in possible if precision >= wished]
    if not enough:
        assert found.value is None
        assert found.precision == pytest.approx(max(precision for precision, _ in possible))
        return
    assert found.value is not None and 0 <= found.value < 1
    assert (found.precision, found.coverage) == pytest.approx(given_at(confidence, correct, found.value))
    assert found.coverage == pytest.approx(max(enough)) and found.precision >= wished
    assert (found.value == 0) == (found.coverage == 1)


@given(ANSWERS, st.floats(0.01, 1))
def test_threshold_lets_the_wished_share_through_and_no_more_than_ties(
    answers: list[tuple[float, bool]], wished: float
) -> None:
    confidence, correct = columns(answers)
    found = threshold_for(confidence, correct, coverage=wished)
    assert found.value is not None
    assert found.coverage >= wished - 1e-9
    assert (found.precision, found.coverage) == pytest.approx(given_at(confidence, correct, found.value))
    surer = [c for c in confidence if c > min(confidence[confidence >= found.value])]
    assert len(surer) / len(confidence) < wished


def test_threshold_by_hand_lies_between_two_confidences() -> None:
    confidence, correct = columns([(0.9, True), (0.8, True), (0.7, False), (0.6, True), (0.5, False)])
    found = threshold_for(confidence, correct, precision=0.75)
    assert found == (pytest.approx(0.55), 0.75, 0.8)
    assert threshold_for(confidence, correct, precision=0.9) == (pytest.approx(0.75), 1.0, 0.4)
    assert threshold_for(confidence, correct, coverage=0.4) == (pytest.approx(0.75), 1.0, 0.4)
    assert threshold_for(confidence, correct, coverage=0.41).coverage == 0.6
    assert threshold_for(confidence, ~correct, precision=0.9) == (None, 0.4, 1.0)


def test_confidences_that_differ_in_their_last_digits_are_withheld_together() -> None:
    confidence = np.array([1.0, 1 - 1e-12, 1 - 2e-12, 0.5])
    found = threshold_for(confidence, np.array([True, False, True, True]), precision=1.0)
    assert found.value is None
    found = threshold_for(confidence, np.array([True, True, True, False]), precision=1.0)
    assert found == (pytest.approx(0.75), 1.0, 0.75)


def test_one_wish_is_wished() -> None:
    for wishes in ({}, {"precision": 0.5, "coverage": 0.5}):
        with pytest.raises(ValueError, match="wish"):
            threshold_for(np.array([0.5]), np.array([True]), **wishes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wish"):
        threshold_for(np.empty(0), np.empty(0, dtype=bool), precision=0.5)


# ---------------------------------------------------------------------- decisions


def decisions(answer: list[int], right: list[bool], seed: int = 0) -> Decisions:
    logits = np.random.default_rng(seed).normal(0, 2, (len(answer), 3)).astype(np.float32)
    return Decisions(logits, np.array(answer, dtype=int), np.array(right, dtype=bool))


def test_answers_have_the_mean_of_their_decisions_highest_probabilities() -> None:
    found = decisions([0, 0, 0, 1], [True, True, True, False])
    highest = softmax(found.logits, 2.0).max(-1)
    confidence, right = found.answers(2.0)
    assert confidence == pytest.approx([highest[:3].mean(), highest[3]])
    assert right.tolist() == [True, False]
    assert found.nll(2.0) == pytest.approx(-math.log(confidence[0]) - math.log(1 - confidence[1]))
    second = found.select(found.answer == 1).answers(2.0)
    assert second[0] == pytest.approx([confidence[1]]) and second[1].tolist() == [False]


def test_decisions_of_batches_are_joined_in_order() -> None:
    one, none, other = decisions([0, 0, 1], [True, True, False]), decisions([], []), decisions([0], [True], 2)
    joined = Decisions.joined([one, none, other])
    assert joined.answer.tolist() == [0, 0, 1, 2]
    assert joined.logits.shape == (4, 3) and joined.truth is None
    for part in (0, 1):
        expected = np.concatenate([one.answers()[part], other.answers()[part]])
        assert joined.answers()[part] == pytest.approx(expected)
    assert joined.nll(3.0) == pytest.approx(one.nll(3.0) + other.nll(3.0))
    known = Decisions.joined(part._replace(truth=part.answer) for part in (one, other))
    assert known.truth is not None and known.truth.tolist() == [0, 0, 1, 0]
    last = known.select(np.array([False, False, True, True]))
    assert last.truth is not None and last.truth.tolist() == [1, 0]


def test_temperature_of_single_decisions_is_that_of_their_labels() -> None:
    logits, truth = too_sure(2.0, n=500)
    right = logits.argmax(-1) == truth
    found = Decisions(logits, np.arange(len(truth)), right, truth)
    assert found.temperature() == temperature(logits, truth)
    assert found.nll(1.3) == nll(logits, truth, 1.3)
    two, says = too_sure(2.0, n=500, labels=2)
    only_right = Decisions(two, np.arange(500), two.argmax(-1) == says)
    assert only_right.temperature() == pytest.approx(temperature(two, says), rel=1e-4), "with two labels it is the same"


@pytest.mark.parametrize("times", [0.7, 3])
def test_temperature_of_answers_of_several_decisions_makes_their_confidence_true(times: float) -> None:
    """Answers of one to three decisions, right with the probability that is their confidence at `times`."""
    random = np.random.default_rng(1)
    answer = np.repeat(np.arange(8000), random.integers(1, 4, 8000))
    logits = random.normal(0, 2, (len(answer), 4))
    confidence, _ = Decisions(logits, answer, np.ones(len(answer), dtype=bool)).answers()
    right = random.random(len(confidence)) < confidence
    found = Decisions(times * logits, answer, right[answer])
    assert found.temperature() == pytest.approx(times, rel=0.05)
    assert ece(*found.answers(found.temperature())) < 0.02 < ece(*found.answers())
    assert np.isfinite(found.nll(0.01)), "answers that are sure and wrong cost much, not everything"
