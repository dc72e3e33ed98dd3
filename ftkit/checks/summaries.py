"""Summaries that summarize nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding, Place

_COPY = 0.9
"""Share of a text's words from which a piece of it is a copy."""


class Summaries(Check):
    """References that are longer than the text they belong to, or a copy of it."""

    summary = "summaries that are copies of their documents, or longer"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for copies and one for long ones."""
        longer: list[Place] = []
        copies: list[Place] = []
        for column in data.kinds("references"):
            for split, columns in data.splits.items():
                for index, references in enumerate(columns[column.name]):
                    document = " ".join(data.keys[split][index])
                    kinds = {_kind(" ".join(text.split()), document) for text in references}
                    size = f"{len(references[0].split())} words of {len(document.split())}"
                    for places, kind in ((copies, "copy"), (longer, "longer")):
                        if kind in kinds:
                            places.append(data.place(split, index, f"{size}: {data.shown(split, index)}"))
        yield from _found("summary-copy", "a summary is a copy of its document", copies)
        yield from _found("summary-long", "a summary is longer than its document", longer)


def _found(kind: str, what: str, places: list[Any]) -> Iterator[Finding]:
    if places:
        yield Finding(kind, "warning", what, tuple(places), "are the columns right? write it anew, or take it out")


def _kind(summary: str, document: str) -> str:
    words, of = len(summary.split()), len(document.split())
    if summary.casefold() in document.casefold() and words >= _COPY * of:
        return "copy"
    return "longer" if words > of else ""
