"""One text with different answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ftkit.checks._base import Check, Data, comparable, names_in
from ftkit.errors import brief
from ftkit.findings import Finding
from ftkit.tasks._base import Column

_DECIDED = ("label", "labels", "tags", "entities")
"""Kinds of which one text has one right value; answers, summaries and numbers may well differ."""


class Conflicts(Check):
    """The same text is labelled in more than one way, in one split or in several."""

    summary = "texts that are labelled in two ways"

    def find(self, data: Data) -> Iterator[Finding]:
        """All rows of such texts."""
        for column in data.kinds(*_DECIDED):
            rows: dict[Any, dict[str, tuple[str, int]]] = {}
            for split, columns in data.splits.items():
                for index, (key, value) in enumerate(zip(data.keys[split], columns[column.name], strict=True)):
                    rows.setdefault(key, {}).setdefault(comparable(value, column), (split, index))
            torn = {key: first for key, first in rows.items() if len(first) > 1 and any(key)}
            places = tuple(
                data.place(
                    split,
                    index,
                    f"{_told(data.splits[split][column.name][index], column)}: {data.shown(split, index)}",
                    like=next(place for place in torn[key].values() if place != torn[key][comparable(value, column)]),
                )
                for split, columns in data.splits.items()
                for index, (key, value) in enumerate(zip(data.keys[split], columns[column.name], strict=True))
                if key in torn
            )
            if places:
                what = f"the same text has different {_NAMES.get(column.kind, 'labels')}"
                yield Finding("conflict", "warning", what, places, "decide which is right", data.repeats_of)


_NAMES = {"tags": "tags", "entities": "entities"}


def _told(value: Any, column: Column) -> str:
    return brief(value if column.kind == "label" else names_in(value, column), 40)
