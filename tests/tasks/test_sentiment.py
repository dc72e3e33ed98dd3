"""Sentiment: labels run from the worst to the best, under the data's own names."""

from __future__ import annotations

import pytest

from ftkit.tasks.sentiment import Sentiment


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"positive", "negative"}, ("negative", "positive")),
        ({"positive", "neutral", "negative"}, ("negative", "neutral", "positive")),
        ({"pos", "neg"}, ("neg", "pos")),
        ({"Good", "Bad", "Mixed"}, ("Bad", "Mixed", "Good")),
        ({"very positive", "negative", "very negative", "positive", "neutral"},
         ("very negative", "negative", "neutral", "positive", "very positive")),
        ({"5", "1", "10"}, ("1", "5", "10")),
        ({"thumbs up", "thumbs down"}, ("thumbs down", "thumbs up")),
        ({"positive", "zebra"}, ("positive", "zebra")),
    ],
)  # fmt: skip
def test_order_of_polarities(found: set[str], expected: tuple[str, ...]) -> None:
    assert Sentiment(Sentiment.Options()).order(found) == expected
