"""Synonyms of a text's words come in beside other words."""

from __future__ import annotations

from random import Random

from ftkit.augmenters import _wordnet
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words


class Insert(Augmenter):
    """Puts a synonym of some word of the text behind another one: EDA's random insertion (Wei and Zou 2019).

    (nlpaug has no such augmenter.)
    """

    summary = "synonyms of a text's words come in elsewhere (English; needs WordNet)"

    def prepare(self) -> None:
        """WordNet is needed."""
        _wordnet.require()

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Free words with what comes behind them."""
        offered = [one for i in range(len(words)) for one in _wordnet.synonyms(words[i])]
        if not offered:
            return {}
        return {i: f"{words[i]} {random.choice(offered)}" for i in self.drawn(words, words.free, random)}
