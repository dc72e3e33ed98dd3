"""The words of a text, and which of them may change.

A word is a run of letters with nothing but spaces and punctuation around it, `don't` and `well-known` included.
Numbers, prices, addresses, handles and the like are no words, nor is text in scripts that put no space between
words: such parts always stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import regex

from ftkit.augmenters._english import negates
from ftkit.edits import Edit, Place, places

_UNSPACED = "Han Hiragana Katakana Thai Lao Khmer Myanmar Tibetan"
_LETTERS = "[[\\p{L}\\p{M}]--[" + "".join(f"\\p{{{name}}}" for name in _UNSPACED.split()) + "]]+"
_WORD = regex.compile(rf"{_LETTERS}(?:['\u2019\-]{_LETTERS})*", regex.V1)
_CHUNK = regex.compile(r"\S+")
_PUNCTUATION = r"[\p{P}--[\p{Pc}@#&%/\\]]*"
_AROUND = regex.compile(f"{_PUNCTUATION}(?P<word>.*?){_PUNCTUATION}", regex.V1)
_SENTENCE = regex.compile(r"\S.*?(?:[.!?]+[\p{Pf}\p{Pe}\"']*(?=\s|$)|(?=\s*(?:\n|$)))")
_ALL = regex.compile(r"\S.*\S|\S", regex.DOTALL)


def is_word(text: str) -> bool:
    """Whether a text is one word and nothing else."""
    return _WORD.fullmatch(text) is not None


class Words:
    """A text's words in order; those in `free` may change, the others belong to what must stay."""

    def __init__(self, text: str | Sequence[str], kept: Sequence[Place] = ()) -> None:
        """`kept` are parts of the text that must stay. Tokens are a text with a space between each two."""
        self.text = text if isinstance(text, str) else " ".join(text)
        self.whole = isinstance(text, str)
        self.kept = kept
        self.places = _in_text(text) if isinstance(text, str) else _in_tokens(text)
        self.free = [i for i, (start, end) in enumerate(self.places) if self.may_change(start, end)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> str:
        start, end = self.places[i]
        return self.text[start:end]

    def may_change(self, start: int, end: int) -> bool:
        """Whether a part of the text holds nothing that must stay."""
        return not any(start < last and end > first for first, last in self.kept)

    @cached_property
    def removable(self) -> list[int]:
        """The free words that can go and leave nothing odd: no empty brackets, no sentence that says the opposite."""
        return [
            i for i in self.free if not negates(self[i]) and self._removal(*self.places[i]) != (*self.places[i], "")
        ]

    @cached_property
    def runs(self) -> list[list[int]]:
        """The free words in groups of neighbours with nothing but spaces between them."""
        found: list[list[int]] = []
        for i in self.free:
            if found and found[-1][-1] == i - 1 and not self._between(i - 1, i).strip(" "):
                found[-1].append(i)
            else:
                found.append([i])
        return found

    @cached_property
    def sentences(self) -> list[Place]:
        """Where the text's sentences stand, each without the space around it; tokens are one sentence."""
        found = [match.span() for match in (_SENTENCE if self.whole else _ALL).finditer(self.text)]
        return [(start, end) for start, end in found if regex.search(r"\p{L}", self.text[start:end])]

    def _between(self, i: int, j: int) -> str:
        return self.text[self.places[i][1] : self.places[j][0]]

    def edits(self, changes: Mapping[int, str]) -> tuple[Edit, ...]:
        """The edits that put `changes` (word number -> what stands there instead) into the text.

        With a word that is removed (it becomes empty) one space goes, too.
        """
        found: list[Edit] = []
        for i in sorted(changes):
            (start, end), text = self.places[i], changes[i]
            if text:
                found.append(Edit(start, end, text))
            elif found and not found[-1].text and self._removed_together(found[-1], start, end):
                found[-1] = self._removal(found[-1].start, end)
            else:
                found.append(self._removal(start, end, found[-1].end if found else 0))
        return tuple(edit for edit in found if self.text[edit.start : edit.end] != edit.text)

    def _removed_together(self, before: Edit, start: int, end: int) -> bool:
        return not self.text[before.end : start].strip(" ") and self.may_change(before.start, end)

    def _removal(self, start: int, end: int, least: int = 0) -> Edit:
        if self.text[end : end + 1] == " " and self.may_change(start, end + 1):
            return Edit(start, end + 1, "")
        if start > least and self.text[start - 1] == " " and self.may_change(start - 1, end):
            return Edit(start - 1, end, "")
        return Edit(start, end, "")


def _in_text(text: str) -> list[Place]:
    found = []
    for chunk in _CHUNK.finditer(text):
        core = _AROUND.fullmatch(chunk.group())
        if _WORD.fullmatch(core["word"]):
            found.append((chunk.start() + core.start("word"), chunk.start() + core.end("word")))
    return found


def _in_tokens(tokens: Sequence[str]) -> list[Place]:
    return [place for place, token in zip(places(tokens), tokens, strict=True) if _WORD.fullmatch(token)]
