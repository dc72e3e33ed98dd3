"""Answers as tables: JSON Lines, CSV, TSV or Parquet, told by the ending of a name, without many in memory."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

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


def rows_of(path: Path, lines: Iterable[Line]) -> int:
    """Write lines as they are, as JSON Lines; how many there were."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return count


def answer_of(line: Line) -> Line:
    """A line's texts, if it has some, and its answer; or which row has none, and why."""
    texts = line.get("texts", {})
    if "answer" in line:
        return {**texts, **line["answer"]}
    return {**{name: line[name] for name in ("file", "row") if name in line}, **texts, "error": line["error"]}


def _opened(path: Path, name: str) -> TextIO:
    if name.lower().endswith(".gz"):
        return cast(TextIO, gzip.open(path, "wt", encoding="utf-8", newline=""))
    return path.open("w", encoding="utf-8", newline="")


def _flat(line: Line) -> Line:
    rest = {name: value for name, value in line.items() if name not in ("texts", "answer")}
    return {**rest, **line.get("texts", {}), **line.get("answer", {})}


def _write_delimited(file: TextIO, delimiter: str, lines: Callable[[], Iterator[Line]]) -> None:
    names = dict.fromkeys(name for line in lines() if "answer" in line for name in _flat(line))
    names |= dict.fromkeys(name for line in lines() if "error" in line for name in _flat(line))
    writer = csv.DictWriter(file, list(names), delimiter=delimiter, restval="", lineterminator="\n")
    writer.writeheader()
    for line in lines():
        writer.writerow({name: _cell(value) for name, value in _flat(line).items()})


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
    with pq.ParquetWriter(path, schema) as writer:
        for part in _parts(lines()):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))


def _parts(lines: Iterator[Line]) -> Iterator[list[Line]]:
    flat = map(_flat, lines)
    while part := list(islice(flat, _AT_ONCE)):
        yield part
