"""How long texts are, and what of them is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING, Any

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding
from ftkit.tasks._base import Limit

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST = 4000
"""Rows whose tokens are counted; of more, as many are drawn."""
_CHARACTERS = 100_000
"""A text's first characters, of which tokens are counted: no checkpoint reads more."""


class Lengths(Check):
    """Texts that have more tokens than the task reads, where it does not read them in windows."""

    summary = "texts that are cut to the task's longest"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each limit that some rows exceed, with the share of their tokens that is lost."""
        for limit in data.limits:
            counted = measure(data, limit)
            if counted is None or data.tokenizer is None:
                continue
            rows, sizes = counted
            over = [(place, size) for place, size in zip(rows, sizes, strict=True) if size > limit.tokens]
            if over:
                lost = sum(size - limit.tokens for _, size in over) / sum(sizes)
                told = f"{lost:.1%}" if lost >= 0.001 else "less than 0.1%"
                places = tuple(data.place(*place, f"{size} tokens") for place, size in over)
                what = f"a text is longer than {limit.setting}={limit.tokens} and is cut ({told} of all tokens)"
                fix = f"raise {limit.setting} as far as the checkpoint reads, or shorten the texts"
                yield Finding("too-long", "warning", what, places, fix, of=len(rows))


def lengths(data: Data) -> dict[str, dict[str, Any]]:
    """Of each limited text, or else of what is read: median, 95 of 100, and longest, in `unit`."""
    found = {}
    limits = data.limits or (Limit(tuple(column.name for column in data.inputs), 0, ""),)
    for limit in limits:
        counted = measure(data, limit)
        if counted is not None:
            sizes = sorted(counted[1])
            found[" and ".join(_columns(data, limit))] = {
                "median": sizes[len(sizes) // 2],
                "p95": sizes[int(0.95 * (len(sizes) - 1))],
                "longest": sizes[-1],
                "unit": "tokens" if data.tokenizer else "words",
                **({"limit": limit.tokens} if limit.tokens else {}),
            }
    return found


def _columns(data: Data, limit: Limit) -> list[str]:
    return [column.name for column in data.shape if column.name in limit.columns]


def measure(data: Data, limit: Limit) -> tuple[list[tuple[str, int]], list[int]] | None:
    """Some rows (split and index), and how many tokens, or words, each has; None where the data lacks the columns."""
    if limit not in data.measured:
        data.measured[limit] = _measured(data, limit)
    found: tuple[list[tuple[str, int]], list[int]] | None = data.measured[limit]
    return found


def _measured(data: Data, limit: Limit) -> tuple[list[tuple[str, int]], list[int]] | None:
    columns = [column for column in data.shape if column.name in limit.columns]
    if not columns:
        return None
    places = [(split, index) for split in data.splits for index in range(data.size(split))]
    if len(places) > MOST:
        note = f"lengths are those of {MOST:,} rows, drawn from {len(places):,}"
        if note not in data.notes:
            data.notes.append(note)
        places = sorted(Random("lengths").sample(places, MOST))
    if [column.kind for column in columns] == ["references"]:
        name = columns[0].name
        longest = [[max(data.splits[split][name][index], key=len)] for split, index in places]
        return places, _sizes(data, longest, limit.special)
    texts = [[data.texts(split, column)[index][:_CHARACTERS] for column in columns] for split, index in places]
    return places, _sizes(data, texts, limit.special)


def counting(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer that neither cuts nor pads."""
    copy = deepcopy(tokenizer)
    copy.no_truncation()
    copy.no_padding()
    return copy


def _sizes(data: Data, texts: Sequence[list[str]], special: bool) -> list[int]:
    if data.tokenizer is None:
        return [sum(len(text.split()) for text in row) for row in texts]
    rows: Any = [tuple(row) if len(row) > 1 else row[0] for row in texts]
    return [len(encoding.ids) for encoding in data.tokenizer.encode_batch_fast(rows, add_special_tokens=special)]
