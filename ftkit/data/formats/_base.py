"""What all formats share: the source that is read, and the table that comes of it."""

from __future__ import annotations

import builtins
import codecs
import gzip
import io
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, TypeVar, cast

from ftkit.data import mapped
from ftkit.data.formats._encoding import AUTO, coding
from ftkit.data.mapped import Row, taken
from ftkit.errors import DataError, first, problems
from ftkit.files import sha256
from ftkit.findings import Numbering

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 10
"""Rows named in an error before the rest is only counted."""


_BEGINNING, _LONGEST = 2**20, 2**26
"""Bytes that tell how a file is read that is gone through once, and those of the longest line."""
AT_ONCE = 1000
"""Rows of a table that is one of many parts of a file."""
Item = TypeVar("Item")
Span = TypeVar("Span", bound=Mapping[str, Any])
"""A part of a text, with its `start` and `end` in characters."""
Locate = Callable[[int], str]
"""A row's number -> where it stands, as `part-2.csv, line 17`."""


@dataclass(frozen=True)
class Table:
    """Rows of one source under the source's own column names."""

    source: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    numbers: Sequence[int]
    """Where each row is in the source, from 1: its line (CSV, TSV, JSON Lines), record or sentence."""
    unit: str = "line"
    notes: tuple[str, ...] = ()
    sparse: bool = False
    """Whether a row may lack columns, as in JSON."""
    locate: Locate | None = None
    """Where rows stand, by their numbers, where they are of several files."""

    def where(self, index: int) -> str:
        """The place of a row, as `train.tsv, line 17`."""
        return self.named(self.numbers[index])

    def named(self, number: int) -> str:
        """The place of the row that has this number."""
        return self.locate(number) if self.locate else f"{self.source}, {self.unit} {number}"

    @property
    def numbering(self) -> Numbering:
        """What the numbers mean."""
        return Numbering(self.unit, self.locate)

    def take(self, indices: Sequence[int]) -> Table:
        """The table with these rows alone."""
        return replace(self, rows=taken(self.rows, indices), numbers=array("q", (self.numbers[i] for i in indices)))


@dataclass(frozen=True)
class Source:
    """A file or folder to read, and how; what a person should know of the reading is put into `notes`."""

    path: Path
    part: str | None = None
    """The part of the file that is read, where it has several: a sheet of a workbook."""
    header: bool = True
    """Whether the first line of a table names its columns; otherwise they are called "0", "1", ..."""
    encoding: str = AUTO
    """Of text, or `auto`."""
    notes: list[str] = field(default_factory=list)
    on_disk: bool = False
    """Whether the rows are kept on disk where the format can, however few they are."""
    called: str = ""
    """The name for messages, where it is another than the file's own."""
    unread: list[tuple[int, str]] | None = None
    """Takes the number and the fault of each line that can't be read; where there is none, they are refused."""
    content: builtins.bytes | None = None
    """What stands for all that the file holds, unpacked: its beginning, where that is to tell how the rest is read."""
    is_cut: bool = False
    """Whether the file goes on behind that."""
    decoded_by: str = ""
    """What decodes the text, where that is known."""

    @property
    def name(self) -> str:
        """The name for messages."""
        if self.called:
            return self.called
        return self.path.name if self.part is None else f"{self.path.name}#{self.part}"

    @property
    def suffix(self) -> str:
        """The ending that tells the format, in small letters."""
        return suffix(self.path.name)

    def bytes(self) -> bytes:
        """What the file holds, unpacked. Raises DataError where it can't be read."""
        if self.content is not None:
            return self.content
        with self.readable():
            data = self.path.read_bytes()
            return gzip.decompress(data) if self.is_packed else data

    def text(self) -> str:
        """What the file holds, as text. Raises DataError, with the line, for what is none."""
        with self.stream() as stream:
            return stream.read()

    def stream(self, newline: str = "") -> TextIO:
        """The text from its beginning, in lines that end with `newline` (all kinds of line ends where it is empty)."""
        coding = self.coding
        text = io.TextIOWrapper(self._start(), coding, newline=newline)
        if text.read(1) == "\ufeff":
            return text
        text.close()
        return io.TextIOWrapper(self._start(), coding, newline=newline)

    @cached_property
    def coding(self) -> str:
        """What decodes the file, all of which has been looked at. Raises DataError, with the line, for what is none."""
        if self.decoded_by:
            return self.decoded_by
        with self.readable():
            return coding(self.name, self._start, self.encoding, self.notes)

    @property
    def is_packed(self) -> bool:
        """Whether the file is gzip's."""
        return self.path.name.lower().endswith(".gz")

    @cached_property
    def is_large(self) -> bool:
        """Whether the rows are kept on disk, where the format can."""
        return self.content is None and self.path.is_file() and (self.on_disk or mapped.size(self.path) > mapped.LARGE)

    def _key(self) -> tuple[object, ...]:
        """What decides the rows that are read: what the file holds now, and how it is read."""
        lenient = self.unread is not None
        with self.readable():
            return sha256(self.path), self.path.name, self.name, self.header, self.encoding, lenient

    def refuse(self, faults: Sequence[str], hint: str) -> None:
        """Raise for faults of the form `line 5: ...`, if there are any, or note them where the other lines are read."""
        if self.unread is None:
            refuse(self.name, faults, hint)
        else:
            self.unread.extend(map(_numbered, faults))

    def _start(self) -> BinaryIO:
        """The bytes from their beginning, unpacked."""
        return self._opened() if self.is_large else io.BytesIO(self._all)

    def _opened(self) -> BinaryIO:
        """The file itself, unpacked."""
        return cast(BinaryIO, gzip.open(self.path)) if self.is_packed else self.path.open("rb")

    @cached_property
    def _all(self) -> builtins.bytes:
        return self.bytes()

    def beginning(self) -> Source:
        """The first lines alone, which tell how a file is read that is gone through once: all of a small one."""
        with self.readable(), self._opened() as stream:
            head = stream.read(_BEGINNING)
            head += stream.readline(_LONGEST)
            head += stream.read(-len(head) % _width(head, self.encoding))
            return replace(self, content=head, is_cut=bool(stream.read(1)), on_disk=False)

    def refuse_bare_returns(self) -> None:
        """Raises DataError where lines end in CR alone, as old Macs wrote them, which no format here reads."""
        head = self.beginning().content or b""
        if b"\r" in head.rstrip(b"\r") and b"\n" not in head:
            raise DataError(
                f"{self.name}: its lines end in CR alone, as on old Macs", "save it with line ends of Unix or Windows"
            )

    @contextmanager
    def going_through(self) -> Iterator[None]:
        """Around the reading of a file whose beginning alone has been looked at. Raises DataError where it fails."""
        try:
            with self.readable():
                yield
        except UnicodeDecodeError as error:
            what = f"{self.name}: byte 0x{error.object[error.start]:02x} is not {error.encoding}"
            raise DataError(
                f"{what}, as which it begins", "data.encoding names its encoding; one file has one"
            ) from error

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Raises DataError where the file can't be read."""
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            hint = "fetch or compress it again"
            raise DataError(f"{self.name} is not a whole gzip file: {error}", hint) from error
        except OSError as error:
            raise DataError(f"{self.path} can't be read: {error.strerror or error}", "check its permissions") from error

    def remembered(self, write: Callable[[Path], Row]) -> tuple[pa.Table, Row]:
        """The table that `write` makes of the file, from the cache where it has it; and what `write` says of it.

        Raises DataError where the file changed while it was read.
        """
        key = self._key()

        def written(path: Path) -> Row:
            said = write(path)
            if self._key() != key:
                raise DataError(f"{self.name} changed while it was read", "call this again when nothing writes to it")
            return said

        return mapped.remembered(key, written)

    def texts(self, width: Callable[[], int], read: Callable[[mapped.Hand], Row]) -> tuple[pa.Table, Row]:
        """Records of texts as `read` hands them over, from the cache where it has them; and what is said of them.

        width: tells how many texts a record has; asked, like `read`, where the cache does not know the file.
        """

        def write(path: Path) -> Row:
            with self.readable():
                said = mapped.write_texts(path, width(), read)
            return {**said, "notes": self.notes, "unread": self.unread}

        table, said = self.remembered(write)
        self.notes[:] = said["notes"]
        if self.unread is not None:
            self.unread[:] = [(number, fault) for number, fault in said["unread"]]
        return table, said

    def table(
        self,
        rows: Sequence[Row],
        columns: tuple[str, ...] | None = None,
        numbers: Sequence[int] | None = None,
        unit: str = "line",
        locate: Locate | None = None,
    ) -> Table:
        """A table of this source: numbers count from 1, and columns are all that some row has, where none are given."""
        numbers = range(1, len(rows) + 1) if numbers is None else numbers
        named = keys(rows) if columns is None else columns
        return Table(self.name, named, rows, numbers, unit, sparse=columns is None, locate=locate)


def _width(head: bytes, encoding: str) -> int:
    """Bytes of a character's smallest part."""
    if head.startswith(codecs.BOM_UTF32_LE) or "32" in encoding:
        return 4
    return 2 if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or "16" in encoding else 1


def parted(name: str) -> tuple[str, str | None]:
    """The file that a name means, and which part of it: `book.xlsx#Sheet` is a sheet of `book.xlsx`."""
    before, mark, part = name.rpartition("#")
    is_part = mark and suffix(before) == ".xlsx" and not Path(name).exists()
    return (before, part) if is_part else (name, None)


def suffix(name: str) -> str:
    """The ending of a file's name that tells its format, in small letters, whether or not it is packed."""
    return Path(name.lower().removesuffix(".gz")).suffix


def needs(source: Source, package: str, extra: str) -> Any:
    """The module of a package that only this format needs. Raises DataError, with how to install it, for its lack."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        what = f"{source.name}: to read {source.suffix} files, ftkit needs the package {package}"
        raise DataError(what, f"pip install 'ftkit[{extra}]'") from error


def lines(text: str) -> list[str]:
    """Lines without their ends. Not `splitlines`, which also breaks at characters that stand inside texts."""
    found = text.split("\n")
    return [line.removesuffix("\r") for line in (found if found[-1] else found[:-1])]


def some_at_a_time(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of AT_ONCE items, the last of fewer."""
    items = iter(items)
    while part := list(islice(items, AT_ONCE)):
        yield part


def keys(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The names of all columns that some row has, in the order in which they are met."""
    return tuple(dict.fromkeys(key for row in rows for key in row))


def apart(spans: Iterable[Span]) -> tuple[list[Span], list[Span]]:
    """The spans that share no character with one that is longer (or as long, and before), and all others."""
    kept: list[Span] = []
    others: list[Span] = []
    for span in sorted(spans, key=lambda span: (span["start"] - span["end"], span["start"])):
        free = all(span["end"] <= other["start"] or other["end"] <= span["start"] for other in kept)
        (kept if free else others).append(span)
    return sorted(kept, key=lambda span: span["start"]), sorted(others, key=lambda span: span["start"])


def refuse_files(name: str, faults: Sequence[str], hint: str) -> None:
    """Raise for faults of a folder's files, if there are any; each says where it is."""
    if faults:
        raise problems(DataError, name, first(faults, SHOWN), hint)


def refuse(name: str, faults: Sequence[str], hint: str) -> None:
    """Raise for faults of the form `line 5: ...`, if there are any; the error's `faults` are all of them."""
    if not faults:
        return
    heading = f"{name}: {len(faults)} lines can't be read"
    listed = "\n  - ".join([heading, *first(faults, SHOWN)])
    error = DataError(f"{name}, {faults[0]}" if len(faults) == 1 else listed, hint)
    error.faults = tuple((name, *_numbered(fault)) for fault in faults)
    raise error


def _numbered(fault: str) -> tuple[int, str]:
    """The line's number and what is wrong with it."""
    place, _, what = fault.partition(": ")
    return int(place.split()[-1]), what
