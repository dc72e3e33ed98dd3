"""Canonical rows with typed columns: a list of them, or on disk; and the data set that they become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from ftkit.data import mapped
from ftkit.data.clean import GIVEN
from ftkit.data.mapped import Mapped, Row, dataset, in_blocks, on_disk, taken

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from ftkit.data.columns import Unread
    from ftkit.tasks._base import Column

AT_ONCE = 1000
"""Rows of a data set that are held at once."""
EXTRA = ("id", "group", GIVEN)
"""What may stand beside the task's columns and `row`."""


@dataclass(frozen=True)
class Examples:
    """Canonical rows: the shape's columns, `row` (its number in the source); `id` and `group` if there."""

    shape: tuple[Column, ...]
    rows: Sequence[Row]
    notes: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()

    def take(self, indices: Sequence[int]) -> Examples:
        """The examples at these indices alone, which are ascending."""
        return replace(self, rows=taken(self.rows, indices))

    def changed(self, rows: Iterable[Row], *more: str) -> Examples:
        """The examples with other rows, which may have more columns, kept as these are."""
        own = self.rows
        has = own.table.column_names if isinstance(own, Mapped) else own[:1] and own[0]
        extra = [*(name for name in EXTRA if name in has), *more]
        return replace(self, rows=kept(rows, self.shape, extra, to_disk=isinstance(own, Mapped)))

    def column(self, name: str) -> list[Any]:
        """Each row's value; equal texts are one object."""
        known: dict[Any, Any] = {}
        rows = self.rows.only(name) if isinstance(self.rows, Mapped) else self.rows
        return [known.setdefault(row[name], row[name]) for row in rows]


def kept(rows: Iterable[Row], shape: Sequence[Column], extra: Iterable[str], *, to_disk: bool) -> Sequence[Row]:
    """Canonical rows as a list, or on disk without any being held."""
    if not to_disk:
        return list(rows)
    schema = _features(shape, extra).arrow_schema
    return Mapped(on_disk((_table(block, schema) for block in in_blocks(rows)), schema), _as_they_are)


def _as_they_are(batch: pa.RecordBatch) -> list[Row]:
    rows: list[Row] = batch.to_pylist()
    return rows


def as_dataset(examples: Examples) -> Dataset:
    """Canonical rows with typed columns."""
    rows = examples.rows
    has = set(rows.table.column_names if isinstance(rows, Mapped) else rows[0])
    features = _features(examples.shape, [name for name in EXTRA if name in has])
    schema = features.arrow_schema
    if not isinstance(rows, Mapped):
        return dataset(_table(rows, schema), features)
    table = rows.table.select(list(features))
    if rows.places is not None:  # in order on disk, a split is read as quickly as the whole
        import pyarrow as pa

        own = Mapped(table, rows.decode, rows.places)
        table = on_disk((pa.Table.from_batches([batch]) for batch in own.batches()), table.schema)
    return dataset(table.cast(schema), features)


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _features(shape: Sequence[Column], extra: Iterable[str]) -> Any:
    from datasets import Features, Value

    features: dict[str, Any] = {column.name: _feature(column.kind) for column in shape}
    features["row"] = Value("int64")
    features.update({name: Value("string") for name in extra if name not in features})
    return Features(features)


def _feature(kind: str) -> Any:
    from datasets import List, Value

    text = Value("string")
    if kind in ("text", "label"):
        return text
    if kind == "number":
        return Value("float64")
    if kind == "entities":
        return List({"start": Value("int64"), "end": Value("int64"), "type": text})
    if kind == "answers":
        return {"text": List(text), "answer_start": List(Value("int64"))}
    return List(text)


# ---------------------------------------------------------------------- data sets, some rows at a time


def batches(rows: Dataset, names: Sequence[str] | None = None) -> Iterator[dict[str, list[Any]]]:
    """The columns of a data set, or those of these names, for some rows at a time; for none at all, once."""
    rows = rows if names is None else rows.select_columns(list(names))
    for start in range(0, max(1, len(rows)), AT_ONCE):
        yield rows[start : start + AT_ONCE] if len(rows) else rows.to_dict()


def column(rows: Dataset, name: str) -> Iterator[Any]:
    """The values of a column, of which few are held."""
    for batch in batches(rows, [name]):
        yield from batch[name]


def in_parts(parts: Iterable[Mapping[str, Sequence[Any]]]) -> Dataset:
    """A data set of columns that come some rows at a time; they go to the disk where there are many."""
    import pyarrow as pa
    from datasets import Dataset, Features

    tables = (Dataset.from_dict(dict(part)).data.table.replace_schema_metadata(None) for part in parts)
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(part.nbytes for part in held) > mapped.LARGE:
            runs = groupby(chain(held, tables), key=lambda table: table.schema)
            held = [on_disk(run, schema) for schema, run in runs]
    whole = pa.concat_tables(held, promote_options="permissive")
    return dataset(whole, Features.from_arrow_schema(whole.schema))
