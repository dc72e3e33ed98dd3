"""Rows with nothing to read."""

from __future__ import annotations

from collections.abc import Iterator

from ftkit.checks._base import Check, Data
from ftkit.data.columns import is_empty
from ftkit.findings import Finding


class Empty(Check):
    """A text that is empty, or nothing but white space and what can't be seen."""

    summary = "texts with nothing in them"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each column to read."""
        for column in data.inputs:
            places = tuple(
                data.place(split, index, f"{column.name} is empty")
                for split, columns in data.splits.items()
                for index, value in enumerate(columns[column.name])
                if is_empty(value)
            )
            if places:
                yield Finding(
                    "empty", "warning", f"{column.name!r} is empty", places, "fill it in, or take the row out"
                )
