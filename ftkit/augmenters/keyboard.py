"""A slip of the finger: a letter becomes one that lies beside it on the keyboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Any, Literal

from pydantic import Field

from ftkit.augmenters._base import WordAugmenter
from ftkit.augmenters._nlpaug import ONE_WORD, one_word


class Keyboard(WordAugmenter):
    """Replaces one letter of a word by a neighbour of it on the keyboard (Belinkov and Bisk 2018)."""

    summary = "a letter becomes one that lies beside it on the keyboard"

    class Options(WordAugmenter.Options):
        """The settings of `keyboard`."""

        language: Literal["en", "de", "es", "fr", "he", "it", "nl", "pl", "th", "tr", "uk"] = "en"
        """Whose keyboard."""
        least: int = Field(4, ge=1)
        """Letters of the shortest word that is changed."""

    @cached_property
    def _tool(self) -> Any:
        from nlpaug.augmenter.char import KeyboardAug

        options = self.options
        tool = KeyboardAug(
            lang=options.language, min_char=options.least, aug_char_max=1, include_upper_case=False, **ONE_WORD
        )
        tool.model.model = _letters(tool.model.model)
        return tool

    def able(self, word: str) -> bool:
        """Whether the word is long enough, and a letter of it has neighbours."""
        return len(word) >= self.options.least and any(letter in self._tool.model.model for letter in word)

    def changed(self, word: str, random: Random) -> str:
        """The word with one other letter."""
        return one_word(self._tool, word, random)


def _letters(neighbours: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The letters among them alone. (nlpaug's own switch for that leaves out all letters but a to z.)"""
    found = {key: [other for other in others if other.isalpha()] for key, others in neighbours.items() if key.isalpha()}
    return {key: others for key, others in found.items() if others}
