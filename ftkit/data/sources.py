"""Files as the settings say how they are read: as a whole, or some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.data.columns import ALIASES
from ftkit.data.read import Table, read, stream
from ftkit.data.samples import sample
from ftkit.errors import DataError

if TYPE_CHECKING:
    from ftkit.data.columns import Shapes
    from ftkit.settings import DataSpec


def read_file(
    source: str, spec: DataSpec, shapes: Shapes, on_disk: bool = False, unread: list[tuple[int, str]] | None = None
) -> Table:
    """The rows of a file, or of a sample."""
    path, header, tokens = _how(source, spec, shapes)
    table = read(path, header=header, tokens=tokens, encoding=spec.encoding, on_disk=on_disk, unread=unread)
    return table if header else _without_header(table, spec)


def stream_file(
    source: str, spec: DataSpec, shapes: Shapes, unread: list[tuple[int, str]] | None = None
) -> Iterator[Table]:
    """The same, some rows at a time; a part may have none. Raises DataError at once for what is no stream."""
    path, header, tokens = _how(source, spec, shapes)
    tables = stream(path, header=header, tokens=tokens, encoding=spec.encoding, unread=unread)
    return tables if header else _all_without_header(tables, spec)


def _how(source: str, spec: DataSpec, shapes: Shapes) -> tuple[str | Path, bool, bool]:
    """Where a file is, whether its first line names columns, and whether text is CoNLL columns."""
    numbers = [isinstance(column, int) for column in spec.columns.values()]
    if any(numbers) and not all(numbers):
        raise DataError(
            f"data.columns mixes names and numbers: {spec.columns}",
            "name all columns of a file with a header; number all of one without, from 0",
        )
    path = sample(source.removeprefix("sample:")) if source.startswith("sample:") else source
    return path, not any(numbers), any(column.kind == "tokens" for shape in shapes for column in shape)


def _all_without_header(tables: Iterator[Table], spec: DataSpec) -> Iterator[Table]:
    for number, table in enumerate(tables):
        yield _without_header(table, spec) if number == 0 and table.rows else table


def _without_header(table: Table, spec: DataSpec) -> Table:
    """A table read by column numbers, less a first line that names the columns after all."""
    mapped = {name: table.rows[0][str(n)] for name, n in spec.columns.items() if str(n) in table.rows[0]}
    if (
        table.unit not in ("line", "row")
        or not mapped
        or any(str(value).strip().casefold() not in (name, *ALIASES.get(name, ())) for name, value in mapped.items())
    ):
        return table
    note = f"{table.source}: its first line is a header ({', '.join(mapped)}), not a row"
    if len(table.rows) == 1:
        raise DataError(f"{table.source} has a header and no rows", "a row for each example is needed")
    return replace(table.take(range(1, len(table.rows))), notes=(*table.notes, note))
