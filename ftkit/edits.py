"""A text with some of its parts replaced, and where the places of the rest have gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

Place = tuple[int, int]
"""A part of a text: its first character and the one after its last."""


class Edit(NamedTuple):
    """A part of a text, and what stands there instead."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Edited:
    """A text and its edits, in order; none overlaps another."""

    before: str
    edits: tuple[Edit, ...]

    def __post_init__(self) -> None:
        for one, other in pairwise(self.edits):
            if one.end > other.start:
                raise ValueError(f"{one} and {other} overlap, or stand in the wrong order")

    @property
    def text(self) -> str:
        """What the text has become."""
        return "".join(new for _, new in self.parts())

    def parts(self) -> Iterator[tuple[str, str]]:
        """(before, after) of each part in order; the two are equal where nothing was changed."""
        place = 0
        for start, end, text in self.edits:
            yield self.before[place:start], self.before[place:start]
            yield self.before[start:end], text
            place = end
        yield self.before[place:], self.before[place:]

    def moved(self, place: int) -> int:
        """Where a place of the text has gone. Raises ValueError for one inside of what was replaced."""
        if any(start < place < end for start, end, _ in self.edits):
            raise ValueError(f"place {place} lies inside of a part that was replaced")
        return place + sum(len(text) - (end - start) for start, end, text in self.edits if end <= place)

    def kept(self, start: int, end: int) -> Place:
        """Where a part of the text has gone. Raises ValueError where it was touched."""
        place = self.moved(start), self.moved(end)
        if self.text[slice(*place)] != self.before[start:end]:
            raise ValueError(f"{self.before[start:end]!r} was changed")
        return place


def places(tokens: Sequence[str]) -> list[Place]:
    """Where tokens stand in the text that they make with a space between each two."""
    starts = accumulate((len(token) + 1 for token in tokens), initial=0)
    return [(start, start + len(token)) for start, token in zip(starts, tokens, strict=False)]
