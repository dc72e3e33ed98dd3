"""Texts that are nearly the same: candidates by MinHash and LSH (Broder 1997), each verified by exact Jaccard.

A text is the set of its pairs of neighbouring words, whatever their case and the signs between them. Candidates are
found in rounds with other hashes, so that only a part of the tables is in memory at once.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np

LIKE = 0.8
"""Jaccard similarity from which two texts are nearly the same."""
ROUNDS, BANDS, ROWS = 4, 4, 5
"""16 bands of 5 hashes find a pair of similarity 0.8 with a probability of 0.998, and nearly every one of 0.9."""
MOST = 100
"""Candidates of a table that are looked at for one text."""

_WORD = re.compile(r"\w+")
_ALONE = np.uint64(0xFFFFFFFF)
"""Stands for the second word where a text has only one."""


class Shingles:
    """The pairs of neighbouring words of some texts, as numbers that are the same for the same words."""

    def __init__(self, texts: Iterable[str]) -> None:
        numbers: dict[str, int] = {}
        words: list[int] = []
        starts = [0]
        for text in texts:
            found = _WORD.findall(text.casefold())
            words += [numbers.setdefault(word, len(numbers)) for word in found]
            starts.append(len(words))
        hashes = np.array([zlib.crc32(word.encode()) for word in numbers], dtype=np.uint64)
        each = np.array(words, dtype=np.uint32).astype(np.uint64)
        after = np.append(each[1:], _ALONE)
        after[[end - 1 for start, end in pairwise(starts) if end - start == 1]] = _ALONE
        self.starts = starts
        self.pairs = each << np.uint64(32) | after
        follows = np.append(hashes, np.uint64(0))[np.minimum(after, np.uint64(len(hashes)))]
        mixed = hashes[each] * np.uint64(0x9E3779B1) + follows * np.uint64(0x85EBCA77)
        self.hashes = (mixed >> np.uint64(13)).astype(np.uint32)

    def of(self, text: int) -> set[int]:
        """A text's pairs, each two numbers in one."""
        return set(self.pairs[self._span(text)].tolist())

    def hashed(self, text: int) -> list[int]:
        """The pairs' hashes, which don't depend on the order of the texts."""
        found: list[int] = self.hashes[self._span(text)].tolist()
        return found

    def _span(self, text: int) -> slice:
        """Where a text's pairs are: one less than it has words, or its only word alone."""
        start, end = self.starts[text], self.starts[text + 1]
        return slice(start, max(end - 1, min(start + 1, end)))


class Near:
    """Which of some texts (each of several columns) are nearly the same in every column."""

    def __init__(self, columns: Sequence[Sequence[str]]) -> None:
        self.columns = [Shingles(texts) for texts in columns]
        self.size = len(columns[0]) if columns else 0
        self.full = False
        """Whether some candidates were not looked at, as a table had too many."""

    def candidates(self, wanted: set[int]) -> Iterator[tuple[int, int]]:
        """(text, another that may be nearly the same), for texts that are in `wanted` when their turn comes."""
        from datasketch import MinHash, MinHashLSH

        for number in range(ROUNDS):
            if not wanted:
                return
            index = MinHashLSH(params=(BANDS, ROWS), num_perm=BANDS * ROWS)
            minhash = MinHash(num_perm=BANDS * ROWS, seed=number + 1, hashfunc=int)  # used again: a new one is slow
            for text in range(self.size):
                if hashed := self._hashed(text):
                    minhash.clear()
                    minhash.update_batch(hashed)
                    index.insert(text, minhash, check_duplication=False)
            for text in sorted(wanted):
                yield from self._beside(text, index)

    def _hashed(self, text: int) -> list[int]:
        if len(self.columns) == 1:
            return self.columns[0].hashed(text)
        return [pair ^ (0x9E3779B9 * at & 0xFFFFFFFF) for at, c in enumerate(self.columns) for pair in c.hashed(text)]

    def _beside(self, text: int, index: Any) -> Iterator[tuple[int, int]]:
        seen = {text}
        for table, key in zip(index.hashtables, index.keys.get(text), strict=False):
            others = table.get(key)
            self.full |= len(others) > MOST
            for other in islice(others, MOST):
                if other not in seen:
                    seen.add(other)
                    yield text, other

    def alike(self, one: int, other: int) -> bool:
        """Whether two texts are nearly the same in every column."""
        return all(_jaccard(column.of(one), column.of(other)) >= LIKE for column in self.columns)


def _jaccard(one: set[int], other: set[int]) -> float:
    """The share of two sets' members that both have; 1 for empty ones."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if one or other else 1.0


def partners(near: Near, needs: Sequence[set[Any]], meets: Any) -> dict[Any, list[tuple[int, int]]]:
    """Need -> (text, the first found partner that meets it).

    needs: of each text what is looked for; meets(need, other): whether another text, if nearly the same, is that.
    """
    wanted = {text for text, need in enumerate(needs) if need}
    found: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for text, other in near.candidates(wanted):
        open_needs = [need for need in needs[text] if meets(need, other)]
        if open_needs and near.alike(text, other):
            for need in open_needs:
                needs[text].remove(need)
                found[need].append((text, other))
            if not needs[text]:
                wanted.discard(text)
    return found
