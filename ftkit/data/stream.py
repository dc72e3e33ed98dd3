"""Training rows that are never all at hand: gone through from the beginning, some at a time, as often as is asked for.

What tells how rows are read (columns, tags, encoding, quotation marks) is found in the first ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.data.columns import find
from ftkit.data.examples import Schemes, as_examples
from ftkit.data.hub import is_hub_id, stream_hub
from ftkit.data.read import Table, parted
from ftkit.data.several import expand, join
from ftkit.data.sources import stream_file
from ftkit.data.split import split_named
from ftkit.data.typed import Examples
from ftkit.errors import DataError, counted, every, some
from ftkit.findings import Numbering

if TYPE_CHECKING:
    from ftkit.data.columns import Found, Shapes
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Column

LOOKED_AT = 5_000
"""Rows from the beginning that are looked at before the first step."""

Unread = list[tuple[int, str]]
Open = Callable[[Unread | None], Iterator[Table]]
"""Begins to go through a source; takes lines that can't be read, where these are not to stop it."""


@dataclass(frozen=True)
class Part:
    """Some rows of a stream."""

    examples: Examples | None
    """None where no row of the part can be used."""
    numbering: Numbering
    source: str
    left_out: int
    """Rows that can't be read, or have no label."""


@dataclass(frozen=True)
class Stream:
    """The training rows that a `data` section names."""

    spec: DataSpec
    sources: dict[str, Open]
    commit: str = ""
    """Of a Hub data set."""
    written: Mapping[str, int] = field(default_factory=dict)
    """When each local file was written before it was opened, in nanoseconds."""
    notes: tuple[str, ...] = ()
    shape: tuple[Column, ...] = ()
    """The columns of each row."""
    group: str | None = None
    """The column that is kept as `group`."""
    name: str = ""
    """What the first rows' source is called, by which `schemes` knows it."""
    schemes: Schemes = field(default_factory=dict)

    def head(self, past: bool = False) -> Table:
        """The first rows; `past` lines that can't be read, too, where it is said elsewhere that there are some.

        Raises DataError where there are none, and where they name splits.
        """
        held, left = list[Table](), LOOKED_AT
        unread: Unread | None = [] if past else self._unread()
        for opened in self.sources.values():
            parts = _first(opened(unread), left)
            if parts:
                held.append(_whole(parts))
                left -= len(held[-1].rows)
            if not left:
                break
        if not held:
            raise DataError(f"{', '.join(self.sources)}: the stream has no rows that can be read", "name another file")
        head = join(held)
        if unread and not past:
            number, why = unread[0]
            told = f"{counted(len(unread), 'line')} of the first left out, which can't be read (line {number}: {why})"
            head = replace(head, notes=(*head.notes, f"{head.source}: {told}"))
        column = self.spec.split
        if column in head.columns and any(split_named(row.get(column)) for row in head.rows):
            raise DataError(
                f"{head.source}: column {column!r} tells rows of splits apart, which a stream does not do",
                "write each split to a file of its own, and the training rows without this column",
            )
        return head

    def read_as(self, found: Found, group: str | None, name: str, schemes: Schemes) -> Stream:
        """The stream of which is known how its rows are read. Raises DataError for files that lack a column."""
        shape = tuple(column._replace(required=True) for column in found.shape)
        made = replace(self, shape=shape, group=group, name=name, schemes=schemes)
        if len(self.sources) > 1:
            every([partial(made._begin, opened) for opened in self.sources.values()])
        return made

    def parts(self) -> Iterator[Part]:
        """The rows from the beginning.

        Raises DataError at the first that can't be read, unless these are skipped, and where a file was written since
        the stream was opened: before any row is given that was read after that.
        """
        for opened in self.sources.values():
            unread, found = self._unread(), None
            for table in self._tables(opened, unread):
                if table.rows and found is None:
                    found = find(table, [self.shape], self.spec.columns)
                with naming_skip(self.spec):
                    examples = self._read(table, found) if found and table.rows else None
                out = len(table.rows) - (len(examples.rows) if examples else 0) + len(unread or ())
                if unread:
                    unread.clear()
                yield Part(
                    examples if examples and examples.rows else None,
                    Numbering(table.unit, table.named),
                    table.source,
                    out,
                )

    def refuse_written(self) -> None:
        """Raises DataError where a file has changed since the stream was opened."""
        now = times(tuple(self.written))
        if again := [name for name in self.written if now.get(name) != self.written[name]]:
            raise DataError(
                f"{some(again, 3)} changed while it was read (written, moved or deleted): its rows are of two files",
                "train anew once nothing writes there any more",
            )

    def _tables(self, opened: Open, unread: Unread | None) -> Iterator[Table]:
        """The parts of a source, each before the source has changed."""
        try:
            for table in opened(unread):
                self.refuse_written()
                yield table
        except DataError as error:
            self.refuse_written()  # a file that is being written is at fault for being so
            if error.faults:
                name_skip(error, self.spec)
            raise
        self.refuse_written()

    def _begin(self, opened: Open) -> None:
        for table in opened(self._unread()):
            if table.rows:
                find(table, [self.shape], self.spec.columns)
                return

    def _read(self, table: Table, found: Found) -> Examples:
        schemes = {
            (table.source, tags): scheme for (source, tags), scheme in self.schemes.items() if source == self.name
        }
        lenient = ["train"] if self.spec.bad_rows == "skip" else []
        examples, _ = as_examples(
            {"train": table}, {"train": found}, self.spec, group=self.group, lenient=lenient, schemes=schemes
        )
        return examples["train"]

    def _unread(self) -> Unread | None:
        return [] if self.spec.bad_rows == "skip" else None


@contextmanager
def naming_skip(spec: DataSpec) -> Iterator[None]:
    """While this lasts, a DataError about rows of a stream names the setting that leaves them out."""
    try:
        yield
    except DataError as error:
        name_skip(error, spec)
        raise


def name_skip(error: DataError, spec: DataSpec) -> None:
    """Have what is said of rows or lines of a stream name the setting that leaves them out."""
    if spec.stream and spec.bad_rows == "stop" and _SKIP not in error.hint:
        error.hint = "; ".join(filter(None, (error.hint, _SKIP)))


_SKIP = "data.bad_rows=skip leaves rows of a stream that can't be read or labelled out, and counts them"


def _first(tables: Iterator[Table], most: int) -> list[Table]:
    """The first rows of a source, as the parts that they come in."""
    held: list[Table] = []
    for table in tables:
        if table.rows:
            held.append(table.take(range(min(len(table.rows), most))))
            most -= len(held[-1].rows)
        if not most:
            break
    return held


def _whole(parts: Sequence[Table]) -> Table:
    """Parts of one source as one table."""
    rows, numbers = ([each for part in parts for each in getattr(part, name)] for name in ("rows", "numbers"))
    columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
    return replace(parts[-1], rows=rows, numbers=numbers, columns=columns)


def open_stream(spec: DataSpec, shapes: Shapes) -> Stream:
    """The stream of the training rows, of which nothing is read yet. Raises DataError for what can be none."""
    sources = spec.sources("train")
    if len(sources) == 1 and is_hub_id(sources[0]):
        rows = stream_hub(sources[0], "train")
        return Stream(spec, {sources[0]: lambda unread: rows.tables()}, rows.commit)
    names, notes = expand(sources)
    written = times(names)
    every([partial(stream_file, name, spec, shapes) for name in names])
    return Stream(
        spec, {name: partial(_opened, name, spec, shapes) for name in names}, written=written, notes=tuple(notes)
    )


def _opened(name: str, spec: DataSpec, shapes: Shapes, unread: Unread | None) -> Iterator[Table]:
    return stream_file(name, spec, shapes, unread)


def times(names: Sequence[str]) -> dict[str, int]:
    """When each local file was written, in nanoseconds."""
    paths = {name: Path(parted(name)[0]) for name in names}
    return {name: path.stat().st_mtime_ns for name, path in paths.items() if path.exists()}
