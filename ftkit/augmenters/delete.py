"""Words are left out."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._nlpaug import NUMBERS, rearranged
from ftkit.augmenters._words import Words


class Delete(Augmenter):
    """Leaves words out at random (Wei and Zou 2019); negations stay, and one word at least."""

    summary = "words are left out"

    @cached_property
    def _tool(self) -> Any:
        from nlpaug.augmenter.word import RandomWordAug

        return RandomWordAug(action="delete", **NUMBERS)

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Words without which the text says as much."""
        able = words.removable
        most = min(self.wished(words), len(able), len(words) - 1)
        if most < 1:
            return {}
        left = rearranged(self._tool, len(words), most, random, able)
        return dict.fromkeys(set(range(len(words))) - set(left), "")
