"""JSON: a list of objects, bare or under `data`; SQuAD's articles and Label Studio's tasks among them."""

from __future__ import annotations

import json
from typing import Any

from ftkit.data.formats import jsonl, label_studio, squad
from ftkit.data.formats._base import Source, Table, lines, refuse
from ftkit.errors import DataError


def read(source: Source) -> Table:
    """The objects of a list; of JSON Lines, too, in a file that is called `.json`."""
    name, text = source.name, source.text()
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return jsonl.read_lines(source, lines(text))
        message = f"{name}, line {error.lineno}: not valid JSON ({error.msg}, column {error.colno})"
        raise DataError(message, "one object a line is JSON Lines: call it .jsonl") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON that can be read ({error})") from error
    records = data.get("data") if isinstance(data, dict) else data
    if not isinstance(records, list):
        found = f"an object with {_names(data)}" if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{name} holds {found}", 'a list of objects is needed, or {"data": [...]} around one')
    if any(isinstance(record, dict) and "paragraphs" in record for record in records):
        return squad.read(source, records)
    if label_studio.is_one(records):
        return label_studio.read(source, records)
    faults = [f"record {n}: {fault}" for n, row in enumerate(records, 1) if (fault := jsonl.object_fault(row, text))]
    refuse(name, faults, 'each record is an object, as {"text": ..., "label": ...}')
    return source.table(records, unit="record")


def _names(data: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(data)[:8])) or "nothing in it"
