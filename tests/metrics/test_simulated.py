"""Simulated test sets with known true scores: intervals hold them as often as they say, equal models pass as equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array

from ftkit.metrics import intervals, tally
from ftkit.metrics.intervals import LEVEL, Resampling
from ftkit.metrics.tally import LabelTally, Tally

Random = np.random.Generator
UNEVEN = (0.6, 0.25, 0.1, 0.05)
QUICK = Resampling(resamples=400)


class Case(NamedTuple):
    """A test set of some size and two equal models, their true score, and the metric."""

    draw: Callable[[Random], tuple[Tally, Tally]]
    metric: str
    true: float
    groups: list[int] | None = None


def classes(size: int, shares: tuple[float, ...], accuracy: float, metric: str) -> Case:
    """Rows that are hard for both models or for neither; a wrong label is any other."""
    names, count = [str(i) for i in range(len(shares))], len(shares)

    def draw(random: Random) -> tuple[Tally, Tally]:
        truth = random.choice(count, size, p=shares)
        easy = random.beta(2, 2 * (1 - accuracy) / accuracy, size)
        said = (
            np.where(random.random(size) < easy, truth, (truth + random.integers(1, count, size)) % count)
            for _ in range(2)
        )
        one, other = (
            tally.labels([(names[i],) for i in truth], [(names[i],) for i in model], names, "single") for model in said
        )
        return one, other

    share = np.array(shares)
    taken = share * accuracy + (1 - share) * (1 - accuracy) / (count - 1)
    true = {"accuracy": accuracy, "f1": float(np.mean(2 * share * accuracy / (share + taken)))}
    return Case(draw, metric, true[metric])


def entities(documents: int, rows: int) -> Case:
    """Three types in documents that a model is more or less good at: finds, wrong spans, and entities that are none."""
    mean, groups = np.array([0.8, 0.4, 0.3]), [i // rows for i in range(documents * rows)]

    def draw(random: Random) -> tuple[Tally, Tally]:
        skill = np.repeat(random.beta(6, 2, documents), rows)[:, None]
        true = random.poisson(mean, (documents * rows, 3))

        def model() -> LabelTally:
            found = random.binomial(true, skill)
            right = random.binomial(found, 0.9)
            said = found + random.poisson(0.2 * (1 - skill), found.shape)
            whole = (right == true).all(1, keepdims=True) & (said == true).all(1, keepdims=True)
            columns = np.concatenate([np.ones_like(whole), whole, right, said, true], axis=1).astype(float)
            return LabelTally(("LOC", "ORG", "PER"), csr_array(columns), "entities")

        return model(), model()

    found = mean.sum() * 0.75
    true = 2 * 0.9 * found / (found + 3 * 0.2 * 0.25 + mean.sum())
    return Case(draw, "f1", float(true), groups)


def texts(size: int) -> Case:
    """Overlaps as ROUGE has them: between 0 and 1, most of them low, some texts easier than others."""

    def draw(random: Random) -> tuple[Tally, Tally]:
        easy = random.beta(2, 3, size)
        one, other = (tally.means({"rouge": (0.6 * easy + 0.4 * random.beta(0.8, 1.5, size)).tolist()}) for _ in "ab")
        return one, other

    return Case(draw, "rouge", 0.6 * 0.4 + 0.4 * 0.8 / 2.3)


CASES = {
    "accuracy 0.9 of 50": classes(50, (0.5, 0.5), 0.9, "accuracy"),
    "accuracy 0.6 of 100": classes(100, (0.5, 0.5), 0.6, "accuracy"),
    "accuracy 0.97 of 400": classes(400, (0.5, 0.5), 0.97, "accuracy"),
    "accuracy 0.8 of 2000": classes(2000, (0.5, 0.5), 0.8, "accuracy"),
    "macro F1, uneven, of 100": classes(100, UNEVEN, 0.8, "f1"),
    "macro F1, uneven, of 400": classes(400, UNEVEN, 0.8, "f1"),
    "macro F1, 20 labels of 200": classes(200, (0.05,) * 20, 0.8, "f1"),
    "entity F1 of 15 documents": entities(15, 6),
    "entity F1 of 60 documents": entities(60, 6),
    "mean of 30 texts": texts(30),
    "mean of 200 texts": texts(200),
}


def held(case: Case, times: int) -> float:
    """Share of test sets whose interval holds the true score."""
    random = np.random.default_rng(13)
    hits = 0
    for _ in range(times):
        score = intervals.scores(case.draw(random)[0], case.groups, QUICK)[0][case.metric]
        hits += score["low"] <= case.true <= score["high"]
    return hits / times


def called(case: Case, times: int) -> float:
    """Share of test sets on which one of two equal models is called better or worse."""
    random = np.random.default_rng(17)
    found = (intervals.differences(*case.draw(random), case.groups, QUICK)[case.metric] for _ in range(times))
    return sum(difference.verdict(LEVEL) != "not distinguishable" for difference in found) / times


@pytest.mark.parametrize("name", ["accuracy 0.6 of 100", "macro F1, uneven, of 100", "entity F1 of 15 documents"])
def test_intervals_hold_the_true_score(name: str) -> None:
    assert 0.9 <= held(CASES[name], 150) <= 0.99


@pytest.mark.parametrize("name", ["accuracy 0.6 of 100", "macro F1, uneven, of 100", "entity F1 of 15 documents"])
def test_equal_models_are_rarely_told_apart(name: str) -> None:
    assert called(CASES[name], 150) <= 0.09


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_intervals_hold_the_true_score_92_to_98_times_in_100(name: str) -> None:
    assert 0.92 <= held(CASES[name], 2000) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_equal_models_are_told_apart_at_most_65_times_in_1000(name: str) -> None:
    assert called(CASES[name], 2000) <= 0.065


@pytest.mark.parametrize(
    ("size", "least"), [(50, 0.3), (400, 0.99)], ids=["few rows tell some of the time", "many rows tell"]
)
def test_a_better_model_is_found(size: int, least: float) -> None:
    random = np.random.default_rng(19)
    found = 0
    for _ in range(100):
        values = random.beta(2, 3, size)
        better = tally.means({"rouge": (values + random.normal(0.04, 0.12, size)).tolist()})
        difference = intervals.differences(better, tally.means({"rouge": values.tolist()}), None, QUICK)["rouge"]
        found += difference.verdict(LEVEL) == "better"
    assert found / 100 >= least
