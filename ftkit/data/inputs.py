"""Rows to answer, of one source: those that can be read, and, apart, those that can't."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ftkit.data.columns import Unread, empty_inputs, find
from ftkit.data.examples import as_examples
from ftkit.data.hub import is_hub_id
from ftkit.data.load import unified, whole_table
from ftkit.data.sources import read_file
from ftkit.data.typed import as_dataset

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.findings import Finding
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Column, Task


@dataclass(frozen=True)
class Unanswered:
    """A row that can't be read."""

    number: int
    why: str
    texts: dict[str, str | None]
    """What stands in the columns that the task reads; empty where the row can't be told apart at all."""


@dataclass(frozen=True)
class Inputs:
    """What a source holds."""

    rows: Dataset | None
    """In the form that the task reads, each with its number in the source; None where there are none."""
    unread: tuple[Unanswered, ...]
    """The rows that can't be read, in order."""
    notes: tuple[str, ...]
    unit: str
    """What the rows' numbers count: `line`, `record`."""


def read_inputs(source: str, spec: DataSpec, task: Task) -> Inputs:
    """The rows of a file, a sample or a Hub data set, without what they should be answered with.

    Raises DataError for what can't be read at all: a missing file, columns that are not there, broken quoting.
    """
    lines: list[tuple[int, str]] = []
    if is_hub_id(source):
        table = whole_table((source,), "test", spec, task.shapes())
    else:
        table = read_file(source, spec, task.shapes(), unread=lines)
    found = find(table, task.shapes(), spec.columns, targets=False, lenient=True)
    shape = tuple(column for column in found.shape if column.is_input)
    asked = {source: replace(found, shape=shape)}
    parts, notes = as_examples({source: table}, asked, spec, targets=False, lenient=[source])
    examples = parts[source]
    unread = [Unanswered(number, why, {}) for number, why in lines]
    unread += [Unanswered(row.number, _reason(row), _texts(row.raw, shape)) for row in examples.unread]
    notes += empty_inputs(table, examples.rows, shape)
    rows = None
    if examples.rows:
        refused: list[Finding] = []
        rows = unified(task, as_dataset(examples), refused)
        why = {place.row: finding.what for finding in refused for place in finding.places}
        bad = (row for row in examples.rows if row["row"] in why) if why else ()
        unread += [Unanswered(row["row"], why[row["row"]], _texts(row, shape)) for row in bad]
    in_order = tuple(sorted(unread, key=lambda row: row.number))
    return Inputs(rows, in_order, tuple(dict.fromkeys(notes)), table.unit)


def _texts(raw: Mapping[str, Any], shape: Sequence[Column]) -> dict[str, str | None]:
    """What a row has in the columns to read, as text: values of any kind may stand there."""
    return {column.name: _as_text(raw.get(column.name)) for column in shape}


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _reason(row: Unread) -> str:
    faults = [(home, refused.what, refused.detail) for _, home, refused in row.faults]
    return "; ".join(f"column {home!r} {what}{f': {detail}' if detail else ''}" for home, what, detail in faults)
