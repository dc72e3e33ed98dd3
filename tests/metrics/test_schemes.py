"""Each scheme is told from the others, and read as seqeval reads it when it is strict."""

from __future__ import annotations

import pytest
import seqeval.scheme
from hypothesis import given
from hypothesis import strategies as st

from ftkit.metrics.schemes import Scheme, is_typed_tag, scheme_of
from ftkit.metrics.spans import Entity, entities

SCHEMES = ("IO", "bare types", "IOB1", "IOB2", "IOE1", "IOE2", "BIOES", "BILOU", "BMEWO")
STRICT = {
    "IOB1": seqeval.scheme.IOB1,
    "IOB2": seqeval.scheme.IOB2,
    "IOE2": seqeval.scheme.IOE2,
    "BIOES": seqeval.scheme.IOBES,
    "BILOU": seqeval.scheme.BILOU,
}
"""seqeval's IOE1 doesn't begin an entity with `E-`, which one word before another of its type has."""
ENDS = {"BIOES": "BIES", "BILOU": "BILU", "BMEWO": "BMEW"}


def spell(found: list[Entity], length: int, scheme: str) -> list[str]:
    """The tags that the scheme's description gives, written without the code under test."""
    tags = ["O"] * length
    starts = {start: kind for kind, start, _ in found}
    ends = {end: kind for kind, _, end in found}
    for kind, start, end in found:
        letters = ["I"] * (end - start)
        if scheme in ENDS:
            first, inside, last, alone = ENDS[scheme]
            letters = [first, *[inside] * (end - start - 2), last] if end - start > 1 else [alone]
        elif scheme == "IOB2" or (scheme == "IOB1" and ends.get(start) == kind):
            letters[0] = "B"
        elif scheme == "IOE2" or (scheme == "IOE1" and starts.get(end) == kind):
            letters[-1] = "E"
        tags[start:end] = [kind if scheme == "bare types" else f"{letter}-{kind}" for letter in letters]
    return tags


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Entity], int]:
    parts = st.tuples(st.sampled_from(("", "PER", "LOC", "I-team")), st.integers(1, 3))
    found, place = [], 0
    for kind, size in draw(st.lists(parts, max_size=7)):
        found += [(kind, place, place + size)] if kind else []
        place += size
    return found, place + 1


def apart(found: list[Entity]) -> list[Entity]:
    """The entities that IO can spell: those of one type that touch are one."""
    merged: list[Entity] = []
    for kind, start, end in found:
        if merged and merged[-1][0] == kind and merged[-1][2] == start:
            start = merged.pop()[1]
        merged.append((kind, start, end))
    return merged


@given(st.lists(sentences(), min_size=1, max_size=5), st.sampled_from(SCHEMES))
def test_what_a_scheme_spells_is_read_back(rows: list[tuple[list[Entity], int]], scheme: str) -> None:
    plain = scheme in ("IO", "bare types")
    if scheme == "bare types":  # a type that looks like a tag is none
        rows = [([(kind.removeprefix("I-"), start, end) for kind, start, end in found], size) for found, size in rows]
    rows = [(apart(found) if plain else found, length) for found, length in rows]
    if scheme == "bare types":  # a type that looks like a tag can't be told from one
        rows = [([(kind.replace("I-", "i"), *at) for kind, *at in found], length) for found, length in rows]
    tags = [spell(found, length, scheme) for found, length in rows]
    found = scheme_of(tags) or Scheme(scheme)
    assert [entities(found.spelled(row)) for row in tags] == [truth for truth, _ in rows]
    if scheme in STRICT:
        strict = seqeval.scheme.Entities(tags, STRICT[scheme]).entities
        assert [[(e.tag, e.start, e.end) for e in row] for row in strict] == [truth for truth, _ in rows]


TOUCHING = [("PER", 0, 2), ("PER", 2, 3), ("LOC", 3, 4), ("LOC", 5, 8)]


@pytest.mark.parametrize("name", [name for name in SCHEMES if name not in ("IO", "bare types")])
def test_the_scheme_is_recognised(name: str) -> None:
    assert scheme_of([spell(TOUCHING, 9, name), ["O"]]) == Scheme(name)


def test_schemes_without_marks() -> None:
    assert scheme_of([["I-PER", "I-PER", "O"]]) == Scheme("IO")
    assert scheme_of([["PER", "PER", "O"]]) == Scheme("bare types")
    assert Scheme("bare types").spelled(["PER", "O"]) == ["I-PER", "O"]
    for others in (["B_PER", "O"], ["PER-B", "PER-I", "O"], ["NN", "VB"], ["O", "O"], ["B", "O"], ["", "O"], []):
        assert scheme_of([others]) is None


def test_what_breaks_the_scheme_is_counted_and_read() -> None:
    assert scheme_of([["B-PER", "I-PER", "O", "B-LOC"], ["O", "I-LOC", "B-PER"]]) == Scheme("IOB2", 1)
    assert scheme_of([["I-PER", "B-PER", "O", "I-LOC"], ["O", "B-LOC", "I-PER"]]) == Scheme("IOB1", 1)
    assert scheme_of([["B-PER", "E-PER", "S-LOC"], ["B-PER", "O", "E-LOC"]]) == Scheme("BIOES", 2)
    assert "1 that break with it begin or end an entity all the same" in Scheme("IOB2", 1).told


def test_a_tag_has_a_letter_and_a_type() -> None:
    assert all(map(is_typed_tag, ("O", "B-PER", "W-x-y")))
    assert not any(map(is_typed_tag, ("I", "o", "B-", "I-", "PER", "X-PER", "O-PER")))


IOB2 = [["B-PER", "I-PER", "O", "B-LOC"]] * 10


@pytest.mark.parametrize(
    "odd", [["S-PER", "O", "O", "S-LOC"], ["I-PER", "I-PER", "B-PER", "O"], ["U-PER", "O"], ["B-A", "M-A", "E-A"]]
)
def test_odd_sentences_do_not_decide_for_the_others(odd: list[str]) -> None:
    found = scheme_of([*IOB2, odd, odd, odd, ["O", "O"], ["x", "B"]])
    assert found is not None and found.name == "IOB2"
    assert found.breaks(odd) and not found.breaks(IOB2[0])
    assert found.irregular == 3 * len(found.breaks(odd))


def test_bare_types_with_an_odd_sentence_are_bare() -> None:
    found = scheme_of([["PER", "PER", "O"], ["O", "LOC", "O"], ["B-PER", "O", "O"]])
    assert found == Scheme("bare types", 1)
    assert found.spelled(["B-PER", "LOC"]) == ["B-PER", "I-LOC"]
