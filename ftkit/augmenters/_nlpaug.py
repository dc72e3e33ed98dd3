"""The door to nlpaug: it is given one word, or numbers in place of words, so that nothing else of a text can change.

Its own tokenizer re-spaces texts, and its random numbers are the process's own: here they are seeded, and put back.
"""

from __future__ import annotations

import random as shared
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

ONE_WORD = {"tokenizer": lambda text: [text], "reverse_tokenizer": " ".join}
"""For nlpaug's augmenters of words: a text is one word; what it is split into has a space between."""
NUMBERS = {"tokenizer": str.split, "reverse_tokenizer": " ".join}
"""For those that move words about: a text is numbers."""


@contextmanager
def seeded(random: Random) -> Iterator[None]:
    """Python's and NumPy's global random numbers come from `random`; afterwards they go on as if nothing had been."""
    import numpy as np

    kept, arrays = shared.getstate(), np.random.get_state()
    seed = random.getrandbits(32)
    shared.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        shared.setstate(kept)
        np.random.set_state(arrays)


def one_word(tool: Any, word: str, random: Random) -> str:
    """What an augmenter of nlpaug makes of a word."""
    with seeded(random):
        return str(tool.augment(word)[0])


def rearranged(
    tool: Any, count: int, changes: int, random: Random, among: Collection[int] | None = None
) -> Sequence[int]:
    """The numbers 0 to `count` - 1 after `changes` changes of an augmenter of nlpaug, of those `among` them alone."""
    tool.aug_min = tool.aug_max = changes
    tool.stopwords = None if among is None else {str(i) for i in range(count)} - {str(i) for i in among}
    with seeded(random):
        return [int(number) for number in tool.augment(" ".join(map(str, range(count))))[0].split()]


class Offered:
    """Stands where nlpaug has WordNet: it offers `words`, whatever it is asked."""

    words: Sequence[str] = ()

    def predict(self, word: str, pos: str | None = None) -> Sequence[str]:
        """The words on offer."""
        return self.words

    def pos_tag(self, tokens: Sequence[str]) -> list[tuple[str, str]]:
        """A part of speech that nlpaug looks up words for."""
        return [(token, "JJ") for token in tokens]


def chooser(name: str) -> Any:
    """nlpaug's augmenter of this name, which takes one of the words that its `model` offers."""
    import nlpaug.augmenter.word as naw

    class Chooser(getattr(naw, name)):  # type: ignore[misc]
        @classmethod
        def get_model(cls, *_: object) -> Offered:
            return Offered()

    return Chooser(**ONE_WORD)


def chosen(tool: Any, word: str, offered: Sequence[str], random: Random) -> str:
    """The word that an augmenter made by `chooser` puts in a word's place."""
    tool.model.words = offered
    return one_word(tool, word, random)
