"""Words of the opposite meaning, from WordNet; the label becomes the opposite one."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from ftkit import vader
from ftkit.augmenters import _wordnet
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._nlpaug import chooser, chosen
from ftkit.augmenters._words import Words
from ftkit.config import Section
from ftkit.edits import Edited


class Antonym(Augmenter):
    """Replaces all English words that carry a polarity by antonyms of the other polarity.

    A variant is made only where the polarity of the whole text turns by that. Words' and texts' polarity is VADER's
    (Hutto and Gilbert 2014).
    """

    summary = "words become their opposites, and so does the label (English; needs WordNet)"
    flips = True

    class Options(Section):
        """The settings of `antonym`: none, as it changes every word that it can."""

    @cached_property
    def _tool(self) -> Any:
        return chooser("AntonymAug")

    def prepare(self) -> None:
        """WordNet is needed."""
        _wordnet.require()

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """All words that have an opposite, where that turns the text's polarity."""
        found = {i: opposite for i in words.free if (opposite := self._opposites(words[i]))}
        changes = {i: chosen(self._tool, words[i], offered, random) for i, offered in found.items()}
        after = Edited(words.text, words.edits(changes)).text
        return changes if vader.of_text(words.text) * vader.of_text(after) < 0 else {}

    def _opposites(self, word: str) -> list[str]:
        """Antonyms that are as good as the word is bad, or the other way round."""
        return [one for one in _wordnet.antonyms(word) if vader.of_word(word) * vader.of_word(one) < 0]
