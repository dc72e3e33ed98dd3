"""Cases worked by hand from the published SQuAD 1.1 and 2.0 evaluation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.errors import DataError
from ftkit.metrics.answers import answer_scores, exact, normalize, token_f1


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The  Eiffel\tTower!", "eiffel tower"),
        ("a an the", ""),
        ("An apple a day", "apple day"),
        ("theatre anthem", "theatre anthem"),  # articles are whole words
        ("U.S.A.", "usa"),  # punctuation goes without leaving a gap
        ("well-known", "wellknown"),
        ("the-end", "theend"),  # ... and goes before the articles do
        ("$5,000.00", "500000"),
        ("ÉCOLE İ", "école i̇"),
        ("a\u00a0dog\u2003ran", "dog ran"),  # any Unicode white space parts words
        ("“quoted” — here", "“quoted” — here"),  # only ASCII punctuation is taken out
        ("à the côté", "à côté"),  # à is a letter of its own, not the article
        ("北京", "北京"),
    ],
)
def test_normal_form(answer, normal):
    assert normalize(answer) == normal


@pytest.mark.parametrize(
    ("prediction", "references", "match", "f1"),
    [
        ("Denver Broncos", ["Denver Broncos"], 1, 1),
        ("the denver broncos.", ["Denver Broncos", "Broncos"], 1, 1),
        ("Broncos", ["Denver Broncos"], 0, 2 / 3),
        ("Denver", ["Carolina Panthers"], 0, 0),
        ("the the cat sat", ["cat cat sat"], 0, 2 * 2 / (2 + 3)),  # a word counts as often as both have it
        ("Gold", ["golden", "the gold anniversary", "gold-themed"], 0, 2 / 3),
        ("", ["Denver"], 0, 0),
        ("Denver", [], 0, 0),
        ("", [], 1, 1),
        ("the", [], 1, 1),  # nothing is left of it, so it says "no answer"
        (".", [], 1, 1),
        ("", ["the", "Denver"], 0, 0),  # a reference of which nothing is left does not count ...
        ("", ["the"], 1, 1),  # ... unless all are so
    ],
)
def test_one_answer(prediction, references, match, f1):
    assert exact(prediction, references) == match
    assert token_f1(prediction, references) == pytest.approx(f1)


@settings(max_examples=50)
@given(st.text(), st.lists(st.text(), max_size=3))
def test_exact_implies_full_f1_and_both_are_fractions(prediction, references):
    match, f1 = exact(prediction, references), token_f1(prediction, references)
    assert match in {0.0, 1.0} and 0 <= f1 <= 1
    assert f1 == 1 or match == 0
    assert not references or exact(references[0] or "x", [references[0] or "x"]) == 1


def test_all_questions_answerable():
    scores = answer_scores(["Broncos", "1999", "x"], [["Denver Broncos"], ["in 1999", "1999"], ["y"]])
    assert scores == {
        "exact_match": {"value": pytest.approx(1 / 3), "n": 3},
        "f1": {"value": pytest.approx((2 / 3 + 1 + 0) / 3), "n": 3},
    }


def test_some_questions_without_an_answer():
    scores = answer_scores(["Broncos", "", "guess", "1999"], [["Denver Broncos"], [], [], ["1999"]])
    assert scores == {
        "exact_match": {"value": 0.5, "n": 4},
        "f1": {"value": pytest.approx((2 / 3 + 1 + 0 + 1) / 4), "n": 4},
        "has_answer_exact_match": {"value": 0.5, "n": 2},
        "has_answer_f1": {"value": pytest.approx(5 / 6), "n": 2},
        "no_answer_accuracy": {"value": 0.5, "n": 2},
    }


def test_no_question_has_an_answer():
    assert set(answer_scores([""], [[]])) == {"exact_match", "f1", "no_answer_accuracy"}


def test_nothing_to_score():
    with pytest.raises(DataError, match="no rows"):
        answer_scores([], [])
    with pytest.raises(ValueError, match="1 rows of truth, but 2 predictions"):
        answer_scores(["a", "b"], [["a"]])
