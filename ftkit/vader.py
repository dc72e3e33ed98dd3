"""VADER (Hutto and Gilbert 2014): how good or bad English words and texts are, by a lexicon and rules."""

from __future__ import annotations

from functools import cache
from typing import Any


def of_word(word: str) -> float:
    """How good (above 0) or bad a word is; 0 where it is neither."""
    return float(_analyzer().lexicon.get(word.casefold(), 0))


def of_text(text: str) -> float:
    """The compound score of a text, from -1 to 1."""
    return float(_analyzer().polarity_scores(text)["compound"])


@cache
def _analyzer() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
