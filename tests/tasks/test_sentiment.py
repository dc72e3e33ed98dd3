"""Sentiment: labels run from the worst to the best, under the data's own names."""

from __future__ import annotations

import os
import subprocess
import sys

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
        ({"POSITIVE", "NEUTRAL", "MIXED", "NEGATIVE"}, ("NEGATIVE", "MIXED", "NEUTRAL", "POSITIVE")),
        ({"neg", "negative", "Negative", "pos"}, ("Negative", "neg", "negative", "pos")),
    ],
)  # fmt: skip
def test_order_of_polarities(found: set[str], expected: tuple[str, ...]) -> None:
    assert Sentiment(Sentiment.Options()).order(found) == expected


def test_the_order_is_the_same_in_every_process() -> None:
    """Of labels of one rank, too: sets have another order in each."""
    labels = {"mixed", "neutral", "bad", "good"}
    script = f"from ftkit.tasks.sentiment import Sentiment as S; print(S(S.Options()).order({labels}))"
    found = set()
    for seed in ("1", "2", "3"):
        run = {**os.environ, "PYTHONHASHSEED": seed}
        found.add(subprocess.run([sys.executable, "-c", script], env=run, capture_output=True, check=True).stdout)
    assert len(found) == 1
