"""Neighbouring words change places."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from random import Random
from typing import Any

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._nlpaug import NUMBERS, rearranged
from ftkit.augmenters._words import Words


class Swap(Augmenter):
    """Swaps words with a neighbour (Wei and Zou 2019); what stands between them stays between."""

    summary = "neighbouring words change places"

    @cached_property
    def _tool(self) -> Any:
        from nlpaug.augmenter.word import RandomWordAug

        return RandomWordAug(action="swap", **NUMBERS)

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Swaps within runs of free words."""
        runs = [run for run in words.runs if len(run) > 1]
        owner = {i: number for number, run in enumerate(runs) for i in run}
        found: dict[int, str] = {}
        for number, count in sorted(Counter(owner[i] for i in self.drawn(words, list(owner), random)).items()):
            run = runs[number]
            order = rearranged(self._tool, len(run), count, random)
            found |= {i: words[run[other]] for i, other in zip(run, order, strict=True)}
        return found
