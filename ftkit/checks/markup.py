"""Texts with tags and entities of HTML or XML in them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding

_MARKUP = re.compile(
    r"</?(?:a|b|body|br|blockquote|code|div|em|font|h[1-6]|head|hr|html|i|img|input|li|ol|p|pre|script|small|span|strong"
    r"|style|sub|sup|table|tbody|td|th|tr|u|ul)(?:\s[^<>]*)?/?>|<!--|<!\[CDATA\[|&(?:[a-z]{2,8}|#\d{2,5}|#x[0-9a-f]{2,4});|(?<![\w&])#\d{2,5};",
    re.IGNORECASE,
)


class Markup(Check):
    """HTML's tags, comments and character entities."""

    summary = "texts with HTML or XML in them"

    def find(self, data: Data) -> Iterator[Finding]:
        """The rows with such texts."""
        if places := data.search(_told):
            yield Finding(
                "markup",
                "warning",
                "a text has markup in it",
                places,
                "take it out, here and wherever texts will come from",
            )


def _told(text: str) -> str:
    if not ("<" in text or ";" in text) or not (found := _MARKUP.search(text)):
        return ""
    return f"{found[0][:30]} in: {text[max(0, found.start() - 25) : found.end() + 25]}"
