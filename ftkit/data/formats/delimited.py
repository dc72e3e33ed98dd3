"""CSV and TSV.

Quotation marks: CSV is read with CSV's quoting (RFC 4180). TSV is read so only where the whole file keeps to that
quoting; otherwise a quotation mark is a character like any other, which is how most published TSV files mean it. A
CSV file whose quotes don't pair up is read that second way too, where that gives every line the same number of values.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from ftkit.data.formats._base import Source, Table, counted
from ftkit.data.mapped import Hand, Mapped, Row, numbers_of
from ftkit.errors import DataError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_QUOTED_TSV = re.compile(r'(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^"\t\r\n]*+)(?:\t|\r?\n|\r|\Z))*+')

Record = tuple[int, Sequence[str]]
"""The line that a record begins on, and its values."""


def read(source: Source) -> Table:
    """The records of delimited text."""
    if source.is_large:
        return _on_disk(source)
    held: list[Record] = []
    found = _Found(source)
    found.read(lambda number, values: held.append((number, values)))
    rows = [dict(zip(found.columns, values, strict=True)) for _, values in held]
    return source.table(rows, found.columns, [number for number, _ in held])


def _on_disk(source: Source) -> Table:
    """The same, as a table on disk."""
    found = _Found(source)

    def hand_over(hand: Hand) -> Row:
        found.read(hand)
        return {"columns": found.columns}

    table, said = source.texts(lambda: found.width, hand_over)
    columns = tuple(said["columns"])

    def decode(batch: Any) -> list[Row]:
        cells = [batch.column(place).to_pylist() for place in range(len(columns))]
        return [dict(zip(columns, values, strict=True)) for values in zip(*cells, strict=True)]

    return source.table(Mapped(table, decode), columns, numbers_of(table))


class _Found:
    """What is told of delimited text before, and when, its records are gone over."""

    def __init__(self, source: Source) -> None:
        self.source, self.delimiter = source, _DELIMITERS[source.suffix]
        self.columns: tuple[str, ...] = ()

    @cached_property
    def records(self) -> Callable[[], Iterator[Record]]:
        """What goes over the records."""
        return _reading(self.source, self.delimiter)

    @cached_property
    def width(self) -> int:
        """Values of a record."""
        return next((len(values) for _, values in self.records() if any(values)), 0)

    def read(self, hand: Hand) -> None:
        """Hand over each record but the header. Raises DataError with every line that is of another width."""
        name, width = self.source.name, self.width
        blank, ragged, head = 0, [], None
        for number, values in self.records():
            if _is_blank(values, width):
                blank += 1
                continue
            if head is None:
                head = (number, values)
            if len(values) != width:
                first = f"line {head[0]} has {width}"
                ragged.append(f"line {number}: {counted(len(values), 'value')}, where {first}")
            elif (not ragged or self.source.unread is not None) and not (self.source.header and head[0] == number):
                hand(number, values)
        if blank:
            self.source.notes.append(f"{name}: {counted(blank, 'blank line')} skipped")
        hint = "a value that holds the delimiter, a line break or a quotation mark stands in double quotes"
        self.source.refuse(ragged, hint)
        self.columns = header(name, head[1]) if self.source.header and head else tuple(map(str, range(width)))


def header(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """The names of columns. Raises DataError where two are the same."""
    columns = tuple(value.strip() for value in values)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name} has columns of the same name: {', '.join(map(repr, twice))}", "name each differently")
    return columns


def _is_blank(values: Sequence[str], width: int) -> bool:
    return not values or (len(values) == 1 < width and not values[0].strip())


def _reading(source: Source, delimiter: str) -> Callable[[], Iterator[Record]]:
    """How the records are read; it is noted where quotation marks are taken as plain characters."""
    plain, quoted = partial(_plain, source, delimiter), partial(_quoted, source, delimiter)
    if not _has_quotes(source):
        return plain
    fault, is_even, is_whole = _quoting(source, delimiter)
    if not fault and is_even and is_whole:
        return quoted
    if delimiter == "\t" or _is_even(plain()):
        what = "quotation marks are read as plain characters (they don't pair up as quoting does)"
        source.notes.append(f"{source.name}: {what}")
        return plain
    if fault:
        hint = "double a quotation mark inside a quoted value, and close each one"
        raise DataError(f"{source.name}, {fault}", hint)
    return quoted


def _has_quotes(source: Source) -> bool:
    with source.stream() as stream:
        return any('"' in part for part in iter(partial(stream.read, 2**20), ""))


def _plain(source: Source, delimiter: str) -> Iterator[Record]:
    """The values of each line, quotation marks among them."""
    with source.stream("\n") as stream:
        for number, line in enumerate(stream, 1):
            text = line.removesuffix("\n").removesuffix("\r")
            yield number, text.split(delimiter) if text.strip(" ") else []


def _quoted(source: Source, delimiter: str, seen: list[str] | None = None) -> Iterator[Record]:
    """Records by CSV's quoting, with the line each begins on; `seen` is given its lines. Raises csv.Error."""
    csv.field_size_limit(2**31 - 1)
    with source.stream() as stream:
        lines = stream if seen is None else (seen.append(line) or line for line in stream)  # type: ignore[func-returns-value]
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        start = 1
        for values in reader:
            yield start, values
            start = reader.line_num + 1


def _quoting(source: Source, delimiter: str) -> tuple[str, bool, bool]:
    """What breaks off the reading by CSV's quoting; whether records are even; whether TSV keeps to it."""
    seen: list[str] = []
    widths: set[int] = set()
    start, is_whole = 1, True
    try:
        for number, values in _quoted(source, delimiter, seen):
            if len(values) > 1 or any(values):
                widths.add(len(values))
            if delimiter == "\t":
                is_whole = is_whole and _QUOTED_TSV.fullmatch("".join(seen)) is not None
            start = number + len(seen)
            seen.clear()
    except csv.Error as error:
        what = "a quotation mark opens a value that is not closed as it should be"
        return f"line {start}: {what} ({error})", False, False
    return "", len(widths) == 1, is_whole


def _is_even(records: Iterable[Record]) -> bool:
    return len({len(values) for _, values in records if len(values) > 1 or any(values)}) == 1
