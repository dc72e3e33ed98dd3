"""Near duplicates are those that comparing all pairs would find."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.checks._near import LIKE, Near, partners

WORDS = ("red", "blue", "green", "gold", "tin", "jade", "oak", "elm")
TEXT = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


def similarity(one: str, other: str) -> float:
    a, b = pairs(one), pairs(other)
    return len(a & b) / len(a | b) if a | b else 0.0


def pairs(text: str) -> set[tuple[str, str]]:
    words = re.findall(r"\w+", text.casefold())
    return set(pairwise(words)) if len(words) != 1 else {(words[0], "")}


@settings(max_examples=50)
@given(st.lists(TEXT, min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_all_pairs_and_no_others(texts: list[str], random: object) -> None:
    texts += [f"{text} Red." for text in texts[:4]] + [text.upper() + "!" for text in texts[4:6]]
    found = partners(Near([texts]), [{"any"} for _ in texts], lambda need, other: True)
    every = {
        i: {j for j, other in enumerate(texts) if i != j and similarity(text, other) >= LIKE}
        for i, text in enumerate(texts)
    }
    partner = dict(found["any"])
    assert all(other in every[text] for text, other in partner.items())
    missed = [text for text, others in every.items() if others and text not in partner]
    assert all(max(similarity(texts[text], texts[other]) for other in every[text]) < 0.9 for text in missed)


def test_each_column_must_be_alike() -> None:
    passage = "a long passage about harbours and lanterns that many questions are asked about"
    questions = ["who lit the lantern there", "where does the harbour lie now", "who lit the lantern there now"]
    found = partners(Near([questions, [passage] * 3]), [{"any"} for _ in questions], lambda need, other: True)
    assert dict(found["any"]) == {0: 2, 2: 0}


def test_words_that_are_hashed_alike_are_told_apart() -> None:
    assert not Near([["one two", "one two three four five six"]]).alike(0, 1)
    assert Near([["One, two!", "one two"]]).alike(0, 1)
