"""Schemes of tags: how BIO, BIOES, BILOU and their kin spell entities, and which of them a file keeps to.

Ramshaw and Marcus (1995) wrote IOB1, Tjong Kim Sang and Veenstra (1999) tell it and its kin apart, Ratinov and Roth
(2009) compared BILOU.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ftkit.metrics.spans import Entity

_ALL = "BIESLUMW"
"""Letters of one scheme or another."""
_TAG = re.compile(rf"O|[{_ALL}]-\S+")
_LETTERED = re.compile(rf"^[{_ALL}](\W|_|$)|[\W_][{_ALL}]$|^$")
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
        if self.name == BARE:
            return [at for at, tag in enumerate(tags) if _LETTERED.search(tag)]
        strange = [at for at, tag in enumerate(tags) if tag != "O" and tag[0] not in _LETTERS[self.name]]
        return sorted({*strange, *self._misplaced(tags)})

    def _misplaced(self, tags: Sequence[str]) -> list[int]:
        """Places of tags whose letter is not the one for where they stand in an entity."""
        if self.name == "IO":
            return []
        if not self.name.startswith("IO"):
            return _breaks_of_ends(tags)
        wrong = "needless" if self.name.endswith("1") else "missing"
        if self.name.startswith("IOE"):
            return [len(tags) - 1 - at for at, kind in _marks(list(tags)[::-1], "E") if kind == wrong]
        return [at for at, kind in _marks(tags, "B") if kind == wrong]

    def spelled(self, tags: Sequence[str]) -> list[str]:
        """The tags of a sentence, each with a letter."""
        if self.name != BARE:
            return list(tags)
        return [tag if tag == "O" or _LETTERED.search(tag) else f"I-{tag}" for tag in tags]

    def spell(self, entities: Sequence[Entity], size: int) -> list[str]:
        """The tags of a sentence of `size` words with these entities."""
        tags = ["O"] * size
        found = sorted(entities, key=lambda entity: entity[1])
        nothing: Entity = ("", -1, -1)
        for before, (kind, start, end), after in zip([nothing, *found], found, [*found[1:], nothing], strict=False):
            inside, last, alone = _ENDS.get(self.name, ("I", "I", "I"))
            first = "B" if self.name in (*_ENDS, "IOB2") else "I"
            if self.name == "IOB1" and (before[0], before[2]) == (kind, start):
                first = "B"
            if self.name == "IOE2" or (self.name == "IOE1" and (after[0], after[1]) == (kind, end)):
                last = alone = "E"
            elif self.name not in _ENDS:
                last, alone = "I", first
            letters = alone if end - start == 1 else first + inside * (end - start - 2) + last
            tags[start:end] = [f"{letter}-{kind}" for letter in letters]
        return tags


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
_LETTERS = {
    "IO": "I",
    "IOB2": "BI",
    "IOB1": "BI",
    "IOE2": "IE",
    "IOE1": "IE",
    "BIOES": "BIES",
    "BILOU": "BILU",
    "BMEWO": "BMEW",
}
_ENDS = {"BIOES": ("I", "E", "S"), "BILOU": ("I", "L", "U"), "BMEWO": ("M", "E", "W")}
"""Letters of words inside, at the end, and alone."""
_OWN = {"IOB2": "B", "IOB1": "B", "IOE2": "E", "IOE1": "E", "BIOES": "ES", "BILOU": "LU", "BMEWO": "MW"}
"""Letters of which a file has at least one where it may keep to the scheme."""


def is_typed_tag(text: str) -> bool:
    """Whether `text` is `O`, or a letter of BIO, BIOES, BILOU or BMEWO with a type (`B-PER`)."""
    return _TAG.fullmatch(text) is not None


def is_tag(tag: str) -> bool:
    """The same of tags that lack a type (`B`, `B-`): a model may have them, and a file hardly does."""
    mark, dash, _ = tag.partition("-")
    return mark in {*_ALL} or (mark == "O" and not dash)


def letter(tag: str) -> str:
    """The letter of a tag, as BIOES has it."""
    return _BIOES.get(tag[0], tag[0])


def are_bare_types(tags: Iterable[str]) -> bool:
    """Whether tags are types with no letters about them (`PER PER O`), at least one."""
    seen = set(tags) - {"O"}
    return bool(seen) and not any(map(_LETTERED.search, seen))


def scheme_of(sentences: Sequence[Sequence[str]]) -> Scheme | None:
    """The scheme that most of a file's sentences keep to, so that an odd one does not decide for the others.

    None where there are no entities, and where half of the sentences or more have tags that are in no scheme. Files
    where several schemes spell the same take the plainer name: IOB1 without neighbours of a type is IO.
    """
    counts = Counter(tuple(tags) for tags in sentences if set(tags) != {"O"})
    if _are_mostly(counts, are_bare_types) and any("O" in tags for tags in sentences):
        return _counted(Scheme(BARE), counts)
    typed = Counter({tags: count for tags, count in counts.items() if all(map(is_typed_tag, tags))})
    letters = {tag[0] for tags in typed for tag in tags} - {"O"}
    if not letters or not _are_mostly(counts, typed.__contains__):
        return None
    names = [name for name, own in _OWN.items() if letters & set(own)] if letters != {"I"} else ["IO"]
    return min((_counted(Scheme(name), typed) for name in names or ["IO"]), key=lambda found: _unfit(found, typed))


def _are_mostly(counts: Counter[tuple[str, ...]], what: Callable[[tuple[str, ...]], bool]) -> bool:
    """Whether something is so of more than half of the sentences."""
    return sum(count for tags, count in counts.items() if what(tags)) * 2 > counts.total()


def _counted(scheme: Scheme, counts: Counter[tuple[str, ...]]) -> Scheme:
    return scheme._replace(irregular=sum(count * len(scheme.breaks(tags)) for tags, count in counts.items()))


def _unfit(scheme: Scheme, counts: Counter[tuple[str, ...]]) -> tuple[int, int]:
    """How badly a scheme fits: the sentences that break it, then the tags."""
    return sum(count for tags, count in counts.items() if scheme.breaks(tags)), scheme.irregular


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
