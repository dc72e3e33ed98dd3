"""What an augmenter is: it changes words of a text, and leaves all else as it is.

An augmenter is one file with one class that inherits `Augmenter`, in `ftkit/augmenters/` or beside a recipe. Nothing
heavy is imported at module level: nlpaug, which takes seconds, comes in inside functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar

from pydantic import Field

from ftkit.augmenters._english import negates
from ftkit.augmenters._words import Words
from ftkit.config import Section
from ftkit.edits import Edit

STRENGTH = 0.1
"""As in EDA (Wei and Zou 2019)."""


class Augmenter:
    """Makes variants of a text. All chance comes from the `Random` that it is given."""

    summary: ClassVar[str]
    """What it does, in a line."""
    flips: ClassVar[bool] = False
    """Whether a variant says the opposite of its original."""

    class Options(Section):
        """The augmenter's settings."""

        strength: float | None = Field(None, gt=0, le=1)
        """Share of a text's words that change, one at least; `augment.strength` when not set."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.strength = STRENGTH
        self.set_strength(STRENGTH)

    def prepare(self) -> None:
        """Find what is needed: a word list, a checkpoint. Raises FTKitError where that is not there."""

    def edits(self, words: Words, random: Random) -> Sequence[Edit]:
        """What changes in a text, in order; nothing where nothing can."""
        return words.edits(self.change(words, random))

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Number of a free word -> what stands there instead; empty for a word that is removed."""
        raise NotImplementedError

    def set_strength(self, strength: float) -> None:
        """Change this share of a text's words, where the options say none of their own."""
        self.strength = getattr(self.options, "strength", None) or strength

    def wished(self, words: Words) -> int:
        """How many words change, where enough can."""
        return max(1, round(self.strength * len(words)))

    def drawn(self, words: Words, among: Sequence[int], random: Random) -> list[int]:
        """As many word numbers as should change, in order."""
        return sorted(random.sample(among, min(len(among), self.wished(words))))


class WordAugmenter(Augmenter):
    """An augmenter that changes each word by itself; negations stay, that they may still be read."""

    def able(self, word: str) -> bool:
        """Whether the word can be changed."""
        return True

    def changed(self, word: str, random: Random) -> str:
        """What the word becomes."""
        raise NotImplementedError

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Some of the words that can be changed."""
        able = [i for i in words.free if self.able(words[i]) and not negates(words[i])]
        return {i: self.changed(words[i], random) for i in self.drawn(words, able, random)}
