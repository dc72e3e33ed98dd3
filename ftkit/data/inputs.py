"""Rows to answer, of one source: those that can be read, and, apart, those that can't."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    from ftkit.tasks._base import Task


@dataclass(frozen=True)
class Inputs:
    """What a source holds."""

    rows: Dataset | None
    """In the form that the task reads, each with its number in the source; None where there are none."""
    unread: tuple[tuple[int, str], ...]
    """Number and reason of each row that can't be read, in order."""
    notes: tuple[str, ...]


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
    unread = [*lines, *((row.number, _reason(row)) for row in examples.unread)]
    notes += empty_inputs(table, examples.rows, shape)
    rows = None
    if examples.rows:
        refused: list[Finding] = []
        rows = unified(task, as_dataset(examples), refused)
        unread += [(place.row, str(finding)) for finding in refused for place in finding.places]
    return Inputs(rows, tuple(sorted(dict(unread).items())), tuple(dict.fromkeys(notes)))


def _reason(row: Unread) -> str:
    faults = [(home, refused.what, refused.detail) for _, home, refused in row.faults]
    return "; ".join(f"column {home!r} {what}{f': {detail}' if detail else ''}" for home, what, detail in faults)
