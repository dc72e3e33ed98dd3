"""Differences of two models on the same rows: their values, intervals and tests, against what is reckoned by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student

from ftkit.metrics import intervals, tally
from ftkit.metrics.intervals import Resampling, differences
from ftkit.metrics.tally import LabelTally, MeanTally

RANDOM = np.random.default_rng(5)
TRUTH = RANDOM.choice(list("aabc"), 60).tolist()


def labels(predicted: list[str], truth: list[str] = TRUTH) -> LabelTally:
    return tally.labels([(x,) for x in truth], [(x,) for x in predicted], sorted({*truth, *predicted}), "single")


def guesses(seed: int, names: str = "abc") -> list[str]:
    random = np.random.default_rng(seed)
    return [str(random.choice(list(names))) if random.random() < 0.4 else true for true in TRUTH]


def means(values: list[float]) -> MeanTally:
    return tally.means({"value": values})


def test_same_answers_differ_by_nothing() -> None:
    model = labels(guesses(1))
    for found in differences(model, model).values():
        assert found[:4] == (0, 0, 0, 1)


def test_value_is_the_difference_of_the_scores_also_where_one_says_labels_that_the_other_does_not() -> None:
    one, other = labels(guesses(1)), labels(guesses(2, "abcdz"))
    assert one.names != other.names
    found, mine, yours = differences(one, other), one.scores(), other.scores()
    assert found.keys() == mine.keys()
    for name, difference in found.items():
        assert difference.value == pytest.approx(mine[name]["value"] - yours[name]["value"], abs=1e-12)
        assert difference.low <= difference.value <= difference.high


def test_sides_changed_change_signs() -> None:
    one, other = labels(guesses(1)), labels(guesses(2))
    here, there = differences(one, other), differences(other, one)
    for name, found in here.items():
        assert found.value == pytest.approx(-there[name].value, abs=1e-12)
        assert found.p == pytest.approx(there[name].p, abs=1e-12)


@pytest.mark.parametrize(("better", "worse", "p"), [(10, 2, 0.03857421875), (5, 0, 0.0625), (1, 1, 1.0), (0, 0, 1.0)])
def test_accuracy_of_single_rows_has_mcnemars_exact_p(better: int, worse: int, p: float) -> None:
    right = ["a"] * 20
    one, other = right.copy(), right.copy()
    other[:better] = ["b"] * better
    one[better : better + worse] = ["b"] * worse
    found = differences(labels(one, right), labels(other, right))
    assert (found["accuracy"].test, found["f1"].test) == ("mcnemar", "randomization")
    assert found["accuracy"].p == pytest.approx(p, abs=1e-12)


def test_randomization_agrees_with_all_ways_to_change_sides() -> None:
    random = np.random.default_rng(3)
    one, other = random.random(9), random.random(9) - 0.3
    signs = np.array(list(product((-1, 1), repeat=9)))
    exact = (np.abs(signs @ (one - other)) >= abs((one - other).sum()) - 1e-12).mean()
    found = differences(means(one.tolist()), means(other.tolist()), resampling=Resampling(resamples=20_000))["value"]
    assert found.p == pytest.approx(exact, abs=0.01)


def test_a_handful_of_rows_tells_nothing_however_large_the_difference() -> None:
    found = differences(means([1.0, 0.9, 1.0, 0.8]), means([0.0, 0.0, 0.1, 0.0]))["value"]
    assert found.p > 0.1
    assert differences(means([1.0]), means([0.0]))["value"].p == 1


def test_rows_of_a_document_change_sides_together() -> None:
    one, other = means([1.0] * 40), means([0.0] * 40)
    assert differences(one, other)["value"].p < 0.001
    documents = differences(one, other, [0] * 20 + [1] * 20)["value"]
    assert documents.p == pytest.approx(0.5, abs=0.05)
    assert documents.test == "randomization"


def test_accuracy_of_rows_in_documents_is_swapped_by_document() -> None:
    one, other = labels(TRUTH), labels(guesses(1))
    assert differences(one, other, [i // 3 for i in range(60)])["accuracy"].test == "randomization"


def test_several_a_side_are_averaged() -> None:
    ones, others = [labels(guesses(seed)) for seed in (1, 2, 3)], [labels(guesses(seed)) for seed in (4, 5)]
    found = differences(ones, others)
    for name, difference in found.items():
        mine, yours = (np.mean([t.scores()[name]["value"] for t in side]) for side in (ones, others))
        assert difference.value == pytest.approx(mine - yours, abs=1e-12)
        assert difference.test == "randomization"


def test_averaged_draw_by_draw() -> None:
    random = np.random.default_rng(8)
    ones, other = random.random((3, 40)), random.random(40)
    several = differences([means(list(row)) for row in ones], means(list(other)))["value"]
    at_once = differences(means(list(ones.mean(0))), means(list(other)))["value"]
    assert several[:4] == pytest.approx(at_once[:4], abs=1e-9)


def test_one_model_repeated_is_that_model() -> None:
    one, other = labels(guesses(1)), labels(guesses(2))
    several, single = differences([one, one], [other])["f1"], differences(one, other)["f1"]
    assert several[:4] == pytest.approx(single[:4], abs=1e-9)


def test_scores_that_only_one_has_are_left_out() -> None:
    one, other = tally.means({"f1": [1.0, 0.5], "more": [1.0, 0.0]}), tally.means({"f1": [0.5, 0.5]})
    assert list(differences(one, other)) == list(differences(other, one)) == ["f1"]


def test_other_numbers_of_rows_or_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows and 3 rows"):
        differences(means([0.1, 0.2]), means([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="different kinds"):
        differences(means([0.1] * 60), labels(TRUTH))


def test_equal_rows_counted_give_what_rows_alone_give() -> None:
    one, other = labels(["a"] * 300 + ["b"] * 100, ["a"] * 400), labels(["a"] * 320 + ["b"] * 80, ["a"] * 400)
    pooled = differences(one, other, resampling=Resampling(resamples=4000))["f1"]
    alone = differences(one, other, list(range(400)), Resampling(resamples=4000))["f1"]
    assert pooled.value == alone.value
    assert pooled[1:3] == pytest.approx(alone[1:3], abs=0.006)


def test_interval_of_few_normal_values_is_about_students() -> None:
    values = student.ppf((np.arange(8) + 0.5) / 8, 50)
    score = intervals.scores(means(values.tolist()), resampling=Resampling(resamples=20_000))[0]["value"]
    reach = student.ppf(0.975, 7) * values.std(ddof=1) / np.sqrt(8)
    assert (score["high"] - score["low"]) / 2 == pytest.approx(reach, rel=0.1)


def test_of_few_documents_the_rows_are_drawn_for_the_interval() -> None:
    one, other = (means([float(i % 7 < k) for i in range(70)]) for k in (4, 3))
    alone = differences(one, other)["value"]
    few = differences(one, other, [0] * 70)["value"]
    assert (few.low, few.high) == (alone.low, alone.high) and few.low < few.high
    assert few.p == 1
