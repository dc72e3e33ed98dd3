"""CSV and TSV.

Quotation marks: CSV is read with CSV's quoting (RFC 4180). TSV is read so only where the whole file keeps to that
quoting; otherwise a quotation mark is a character like any other, which is how most published TSV files mean it. A
CSV file whose quotes don't pair up is read that second way too, where that gives every line the same number of values.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from ftkit.data.formats._base import Source, Table, some_at_a_time
from ftkit.data.mapped import Hand, Mapped, Row, numbers_of
from ftkit.errors import DataError, counted

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_QUOTED_TSV = re.compile(r'(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^"\t\r\n]*+)(?:\t|\r?\n|\r|\Z))*+')

Record = tuple[int, Sequence[str]]
"""The line that a record begins on, and its values."""
Way = Callable[[Source, str], Iterator[Record]]
"""Goes over the records of a source, with a delimiter between their values."""


def read(source: Source) -> Table:
    """The records of delimited text."""
    if source.is_large:
        return _on_disk(source)
    held: list[Record] = []
    found = _Found(source)
    found.read(lambda number, values: held.append((number, values)))
    return _table(source, found, held)


def stream(source: Source) -> Iterator[Table]:
    """The records, some at a time; the beginning of the text decides how it is decoded, and what quotes mean."""
    head = source.beginning()
    found = _Found(source, head)
    way = found.way if found.delimiter == "\t" or not head.is_cut or _has_quotes(head) else _quoted
    source = replace(source, on_disk=True, decoded_by=head.coding)
    told = False
    with source.going_through():
        for part in some_at_a_time(_well_quoted(source, way(source, found.delimiter))):
            held: list[Record] = []
            ragged = found.take(part, lambda number, values: held.append((number, values)))  # noqa: B023
            source.refuse(ragged, _RAGGED_HINT)
            if found.blank and not told:
                source.notes.append(f"{source.name}: blank lines are skipped")
                told = True
            yield _table(source, found, held)


def _table(source: Source, found: _Found, held: Sequence[Record]) -> Table:
    columns = found.columns
    rows = [dict(zip(columns, values, strict=True)) for _, values in held]
    return source.table(rows, columns, [number for number, _ in held])


def _well_quoted(source: Source, records: Iterable[Record]) -> Iterator[Record]:
    """The records. Raises DataError, with the line, where quotation marks break off the reading."""
    number = 0
    try:
        for number, values in records:
            yield number, values
    except csv.Error as error:
        raise DataError(f"{source.name}, after line {number}: {_UNCLOSED} ({error})", _QUOTES_HINT) from error


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

    def __init__(self, source: Source, head: Source | None = None) -> None:
        self.source, self.delimiter = source, _DELIMITERS[source.suffix]
        self.shown = head or source
        """What tells how the records are read: all of the source, or its beginning."""
        self.first: Record | None = None
        self.blank = 0

    @cached_property
    def way(self) -> Way:
        """What goes over the records."""
        return _reading(self.shown, self.delimiter)

    @cached_property
    def width(self) -> int:
        """Values of a record."""
        return next((len(values) for _, values in self.way(self.shown, self.delimiter) if any(values)), 0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns. Raises DataError where two are the same."""
        if self.source.header and self.first:
            return header(self.source.name, self.first[1])
        return tuple(map(str, range(self.width)))

    def read(self, hand: Hand) -> None:
        """Hand over each record but the header. Raises DataError with every line that is of another width."""
        ragged = self.take(self.way(self.source, self.delimiter), hand)
        if self.blank:
            self.source.notes.append(f"{self.source.name}: {counted(self.blank, 'blank line')} skipped")
        self.source.refuse(ragged, _RAGGED_HINT)

    def take(self, records: Iterable[Record], hand: Hand) -> list[str]:
        """Hand over each of some records but the header, and return what is wrong with those of another width."""
        width, ragged = self.width, []
        for number, values in records:
            if _is_blank(values, width):
                self.blank += 1
                continue
            if self.first is None:
                self.first = (number, values)
            if len(values) != width:
                first = f"line {self.first[0]} has {width}"
                ragged.append(f"line {number}: {counted(len(values), 'value')}, where {first}")
            elif (not ragged or self.source.unread is not None) and not self._is_header(number):
                hand(number, values)
        return ragged

    def _is_header(self, number: int) -> bool:
        return self.source.header and self.first is not None and self.first[0] == number


_RAGGED_HINT = "a value that holds the delimiter, a line break or a quotation mark stands in double quotes"


def header(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """The names of columns. Raises DataError where two are the same."""
    columns = tuple(value.strip() for value in values)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name} has columns of the same name: {', '.join(map(repr, twice))}", "name each differently")
    return columns


def _is_blank(values: Sequence[str], width: int) -> bool:
    return not values or (len(values) == 1 < width and not values[0].strip())


def _reading(source: Source, delimiter: str) -> Way:
    """How the records are read; it is noted where quotation marks are taken as plain characters."""
    if not _has_quotes(source):
        return _plain
    fault, is_even, is_whole = _quoting(source, delimiter)
    if not fault and is_even and is_whole and not (delimiter == "\t" and _is_torn(source)):
        return _quoted
    if delimiter == "\t" or _is_even(_plain(source, delimiter)):
        what = "quotation marks are read as plain characters (they don't pair up as quoting does)"
        source.notes.append(f"{source.name}: {what}")
        return _plain
    if fault:
        raise DataError(f"{source.name}, {fault}", _QUOTES_HINT)
    return _quoted


_UNCLOSED = "a quotation mark opens a value that is not closed as it should be"
_QUOTES_HINT = "double a quotation mark inside a quoted value, and close each one"
_CUT_OFF = 1000
"""Lines of a quoted value up to which it may be one that goes on behind the beginning of a file."""


def _has_quotes(source: Source) -> bool:
    with source.stream() as stream:
        return any('"' in part for part in iter(partial(stream.read, 2**20), ""))


def _plain(source: Source, delimiter: str) -> Iterator[Record]:
    """The values of each line, quotation marks among them."""
    with source.stream("\n") as stream:
        for number, line in enumerate(stream, 1):
            text = line.removesuffix("\n").removesuffix("\r")
            yield number, text.split(delimiter) if text.strip(" ") else []


def _noted(lines: Iterable[str], seen: list[str]) -> Iterator[str]:
    """The lines, each added to `seen` when it is read."""
    for line in lines:
        seen.append(line)
        yield line


def _quoted(source: Source, delimiter: str, seen: list[str] | None = None) -> Iterator[Record]:
    """Records by CSV's quoting, with the line each begins on; `seen` is given its lines. Raises csv.Error."""
    csv.field_size_limit(2**31 - 1)
    with source.stream() as stream:
        reader = csv.reader(stream if seen is None else _noted(stream, seen), delimiter=delimiter, strict=True)
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
        if not (source.is_cut and "unexpected end" in str(error) and len(seen) < _CUT_OFF):
            return f"line {start}: {_UNCLOSED} ({error})", False, False
    return "", len(widths) == 1, is_whole


def _is_torn(source: Source) -> bool:
    """Whether quoting would join lines of TSV that are each a record of their own."""
    if source.is_cut:
        return False
    sizes = [len(values) for _, values in _plain(source, "\t") if values]
    count = sum(1 for _, values in _quoted(source, "\t") if len(values) > 1 or any(values))
    return len(set(sizes)) == 1 and sizes[0] > 1 and count < len(sizes)


def _is_even(records: Iterable[Record]) -> bool:
    return len({len(values) for _, values in records if len(values) > 1 or any(values)}) == 1
