"""Characters that came of a wrong reading, and characters that are none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ftkit.checks._base import FIXES, Check, Data
from ftkit.errors import visible
from ftkit.findings import Finding

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters but for tab and line breaks, marks of byte order, and what is no character."""
_NEXT_LINE = re.compile("([\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})|\x85")
"""U+0085 that is no byte of UTF-8 read as Latin-1: a control character, and no sign of a wrong reading."""


class Encoding(Check):
    """Control characters, U+FFFD for what could not be read, and UTF-8 that was read as something else."""

    summary = "texts with characters that came of a wrong reading"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each of the three."""
        kinds: tuple[tuple[str, Callable[[str], str], str, str], ...] = (
            ("control", _control, "a text has control characters in it", "take them out" + FIXES),
            (
                "replacement",
                _replacement,
                "a text has U+FFFD: what stood there is lost",
                "read the source again",
            ),
            (
                "mojibake",
                _mojibake,
                "a text was read in a wrong encoding",
                "read the source again as UTF-8",
            ),
        )
        for kind, tell, what, fix in kinds:
            if places := data.search(tell):
                yield Finding(kind, "warning", what, places, fix)


def _around(text: str, start: int, end: int) -> str:
    return visible(text[max(0, start - 30) : end + 30])


def _control(text: str) -> str:
    found = None if text.isprintable() else CONTROL.search(text)
    return _around(text, found.start(), found.end()) if found else ""


def _replacement(text: str) -> str:
    at = -1 if text.isascii() else text.find("\ufffd")
    return _around(text, at, at + 1) if at >= 0 else ""


def _mojibake(text: str) -> str:
    if text.isascii():
        return ""
    from ftfy.badness import BADNESS_RE

    found = BADNESS_RE.search(_NEXT_LINE.sub(lambda match: match[1] or " ", text))
    return _around(text, found.start(), found.end()) if found else ""
