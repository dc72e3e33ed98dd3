"""Balance of labels: counts come out as said, the same each time, and no row is lost that need not be."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.balance import NONE, names, resampled, told

SINGLE = st.lists(st.sampled_from("abc"), min_size=1, max_size=40)
SEVERAL = st.lists(st.lists(st.sampled_from("abc"), max_size=3, unique=True), min_size=1, max_size=30)


def counts(values: list[str], places: list[int]) -> Counter[str]:
    return Counter(values[i] for i in places)


@given(SINGLE, st.integers(0, 3))
def test_oversampling_brings_each_label_to_the_most_frequent_ones_count(values: list[str], seed: int) -> None:
    places, before = resampled(values, "oversample", seed), Counter(values)
    assert set(counts(values, places).values()) == {max(before.values())}
    again = Counter(places)
    assert set(again) == set(range(len(values))), "no row is lost"
    for label in before:
        times = [again[i] for i, value in enumerate(values) if value == label]
        assert max(times) - min(times) <= 1, "all rows of a label come as often, or once more"
    assert places == sorted(places) == resampled(values, "oversample", seed)


@given(SINGLE, st.integers(0, 3))
def test_undersampling_brings_each_label_to_the_rarest_ones_count(values: list[str], seed: int) -> None:
    places, before = resampled(values, "undersample", seed), Counter(values)
    assert counts(values, places) == dict.fromkeys(before, min(before.values()))
    assert places == sorted(set(places)) == resampled(values, "undersample", seed)


def told_counts(values: list[list[str]], places: list[int]) -> Counter[str]:
    return Counter(label for i in places for label in (values[i] or [NONE]))


@given(SEVERAL, st.integers(0, 3))
def test_several_labels_are_brought_nearer_each_other(values: list[list[str]], seed: int) -> None:
    before = told_counts(values, list(range(len(values))))
    more, fewer = (resampled(values, how, seed) for how in ("oversample", "undersample"))  # type: ignore[arg-type]
    assert set(more) == set(range(len(values)))
    assert min(told_counts(values, more).values()) >= max(before.values())
    assert len(fewer) == len(set(fewer))
    left = told_counts(values, fewer)
    assert left.keys() == before.keys() and min(left.values()) >= min(before.values())
    assert all(left[name] <= before[name] for name in before)
    least = min(before.values())
    for i in fewer:
        assert any(left[name] == least for name in values[i] or [NONE]), "no more rows could go"


def test_another_seed_takes_other_rows() -> None:
    values = ["a"] * 50 + ["b"] * 5
    found = {str(resampled(values, how, seed)) for how in ("oversample", "undersample") for seed in range(3)}  # type: ignore[arg-type]
    assert len(found) == 6 or len(found) == 4  # 45 copies of 5 rows are the same copies


def test_it_is_told_what_becomes_of_the_rows() -> None:
    values = ["a"] * 50 + ["b"] * 5
    assert told(values, "oversample", 0) == (
        "data.balance=oversample: an epoch goes over 100 rows, 45 of them copies (b 5 -> 50)"
    )
    assert told(values, "undersample", 0) == "data.balance=undersample: 45 of 55 training rows are left out (a 50 -> 5)"
    assert told([["a"], [], ["a"]], "oversample", 0).endswith(
        "an epoch goes over 4 rows, 1 of them copies (no label 1 -> 2)"
    )
    assert told(["a", "b"], "undersample", 0) == "data.balance=undersample: 0 of 2 training rows are left out"


@pytest.mark.parametrize("value", ["a", ["a"], ()])
def test_names_are_of_one_label_or_several(value: str | list[str]) -> None:
    assert names(value) == list(value)
