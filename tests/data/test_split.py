from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ftkit.data.split import cut, draw
from ftkit.errors import DataError

shares = st.floats(0.05, 0.95)
label_lists = st.lists(st.sampled_from("abcdef"), min_size=2, max_size=120)


def is_partition(size: int, stay: list[int], held: list[int]) -> bool:
    ascending = stay == sorted(stay) and held == sorted(held)
    return ascending and sorted(stay + held) == list(range(size)) and bool(stay) and bool(held)


@given(st.integers(1, 200), shares, st.integers(0, 5))
def test_a_share_of_rows(size: int, share: float, seed: int) -> None:
    wanted = int(share * size + 0.5)
    if not 0 < wanted < size:
        with pytest.raises(DataError, match=f"of {size} row"):
            cut(size, share, name="test", seed=seed)
        return
    stay, held = cut(size, share, name="test", seed=seed)
    assert is_partition(size, stay, held)
    assert len(held) == wanted


@given(label_lists, shares, st.integers(0, 5))
def test_classes_keep_their_shares(labels: list[str], share: float, seed: int) -> None:
    assume(0 < int(share * len(labels) + 0.5) < len(labels))
    stay, held = cut(len(labels), share, name="test", seed=seed, labels=labels)
    assert is_partition(len(labels), stay, held)
    sizes, taken = Counter(labels), Counter(labels[index] for index in held)
    for label, size in sizes.items():
        if size > 1:
            assert taken[label] < size
            assert abs(taken[label] - share * size) <= 1 or taken[label] == size - 1


@given(st.lists(st.one_of(st.none(), st.integers(0, 8)), min_size=2, max_size=80), shares, st.data())
def test_groups_stay_whole(groups: list[int | None], share: float, data: st.DataObject) -> None:
    labels = data.draw(
        st.one_of(st.none(), st.lists(st.sampled_from("ab"), min_size=len(groups), max_size=len(groups)))
    )
    assume(len(set(groups)) + groups.count(None) > 1 + (None in groups))
    stay, held = cut(len(groups), share, name="test", seed=1, labels=labels, groups=groups)
    assert is_partition(len(groups), stay, held)
    assert not {groups[i] for i in stay} & {groups[i] for i in held} - {None}
    if labels is None:
        largest = max(count if group is not None else 1 for group, count in Counter(groups).items())
        assert abs(len(held) - share * len(groups)) <= largest


def torn(keys: Sequence[object], sides: tuple[list[int], list[int]]) -> set[object]:
    """What stands on both sides."""
    return {keys[i] for i in sides[0]} & {keys[i] for i in sides[1]} - {None}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), min_size=20, max_size=80), st.integers(0, 3))
def test_rows_that_are_alike_stay_together_where_none_is_frequent(rows: list[tuple[str, int]], seed: int) -> None:
    labels, alike = [label for label, _ in rows], [key for _, key in rows]
    assume(max(Counter(alike).values()) <= 4)
    stay, held = cut(len(rows), 0.3, name="test", seed=seed, labels=labels, alike=alike)
    assert is_partition(len(rows), stay, held)
    if not torn(alike, (stay, held)):
        assert abs(len(held) - 0.3 * len(rows)) <= 8
    else:  # nothing came nearer
        assert (stay, held) == cut(len(rows), 0.3, name="test", seed=seed, labels=labels)


@given(st.lists(st.one_of(st.none(), st.integers(0, 8)), min_size=2, max_size=80), shares, st.data())
def test_alike_or_not_each_class_keeps_a_row_and_the_share_is_near(
    alike: list[int | None], share: float, data: st.DataObject
) -> None:
    size = len(alike)
    assume(0 < int(share * size + 0.5) < size)
    labels = data.draw(st.lists(st.sampled_from("abc"), min_size=size, max_size=size))
    stay, held = cut(size, share, name="test", seed=1, labels=labels, alike=alike)
    assert is_partition(size, stay, held)
    totals, taken = Counter(labels), Counter(labels[i] for i in held)
    for label, total in totals.items():
        assert taken[label] < total or total == 1
    off = sum(abs(taken[label] - share * total) for label, total in totals.items())
    assert off <= share * size + len(totals)


@pytest.mark.parametrize("seed", range(20))
def test_a_text_that_is_most_of_the_rows_fills_no_share(seed: int) -> None:
    alike = [0] * 300 + list(range(1, 61))
    stay, held = cut(360, 0.1, name="test", seed=seed, labels=["a"] * 330 + ["b"] * 30, alike=alike)
    assert len(held) >= 30 and not torn(alike, (stay, held)) and 0 not in held
    assert len(held) <= 36


@pytest.mark.parametrize("seed", range(20))
def test_a_label_that_only_repeats_have_keeps_a_row(seed: int) -> None:
    labels, alike = ["a", "b"] * 25 + ["c", "c"], [*range(50), 3, 4]
    stay, held = cut(52, 0.3, name="test", seed=seed, labels=labels, alike=alike)
    assert "c" in {labels[i] for i in stay} and not torn(alike, (stay, held))


def test_where_all_rows_are_alike_the_share_is_taken_all_the_same() -> None:
    plain = cut(60, 0.1, name="test", seed=1, labels=["a", "b"] * 30)
    assert cut(60, 0.1, name="test", seed=1, labels=["a", "b"] * 30, alike=["same"] * 60) == plain


def test_rows_of_no_group_stay_with_their_like() -> None:
    groups = [str(i // 2) if i < 20 else None for i in range(60)]
    alike = [f"text {i % 20}" for i in range(60)]
    sides = cut(60, 0.3, name="test", seed=1, groups=groups, alike=alike)
    assert not torn(groups, sides)
    assert not torn([None if i < 20 else key for i, key in enumerate(alike)], sides)


@given(label_lists, shares)
def test_where_all_rows_differ_the_same_are_held_out(labels: list[str], share: float) -> None:
    assume(0 < int(share * len(labels) + 0.5) < len(labels))
    plain = cut(len(labels), share, name="test", seed=2, labels=labels)
    assert cut(len(labels), share, name="test", seed=2, labels=labels, alike=range(len(labels))) == plain


def test_every_row_its_own_class() -> None:
    stay, held = cut(20, 0.25, name="test", seed=1, labels=[str(number) for number in range(20)])
    assert is_partition(20, stay, held)
    assert len(held) == 5


def test_a_class_of_one_row_stays_in_training() -> None:
    labels = ["rare", *["common"] * 19]
    assert all(0 not in cut(20, 0.3, name="test", seed=seed, labels=labels)[1] for seed in range(20))


def test_grouped_rows_keep_class_shares_where_groups_allow() -> None:
    labels = ["a", "a", "b"] * 40
    groups = [number // 3 for number in range(120)]
    _, held = cut(120, 0.2, name="test", seed=3, labels=labels, groups=groups)
    assert Counter(labels[index] for index in held) == {"a": 16, "b": 8}


def test_seeds_and_names_draw_differently() -> None:
    draws = {tuple(cut(100, 0.2, name=name, seed=seed)[1]) for name in ("validation", "test") for seed in range(3)}
    assert len(draws) == 6


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 7.0])
def test_no_share(share: float) -> None:
    with pytest.raises(DataError, match=r"data\.validation=.* is not a share"):
        cut(10, share, name="validation", seed=1)


def test_one_group_can_not_be_cut() -> None:
    with pytest.raises(DataError, match="all rows are of one group"):
        cut(10, 0.5, name="validation", seed=1, groups=["same"] * 10)


def test_draw_keeps_file_order_and_never_exceeds() -> None:
    drawn = draw(50, 10, seed=4)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 10
    assert draw(50, 10, seed=4) == drawn != draw(50, 10, seed=5)
    assert draw(3, 10, seed=4) == [0, 1, 2]


def test_the_same_on_every_hash_seed_and_always() -> None:
    code = """
from ftkit.data.split import cut, draw
labels = [name for name in ("red", "green", "blue") for _ in range(7)]
groups = [f"g{i % 6}" for i in range(21)]
print(cut(21, 0.3, name="test", seed=13, labels=labels)[1])
print(cut(21, 0.3, name="test", seed=13, labels=labels, groups=groups)[1], draw(21, 4, seed=13))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert outputs == {EXPECTED}


EXPECTED = b"[1, 4, 9, 10, 16, 17]\n[1, 3, 7, 9, 13, 15, 19] [9, 10, 16, 19]\n"


def test_a_draw_keeps_shares() -> None:
    labels = ["a"] * 90 + ["b"] * 10
    assert Counter(labels[i] for i in draw(100, 20, seed=1, labels=labels)) == {"a": 18, "b": 2}


def test_groups_with_a_class_of_one_row_and_the_nearest_group() -> None:
    held = [cut(4, 0.5, name="test", seed=s, labels=list("aaab"), groups=[0, 0, 1, 1])[1] for s in range(10)]
    assert [2, 3] in held
    labels, groups = ["a"] * 6 + ["b"] * 3 + ["a"] * 4 + ["b"] * 7, [0] * 4 + [1] * 5 + [2] * 11
    assert cut(20, 0.1, name="test", seed=1, labels=labels, groups=groups)[1] == list(range(4, 9))
