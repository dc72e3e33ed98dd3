"""How many rows each label has, and whether that is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding, listed

LEARN = 8
"""Training rows (or mentions) below which a label is hardly learned."""
SCORE = 5
"""Held-out rows (or mentions) below which a label's score says nothing."""
RATIO = 10
"""Times the rows of the smallest label that the largest may have."""


class Classes(Check):
    """Labels with too few rows, and labels with many times the rows of others."""

    summary = "labels with too few rows, or with many more than others"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each split with labels that are too rare, and one for uneven training rows."""
        if not data.has_names:
            return
        for split in data.splits:
            counts = Counter(dict.fromkeys(_names(data), 0))
            counts.update(data.counts(split))
            least = LEARN if split == "train" else SCORE
            few = sorted((name for name, count in counts.items() if count < least), key=lambda name: counts[name])
            if few:
                verb = "learn" if split == "train" else "score"
                named = listed([f"{name} {counts[name]}" for name in few]).replace("'", "")
                what = f"{len(few)} of {len(counts)} labels have fewer than {least} {split} rows to {verb} by: {named}"
                yield Finding("few-rows", "warning", what, fix="find more, or join labels with data.labels={...}")
        yield from _uneven(data)


def _uneven(data: Data) -> Iterator[Finding]:
    counts = data.counts("train")
    if len(counts) > 1:
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        if many >= RATIO * few:
            what = f"label {most!r} has {many:,} training rows, {many / few:.0f} times as many as {least!r} ({few:,})"
            look = "look at f1 beside accuracy" if any(data.kinds("label")) else "look at f1 of each"
            balance = any(data.kinds("label")) and not data.balanced
            fix = look + "; data.balance makes rare labels count" * balance
            yield Finding("imbalance", "warning", what, fix=fix)


def _names(data: Data) -> Sequence[str]:
    """The labels, or of tags the types of entities."""
    if any(data.kinds("tags", "entities")):
        return [label[2:] if label[:2] in ("B-", "I-") else label for label in data.labels if label != "O"]
    return data.labels
