"""Words of the opposite meaning, from WordNet; the label becomes the opposite one."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from ftkit.augmenters import _wordnet
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._nlpaug import chooser, chosen
from ftkit.augmenters._words import Words
from ftkit.edits import Edited


class Antonym(Augmenter):
    """Replaces English words that carry a polarity by their antonyms, until the polarity of the whole text turns.

    A text's polarity is VADER's (Hutto and Gilbert 2014). A text that does not turn, whichever of its words are
    replaced, has no variant.
    """

    summary = "words become their opposites until the text's polarity turns, and its label (English; needs WordNet)"
    flips = True

    @cached_property
    def _tool(self) -> Any:
        return chooser("AntonymAug")

    @cached_property
    def _analyzer(self) -> Any:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        return SentimentIntensityAnalyzer()

    def prepare(self) -> None:
        """WordNet is needed."""
        _wordnet.require()

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """As many words as should change, and as many more as it takes."""
        found = {i: opposite for i in words.free if (opposite := self._opposites(words[i]))}
        order = random.sample(sorted(found), len(found))
        changes: dict[int, str] = {}
        for i in order:
            changes[i] = chosen(self._tool, words[i], found[i], random)
            after = Edited(words.text, words.edits(changes)).text
            if len(changes) >= self.wished(words) and self._polarity(words.text) * self._polarity(after) < 0:
                return changes
        return {}

    def _opposites(self, word: str) -> list[str]:
        """Antonyms that VADER's lexicon finds as good as it finds the word bad, or the other way round."""
        polarity = self._analyzer.lexicon
        return [one for one in _wordnet.antonyms(word) if polarity.get(word, 0) * polarity.get(one, 0) < 0]

    def _polarity(self, text: str) -> float:
        return float(self._analyzer.polarity_scores(text)["compound"])
