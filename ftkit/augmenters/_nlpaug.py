"""The door to nlpaug: it is given one word, or numbers in place of words, so that nothing else of a text can change.

Its own tokenizer re-spaces texts, and its random numbers are the process's own: here they are seeded, and put back.
"""

from __future__ import annotations

import random as shared
from collections.abc import Iterator, Sequence
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


def rearranged(tool: Any, count: int, changes: int, random: Random) -> Sequence[int]:
    """The numbers 0 to `count` - 1 after `changes` changes of an augmenter of nlpaug."""
    tool.aug_min = tool.aug_max = changes
    with seeded(random):
        return [int(number) for number in tool.augment(" ".join(map(str, range(count))))[0].split()]
