from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.alike import asks, folded

spaces = st.text(" \t\n\u00a0\u3000", min_size=1, max_size=3)


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1), min_size=1), spaces, spaces)
def test_white_space_is_no_difference(words: list[str], one: str, other: str) -> None:
    assert folded([one.join(words) + other]) == folded([other + other.join(words)]) == folded([words])


@pytest.mark.parametrize(
    "other", [["a good film"], ["A good film", ""], ["", "A good film"], ["A goodfilm"], [["A", "good", "film", "."]]]
)
def test_any_other_text_is_one(other: list[str | list[str]]) -> None:
    assert folded(["A good film"]) != folded(other)


@pytest.mark.parametrize("nothing", [[""], [" \n", ""], [[]], []])
def test_who_asks_nothing_is_like_no_other(nothing: list[str | list[str]]) -> None:
    assert asks(nothing) is None
    assert asks([*nothing, "a  film"]) == (*folded(nothing), "a film")
