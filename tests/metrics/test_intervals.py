"""Intervals against scipy's bootstrap, by hand at the edges, and over simulated test sets elsewhere."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.stats import binomtest, bootstrap
from scipy.stats import t as student

from ftkit.metrics import intervals, tally
from ftkit.metrics.classification import regression_tally, single_label_tally
from ftkit.metrics.intervals import Resampling
from ftkit.metrics.tally import Floats, LabelTally, Tally

WIDE = Resampling(0.95, 20_000)


def labels(n: int, right: float, count: int = 2, seed: int = 0) -> LabelTally:
    """A tally of `n` rows of which a share is right, by chance."""
    random = np.random.default_rng(seed)
    names = [f"label {i}" for i in range(count)]
    truth = random.integers(0, count, n)
    said = np.where(random.random(n) < right, truth, (truth + 1) % count)
    return single_label_tally([names[i] for i in truth], [names[i] for i in said], names)


def test_a_mean_has_the_interval_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(3).beta(2, 5, 150)
    found, _ = intervals.scores(tally.means({"rouge": values.tolist()}), None, WIDE)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=4).confidence_interval
    assert found["rouge"]["method"] == "bca"
    assert (found["rouge"]["low"], found["rouge"]["high"]) == pytest.approx((theirs.low, theirs.high), abs=1.5e-3)


def test_a_correlation_has_the_interval_of_scipys_bootstrap() -> None:
    random = np.random.default_rng(5)
    truth = random.normal(size=80)
    said = truth + random.normal(size=80)
    found, _ = intervals.scores(regression_tally(truth.tolist(), said.tolist()), None, WIDE)

    def pearson(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a, b)[0, 1])

    theirs = bootstrap((truth, said), pearson, n_resamples=5000, method="BCa", paired=True, vectorized=False, rng=6)
    ours = found["pearson"]["low"], found["pearson"]["high"]
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 400), st.floats(0, 1), st.integers(2, 5), st.integers(0, 2**20))
def test_every_score_lies_in_its_interval(n: int, right: float, count: int, seed: int) -> None:
    found, rows = intervals.scores(labels(n, right, count, seed), None, Resampling(0.95, 200))
    assert "low" in found["accuracy"]
    for score in found.values():
        assert "low" not in score or score["low"] <= score["value"] <= score["high"] != score["low"]
    assert all(row["low"] <= row["f1"] <= row["high"] for row in rows if "low" in row)


@pytest.mark.parametrize("documents", [1, 4, 5])
def test_few_documents_tell_no_interval(documents: int) -> None:
    found, rows = intervals.scores(labels(60, 0.8), [i % documents for i in range(60)])
    assert ("low" in found["accuracy"]) == ("low" in rows[0]) == (documents >= 5)


def test_accuracy_has_wilsons_interval_and_documents_the_bootstraps() -> None:
    whole = labels(60, 0.8)
    found, _ = intervals.scores(whole)
    accuracy = found["accuracy"]
    wanted = binomtest(round(accuracy["value"] * 60), 60).proportion_ci(0.95, "wilson")
    assert (accuracy["low"], accuracy["high"], accuracy["method"]) == (wanted.low, wanted.high, "wilson")
    grouped, _ = intervals.scores(whole, [i // 6 for i in range(60)])
    assert grouped["accuracy"]["method"] == "bca" and grouped["accuracy"]["value"] == accuracy["value"]


def test_rows_of_one_document_are_drawn_together() -> None:
    """Documents that are right or wrong as a whole tell less than as many rows would."""
    right = [float(i // 20 % 2) for i in range(200)]
    values = tally.means({"f1": [0.1 + 0.8 * value for value in right]})
    alone, _ = intervals.scores(values)
    together, _ = intervals.scores(values, [i // 20 for i in range(200)])
    width = {name: found["f1"]["high"] - found["f1"]["low"] for name, found in (("a", alone), ("t", together))}
    assert width["t"] > 3 * width["a"]


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 1 - 0.1684, 1.0), (0.0, 0.0, 0.1684)])
def test_all_right_and_all_wrong_are_not_certain(value: float, low: float, high: float) -> None:
    """0.025 ** (1 / 20) is 0.8316: so often would 20 rows in a row be right with probability 0.025."""
    found, _ = intervals.scores(tally.means({"f1": [value] * 20}), [*range(20)])
    assert (found["f1"]["low"], found["f1"]["high"]) == pytest.approx((low, high), abs=1e-4)


def test_levels_are_kept_and_draws_are_repeatable() -> None:
    whole = labels(300, 0.7, 4)
    narrow, wide = (intervals.scores(whole, None, Resampling(level))[0]["f1"] for level in (0.5, 0.99))
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]
    assert intervals.scores(whole) == intervals.scores(whole)
    assert "low" not in intervals.scores(whole, None, Resampling(0.95, 0))[0]["f1"]


def test_equal_rows_are_counted_and_drawn_as_often() -> None:
    whole = labels(5000, 0.9)
    found = intervals.units(whole.rows)
    assert found.rows.shape[0] == 4 and len(found) == 5000
    values = whole.measure(intervals.drawn(found, Resampling(0.95, 4000)))["accuracy"]
    share = whole.scores()["accuracy"]["value"]
    assert values.std() == pytest.approx((share * (1 - share) / 5000) ** 0.5, rel=0.1)


def test_ten_thousand_rows_take_less_than_a_second_or_so() -> None:
    """Loosely: the point is that time does not grow with rows times draws in Python."""
    values = tally.means({"rouge1": np.random.default_rng(0).random(10_000).tolist()})
    began = time.perf_counter()
    intervals.scores(values)
    assert time.perf_counter() - began < 10


# ---------------------------------------------------------------------- what is no function of sums


def test_parts_left_out_give_a_mean_its_usual_interval() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = intervals.by_parts(
        lambda places: {"mean": float(values[list(places)].mean())}, {"mean": float(values.mean())}, 400
    )
    low, high = found["mean"]
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(2.09 * values.std() / 20, rel=0.5)


def test_a_single_row_has_no_interval_of_parts() -> None:
    assert intervals.by_parts(lambda _: {"x": 1.0}, {"x": 1.0}, 1) == {}


# ---------------------------------------------------------------------- differences


def test_the_same_rows_are_drawn_of_both() -> None:
    whole = labels(500, 0.8)
    same = intervals.differences(whole, whole)["f1"]
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_difference_of_means_is_the_bootstrap_of_the_rows_differences() -> None:
    random = np.random.default_rng(2)
    one, other = random.random(120), random.random(120)
    found = intervals.differences(tally.means({"f1": one.tolist()}), tally.means({"f1": other.tolist()}), None, WIDE)
    theirs = bootstrap((one - other,), np.mean, n_resamples=20_000, method="BCa", rng=4).confidence_interval
    assert found["f1"].value == pytest.approx((one - other).mean())
    assert (found["f1"].low, found["f1"].high) == pytest.approx((theirs.low, theirs.high), abs=6e-3)


def test_different_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rows and 6 rows"):
        intervals.differences(labels(5, 0.5), labels(6, 0.5))


class Rate(Tally):
    """Hits in so many characters: no share of rows, though a row has one hit or none."""

    def measure(self, sums: Floats) -> dict[str, Floats]:
        return {"rate": sums[..., 0] / sums[..., 1]}

    def sizes(self, total: Floats) -> dict[str, int]:
        return {"rate": len(self)}


def test_a_tally_of_ones_own_has_intervals_of_its_own_measure() -> None:
    hits, sizes = np.array([1.0, 0.0, 1.0, 1.0] * 10), np.array([0.5, 0.1, 0.2, 0.2] * 10)
    found, _ = intervals.scores(Rate(("rate",), csr_array(np.stack([hits, sizes], axis=1))))
    assert found["rate"]["value"] == pytest.approx(3)
    assert found["rate"]["method"] == "bca" and found["rate"]["low"] < 3 < found["rate"]["high"]


@pytest.mark.parametrize(("discordant", "least"), [(5, None), (6, 6 / 20), (9, 7 / 20), (20, 10 / 20)])
def test_the_least_difference_is_where_mcnemars_test_begins_to_call_one(discordant: int, least: float | None) -> None:
    """Of 6 rows all must go one way (p = 0.031), of 9 eight (0.039), of 20 fifteen (0.041)."""
    truth = ["a"] * 20
    other = single_label_tally(truth, ["b"] * discordant + ["a"] * (20 - discordant), ["a", "b"])
    found = intervals.differences(single_label_tally(truth, truth, ["a", "b"]), other)["accuracy"]
    assert found.least == pytest.approx(least)


def test_the_least_difference_is_called_and_a_smaller_one_is_not() -> None:
    random = np.random.default_rng(8)
    base = random.random(200)
    one, other = tally.means({"f1": base.tolist()}), tally.means({"f1": random.random(200).tolist()})
    least = intervals.differences(one, other)["f1"].least
    assert least is not None
    shift = least - intervals.differences(one, other)["f1"].value
    for more, called in ((1.3, True), (0.7, False)):
        moved = tally.means({"f1": (base + shift + (more - 1) * least).tolist()})
        assert (intervals.differences(moved, other)["f1"].p <= 0.05) == called


def test_parts_left_out_have_the_jackknifes_standard_error() -> None:
    """For a mean over parts of equal size it is the parts' own: their deviation by the root of their number."""
    values = np.random.default_rng(1).normal(size=400)
    found = intervals.by_parts(
        lambda places: {"mean": float(values[list(places)].mean())}, {"mean": float(values.mean())}, 400
    )
    order = np.random.default_rng(intervals.SEED).permutation(400)
    parts = np.array([values[order[i :: intervals.PARTS]].mean() for i in range(intervals.PARTS)])
    reach = student.ppf(0.975, intervals.PARTS - 1) * parts.std(ddof=1) / intervals.PARTS**0.5
    low, high = found["mean"]
    assert (high - low) / 2 == pytest.approx(reach)


def test_another_seed_draws_otherwise() -> None:
    whole = labels(60, 0.7, 3)
    one, other = (intervals.scores(whole, None, Resampling(0.95, 300, seed))[0]["f1"] for seed in (1, 2))
    assert (one["low"], one["high"]) != (other["low"], other["high"])
