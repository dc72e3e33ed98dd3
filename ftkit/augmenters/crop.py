"""A few words in a row are left out."""

from __future__ import annotations

from random import Random

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._words import Words


class Crop(Augmenter):
    """Leaves out neighbouring words; negations stay, and one word at least.

    (nlpaug's own crop fails where one word is to go, and takes words from both ends where it counts to the left.)
    """

    summary = "a few words in a row are left out"

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """As many neighbours as should change, or as a run without a negation has."""
        pieces = [piece for run in words.runs for piece in _removable(run, words)]
        most = min(self.wished(words), len(words) - 1)
        if most < 1 or not pieces:
            return {}
        piece = random.choices(pieces, [len(piece) for piece in pieces])[0]
        count = min(most, len(piece))
        start = random.randrange(len(piece) - count + 1)
        return dict.fromkeys(piece[start : start + count], "")


def _removable(run: list[int], words: Words) -> list[list[int]]:
    pieces: list[list[int]] = [[]]
    for i in run:
        if i in words.removable:
            pieces[-1].append(i)
        else:
            pieces.append([])
    return [piece for piece in pieces if piece]
