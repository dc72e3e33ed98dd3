"""CSV and TSV.

Quotation marks: CSV is read with CSV's quoting (RFC 4180). TSV is read so only where the whole file keeps to that
quoting; otherwise a quotation mark is a character like any other, which is how most published TSV files mean it. A
CSV file whose quotes don't pair up is read that second way too, where that gives every line the same number of values.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from ftkit.data.formats._base import Source, Table, counted, lines, refuse
from ftkit.errors import DataError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_QUOTED_TSV = re.compile(r'(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^"\t\r\n]*+)(?:\t|\r?\n|\r|\Z))*+')

Record = tuple[int, list[str]]
"""The line that a record begins on, and its values."""


def read(source: Source) -> Table:
    """The records of delimited text."""
    found = _records(source, source.text(), _DELIMITERS[source.suffix])
    width = next((len(fields) for _, fields in found if any(fields)), 0)
    records = [record for record in found if not _is_blank(record[1], width)]
    if blank := len(found) - len(records):
        source.notes.append(f"{source.name}: {counted(blank, 'blank line')} skipped")
    first = f"line {records[0][0]} has {width}" if records else ""
    ragged = [
        f"line {n}: {counted(len(fields), 'value')}, where {first}" for n, fields in records if len(fields) != width
    ]
    hint = "a value that holds the delimiter, a line break or a quotation mark stands in double quotes"
    refuse(source.name, ragged, hint)
    columns = tuple(map(str, range(width)))
    if source.header and records:
        columns = header(source.name, records.pop(0)[1])
    rows = [dict(zip(columns, fields, strict=True)) for _, fields in records]
    return source.table(rows, columns, [number for number, _ in records])


def header(name: str, fields: Iterable[str]) -> tuple[str, ...]:
    """The names of columns. Raises DataError where two are the same."""
    columns = tuple(field.strip() for field in fields)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name} has columns of the same name: {', '.join(map(repr, twice))}", "name each differently")
    return columns


def _is_blank(fields: list[str], width: int) -> bool:
    return not fields or (len(fields) == 1 < width and not fields[0].strip())


def _records(source: Source, text: str, delimiter: str) -> list[Record]:
    """The records of delimited text; it is noted where quotation marks were taken as plain characters."""
    plain = [(n, line.split(delimiter) if line.strip(" ") else []) for n, line in enumerate(lines(text), 1)]
    if '"' not in text:
        return plain
    quoted, fault = _quoted(text, delimiter)
    if not fault and _is_even(quoted) and (delimiter == "," or _QUOTED_TSV.fullmatch(text)):
        return quoted
    if _is_even(plain) or delimiter == "\t":
        what = "quotation marks are read as plain characters (they don't pair up as quoting does)"
        source.notes.append(f"{source.name}: {what}")
        return plain
    if fault:
        hint = "double a quotation mark inside a quoted value, and close each one"
        raise DataError(f"{source.name}, {fault}", hint)
    return quoted


def _quoted(text: str, delimiter: str) -> tuple[list[Record], str]:
    """Records by CSV's quoting, each with the line it begins on; and what broke off the reading, or ''."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Record] = []
    start = 1
    try:
        for fields in reader:
            records.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        what = "a quotation mark opens a value that is not closed as it should be"
        return records, f"line {start}: {what} ({error})"
    return records, ""


def _is_even(records: Iterable[Record]) -> bool:
    return len({len(fields) for _, fields in records if len(fields) > 1 or any(fields)}) == 1
