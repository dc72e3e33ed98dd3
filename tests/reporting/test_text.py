"""A text in pieces: marks and weights stand where they were put, and nothing invisible goes into the page."""

from __future__ import annotations

import pytest

from ftkit.reporting.text import LONGEST, Piece, pieces, visible

TEXT = "Anna met Bob Ray"


def test_marks_hold_their_characters_and_are_named_where_they_end() -> None:
    marks = [
        {"kind": "right", "label": "PER", "start": 0, "end": 4},
        {"kind": "missed", "label": "PER", "start": 9, "end": 16},
        {"kind": "wrong", "label": "LOC", "start": 9, "end": 12},
    ]
    assert pieces({"text": TEXT, "marks": marks}, True, True) == [
        Piece("Anna", ("right",), 0, ("PER",)),
        Piece(" met ", (), 0, ()),
        Piece("Bob", ("missed", "wrong"), 0, ("LOC answered",)),
        Piece(" Ray", ("missed",), 0, ("PER missed",)),
    ]
    wrong = {"kind": "wrong", "label": "LOC", "start": 0, "end": 4, "truth": "PER"}
    assert pieces({"text": TEXT, "marks": [wrong]}, True, False)[0].notes == ("LOC, truly PER",)


def test_weights_keep_their_sign_and_are_1_at_most() -> None:
    part = {"text": TEXT, "weights": [[0, 4, 0.5], [5, 8, -2.0]]}
    assert [(p.text, p.weight) for p in pieces(part, True, True)] == [
        ("Anna", 0.5),
        (" ", 0),
        ("met", -1.0),
        (" Bob Ray", 0),
    ]


@pytest.mark.parametrize("shown", [(False, True), (True, False)])
def test_only_what_is_wanted_is_put_in(shown: tuple[bool, bool]) -> None:
    mark = {"kind": "right", "label": "PER", "start": 0, "end": 4}
    first = pieces({"text": TEXT, "marks": [mark], "weights": [[0, 4, 0.5]]}, *shown)[0]
    assert (bool(first.marks), bool(first.weight)) == shown


def test_what_can_not_be_seen_is_written_as_its_number_and_what_is_endless_is_cut() -> None:
    assert visible("a\u202eb\x00\tc\n") == "a[U+202E]b[U+0000]\tc\n"
    assert visible("x" * (LONGEST + 1500)) == "x" * LONGEST + "... (1,500 more characters)"
    assert visible("x" * LONGEST) == "x" * LONGEST
