from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from ftkit.metrics.text import most_alike, rouge

TYPES = ["rouge1", "rouge2", "rougeL"]
words = st.lists(st.sampled_from(["the", "Cat", "running", "runs", "mat's", "5", "naïve", "--"]), max_size=10).map(
    " ".join
)
rows = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=1, max_size=6)


@settings(max_examples=60)
@given(rows)
def test_rouge_is_that_of_rouge_score(pairs):
    predictions, references = map(list, zip(*pairs, strict=True))
    scorer = RougeScorer(TYPES, use_stemmer=False)
    got = rouge(predictions, references)
    for name in TYPES:
        best = [max(scorer.score(r, p)[name].fmeasure for r in refs) for p, refs in pairs]
        assert got[name] == {"value": pytest.approx(sum(best) / len(best)), "n": len(pairs)}
        assert type(got[name]["value"]) is float


def test_rouge_by_hand():
    got = rouge(["the cat sat"], [["the cat ran fast"]])
    assert got["rouge1"]["value"] == pytest.approx(2 * 2 / (3 + 4))
    assert got["rouge2"]["value"] == pytest.approx(2 * 1 / (2 + 3))
    assert got["rougeL"]["value"] == pytest.approx(2 * 2 / (3 + 4))


def test_each_type_takes_its_own_best_reference():
    references = ["d c b a", "a b x x x x"]  # all the words in the wrong order; two words in the right one
    got = {name: score["value"] for name, score in rouge(["a b c d"], [references]).items()}
    assert got == pytest.approx({"rouge1": 1.0, "rouge2": 2 * 1 / (3 + 5), "rougeL": 2 * 2 / (4 + 6)})


def test_empty_predictions_score_0():
    assert rouge(["", "a"], [["a"], ["a"]])["rouge1"] == {"value": 0.5, "n": 2}


def test_a_prediction_without_a_reference_is_named():
    with pytest.raises(ValueError, match="prediction 1 has no reference"):
        rouge(["a", "b"], [["a"], []])


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        (["only one"], 0),
        (["", ""], 0),
        (["a b c", "x y z", "a b d"], 0),
        (["q", "a b c", "a b c d", "a b c d"], 2),
        (["b a", "a b", "A, b!"], 1),  # pairs of words count, case and points don't
    ],
)
def test_most_alike(texts, number):
    assert most_alike(texts) == number


def test_short_texts_are_like_themselves_too() -> None:
    assert most_alike(["q", "x y"]) == 1
