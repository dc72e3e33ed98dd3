"""JSON Lines: an object a line."""

from __future__ import annotations

import json
import re
from typing import Any

from ftkit.data.formats._base import Source, Table, counted, lines, refuse

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read(source: Source) -> Table:
    """The objects on the lines of a file."""
    return read_lines(source, source.text())


def read_lines(source: Source, text: str) -> Table:
    """The objects on the lines of a text."""
    rows, numbers, faults, blank = [], [], [], 0
    for number, line in enumerate(lines(text), 1):
        if not line.strip():
            blank += 1
            continue
        row, fault = _object(line)
        if fault:
            faults.append(f"line {number}: {fault}")
        rows.append(row)
        numbers.append(number)
    hint = 'JSON Lines has one object a line, as {"text": ..., "label": ...}; a list is a .json file'
    refuse(source.name, faults, hint)
    if blank:
        source.notes.append(f"{source.name}: {counted(blank, 'blank line')} skipped")
    return source.table(rows, numbers=numbers)


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
