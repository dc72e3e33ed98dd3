"""Words and sentences of a text in any script, by rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex

CHARACTERS = 10_000
"""Of a text that words are taken from, the first ones."""
_WORD = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*+"  # written without spaces
    r"|[\p{L}\p{N}][\p{L}\p{N}\p{M}]*+"
)
_END = re.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)"  # noqa: RUF001 (the look-behind: a long row of dots is tried but once)
    r"|[。！？｡]+[」』”’）]*"  # noqa: RUF001
    r"|[।॥۔؟]+"  # noqa: RUF001
    r"|\n[^\S\n]*\n"
)
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev hon gen col capt lt sgt maj sen rep gov pres inc ltd co corp "  # noqa: SIM905
    "dept univ assn bros vs cf al etc viz ca approx fig figs eq eqs sec ch vol ed eds pp p art nr bzw "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_LETTERS = re.compile(r"(?:\w\.)*[^\W\d]")
"""An initial, or letters with dots between them: J, U.S, e.g, p.m."""


def words(text: str) -> list[str]:
    """The text's words, in lower case and without punctuation; in scripts without spaces, its letters."""
    found: list[str] = _WORD.findall(text[:CHARACTERS].lower())
    return found


def stopwords(setting: str | Sequence[str]) -> frozenset[str]:
    """The words of `evaluate.stopwords`: a list, or scikit-learn's `english`."""
    if isinstance(setting, str):
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        setting = sorted(ENGLISH_STOP_WORDS)
    return frozenset(word for entry in setting for word in words(entry))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence in the text, without the space around it."""
    found, start, cased = [], 0, text != text.lower()
    for match in _END.finditer(text):
        if _ends(text, match, cased):
            found.append((start, match.end()))
            start = match.end()
    stripped = (_stripped(text, *span) for span in [*found, (start, len(text))])
    return [(start, end) for start, end in stripped if start < end]


def _ends(text: str, match: re.Match[str], cased: bool) -> bool:
    """Whether a sentence ends with the match: not before a small letter, nor with an abbreviation or an initial."""
    following = text[match.end() : match.end() + 20].lstrip()[:1]
    if match.group()[0] in ".!?…" and cased and following.islower():
        return False
    if match.group() != ".":
        return True
    word = text[max(0, match.start() - 20) : match.start()].rpartition(" ")[2].lstrip("(\"'“‘")  # noqa: RUF001
    numbered = word.lower() == "no" and following.isdigit()
    return word == "I" or not (word.lower() in _ABBREVIATIONS or _LETTERS.fullmatch(word) or numbered)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())
