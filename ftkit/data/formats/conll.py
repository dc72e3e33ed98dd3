"""CoNLL columns, in any order: a token a line with its columns, a blank line between sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from ftkit.data.formats._base import Source, Table, lines, refuse
from ftkit.errors import counted
from ftkit.metrics.schemes import are_bare_types, is_typed_tag

_DOCUMENT = "-DOCSTART-"
_MOST_TYPES = 50
"""With more different values, a column is none of bare types."""
_CHUNKS = frozenset(["ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"])
"""Types of phrases (Tjong Kim Sang and Buchholz 2000)."""


def read(source: Source) -> Table:
    """The sentences, each column a list. `-DOCSTART-` lines and `#` comments are skipped.

    Where `-DOCSTART-` lines mark more than one document, `document` is the number of each sentence's.
    """
    found = [
        line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]
        for line in lines(source.text())
    ]
    width = next((len(parts) for parts in found if parts and not parts[0].startswith(("#", _DOCUMENT))), 0)
    last = {parts[-1] for parts in found if len(parts) == width and not parts[0].startswith("#")}
    sentences: list[list[list[str]]] = [[]]
    documents, faults, skipped = [0], [], 0
    for number, parts in enumerate(found, 1):
        if not any(part.strip() for part in parts):
            sentences.append([])
            documents.append(documents[-1])
        elif _is_remark(parts, width, last):
            skipped += 1
            documents[-1] += parts[0].startswith(_DOCUMENT)
        elif width and len(parts) != width:
            faults.append(f"line {number}: {counted(len(parts), 'value')}, where the first line has {width}")
        else:
            sentences[-1].append(parts)
    refuse(source.name, faults, "each line is a token and its columns, with a blank line between sentences")
    if skipped:
        source.notes.append(f"{source.name}: {counted(skipped, 'comment and -DOCSTART- line')} skipped")
    columns = tuple(map(str, range(width)))
    filled = [(rows, number) for rows, number in zip(sentences, documents, strict=True) if rows]
    words: list[dict[str, Any]] = [
        dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)) for rows, _ in filled
    ]
    if documents[-1] > 1:
        columns += ("document",)
        words = [{**row, "document": str(number)} for row, (_, number) in zip(words, filled, strict=True)]
    return source.table(words, columns, unit="sentence")


def _is_remark(parts: list[str], width: int, last: set[str]) -> bool:
    """Whether a line is a marker or comment; `#` before what else stands last in a line is a token."""
    if parts[0].startswith(_DOCUMENT):
        return True
    is_token = len(parts) == width and (width == 1 or parts[-1] in last)
    return parts[0].startswith("#") and not is_token and not any(map(is_typed_tag, parts[1:]))


# ---------------------------------------------------------------------- which column is which


def column_of(table: Table, kind: str, taken: Collection[str]) -> str | None:
    """The column of `tokens` or `tags`, found by what stands in it; None where there is none, and for other kinds."""
    seen = {name: _values(table, name) for name in table.columns if name not in taken and name != "document"}
    if kind == "tags":
        return _tags(seen)
    return _tokens(seen) if kind == "tokens" else None


def _values(table: Table, column: str) -> Counter[str]:
    return Counter(value for row in table.rows for value in row[column])


def _tokens(seen: dict[str, Counter[str]]) -> str | None:
    """The column with the most different values; tags, numbers and offsets are no tokens where others are."""
    tags = _tag_columns(seen)
    others = {name: values for name, values in seen.items() if name not in tags and not all(map(_is_code, values))}
    choice = others or {name: values for name, values in seen.items() if name not in tags}
    return max(choice, key=lambda name: len(choice[name]), default=None)


def _is_code(value: str) -> bool:
    return not any(map(str.isalpha, value))


def _tags(seen: dict[str, Counter[str]]) -> str | None:
    """The last column of tags: not that of chunks where there is another, nor of entities that lie in another's."""
    found = _tag_columns(seen)
    named = [name for name in found if not _types(seen[name]) <= _CHUNKS] or found
    if not named:
        return None
    last = seen[named[-1]]
    return next((name for name in named if _types(seen[name]) >= _types(last) and _outer(seen[name], last)), named[-1])


def _outer(values: Counter[str], last: Counter[str]) -> bool:
    return values["O"] <= last["O"]


def _tag_columns(seen: dict[str, Counter[str]]) -> list[str]:
    """Columns of tags but for a few slips; where there are none, those of a few bare types beside many an `O`."""
    typed = [name for name, values in seen.items() if _are_typed(values)]
    return typed or [name for name, values in seen.items() if _are_few(values) and _are_bare(values)]


def _are_typed(values: Counter[str]) -> bool:
    """Whether most of what is not `O` is a tag with a type."""
    named = {value: count for value, count in values.items() if value != "O"}
    return sum(map(named.__getitem__, filter(is_typed_tag, named))) * 2 > sum(named.values()) or not named


def _are_bare(values: Counter[str]) -> bool:
    """Whether most of what is not `O` is a type without a letter."""
    bare = sum(count for value, count in values.items() if are_bare_types([value]))
    return bare * 2 > values.total() - values["O"]


def _are_few(values: Counter[str]) -> bool:
    return values.most_common(1)[0][0] == "O" and len(values) <= _MOST_TYPES


def _types(values: Counter[str]) -> set[str]:
    if not _are_typed(values):
        return set(values) - {"O"}
    return {value[2:] for value in values if value != "O" and is_typed_tag(value)}
