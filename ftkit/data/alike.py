"""Rows that ask the same: their texts are equal, white space aside, whatever their answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def folded(texts: Iterable[str | Sequence[str]]) -> tuple[str, ...]:
    """Texts, and lists of tokens, white space aside: rows of which these are equal ask the same."""
    return tuple([" ".join((text if isinstance(text, str) else " ".join(text)).split()) for text in texts])
