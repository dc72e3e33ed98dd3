"""Tags that break the scheme that the others keep to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftkit.checks._base import FIXES, Check, Data
from ftkit.findings import Finding
from ftkit.metrics.schemes import is_tag, scheme_of


class Tags(Check):
    """Tags that can be read, and are no part of an entity as most of the file writes them."""

    summary = "tags that break the file's scheme"

    def find(self, data: Data) -> Iterator[Finding]:
        """The rows with such tags."""
        for column in data.kinds("tags"):
            rows = [tags for columns in data.splits.values() for tags in columns[column.name]]
            scheme = scheme_of(rows)
            if scheme is None:
                continue
            places = tuple(
                data.place(split, index, f"{_before(tags, at)}{tags[at]}, word {at + 1}")
                for split, columns in data.splits.items()
                for index, tags in enumerate(columns[column.name])
                if all(map(is_tag, tags))
                for at in scheme.breaks(tags)[:1]
            )
            if places:
                what = f"a tag breaks {scheme.name}, which the others keep to; it is read as the start of an entity"
                yield Finding("tag-scheme", "warning", what, places, "write them as the others are" + FIXES)


def _before(tags: Sequence[str], at: int) -> str:
    return f"{tags[at - 1]} " if at else ""
