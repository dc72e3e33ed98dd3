"""Cleaning: each step does what it says, and every place in a text moves with it, there and back."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.clean import GIVEN, STEPS, aligned, clean, cleaned, given_places
from ftkit.data.load import load, load_file
from ftkit.errors import DataError
from ftkit.settings import CleanStep, DataSpec
from ftkit.tasks._base import Column

PIECES = (
    *("Anna", "the ", "  ", "\n", "é", "e\u0301", "ﬁ", "İ", "ΟΔΟΣ ", "ㄱㅏ", "한", "각", "ｱﾞ", "🙂", "<", ">", "&"),
    *("<b>", "</b>", "<br/>", "<p class='x'>", "<user>", "<!-- no -->", "<script>no</script>", "&amp;", "&lt;", "&#0;"),
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(codec="utf-8")), max_size=12).map("".join)
ORDERS = st.lists(st.sampled_from(sorted(STEPS)), max_size=4)


def test_steps_are_those_of_the_setting() -> None:
    assert set(STEPS) == set(get_args(CleanStep))


@given(TEXTS, st.sampled_from(["NFC", "NFKC"]))
def test_forms_are_unicodes(text: str, form: Any) -> None:
    assert clean(text, [form.lower()]) == unicodedata.normalize(form, text)


@given(TEXTS)
def test_lower_case_is_pythons(text: str) -> None:
    assert clean(text, ["lowercase"]) == text.lower()


@given(TEXTS)
def test_white_space_is_single_and_inside(text: str) -> None:
    assert clean(text, ["whitespace"]) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "left"),
    {
        "<p>One</p><p>Two</p>": "\nOne\n\nTwo\n",
        "un<b>believ</b>able": "unbelievable",
        "good<br /><BR>bad": "good\n\nbad",
        "<a href='x>y' title=\"z\">a link</a >": "a link",
        "AT&T &amp; co, &lt;b&gt; &#8364;5&#x21;": "AT&T & co, <b> €5!",
        "<!DOCTYPE html><!-- not <b>this</b> -->this": "this",
        "<script>var x = '<p>'</script>Hi<style>p {}</STYLE>": "Hi",
        "I <3 you, if x<y and a < b > c": "I <3 you, if x<y and a < b > c",
        "<user> said <URL> to <b don't": "<user> said <URL> to <b don't",
        "open <!-- here, <b and <script>here": "open <!-- here, <b and here",
        "5 &copy 6 &nosuch; ?a=1&lt=2": "5 &copy 6 &nosuch; ?a=1&lt=2",
    }.items(),
)
def test_markup_goes_and_what_only_looks_like_it_stays(text: str, left: str) -> None:
    assert clean(text, ["html"]) == left


@pytest.mark.parametrize("text", ["<!--", "<script>", "<a b='", "<a b=c", "&a", "<", " \n", "<a b "])
def test_long_broken_markup_takes_no_long_time(text: str) -> None:
    """A hundred times the text may take a hundred times as long: 10,000 would be minutes here."""
    assert isinstance(clean(text * 50_000, ["html", "whitespace"]), str)


@given(TEXTS, ORDERS)
def test_alignment_is_of_the_cleaned_text_in_order(text: str, steps: list[str]) -> None:
    made = aligned(text, steps)
    assert made.text == clean(text, steps)
    assert len(made.starts) == len(made.ends) == len(made.text)
    assert all(0 <= start < end <= len(text) for start, end in zip(made.starts, made.ends, strict=True))
    assert all(one <= other for places in (made.starts, made.ends) for one, other in pairwise(places))
    if made.text == text and not steps:
        assert [made.given(i, i + 1) for i in range(len(text))] == [(i, i + 1) for i in range(len(text))]


@given(TEXTS, ORDERS, st.data())
def test_a_place_comes_back_where_it_was(text: str, steps: list[str], data: st.DataObject) -> None:
    made = aligned(text, steps)
    if not made.text:
        return
    start = data.draw(st.integers(0, len(made.text) - 1))
    end = data.draw(st.integers(start + 1, len(made.text)))
    first, last = made.moved(*made.given(start, end)) or (-1, -1)
    assert first <= start and end <= last  # more only where several characters were made of one part
    assert made.given(first, last) == made.given(start, end)


WORDS = st.sampled_from(["Anna", "ΟΔΟΣ", "e\u0301te\u0301", "New  York", "R&amp;D", "<b>Jo</b>", "İzmir", "ﬁne", "it"])
GAPS = st.sampled_from([" ", "  ", "\n", "<br>", " <i>of</i> ", " &amp; "])


@given(st.lists(st.tuples(WORDS, GAPS, st.booleans()), min_size=1, max_size=6), ORDERS)
def test_entities_and_answers_are_the_same_texts_but_for_the_cleaning(
    parts: list[tuple[str, str, bool]], steps: list[str]
) -> None:
    text, entities = "", []
    for word, gap, named in parts:
        if named:
            entities.append({"start": len(text), "end": len(text) + len(word), "type": "X"})
        text += word + gap
    named = [text[e["start"] : e["end"]] for e in entities]
    answers = {"text": named, "answer_start": [e["start"] for e in entities]}
    rows = [{"row": 1, "text": text, "entities": entities}, {"row": 1, "context": text, "answers": answers}]
    marked, asked = cleaned(rows, ["text", "context"], steps, "rows")
    after = [marked["text"][e["start"] : e["end"]] for e in marked["entities"]]
    assert [clean(part, [*steps, "whitespace"]) for part in named] == [clean(part, ["whitespace"]) for part in after]
    assert asked["answers"]["text"] == after
    for part, start in zip(asked["answers"]["text"], asked["answers"]["answer_start"], strict=True):
        assert asked["context"].startswith(part, start)
    if marked["text"] == text:
        assert marked == {**rows[0], GIVEN: None}
    else:
        given_text, made = given_places(marked[GIVEN], "text")
        assert given_text == text and made.text == marked["text"]


def test_an_empty_part_has_a_place_too() -> None:
    made = aligned(" <b>a</b>b ", ["html", "whitespace"])
    assert made.text == "ab"
    assert [made.given(i, i) for i in range(3)] == [(4, 4), (9, 9), (10, 10)]
    assert aligned(" ", ["whitespace"]).given(0, 0) == (0, 0)


def test_tokens_are_cleaned_one_by_one_and_none_is_lost() -> None:
    row = {"row": 1, "tokens": ["<b>An&amp;na</b>", "<br>", "İX"], "tags": ["B-PER", "O", "O"]}
    (found,) = cleaned([row], ["tokens"], ["html", "whitespace", "lowercase"], "rows")
    assert found["tokens"] == ["an&na", "<br>", "i̇x"] and found["tags"] == row["tags"]
    text, made = given_places(found[GIVEN], "text")
    assert text == "<b>An&amp;na</b> <br> İX" and made.text == " ".join(found["tokens"])
    for token, given_token in (("an&na", "An&amp;na"), ("<br>", "<br>"), ("i̇x", "İX")):
        at = made.text.index(token)
        start, end = made.given(at, at + len(token))
        assert text[start:end] == given_token


def test_what_cleaning_leaves_nothing_of_is_told_with_its_rows() -> None:
    rows = [
        {"row": n, "text": "a <b title='Anna'>", "entities": [{"start": 12, "end": 16, "type": "PER"}]} for n in (3, 4)
    ]
    with pytest.raises(DataError) as caught:
        list(cleaned(rows, ["text"], ["html"], "names.jsonl"))
    assert "names.jsonl: data.clean: 2 problems" in caught.value.message
    assert "row 3: nothing is left of the entity 'Anna'" in caught.value.message and "data.clean" in caught.value.hint
    two = {"row": 1, "text": "e\u0301", "entities": [{"start": i, "end": i + 1, "type": "X"} for i in (0, 1)]}
    with pytest.raises(DataError, match="row 1: two entities become one character"):
        list(cleaned([two], ["text"], ["nfc"], "names.jsonl"))


COLUMNS = [[Column("text", "text"), Column("text_pair", "text", required=False), Column("label", "label")]]


def test_all_splits_are_cleaned_and_it_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": f" Text {n}" if n % 2 else f"text {n}", "label": "A&amp;B" if n % 3 else "c"} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = load(DataSpec(train=str(path), test=0.2, clean=("whitespace", "lowercase")), COLUMNS)
    found = {row["row"]: row for _, split in splits.items() for row in split}
    assert [found[n + 1]["text"] for n in range(40)] == [f"text {n}" for n in range(40)]
    assert {row["label"] for row in found.values()} == {"A&amp;B", "c"}
    assert [note for note in splits.notes if "clean" in note] == [
        "data.clean (whitespace, lowercase) changed 20 of 40 rows"
    ]
    read, notes = load_file(str(path), DataSpec(clean=("whitespace", "lowercase")), COLUMNS)
    assert read["text"] == [f"text {n}" for n in range(40)] and "20 of 40" in notes[-1]
    plain, _ = load_file(str(path), DataSpec(), COLUMNS)
    assert GIVEN not in plain.column_names
