"""Texts that are mostly no text."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding

_WORDS = regex.compile(r"[\p{L}\p{M}\p{N}]")
_SPACE = regex.compile(r"\s")
LEAST = 0.4
"""Share of a text's characters, white space aside, that are letters or digits."""


class Symbols(Check):
    """Texts of which most characters are neither letters nor digits."""

    summary = "texts that are mostly symbols"

    def find(self, data: Data) -> Iterator[Finding]:
        """The rows with such texts."""
        if places := data.search(_told):
            yield Finding(
                "symbols", "warning", "a text is mostly symbols", places, "take it out, unless it has a meaning"
            )


def _told(text: str) -> str:
    if text.isalnum():
        return ""
    size = len(text) - len(_SPACE.findall(text))
    return text[:70] if size and len(_WORDS.findall(text)) < LEAST * size else ""
