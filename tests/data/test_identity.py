"""What tells data from other data: rows, and several files."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from datasets import Dataset, concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.data import identity
from ftkit.data.identity import changed_files, fingerprint
from ftkit.settings import DataSpec

ROWS: list[dict[str, Any]] = [
    {"text": f"Parcel {i} came late.", "tags": ["a"] * (i % 3), "group": None if i % 2 else str(i)} for i in range(30)
]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 29), max_size=4, unique=True), st.integers(1, 9))
def test_equal_rows_have_one_fingerprint_however_they_are_cut(cuts: list[int], before: int) -> None:
    parts = [ROWS[a:b] for a, b in pairwise(sorted({0, *cuts, 30}))]
    whole = Dataset.from_list(ROWS)
    cut = concatenate_datasets([Dataset.from_list(part, features=whole.features) for part in parts])
    later = Dataset.from_list([*ROWS[:before], *ROWS])
    others = (cut, later.select(range(before, before + 30)), later.select([0, *range(before + 1, before + 30)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "AT_ONCE", 8)
        assert {fingerprint(other) for other in others} == {fingerprint(whole)}


@given(st.integers(0, 29), st.sampled_from(["text", "group", "tags"]))
def test_another_value_gives_another_one(number: int, column: str) -> None:
    rows = [dict(row) for row in ROWS]
    rows[number][column] = ["other"] if column == "tags" else "other"
    features = Dataset.from_list(ROWS).features
    found = fingerprint(Dataset.from_list(rows, features=features))
    assert found != fingerprint(Dataset.from_list(ROWS, features=features))


def test_order_counts_and_so_does_a_row_more() -> None:
    whole = Dataset.from_list(ROWS)
    others = (range(30), range(29, -1, -1), range(29), [])
    assert len({fingerprint(whole.select(places)) for places in others}) == 4


def test_of_several_files_it_is_told_which_came_went_and_changed() -> None:
    spec, then = DataSpec(), {"train: a.jsonl": "1", "train: b.jsonl": "2", "test": "3"}
    now = {"train: a.jsonl": "1", "train: b.jsonl": "4", "train: c.jsonl": "5", "test": "3"}
    changed = {"train: b.jsonl": "has changed", "train: c.jsonl": "was added"}
    assert changed_files(spec, then, now) == changed
    back = {"train: b.jsonl": "has changed", "train: c.jsonl": "was taken away"}
    assert changed_files(spec, now, then) == back
    assert changed_files(spec, now, now) == {}


def test_a_file_that_is_one_of_several_now_or_no_longer_is_the_same_file() -> None:
    spec, one = DataSpec(), {"train": "1"}
    two = {"train: a.jsonl": "1", "train: b.jsonl": "2"}
    assert changed_files(spec, one, two) == {"train: b.jsonl": "was added"}
    assert changed_files(spec, two, one) == {"train: b.jsonl": "was taken away"}
    renamed = {"train: c.jsonl": "1", "train: b.jsonl": "2"}
    assert changed_files(spec, two, renamed) == {"train: c.jsonl": "was added", "train: a.jsonl": "was taken away"}
