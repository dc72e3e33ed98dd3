"""Rows that ask the same: their texts are equal, white space aside, whatever their answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def asks(texts: Iterable[str | Sequence[str]]) -> tuple[str, ...] | None:
    """What a row asks; None where that is nothing, which is like no other."""
    found = folded(texts)
    return found if any(found) else None


def folded(texts: Iterable[str | Sequence[str]]) -> tuple[str, ...]:
    """Texts, and lists of tokens, white space aside: rows of which these are equal ask the same."""
    return tuple([" ".join((text if isinstance(text, str) else " ".join(text)).split()) for text in texts])
