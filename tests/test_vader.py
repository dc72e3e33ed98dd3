"""VADER's scores are the library's own."""

from __future__ import annotations

import pytest
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from ftkit import vader


@pytest.mark.parametrize("text", ["", "The soup was lovely!", "not good, and AWFUL service", "the table stood there"])
def test_scores_are_the_librarys(text: str) -> None:
    assert vader.of_text(text) == SentimentIntensityAnalyzer().polarity_scores(text)["compound"]


def test_words_are_good_or_bad_or_neither_in_any_case() -> None:
    assert vader.of_word("Lovely") == vader.of_word("lovely") > 0 > vader.of_word("awful")
    assert vader.of_word("table") == 0
