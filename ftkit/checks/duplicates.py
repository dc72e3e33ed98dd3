"""Rows that stand in one split more than once."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.checks._base import FIXES, Check, Data
from ftkit.findings import Finding


class Duplicates(Check):
    """The same text with the same answer; the first of such rows is no duplicate."""

    summary = "rows that repeat another of their split"

    def find(self, data: Data) -> Iterator[Finding]:
        """All rows that repeat an earlier one."""
        places = []
        for split in data.splits:
            first: dict[object, int] = {}
            for index, row in enumerate(zip(data.keys[split], data.answers[split], strict=True)):
                if first.setdefault(row, index) != index:
                    places.append(data.place(split, index, like=(split, first[row])))
        if places:
            what = "a row repeats another of its split, text and answer"
            yield Finding("duplicate", "warning", what, tuple(places), "keep one of each" + FIXES, data.repeats_of)
