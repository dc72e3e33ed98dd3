"""Parquet; where the file says what its label numbers mean, as the Hub's do, they are names."""

from __future__ import annotations

from ftkit.data.formats._base import Source, Table
from ftkit.errors import DataError


def read(source: Source) -> Table:
    """The records of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ftkit.data.hub import named_rows

    try:
        table = pq.read_table(pa.BufferReader(source.bytes()))
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{source.name} is not a whole Parquet file: {said}", "write it again") from error
    return source.table(named_rows(table), tuple(table.column_names), unit="record")
