"""Answers as tables: JSON Lines, CSV, TSV or Parquet, told by the ending of a name, without many in memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from ftkit.data.formats import READERS
from ftkit.data.formats._base import suffix
from ftkit.errors import DataError

Line = dict[str, Any]
_AT_ONCE = 1000
_WRITTEN = (".jsonl", ".csv", ".tsv", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def refuse_ending(name: str) -> None:
    """Raises DataError for the name of a format that is read but not written; other names mean JSON Lines."""
    if suffix(name) in {*READERS} - {*_WRITTEN} or name.lower().endswith(".parquet.gz"):
        hint = f"its name ends in {', '.join(_WRITTEN)}, all but the last also with .gz"
        raise DataError(f"{name}: answers are not written in this format", hint)


def write_rows(path: Path, name: str, lines: Callable[[], Iterator[Line]]) -> None:
    """Write lines of rows with their `answer` or their `error` to `path`, in the format that `name` ends as.

    JSON Lines have an answer a line, or {"row", "error"}; tables have a column for each thing that some answer says.
    """
    ending = suffix(name)
    if ending == ".parquet":
        _write_parquet(path, lines)
        return
    with _opened(path, name) as file:
        if ending in _DELIMITERS:
            _write_delimited(file, _DELIMITERS[ending], lines)
        else:
            for line in lines():
                file.write(json.dumps(answer_of(line), ensure_ascii=False) + "\n")


def answer_of(line: Line) -> Line:
    """A line's texts, if it has some, and its answer; or which row has none, and why."""
    texts = line.get("texts", {})
    if "answer" in line:
        return {**texts, **line["answer"]}
    return {**{name: line[name] for name in ("file", "row") if name in line}, **texts, "error": line["error"]}


def _opened(path: Path, name: str) -> TextIO:
    if name.lower().endswith(".gz"):
        return io.TextIOWrapper(_Packed(path), encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


class _Packed(gzip.GzipFile):
    """A packed file of the same bytes whenever, and under whatever name, it is written."""

    def __init__(self, path: Path) -> None:
        self.inner = path.open("wb")
        super().__init__(filename="", mode="wb", fileobj=self.inner, mtime=0)

    def close(self) -> None:
        """Close the file itself, too."""
        super().close()
        self.inner.close()


def _flat(line: Line) -> Line:
    rest = {name: value for name, value in line.items() if name not in ("texts", "answer")}
    return {**rest, **line.get("texts", {}), **line.get("answer", {})}


def _write_delimited(file: TextIO, delimiter: str, lines: Callable[[], Iterator[Line]]) -> None:
    names = dict.fromkeys(name for line in lines() if "answer" in line for name in _flat(line))
    names |= dict.fromkeys(name for line in lines() if "error" in line for name in _flat(line))
    writer = csv.DictWriter(_Unix(file), list(names), delimiter=delimiter, restval="", lineterminator="\r\n")
    writer.writeheader()
    for line in lines():
        writer.writerow({name: _cell(value) for name, value in _flat(line).items()})


class _Unix:
    """Takes lines that end as Windows ends them, for which carriage returns inside are quoted; writes Unix ones."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> None:
        """One line, as csv writes it."""
        self.file.write(line.removesuffix("\r\n") + "\n")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _write_parquet(path: Path, lines: Callable[[], Iterator[Line]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([])
    for part in _parts(lines()):
        names = dict.fromkeys(name for line in part for name in line)
        own = pa.schema([(name, pa.array([line.get(name) for line in part]).type) for name in names])
        schema = pa.unify_schemas([schema, own], promote_options="permissive")
    bare = {field.name for field in schema if pa.types.is_struct(field.type) and not field.type.num_fields}
    schema = pa.schema([pa.field(field.name, pa.null()) if field.name in bare else field for field in schema])
    with pq.ParquetWriter(path, schema) as writer:  # which has no form for objects that are all empty
        for part in _parts(lines()):
            filled = [{name: None if name in bare else value for name, value in line.items()} for line in part]
            writer.write_table(pa.Table.from_pylist(filled, schema=schema))


def _parts(lines: Iterator[Line]) -> Iterator[list[Line]]:
    flat = map(_flat, lines)
    while part := list(islice(flat, _AT_ONCE)):
        yield part
