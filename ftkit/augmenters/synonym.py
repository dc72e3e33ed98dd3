"""Words of the same meaning, from WordNet."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from ftkit.augmenters import _wordnet
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._nlpaug import chooser, chosen
from ftkit.augmenters._words import Words


class Synonym(Augmenter):
    """Replaces English words by synonyms (Zhang et al. 2015) that have the same part of speech, meaning and ending.

    What nlpaug takes from WordNet is any meaning of any part of speech, so that `in` becomes `indiana`; here it only
    draws one of the words that fit.
    """

    summary = "words become words of the same meaning (English; needs WordNet)"

    @cached_property
    def _tool(self) -> Any:
        return chooser("SynonymAug")

    def prepare(self) -> None:
        """WordNet is needed."""
        _wordnet.require()

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Words of which the meaning is known well enough."""
        found = {i: fitting for i in words.free if (fitting := fitting_synonyms(words, i))}
        return {i: chosen(self._tool, words[i], found[i], random) for i in self.drawn(words, list(found), random)}


def fitting_synonyms(words: Words, i: int) -> list[str]:
    """The synonyms of a word that go with an `a` or `an` before it."""
    found = _wordnet.synonyms(words[i])
    article = words[i - 1].casefold() if i else ""
    return [one for one in found if article not in ("a", "an") or _vowel(one) == _vowel(words[i])]


def _vowel(word: str) -> bool:
    return word[0] in "aeiou"
