"""Sentiment: one text in, one polarity out."""

from __future__ import annotations

from ftkit.tasks._base import Column, Labels
from ftkit.tasks.classification import Classification

_POLARITY = (
    ("very negative", "very_negative", "terrible"),
    ("negative", "neg", "bad"),
    ("neutral", "neu", "mixed"),
    ("positive", "pos", "good"),
    ("very positive", "very_positive", "excellent"),
)
RANK = {name: rank for rank, names in enumerate(_POLARITY) for name in names}


class Sentiment(Classification):
    """The polarity of a text, in as many steps as the data has; labels keep the data's own names."""

    summary = "polarity of a text: negative, (neutral,) positive, or stars"
    columns = (Column("text", "text"), Column("label", "label"))
    baselines = ("majority", "svm", "lexicon")

    def order(self, found: set[str]) -> Labels:
        """From the worst to the best where the names say so, else as classification orders them."""
        if all(name.casefold() in RANK for name in found):
            return tuple(sorted(found, key=lambda name: (RANK[name.casefold()], name)))
        return super().order(found)

    def opposites(self, labels: Labels) -> dict[str, str]:
        """The other one of two polarities, where they are opposite by their names, or their names tell nothing."""
        ranks = [RANK.get(name.casefold()) for name in labels]
        named = [rank for rank in ranks if rank is not None]
        if self.options.kind != "single" or len(labels) != 2 or (named and sum(named) != len(_POLARITY) - 1):
            return {}
        return dict(zip(labels, reversed(labels), strict=True))
