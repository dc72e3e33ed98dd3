from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support

from ftkit.metrics.spans import entities, entity_scores, entity_tally, tags

TYPES = ["PER", "LOC", "multi-word", "_"]
messy = st.one_of(
    st.sampled_from(["O", "B", "I", "E", "S"]),
    st.builds("{}-{}".format, st.sampled_from("BIES"), st.sampled_from(TYPES)),
)
sentence = st.lists(messy, max_size=12)
pairs = st.lists(
    st.integers(0, 10).flatmap(
        lambda n: st.tuples(st.lists(messy, min_size=n, max_size=n), st.lists(messy, min_size=n, max_size=n))
    ),
    min_size=1,
    max_size=6,
)


@given(sentence)
def test_entities_are_those_of_seqeval(sequence):
    assert entities(sequence) == [(kind, start, end + 1) for kind, start, end in get_entities(sequence)]


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
        ("I-PER I-PER B-PER O I-LOC", [("PER", 0, 2), ("PER", 2, 3), ("LOC", 4, 5)]),  # IOB1
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
        ("B-PER I-PER E-PER S-LOC", [("PER", 0, 3), ("LOC", 3, 4)]),  # BIOES
        ("B-PER I-PER L-PER U-LOC U-LOC O", [("PER", 0, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),  # BILOU
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
    ],
)
def test_entities_of_each_scheme(sequence, expected):
    assert entities(sequence.split()) == expected


@pytest.mark.parametrize("tag", ["PER", "X-PER", "", "O-PER", "b-PER", "BPER"])
def test_what_is_no_tag_is_named(tag):
    with pytest.raises(ValueError, match=f"'{tag}' is no BIO"):
        entities(["O", tag])


@given(sentence)
def test_tags_spell_the_entities_they_came_from(sequence):
    found = entities(sequence)
    spelled = tags(found, len(sequence))
    assert entities(spelled) == found
    assert tags(entities(spelled), len(sequence)) == spelled
    assert {tag[:1] for tag in spelled} <= {"B", "I", "O"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([("PER", 0, 2), ("LOC", 1, 3)], "LOC from 1 to 3 overlaps"),
        ([("PER", 2, 2)], "does not fit"),
        ([("PER", 1, 4)], "PER from 1 to 4 does not fit 3 tokens"),
        ([("PER", -1, 2)], "does not fit"),
    ],
)
def test_entities_that_no_tags_can_spell(wrong, said):
    with pytest.raises(ValueError, match=said):
        tags(wrong, 3)


@given(pairs)
def test_scores_are_those_of_seqeval(sentences):
    truth, predicted = map(list, zip(*sentences, strict=True))
    expected, found = [entities(s) for s in truth], [set(entities(s)) for s in predicted]
    got = entity_scores(expected, found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = {
            "precision": precision_score(truth, predicted, zero_division=0),
            "recall": recall_score(truth, predicted, zero_division=0),
            "f1": f1_score(truth, predicted, zero_division=0),
        }
        if any(expected) or any(found):  # seqeval's macro mean over no types at all is not a number
            reference["macro_f1"] = f1_score(truth, predicted, average="macro", zero_division=0)
        if any(expected):
            reference["weighted_f1"] = f1_score(truth, predicted, average="weighted", zero_division=0)
        columns = precision_recall_fscore_support(truth, predicted, zero_division=0)
    assert {name: got[name]["value"] for name in reference} == pytest.approx(reference)
    assert all(s["n"] == sum(map(len, expected)) and type(s["value"]) is float for s in got.values())
    rows = [(r["precision"], r["recall"], r["f1"], r["n"]) for r in entity_tally(expected, found).by_label()]
    assert rows == [pytest.approx(row) for row in zip(*columns, strict=True)]


def test_scores_by_hand():
    truth = [[("PER", 0, 2), ("LOC", 3, 4)], [("PER", 0, 1)], []]
    predicted = [[("PER", 0, 2), ("PER", 3, 4)], [], [("ORG", 0, 1)]]
    got = {name: score["value"] for name, score in entity_scores(truth, predicted).items()}
    assert got == pytest.approx(
        {"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3, "macro_f1": 0.5 / 3, "weighted_f1": 1 / 3}
    )
    assert entity_tally(truth, predicted).by_label() == [
        {"label": "LOC", "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 1},
        {"label": "ORG", "precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0},
        {"label": "PER", "precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2},
    ]


def test_no_entity_anywhere_scores_0_over_0_cases():
    assert entity_scores([[]], [[]])["f1"] == {"value": 0.0, "n": 0}
    assert entity_scores([[]], [[]])["macro_f1"] == {"value": 0.0, "n": 0}
    assert entity_tally([[]], [[]]).by_label() == []
