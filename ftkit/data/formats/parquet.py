"""Parquet; where the file says what its label numbers mean, as the Hub's do, they are names."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ftkit.data.formats._base import Source, Table
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
        said = str(error).splitlines()[0]
        raise DataError(f"{source.name} is not a whole Parquet file: {said}", "write it again") from error
    return source.table(rows_of(table), tuple(table.column_names), unit="record")


def _copy(source: Source, path: Path) -> Row:
    """Write the records as Arrow has them, some at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file, writing(path, file.schema_arrow) as put:
        for batch in file.iter_batches(BLOCK):
            put(batch)
    return {}
