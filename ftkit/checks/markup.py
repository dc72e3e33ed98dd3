"""Texts with tags, comments and character entities of HTML in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ftkit.checks._base import Check, Data
from ftkit.data.clean import STEPS
from ftkit.findings import Finding

_NUMBER = re.compile(r"(?<![\w&])#\d{2,5};")


class Markup(Check):
    """What the step `html` of `data.clean` would take out."""

    summary = "texts with HTML in them"

    def find(self, data: Data) -> Iterator[Finding]:
        """The rows with such texts, and those with character entities that have lost their ampersand."""
        kinds: tuple[tuple[Callable[[str], str], str, str], ...] = (
            (_markup, "a text has markup in it", "data.clean=[html] takes it out, here and wherever the model reads"),
            (_rest, "a text has the rest of a character's number in it", "write the character: an apostrophe for #39;"),
        )
        for tell, what, fix in kinds:
            if places := data.search(tell):
                yield Finding("markup", "warning", what, places, fix)


def _markup(text: str) -> str:
    if not ("<" in text or "&" in text) or (found := next(STEPS["html"](text), None)) is None:
        return ""
    return _shown(text, found.start, found.end)


def _rest(text: str) -> str:
    found = _NUMBER.search(text) if "#" in text else None
    return _shown(text, *found.span()) if found else ""


def _shown(text: str, start: int, end: int) -> str:
    return f"{text[start:end][:30]} in: {text[max(0, start - 25) : end + 25]}"
