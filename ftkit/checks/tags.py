"""Tags that break the scheme that the others keep to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftkit.checks._base import Check, Data
from ftkit.findings import Finding
from ftkit.metrics.spans import is_tag


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
                for at in breaks(tags, scheme)[:1]
            )
            if places:
                what = f"a tag breaks {scheme}, which the others keep to; it is read as the start of an entity"
                yield Finding(
                    "tag-scheme", "warning", what, places, "begin each entity with B-; `data check --fix` does"
                )


def scheme_of(rows: Sequence[Sequence[str]]) -> str | None:
    """`BIO`, `IOB1`, `BIOES` or `BILOU`, as most entities are written; None for tags of another kind."""
    valid = [tags for tags in rows if all(map(is_tag, tags))]
    if len(valid) * 2 <= len(rows):
        return None
    letters = {tag[0] for tags in valid for tag in tags}
    if letters & {"E", "S"}:
        return "BIOES"
    if letters & {"L", "U"}:
        return "BILOU"
    starts = [tags[at][0] for tags in valid for at in range(len(tags)) if _starts(tags, at)]
    return "IOB1" if starts.count("I") > starts.count("B") else "BIO"


def _starts(tags: Sequence[str], at: int) -> bool:
    """Whether an entity begins at a tag of BIO or IOB1."""
    return tags[at][0] == "B" or (tags[at][0] == "I" and (at == 0 or tags[at - 1][2:] != tags[at][2:]))


def breaks(tags: Sequence[str], scheme: str) -> list[int]:
    """Where tags are not as the scheme wants them."""
    if scheme == "IOB1":
        return [at for at, tag in enumerate(tags) if tag[0] == "B" and (at == 0 or tags[at - 1][2:] != tag[2:])]
    if scheme == "BIO":
        return [at for at, tag in enumerate(tags) if tag[0] == "I" and _starts(tags, at)]
    last, alone = ("E", "S") if scheme == "BIOES" else ("L", "U")
    found = []
    for at, tag in enumerate([*tags, "O"]):
        before = tags[at - 1] if at else "O"
        opened = before[0] in "BI"
        goes_on = tag[0] in ("I", last)
        if opened != goes_on or (opened and before[2:] != tag[2:]):
            found.append(min(at, len(tags) - 1))
    return [at for at in found if tags[at][0] in ("B", "I", last, alone, "O")]


def _before(tags: Sequence[str], at: int) -> str:
    return f"{tags[at - 1]} " if at else ""
