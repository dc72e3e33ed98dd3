"""Parquet; where the file says what its label numbers mean, as the Hub's do, they are names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ftkit.data.formats._base import AT_ONCE, Source, Table
from ftkit.data.mapped import BLOCK, Row, writing
from ftkit.errors import DataError


def read(source: Source) -> Table:
    """The records of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ftkit.data.hub import rows_of

    try:
        if source.is_large and not source.is_packed:
            table, _ = source.remembered(partial(_copy, source))
        else:
            table = pq.ParquetFile(pa.BufferReader(source.bytes())).read()
    except (pa.ArrowException, OSError) as error:
        raise _not_whole(source, error) from error
    return source.table(rows_of(table), tuple(table.column_names), unit="record")


def stream(source: Source) -> Iterator[Table]:
    """The records of a Parquet file, some at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ftkit.data.hub import rows_of

    before = 0
    try:
        with source.readable(), pq.ParquetFile(source.path) as file:
            for batch in file.iter_batches(AT_ONCE):
                rows = rows_of(pa.Table.from_batches([batch.cast(file.schema_arrow)]))
                numbers = range(before + 1, before + len(rows) + 1)
                before += len(rows)
                yield source.table(rows, tuple(file.schema_arrow.names), numbers, "record")
    except pa.ArrowException as error:
        raise _not_whole(source, error) from error


def _not_whole(source: Source, error: Exception) -> DataError:
    return DataError(f"{source.name} is not a whole Parquet file: {str(error).splitlines()[0]}", "write it again")


def _copy(source: Source, path: Path) -> Row:
    """Write the records as Arrow has them, some at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file, writing(path, file.schema_arrow) as put:
        for batch in file.iter_batches(BLOCK):
            put(batch)
    return {}
