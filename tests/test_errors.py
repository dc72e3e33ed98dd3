"""Words that messages are made of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftkit.errors import RunError, brief, first, nearest, one_line, problems, some


@given(st.text(), st.integers(min_value=3, max_value=20))
def test_said_in_one_line_of_bounded_length(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most and len(line.splitlines()) <= 1
    assert line == " ".join(text.split()) or line.endswith("...")


@given(st.text(), st.integers(min_value=3, max_value=20))
def test_value_is_brief(value: str, most: int) -> None:
    assert len(brief(value, most)) <= most
    assert brief(value, most) == repr(value) or brief(value, most).endswith("...")


def test_an_error_is_told_by_its_words() -> None:
    assert one_line(ValueError("a\n  b\t c ")) == "a b c"


def test_nearest_name_is_told_as_it_is_known() -> None:
    known = ["Sentiment", "classification", "ner"]
    assert nearest("sentimant", known) == "Sentiment"
    assert nearest("CLASSIFICATION", known) == "classification"
    assert nearest("summarization!", known, 0.8) == ""
    assert nearest("x", []) == ""


def test_of_many_the_first_and_how_many_more() -> None:
    assert some(["a", "b", "c"], 3) == "a, b, c"
    assert some(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert some([], 2) == ""
    assert first(["a", "b"], 2) == ["a", "b"]
    assert first(["a", "b", "c"], 1) == ["a", "and 2 more"]


def test_several_problems_stand_below_their_heading_and_below_their_count_where_there_is_none() -> None:
    assert str(problems(RunError, "a.csv", ["x", "y"])) == "a.csv: 2 problems\n  - x\n  - y"
    assert str(problems(RunError, "", ["x", "y"], "mend")) == "2 problems\n  - x\n  - y\n  mend"
    assert str(problems(RunError, "", ["x"])) == "x"
