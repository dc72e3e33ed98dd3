"""Named entities by memory: names that the training rows mark, wherever they stand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ftkit.baselines._base import Baseline
from ftkit.metrics import spans
from ftkit.tasks._base import Labels, Prediction, Task
from ftkit.tasks.ner import NamedEntities

if TYPE_CHECKING:
    from datasets import Dataset

Name = tuple[str, ...]
"""Its tokens."""


class Entry(NamedTuple):
    """What a name is."""

    kind: str
    share: float
    """Of the name's occurrences in training, those that are entities of its type."""


class Gazetteer(Baseline):
    """The names of the training rows with their most frequent type, found by the longest match, case and all.

    A name is kept where it is an entity more often than not: "May" the month goes, "Maya" stays.
    """

    summary = "names of the training rows, wherever they stand"
    family = NamedEntities

    def fit(self, rows: Dataset, task: Task, labels: Labels) -> None:
        """Collect the names, and count how often their tokens occur."""
        texts = [(tokens, spans.entities(tags)) for tokens, tags in zip(rows["tokens"], rows["tags"], strict=True)]
        kinds: dict[Name, Counter[str]] = defaultdict(Counter)
        for tokens, marked in texts:
            for kind, first, last in marked:
                kinds[tuple(tokens[first:last])][kind] += 1
        lengths = _lengths(kinds)
        occurs = Counter(name for tokens, marked in texts for name in _occurrences(tokens, marked, lengths))
        entries = {name: _entry(counts, occurs[name]) for name, counts in kinds.items()}
        self.entries = {name: entry for name, entry in entries.items() if 2 * kinds[name].total() > occurs[name]}
        self.lengths = _lengths(self.entries)

    def predict(self, rows: Dataset) -> list[Prediction]:
        """The longest known name at each place, from left to right."""
        columns = zip(rows["text"], rows["tokens"], rows["spans"], strict=True)
        return [{"entities": list(self._entities(*row))} for row in columns]

    def _entities(self, text: str, tokens: Sequence[str], places: Sequence[Sequence[int]]) -> Iterator[Prediction]:
        at = 0
        while at < len(tokens):
            known = (end for end in _ends(tokens, at, self.lengths) if tuple(tokens[at:end]) in self.entries)
            if end := next(known, None):
                entry, start, stop = self.entries[tuple(tokens[at:end])], places[at][0], places[end - 1][1]
                yield {"type": entry.kind, "text": text[start:stop], "start": start, "end": stop, "score": entry.share}
            at = end or at + 1


def _entry(counts: Counter[str], occurs: int) -> Entry:
    kind = min(counts, key=lambda kind: (-counts[kind], kind))
    return Entry(kind, counts[kind] / occurs)


def _occurrences(tokens: list[str], marked: list[spans.Entity], lengths: dict[str, list[int]]) -> Iterator[Name]:
    """Runs of tokens that may be names, but for those inside a longer entity: there the longer one is found."""
    owner = {at: (first, last) for _, first, last in marked for at in range(first, last)}
    for at in range(len(tokens)):
        for end in _ends(tokens, at, lengths):
            if at not in owner or owner[at] != owner.get(end - 1) or owner[at] == (at, end):
                yield tuple(tokens[at:end])


def _lengths(names: Iterable[Name]) -> dict[str, list[int]]:
    """First token -> the lengths of names that begin with it, the longest first."""
    found: dict[str, set[int]] = defaultdict(set)
    for name in names:
        found[name[0]].add(len(name))
    return {token: sorted(lengths, reverse=True) for token, lengths in found.items()}


def _ends(tokens: Sequence[str], at: int, lengths: dict[str, list[int]]) -> Iterator[int]:
    """Where a name that begins at `at` might end, the furthest first."""
    return (at + length for length in lengths.get(tokens[at], ()) if at + length <= len(tokens))
