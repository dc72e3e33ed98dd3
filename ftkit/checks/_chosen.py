"""Which rows are looked through where there are too many for all: some at random, and those that repeat others."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from ftkit.alike import folded
from ftkit.data.typed import batches

if TYPE_CHECKING:
    from datasets import Dataset

ALL = 200_000
"""Rows up to which all are looked through."""
DRAWN = 50_000
"""Of more rows, those that are drawn at random, from all splits alike; and at most as many that repeat others."""


class Chosen(NamedTuple):
    """Which rows are looked through."""

    places: dict[str, list[int]]
    """Split -> indices, ascending; nothing where all are."""
    repeats_of: int
    """Rows of which those are looked through that repeat others: all, unless these are too many."""


def chosen(splits: Mapping[str, Dataset], inputs: Sequence[str], notes: list[str]) -> Chosen:
    """The rows to look through; `notes` are told which."""
    sizes = [len(split) for split in splits.values()]
    total = sum(sizes)
    if total <= ALL:
        return Chosen({}, total)
    again = _repeated(splits, inputs)
    places = {*Random("chosen").sample(range(total), DRAWN), *again[:DRAWN]}
    notes.append(
        f"texts are looked through in {DRAWN:,} rows, drawn from {total:,}, and in {min(len(again), DRAWN):,} of"
        f" {len(again):,} rows that repeat the text of others; labels are counted in all"
    )
    ordered, starts = sorted(places), [0, *accumulate(sizes)]
    found = {
        name: [place - begin for place in ordered if begin <= place < end]
        for name, (begin, end) in zip(splits, pairwise(starts), strict=True)
    }
    return Chosen(found, total if len(again) <= DRAWN else len(ordered))


def _repeated(splits: Mapping[str, Dataset], inputs: Sequence[str]) -> list[int]:
    """The rows whose texts another row has too, white space aside, those of one text side by side.

    (By a hash of 64 bits: that one row is among them by chance does no harm.)
    """
    import numpy as np
    import xxhash

    found = array("Q")
    for split in splits.values():
        for batch in batches(split, inputs):
            rows = ("\0".join(folded(row)) for row in zip(*(batch[name] for name in inputs), strict=True))
            found.extend(xxhash.xxh3_64_intdigest(row.encode("utf-8", "surrogatepass")) for row in rows)
    hashes = np.frombuffer(found, dtype=np.uint64)
    order = hashes.argsort(kind="stable")
    equal = hashes[order[1:]] == hashes[order[:-1]]
    places: list[int] = order[np.append(equal, False) | np.append(False, equal)].tolist()
    return places
