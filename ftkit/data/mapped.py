"""Rows that lie on disk: Arrow tables that are mapped into memory, of which the system holds what is being read.

`LARGE` decides which way a source's rows go. Those of a smaller one are plain lists, which are quicker; those of a
larger one are `Mapped`, a sequence of the same rows. What reads rows goes over them in order, and sees no difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate, chain, pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, overload

from ftkit import __version__
from ftkit.checkpoints import cache
from ftkit.errors import MachineError
from ftkit.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

Row = dict[str, Any]
Hand = Callable[[int, Sequence[str]], None]
"""Takes a record: its number, and its texts."""
Put = Callable[["pa.Table | pa.RecordBatch"], None]
"""Appends rows to a table on disk."""

LARGE = 16 * 2**20
"""Bytes of a source from which on its rows are not held as Python's objects."""
BLOCK, CHARACTERS = 5_000, 2**24
"""Rows, and characters, that are held at once."""
MOST = 20 * 2**30
"""Bytes that tables of sources may take in the cache; those unused for longest make room."""


class Mapped(Sequence[Row]):
    """The rows of an Arrow table, made when they are asked for; `places` are ascending, where not all are taken."""

    def __init__(
        self, table: pa.Table, decode: Callable[[pa.RecordBatch], list[Row]], places: np.ndarray | None = None
    ) -> None:
        import numpy as np

        self.table, self.decode, self.places = table, decode, places
        self._batches = [batch for batch in table.to_batches() if batch.num_rows]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1] if self.places is None else len(self.places))

    def __iter__(self) -> Iterator[Row]:
        for batch in self.batches():
            yield from self.decode(batch)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index] if self.places is None else int(self.places[index])
        part = int(self._starts.searchsorted(place, side="right")) - 1
        return self.decode(self._batches[part].slice(place - int(self._starts[part]), 1))[0]

    def take(self, indices: Sequence[int]) -> Mapped:
        """The rows at these indices, which are ascending."""
        import numpy as np

        chosen = np.asarray(indices, dtype=np.int64)
        return Mapped(self.table, self.decode, chosen if self.places is None else self.places[chosen])

    def only(self, name: str) -> Mapped:
        """The rows with one column alone, of a table that is decoded as it is."""
        return Mapped(self.table.select([name]), self.decode, self.places)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow has them, some at a time."""
        if self.places is None:
            yield from self._batches
            return
        ends = self.places.searchsorted(self._starts)
        for number, batch in enumerate(self._batches):
            own = self.places[ends[number] : ends[number + 1]]
            if len(own):
                yield batch.take(_indices(own - self._starts[number]))


def _indices(places: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(places)


class Joined(Sequence[Row]):
    """The rows of several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[Row]]) -> None:
        self.parts = parts
        self.starts = [0, *accumulate(map(len, parts))]

    def __len__(self) -> int:
        return self.starts[-1]

    def __iter__(self) -> Iterator[Row]:
        return chain.from_iterable(self.parts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        part = bisect_right(self.starts, place) - 1
        return self.parts[part][place - self.starts[part]]

    def take(self, indices: Sequence[int]) -> Joined:
        """The rows at these indices, which are ascending."""
        ends = [bisect_left(indices, start) for start in self.starts]
        own = [indices[begin:end] for begin, end in pairwise(ends)]
        return Joined(
            [
                taken(part, array("q", (index - start for index in places)))
                for part, start, places in zip(self.parts, self.starts, own, strict=False)
            ]
        )


def joined(parts: Sequence[Sequence[Row]]) -> Sequence[Row]:
    """The rows of several sequences, one after the other."""
    return Joined(parts) if any(map(is_on_disk, parts)) else [row for part in parts for row in part]


def is_on_disk(rows: Sequence[Row]) -> bool:
    """Whether rows are made when they are asked for."""
    return isinstance(rows, (Mapped, Joined))


def taken(rows: Sequence[Row], indices: Sequence[int]) -> Sequence[Row]:
    """The rows at these indices, which are ascending."""
    return rows.take(indices) if isinstance(rows, (Mapped, Joined)) else [rows[index] for index in indices]


def without(rows: Sequence[Row], names: Sequence[str]) -> Sequence[Row]:
    """The rows without some columns."""
    if isinstance(rows, Mapped):
        return Mapped(rows.table.drop_columns(list(names)), rows.decode, rows.places)
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def size(path: Path) -> int:
    """Bytes of a file as they will be read, about: text that is packed has four times as many."""
    return path.stat().st_size * (4 if path.name.lower().endswith(".gz") else 1)


# ---------------------------------------------------------------------- blocks of rows -> a table on disk


def in_blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows, `BLOCK` at a time or fewer long ones."""
    block: list[Row] = []
    size = 0
    for row in rows:
        block.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, (str, list)))
        if len(block) == BLOCK or size > CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def on_disk(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables as one, mapped from a file without a name: it is gone when nobody reads it any more."""
    with ExitStack() as stack:
        with _storing():
            file = stack.enter_context(TemporaryFile(dir=_folder()))
        with _stream(file, schema) as put:
            for table in tables:
                put(table)
        return _mapped(file)


def write_texts(path: Path, width: int, read: Callable[[Hand], Row]) -> Row:
    """Write records of `width` texts, each with its number in the last column, and return what `read` says of them.

    read: hands over each record's number and texts, in order.
    """
    import pyarrow as pa

    schema = pa.schema([*((str(i), pa.large_string()) for i in range(width)), ("number", pa.int64())])
    with writing(path, schema) as put:
        held: list[Sequence[str]] = []
        numbers, size = array("q"), 0

        def flush() -> None:
            nonlocal size
            columns = [pa.array(cells, pa.large_string()) for cells in zip(*held, strict=True)]
            put(pa.record_batch([*columns, pa.array(numbers, pa.int64())], schema))
            held.clear()
            del numbers[:]
            size = 0

        def hand(number: int, cells: Sequence[str]) -> None:
            nonlocal size
            held.append(cells)
            numbers.append(number)
            size += sum(map(len, cells))
            if len(held) == BLOCK or size > CHARACTERS:
                flush()

        said = read(hand)
        if held:
            flush()
    return said


def remembered(key: Sequence[object], write: Callable[[Path], Row]) -> tuple[pa.Table, Row]:
    """The table of this `key` in the cache, and what is said of it; `write` makes it where there is none that is whole.

    Raises MachineError where the cache can't be written.
    """
    digest = hashlib.sha256(json.dumps([__version__, *map(str, key)]).encode()).hexdigest()
    with _storing():
        path = _folder() / f"{digest[:32]}.arrow"
    found = _kept(path)
    if found is None:
        found = _made(path, write)
    with suppress(OSError):  # a cache of somebody else's, or another process has just made room
        os.utime(path)
    return found


def _kept(path: Path) -> tuple[pa.Table, Row] | None:
    """The table in the cache and what is said of it; None where it, or that, is not as it was written."""
    try:
        record = json.loads(path.with_suffix(".json").read_bytes())
        with path.open("rb") as file:
            whole = record["checksum"] == _checksum(file, record["said"])
            return (_mapped(file), record["said"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(path: Path, write: Callable[[Path], Row]) -> tuple[pa.Table, Row]:
    """The table as `write` makes it, and what is said of it; both are put into the cache."""
    with ExitStack() as stack:
        with _storing():
            beside = stack.enter_context(replacing(path))
        said = json.loads(json.dumps(write(beside)))
        with _storing():
            with beside.open("rb") as file:
                checksum, table = _checksum(file, said), _mapped(file)
            stack.close()
            with replacing(path.with_suffix(".json")) as record:
                record.write_text(json.dumps({"checksum": checksum, "said": said}), encoding="ascii")
    with suppress(OSError):  # another process may be making room, too
        _make_room(path)
    return table, said


def _checksum(file: IO[bytes], said: Row) -> str:
    """What tells a table, and what is said of it, from any others: a flipped byte changes neither size nor time."""
    import xxhash

    file.seek(0)
    found = hashlib.file_digest(file, xxhash.xxh3_128)  # type: ignore[arg-type]
    found.update(json.dumps(said).encode())
    return found.hexdigest()


def numbers_of(table: pa.Table) -> array[int]:
    """The numbers of the records in the last column."""
    found = array("q")
    for part in table.column(table.num_columns - 1).chunks:
        found.frombytes(part.to_numpy().tobytes())
    return found


def dataset(table: pa.Table, features: Any) -> Dataset:
    """A table on disk as a data set, of which nothing is read."""
    from datasets import Dataset, DatasetInfo
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(table), info=DatasetInfo(features=features), fingerprint=secrets.token_hex(8))


# ---------------------------------------------------------------------- files


@contextmanager
def writing(path: Path, schema: pa.Schema) -> Iterator[Put]:
    """What appends a table, or a batch of one, to a file in the cache. Raises MachineError where it can't be written.

    What else is raised meanwhile, as by a source that can't be read, is passed on as it is.
    """
    with ExitStack() as stack:
        with _storing():
            file = stack.enter_context(path.open("wb"))
        yield stack.enter_context(_stream(file, schema))


@contextmanager
def _stream(file: IO[bytes], schema: pa.Schema) -> Iterator[Put]:
    """What appends to Arrow's stream in a file."""
    import pyarrow as pa

    try:
        with _storing():
            stream = pa.ipc.new_stream(file, schema)

        def put(part: pa.Table | pa.RecordBatch) -> None:
            with _storing():
                stream.write(part)

        yield put
        with _storing():
            stream.close()
            file.flush()
    except BaseException:
        with suppress(OSError):  # on a full disk, what the file still holds would fail once more
            file.close()
        raise


@contextmanager
def _storing() -> Iterator[None]:
    """Around what touches the cache, and nothing else. Raises MachineError where the disk won't have it."""
    try:
        yield
    except OSError as error:
        what = f"{cache()}: rows can't be kept there ({error.strerror or error})"
        raise MachineError(what, "make room, or set FTKIT_CACHE to a folder that can be written") from error


def _mapped(file: IO[bytes]) -> pa.Table:
    """The table in a file, which may be removed: its bytes stay until nobody reads them any more."""
    import pyarrow as pa

    kept = mmap(file.fileno(), 0, access=ACCESS_READ)
    return pa.ipc.open_stream(pa.py_buffer(kept)).read_all()


def _make_room(newest: Path) -> None:
    """Remove the tables of sources that are unused for longest, until all take at most `MOST` bytes."""
    others = sorted((path.stat().st_mtime, path) for path in newest.parent.glob("*.arrow") if path != newest)
    total = newest.stat().st_size + sum(path.stat().st_size for _, path in others)
    for _, path in others:
        if total <= MOST:
            return
        total -= path.stat().st_size
        for file in (path.with_suffix(".json"), path):
            file.unlink(missing_ok=True)


def _folder() -> Path:
    folder = cache() / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
