"""Labels that are more frequent in one split than in another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding

LEAST = 0.1
"""Share of the rows that would need another label for both splits to have the same shares."""
CHANCE = 0.001
"""Probability below which such a difference is none of chance (chi-squared test)."""


class Drift(Check):
    """A held-out split whose labels have other shares than in training, by more than chance."""

    summary = "labels whose shares differ between splits"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each such split, with the label whose share differs most."""
        if not data.has_names:
            return
        train = data.counts("train")
        for split in data.splits:
            counts = data.counts(split)
            if split == "train" or not counts or not train:
                continue
            shares = {name: (train[name] / train.total(), counts[name] / counts.total()) for name in train | counts}
            distance = sum(abs(a - b) for a, b in shares.values()) / 2
            if distance >= LEAST and _chance(train, counts) < CHANCE:
                name, (before, after) = max(shares.items(), key=lambda item: abs(item[1][0] - item[1][1]))
                what = (
                    f"labels have other shares in {split} than in train: {name!r} {before:.1%} there, {after:.1%} here"
                )
                yield Finding(
                    "drift", "warning", what, fix="draw all splits from the same rows, unless life differs so too"
                )


def _chance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Probability of counts that differ so much, if both were drawn from the same labels."""
    from scipy.stats import chi2_contingency

    names = sorted({*one, *other})
    return float(chi2_contingency([[counts[name] for name in names] for counts in (one, other)]).pvalue)
