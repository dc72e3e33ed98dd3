"""A few texts in another script than the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import regex

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding

FEW = 0.05
"""Share of the rows up to which a script is that of a few."""
_NAMES = (
    *("Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Telugu", "Thai", "Hangul"),
    *("Georgian", "Armenian", "Ethiopic", "Gujarati", "Gurmukhi", "Kannada", "Malayalam", "Sinhala", "Khmer", "Lao"),
)
_SCRIPTS = {name: regex.compile(rf"\p{{{name}}}") for name in _NAMES}
_SCRIPTS["Chinese or Japanese"] = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
_LEAST = 3
"""Letters by which a text is known to be in a script."""


class Scripts(Check):
    """Texts most of whose letters are of a script that few other rows are in."""

    summary = "a few texts in another script than the rest"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each column to read and each rare script."""
        for column in data.inputs:
            rows: dict[str, list[tuple[str, int]]] = {}
            for split in data.splits:
                for index, text in enumerate(data.texts(split, column)):
                    rows.setdefault(script(text), []).append((split, index))
            rows.pop("", None)
            total = sum(map(len, rows.values()))
            usual = max(rows, key=lambda name: len(rows[name]), default="")
            for name, places in rows.items():
                if name != usual and len(places) <= FEW * total:
                    what = f"a text is in {name} letters, where the others are in {usual}"
                    found = tuple(data.place(*place) for place in places)
                    yield Finding("script", "warning", what, found, "does it belong to the data?")


def script(text: str) -> str:
    """The script of most of a text's letters; empty for a text with hardly any."""
    if text.isascii():
        return "Latin" if sum(map(str.isalpha, text)) >= _LEAST else ""
    counts = Counter({name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()})
    name, count = counts.most_common(1)[0]
    return name if count >= _LEAST else ""
