"""A space too many, in the middle of a word."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from pydantic import Field

from ftkit.augmenters._base import WordAugmenter
from ftkit.augmenters._nlpaug import ONE_WORD, one_word


class Split(WordAugmenter):
    """Cuts words in two; where the data has tokens, both halves are tokens."""

    summary = "words are cut in two by a space"

    class Options(WordAugmenter.Options):
        """The settings of `split`."""

        least: int = Field(4, ge=4)
        """Letters of the shortest word that is cut."""

    @cached_property
    def _tool(self) -> Any:
        from nlpaug.augmenter.word import SplitAug

        return SplitAug(min_char=self.options.least, **ONE_WORD)

    def able(self, word: str) -> bool:
        """Whether it is long enough."""
        return len(word) >= int(self.options.least)

    def changed(self, word: str, random: Random) -> str:
        """Its two halves."""
        return one_word(self._tool, word, random)
