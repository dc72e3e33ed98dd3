"""JSON Lines: an object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ftkit.data.formats._base import Source, Table, some_at_a_time
from ftkit.data.mapped import Hand, Mapped, Row, numbers_of
from ftkit.errors import counted

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read(source: Source) -> Table:
    """The objects on the lines of a file."""
    if source.is_large:
        return _on_disk(source)
    with source.stream("\n") as stream:
        return read_lines(source, stream)


def read_lines(source: Source, lines: Iterable[str]) -> Table:
    """The objects on lines."""
    rows: list[Row] = []
    numbers: list[int] = []
    for number, _, row in _objects(source, enumerate(lines, 1)):
        rows.append(row)
        numbers.append(number)
    return source.table(rows, numbers=numbers)


def stream(source: Source) -> Iterator[Table]:
    """The objects, those of some lines at a time; the beginning of the text decides how it is decoded."""
    source = replace(source, on_disk=True, decoded_by=source.beginning().coding)
    with source.going_through(), source.stream("\n") as lines:
        for part in some_at_a_time(enumerate(lines, 1)):
            found = [(number, row) for number, _, row in _objects(source, part)]
            yield source.table([row for _, row in found], numbers=[number for number, _ in found])


def _on_disk(source: Source) -> Table:
    """The objects on the lines of a file, kept on disk as the lines that they are."""

    def hand_over(hand: Hand) -> Row:
        columns: dict[str, None] = {}
        with source.stream("\n") as stream:
            for number, line, row in _objects(source, enumerate(stream, 1)):
                hand(number, (line,))
                columns.update(dict.fromkeys(row))
        return {"columns": list(columns)}

    table, said = source.texts(lambda: 1, hand_over)
    rows = Mapped(table, lambda batch: [json.loads(line) for line in batch.column(0).to_pylist()])
    return replace(source.table(rows, tuple(said["columns"]), numbers_of(table)), sparse=True)


def _objects(source: Source, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str, Row]]:
    """Number, text and object of each numbered line. Raises DataError at the end for lines that hold none."""
    faults, blank = [], 0
    for number, ended in lines:
        line = ended.removesuffix("\n").removesuffix("\r")
        if not line.strip():
            blank += 1
            continue
        row, fault = _object(line)
        if fault:
            faults.append(f"line {number}: {fault}")
        else:
            yield number, line, row
    hint = 'JSON Lines has one object a line, as {"text": ..., "label": ...}; a list is a .json file'
    source.refuse(faults, hint)
    if blank:
        source.notes.append(f"{source.name}: {counted(blank, 'blank line')} skipped")


def _object(line: str) -> tuple[dict[str, Any], str]:
    """The object on a line, and what is wrong with it, or ''."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return {}, f"not valid JSON ({error.msg}, column {error.colno})"
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON that can be read ({error})"
    return row, object_fault(row, line)


def object_fault(row: Any, text: str) -> str:
    """Why a value is no row: not an object, or a text with half a surrogate pair, which nothing can store."""
    if not isinstance(row, dict):
        return f"{type(row).__name__}, not an object"
    try:
        if _SURROGATE.search(text):
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    return ""
