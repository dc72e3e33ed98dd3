"""Held-out rows that a model is taught."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.checks._base import FIXES, Check, Data
from ftkit.data.split import SPLIT_NAMES
from ftkit.findings import Finding


class Leaks(Check):
    """The same text in two splits, whatever its answer: it is counted where it is held out."""

    summary = "held-out rows that also stand in a split that is learned or chosen by"

    def find(self, data: Data) -> Iterator[Finding]:
        """The test rows that stand in training or validation, and the validation rows that stand in training."""
        first: dict[object, tuple[str, int]] = {}
        places = []
        for split in (name for name in SPLIT_NAMES if name in data.splits):
            before = dict(first)
            for index, key in enumerate(data.keys[split]):
                if key in before and any(key):
                    places.append(data.place(split, index, like=before[key]))
                first.setdefault(key, (split, index))
        if places:
            what = "a held-out row also stands in an earlier split; its score says nothing of new texts"
            yield Finding(
                "leak", "warning", what, tuple(places), "take it out of the earlier split" + FIXES, data.repeats_of
            )
