"""Texts and rows of every kind, as hypothesis makes them up."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

WORDS = [
    *(
        "the",
        "a",
        "film",
        "movies",
        "cheap",
        "good",
        "bad",
        "love",
        "happy",
        "began",
        "quickly",
        "story",
        "not",
        "never",
    ),
    *("Paris", "Ada", "Lovelace", "It", "don't", "well-known", "isn\u2019t", "n't", "I", "x"),
    *("Straße", "naïve", "nai\u0308ve", "Ωμέγα", "привет", "日本語", "ไทย", "😀", "\u200d", "ﬁne", "İstanbul"),
    *("$5.00", "3", "http://x.y/z?q=1", "me@x.org", "@you", "#tag", "and/or", "A.B.C.", "_under_", "it's\u00a0so"),
    *(",", ".", "(", ")", '"', "'", "--", "!", "\u201cquoted\u201d", "(film)", '"good"', "good,bad", "'film'"),
]
listed = st.sampled_from(WORDS)
words = st.one_of(listed, st.sampled_from(WORDS[:20]), st.text(max_size=6), st.text("abcfilmo", min_size=3, max_size=7))
spaces = st.sampled_from([*[" "] * 12, "  ", "\n", "\t", "", " \n ", "\u00a0"])


@st.composite
def texts(draw: st.DrawFn, most: int = 14) -> str:
    """Words of any kind with spaces of any kind between."""
    parts = draw(st.lists(st.tuples(words, spaces), max_size=most))
    return draw(st.sampled_from(["", " "])) + "".join(word + space for word, space in parts)


@st.composite
def places(draw: st.DrawFn, text: str, most: int = 4, apart: bool = True) -> list[tuple[int, int]]:
    """Parts of a text, at its edges and in the middle of words too; none overlapping another where they are `apart`."""
    edge = st.integers(0, len(text))
    found: list[tuple[int, int]] = []
    for one, other in draw(st.lists(st.tuples(edge, edge), max_size=most)):
        start, end = sorted((one, other))
        end = min(end, start + 12)
        if not (apart and any(start < last and end > first for first, last in found)):
            found.append((start, end))
    return sorted(found)


@st.composite
def marked_texts(draw: st.DrawFn) -> dict[str, Any]:
    """A row of named entities with their places in the text."""
    text = draw(texts())
    kinds = st.sampled_from(["PER", "LOC"])
    return {
        "text": text,
        "entities": [{"start": a, "end": b, "type": draw(kinds)} for a, b in draw(places(text))],
        "row": draw(st.integers(1, 10_000)),
    }


@st.composite
def tagged_tokens(draw: st.DrawFn) -> dict[str, Any]:
    """A row of named entities with tokens and tags, in one of the usual schemes."""
    tokens = draw(st.lists(st.one_of(words, st.sampled_from(["", " ", "New York", "film"])), max_size=12))
    tags, i = [], 0
    scheme = draw(st.sampled_from(["BIO", "IO", "BILOU"]))
    while i < len(tokens):
        size = min(draw(st.integers(0, 3)), len(tokens) - i)
        if size and draw(st.booleans()):
            tags += spelled(scheme, draw(st.sampled_from(["PER", "LOC"])), size)
        else:
            size = max(size, 1)
            tags += ["O"] * size
        i += size
    return {"tokens": tokens, "tags": tags[: len(tokens)], "row": draw(st.integers(1, 10_000))}


def spelled(scheme: str, kind: str, size: int) -> list[str]:
    if scheme == "IO":
        return [f"I-{kind}"] * size
    if scheme == "BIO":
        return [f"B-{kind}"] + [f"I-{kind}"] * (size - 1)
    return [f"U-{kind}"] if size == 1 else [f"B-{kind}"] + [f"I-{kind}"] * (size - 2) + [f"L-{kind}"]


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """A question with answers, which may overlap, be the whole passage, or not be there."""
    context = draw(texts(20))
    found = draw(places(context, apart=False))
    if context and draw(st.booleans()):
        found += draw(st.sampled_from([[(0, len(context))], [(0, 1)], [(len(context) - 1, len(context))]]))
    found = [found[i] for i in Random(draw(st.integers(0, 9))).sample(range(len(found)), len(found))]
    answers = {"text": [context[a:b] for a, b in found], "answer_start": [a for a, _ in found]}
    return {
        "question": draw(texts(8)),
        "context": context,
        "answers": answers,
        "row": draw(st.integers(1, 10_000)),
        "group": "one",
    }
