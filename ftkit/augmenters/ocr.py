"""A letter read wrongly by a machine."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from ftkit.augmenters._base import WordAugmenter
from ftkit.augmenters._nlpaug import ONE_WORD, one_word


class Ocr(WordAugmenter):
    """Replaces one letter of a word by a sign that it is mistaken for when text is scanned: o and 0, l and 1."""

    summary = "a letter becomes a sign that scanners take it for"

    @cached_property
    def _tool(self) -> Any:
        from nlpaug.augmenter.char import OcrAug

        return OcrAug(aug_char_min=1, aug_char_max=1, **ONE_WORD)

    def able(self, word: str) -> bool:
        """Whether a letter of it is mistaken for anything."""
        return any(letter in self._tool.model.model for letter in word)

    def changed(self, word: str, random: Random) -> str:
        """The word with one other sign."""
        return one_word(self._tool, word, random)
