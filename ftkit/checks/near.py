"""Rows that nearly repeat others, in their own split or in one that is learned by."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.checks._base import Check, Data
from ftkit.checks._near import Near, partners
from ftkit.data.split import SPLIT_NAMES
from ftkit.findings import Finding, Place

Need = tuple[str, str]
"""Kind of finding, and the split of the row that it is about."""


class NearDuplicates(Check):
    """Texts that share four of five pairs of neighbouring words; equal ones are duplicates or leaks instead."""

    summary = "rows that nearly repeat another of their split, or of one that is learned by"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for rows of one split, and one for held-out rows."""
        rows: dict[tuple[str, ...], dict[str, int]] = {}
        for split in (name for name in SPLIT_NAMES if name in data.splits):
            for index, key in enumerate(data.keys[split]):
                rows.setdefault(key, {}).setdefault(split, index)
        texts, homes = list(rows), list(rows.values())
        near = Near(list(zip(*texts, strict=True)) if texts else [])
        found = partners(near, [set(_needs(home)) for home in homes], lambda need, other: _meets(need, homes[other]))
        if near.full:
            data.notes.append("some texts are like so many others that not all of these were compared")
        for kind, (what, fix) in _SAID.items():
            places = [
                _place(data, need, homes[text], homes[other])
                for need, pairs in found.items()
                if need[0] == kind
                for text, other in sorted(pairs, key=lambda pair: homes[pair[0]][need[1]])
            ]
            if places:
                places.sort(key=lambda place: SPLIT_NAMES.index(place.split))
                yield Finding(kind, "warning", what, tuple(places), fix)


_SAID = {
    "near-leak": (
        "a held-out row nearly repeats one of an earlier split; its score says little of new texts",
        "look at them, and take out what is the same",
    ),
    "near-duplicate": (
        "a row nearly repeats another of its split",
        "look at them, and keep one where they are the same",
    ),
}


def _needs(home: dict[str, int]) -> Iterator[Need]:
    """What is looked for of a text: a partner in each split, and one before its first split."""
    for split in home:
        yield "near-duplicate", split
    first = next(iter(home))
    if first != SPLIT_NAMES[0]:
        yield "near-leak", first


def _earlier(split: str) -> tuple[str, ...]:
    return SPLIT_NAMES[: SPLIT_NAMES.index(split)]


def _meets(need: Need, home: dict[str, int]) -> bool:
    kind, split = need
    return split in home if kind == "near-duplicate" else any(name in home for name in _earlier(split))


def _place(data: Data, need: Need, home: dict[str, int], other: dict[str, int]) -> Place:
    kind, split = need
    beside = split if kind == "near-duplicate" else next(name for name in _earlier(split) if name in other)
    return data.place(split, home[split], like=(beside, other[beside]))
