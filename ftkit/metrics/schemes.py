"""Schemes of tags: how BIO, BIOES, BILOU and their kin spell entities, and which of them a file keeps to.

Ramshaw and Marcus (1995) wrote IOB1, Tjong Kim Sang and Veenstra (1999) tell it and its kin apart, Ratinov and Roth
(2009) compared BILOU.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_TAG = re.compile(r"O|[BIESLUMW]-\S+")
_LETTERED = re.compile(r"^[BIESLUMW](\W|_|$)|[\W_][BIESLUMW]$|^$")
"""A letter at either end of a tag, as in B-PER, B_PER and PER-B."""
_BIOES = {"L": "E", "U": "S", "M": "I", "W": "S"}
"""Letters of BILOU and BMEWO -> those of BIOES."""


class Scheme(NamedTuple):
    """How a file spells its entities."""

    name: str
    irregular: int = 0
    """Tags that are not as the scheme has them; each is read as the start or the end of an entity all the same."""

    @property
    def told(self) -> str:
        """What a person should know of it."""
        odd = f"; {self.irregular} that break with it begin or end an entity all the same" if self.irregular else ""
        return f"{self.name} ({WHAT[self.name]}){odd}"

    def breaks(self, tags: Sequence[str]) -> list[int]:
        """Places of tags that are not as the scheme has them."""
        if self.name in ("IO", BARE):
            return []
        if not self.name.startswith("IO"):
            return _breaks_of_ends(tags)
        along, wrong = list(tags), "needless" if self.name.endswith("1") else "missing"
        if self.name.startswith("IOE"):
            found = [len(tags) - 1 - at for at, kind in _marks(along[::-1], "E") if kind == wrong]
            return sorted(found)
        return [at for at, kind in _marks(along, "B") if kind == wrong]

    def spelled(self, tags: Sequence[str]) -> list[str]:
        """The tags of a sentence, each with a letter."""
        return [tag if tag == "O" else f"I-{tag}" for tag in tags] if self.name == BARE else list(tags)


BARE = "bare types"
WHAT = {
    "IO": "I- on all words of an entity",
    BARE: "a type on all words of an entity, O on the others",
    "IOB1": "B- only where an entity follows one of its type",
    "IOB2": "B- on the first word of each entity",
    "IOE1": "E- only where an entity of the same type follows",
    "IOE2": "E- on the last word of each entity",
    "BIOES": "B- and E- on the ends of an entity, S- on a single word",
    "BILOU": "B- and L- on the ends of an entity, U- on a single word",
    "BMEWO": "B- and E- on the ends of an entity, M- between, W- on a single word",
}
"""What each scheme's tags say."""


def is_typed_tag(text: str) -> bool:
    """Whether `text` is `O`, or a letter of BIO, BIOES, BILOU or BMEWO with a type (`B-PER`)."""
    return _TAG.fullmatch(text) is not None


def letter(tag: str) -> str:
    """The letter of a tag, as BIOES has it."""
    return _BIOES.get(tag[0], tag[0])


def are_bare(tags: Iterable[str]) -> bool:
    """Whether tags are types with no letters about them (`PER PER O`), `O` among them."""
    seen = set(tags)
    return "O" in seen and len(seen) > 1 and not any(tag != "O" and _LETTERED.search(tag) for tag in seen)


def scheme_of(sentences: Sequence[Sequence[str]]) -> Scheme | None:
    """The scheme of a file's tags, by all of them; None where there are none, or others that are in no scheme.

    Files where several schemes spell the same take the plainer name: IOB1 without neighbours of a type is IO.
    """
    seen = {tag for tags in sentences for tag in tags}
    if are_bare(seen):
        return Scheme(BARE)
    if seen <= {"O"} or not all(map(is_typed_tag, seen)):
        return None
    letters = {tag[0] for tag in seen} - {"O"}
    for name, own in (("BMEWO", "MW"), ("BILOU", "LU"), ("BIOES", "S")):
        if letters & set(own):
            return Scheme(name, sum(len(_breaks_of_ends(tags)) for tags in sentences))
    if "E" in letters and "B" in letters:
        return Scheme("BIOES", sum(len(_breaks_of_ends(tags)) for tags in sentences))
    if "E" in letters:
        return _of_two(sentences, "E", "IOE1", "IOE2")
    return _of_two(sentences, "B", "IOB1", "IOB2") if "B" in letters else Scheme("IO")


def _of_two(sentences: Sequence[Sequence[str]], mark: str, first: str, second: str) -> Scheme:
    """The first scheme of a kind, which marks only what parts neighbours of a type, or the second, which marks all."""
    counts: Counter[str] = Counter()
    for tags in sentences:
        along = list(tags) if mark == "B" else list(tags)[::-1]
        counts.update(kind for _, kind in _marks(along, mark))
    return (
        Scheme(first, counts["needless"])
        if counts["missing"] > counts["needless"]
        else Scheme(second, counts["missing"])
    )


def _marks(tags: Sequence[str], mark: str) -> Iterator[tuple[int, str]]:
    """Where entities begin with none of their type before them, and whether their mark is `missing` or `needless`."""
    for at, (before, tag) in enumerate(zip(["O", *tags], tags, strict=False)):
        if tag != "O" and before[2:] != tag[2:]:
            yield at, "needless" if tag[0] == mark else "missing"


def _breaks_of_ends(tags: Sequence[str]) -> list[int]:
    """Where an entity of BIOES or its kin begins or ends without the letter for it; behind the last, at the last."""
    steps = enumerate(zip(["O", *tags], [*tags, "O"], strict=True))
    return [
        min(at, len(tags) - 1)
        for at, (before, tag) in steps
        if _is_open(before) != _goes_on(tag) or (_is_open(before) and before[2:] != tag[2:])
    ]


def _is_open(tag: str) -> bool:
    return letter(tag) in "BI"


def _goes_on(tag: str) -> bool:
    return letter(tag) in "IE"
