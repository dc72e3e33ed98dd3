"""CoNLL columns: a token a line with its columns, a blank line between sentences."""

from __future__ import annotations

from typing import Any

from ftkit.data.formats._base import Source, Table, counted, lines, refuse
from ftkit.metrics.schemes import is_tag

_DOCUMENT = "-DOCSTART-"


def read(source: Source) -> Table:
    """The sentences, each column a list. `-DOCSTART-` lines and `#` comments are skipped.

    Where `-DOCSTART-` lines mark more than one document, `document` is the number of each sentence's.
    """
    found = [
        line.split("\t") if "\t" in line else [part for part in line.split(" ") if part]
        for line in lines(source.text())
    ]
    width = next((len(parts) for parts in found if parts and not parts[0].startswith(("#", _DOCUMENT))), 0)
    sentences: list[list[list[str]]] = [[]]
    documents, faults, skipped = [0], [], 0
    for number, parts in enumerate(found, 1):
        if not any(part.strip() for part in parts):
            sentences.append([])
            documents.append(documents[-1])
        elif _is_remark(parts, width):
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


def _is_remark(parts: list[str], width: int) -> bool:
    """Whether a line is a marker or comment; `#` before a tag, or alone in its column, is a token."""
    if parts[0].startswith(_DOCUMENT):
        return True
    return parts[0].startswith("#") and not any(map(is_tag, parts[1:])) and not len(parts) == width == 1
