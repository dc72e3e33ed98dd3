"""What is a word, and what is left where one goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.augmenters._words import Words
from ftkit.edits import Edited
from tests.augmenters import rows


def listed(words: Words) -> list[str]:
    return [words[i] for i in range(len(words))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a well-known (very) good film!", ["It's", "a", "well-known", "very", "good", "film"]),
        ("$5.00 3rd www.a.com me@x.y @you #tag and/or A.B. a_b /etc 5%", []),
        ('"Naïve" nai\u0308ve isn\u2019t', ["Naïve", "nai\u0308ve", "isn\u2019t"]),
        ("日本語 の film ไทย", ["film"]),
        ("good,bad good, bad", ["good", "bad"]),
        (" \n\t ", []),
    ],
)
def test_a_word_is_letters_among_spaces_and_punctuation(text: str, words: list[str]) -> None:
    assert listed(Words(text)) == words


def test_of_tokens_each_is_a_word_or_none() -> None:
    words = Words(["Ada", "'s", "film", ",", "New York", "", "3", "n't"])
    assert listed(words) == ["Ada", "film", "n't"]


def test_words_that_touch_what_must_stay_are_not_free() -> None:
    text = "Paris-born Ada of Paris"
    words = Words(text, [(0, 5), (18, 23)])
    assert [words[i] for i in words.free] == ["Ada", "of"]


@pytest.mark.parametrize(
    ("text", "goes", "left"),
    [
        ("a good film", ["good"], "a film"),
        ("good film", ["good"], "film"),
        ("a good film.", ["film"], "a good."),
        ("a good film.", ["good", "film"], "a."),
        ("a  good\nfilm", ["good"], "a \nfilm"),
        ('he said "good film"', ["good"], 'he said "film"'),
        ("one two three four", ["two", "four"], "one three"),
    ],
)
def test_with_a_word_one_space_goes(text: str, goes: list[str], left: str) -> None:
    words = Words(text)
    edits = words.edits({i: "" for i in range(len(words)) if words[i] in goes})
    assert Edited(text, edits).text == left


def test_a_space_that_must_stay_does() -> None:
    text = "a good film"
    assert Edited(text, Words(text, [(1, 2), (6, 7)]).edits({1: ""})).text == "a  film"


@pytest.mark.parametrize("place", range(12))
def test_an_empty_part_that_must_stay_is_never_inside_of_an_edit(place: int) -> None:
    """An empty token may be an entity."""
    text = "film film  film"
    words = Words(text, [(place, place)])
    Edited(text, words.edits(dict.fromkeys(words.free, ""))).kept(place, place)


def test_brackets_do_not_stay_empty_and_negations_stay() -> None:
    words = Words('not a (very) "good" film')
    assert [words[i] for i in words.removable] == ["a", "film"]


def test_runs_are_words_with_spaces_between() -> None:
    words = Words("a good film, and 3 old ones\nhere", [(2, 6)])
    assert [[words[i] for i in run] for run in words.runs] == [["a"], ["film"], ["and"], ["old", "ones"], ["here"]]


def test_sentences_have_a_letter() -> None:
    text = 'Good. "Is it?" he said!\n\n3.5\nNo end here '
    assert [text[a:b] for a, b in Words(text).sentences] == ["Good.", '"Is it?"', "he said!", "No end here"]
    assert Words(["A", "b", ".", "C"]).sentences == [(0, 7)]


@given(rows.texts(), st.randoms(use_true_random=False))
def test_any_words_can_go(text: str, random: object) -> None:
    """Edits never overlap, and what is no word and no space stays in its order."""
    words = Words(text)
    changes = {i: random.choice(["", "other", "two words"]) for i in words.free if random.random() < 0.6}  # type: ignore[attr-defined]
    after = Edited(text, words.edits(changes)).text
    rest = [c for i, c in enumerate(text) if not any(a <= i < b for a, b in words.places) and c != " "]
    others = Words(after)
    assert [c for i, c in enumerate(after) if not any(a <= i < b for a, b in others.places) and c != " "] == rest


def test_the_space_beside_what_must_stay_is_free() -> None:
    text = "Paris lay."
    assert Edited(text, tuple(Words(text, [(0, 5)]).edits({1: ""}))).text == "Paris."
    text = "a good film"
    assert Edited(text, tuple(Words(text, [(6, 7)]).edits({1: "", 2: ""}))).text == "a "
