"""A text with edits: what is kept is found again, what was replaced is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.edits import Edit, Edited, places


@st.composite
def edited(draw: st.DrawFn) -> Edited:
    text = draw(st.text(max_size=30))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = list(zip(cuts[::2], cuts[1::2], strict=False))
    return Edited(text, tuple(Edit(start, end, draw(st.text(max_size=5))) for start, end in pairs))


@given(edited())
def test_what_no_edit_touches_is_found_again(one: Edited) -> None:
    inside = {i for edit in one.edits for i in range(edit.start, edit.end)}
    for place, character in enumerate(one.before):
        if place not in inside and not any(edit.start <= place < edit.end for edit in one.edits):
            moved = one.moved(place)
            assert one.text[moved] == character


@given(edited())
def test_parts_are_the_text_before_and_after(one: Edited) -> None:
    parts = list(one.parts())
    assert "".join(before for before, _ in parts) == one.before
    assert "".join(after for _, after in parts) == one.text


def test_what_was_replaced_has_no_place_any_more() -> None:
    one = Edited("a cheap film", (Edit(2, 7, "dear"),))
    assert one.text == "a dear film"
    assert one.kept(8, 12) == (7, 11) and one.kept(0, 1) == (0, 1)
    with pytest.raises(ValueError, match="inside"):
        one.moved(4)
    with pytest.raises(ValueError, match="was changed"):
        one.kept(2, 7)


@pytest.mark.parametrize("edits", [[(0, 3), (2, 4)], [(4, 5), (0, 1)]])
def test_edits_that_overlap_or_go_back_are_refused(edits: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        Edited("abcdef", tuple(Edit(a, b, "") for a, b in edits))


def test_tokens_stand_a_space_apart() -> None:
    tokens = ["Ada", "", "x y", "."]
    assert [" ".join(tokens)[a:b] for a, b in places(tokens)] == tokens
    assert places([]) == []
