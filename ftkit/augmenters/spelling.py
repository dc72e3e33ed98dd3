"""Mistakes that people make when they spell a word."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from ftkit.augmenters._base import WordAugmenter
from ftkit.augmenters._nlpaug import ONE_WORD, one_word


class Spelling(WordAugmenter):
    """Replaces English words by the way that people are known to misspell them (nlpaug's list)."""

    summary = "words are misspelled as people misspell them (English)"

    @cached_property
    def _tool(self) -> Any:
        from nlpaug.augmenter.word import SpellingAug

        class Tool(SpellingAug):  # type: ignore[misc]
            def get_model(self, force_reload: bool) -> Any:
                return _mistakes(self.dict_path)

        return Tool(**ONE_WORD)

    def able(self, word: str) -> bool:
        """Whether a mistake in it is known."""
        return word in self._tool.model.dict

    def changed(self, word: str, random: Random) -> str:
        """One of the mistakes."""
        return one_word(self._tool, word, random)


def _mistakes(path: str) -> Any:
    """nlpaug's list without mistakes that are other words, in an order of its own: Python's differs by process."""
    from lemminflect import getAllLemmas
    from nlpaug.model.word_dict import Spelling as Mistakes

    found = Mistakes(path, include_reverse=False)
    kept = {
        word: sorted(m for m in mistakes if m.isalpha() and m not in found.dict and not getAllLemmas(m.casefold()))
        for word, mistakes in found.dict.items()
    }
    found.dict = {word: mistakes for word, mistakes in kept.items() if mistakes}
    return found
