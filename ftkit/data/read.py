"""One source in, a table out, under the names that its format has for things: no task has a say here.

Tables and JSON come out as they stand. Formats of annotations become rows of texts and what was marked in them; what
a format leaves out on the way is counted in the table's notes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ftkit import trust
from ftkit.data.formats import HEADED, LINED, READERS, STREAMS, folder_reader
from ftkit.data.formats._base import SHOWN, Locate, Source, Table, parted, suffix
from ftkit.data.formats._encoding import AUTO
from ftkit.errors import DataError, nearest, some

__all__ = [
    "SHOWN",
    "Locate",
    "Table",
    "folder_reader",
    "looks_like_file",
    "may_have_header",
    "missing",
    "parted",
    "read",
    "stream",
]


def read(
    path: str | Path,
    *,
    header: bool,
    tokens: bool = False,
    encoding: str = AUTO,
    on_disk: bool = False,
    unread: list[tuple[int, str]] | None = None,
) -> Table:
    """The rows of a file in one of the formats of `ftkit/data/formats`, which may end in `.gz`; or of a folder.

    path: `book.xlsx#Sheet` is a sheet of a workbook. header: whether the first line of a table names its columns;
    otherwise they are called "0", "1", ... tokens: whether `.txt` is CoNLL columns. encoding: of text. on_disk: whether
    rows of a table are kept on disk, however few they are. unread: takes the number and the fault of each line that
    can't be read, where the others are wanted all the same.
    Raises DataError, with every bad line, for what can't be read.
    """
    file, part = parted(str(path))
    source = Source(Path(file), part, header, encoding, on_disk=on_disk, unread=unread)
    table = _reader(source, tokens)(source)
    if not table.rows and unread:
        raise DataError(f"{source.name}: none of its lines can be read; line {unread[0][0]}: {unread[0][1]}")
    if not table.rows:
        raise DataError(f"{source.name} has no rows", "a file with a row for each example is needed")
    return replace(table, notes=(*source.notes, *table.notes))


def stream(
    path: str | Path,
    *,
    header: bool,
    tokens: bool = False,
    encoding: str = AUTO,
    unread: list[tuple[int, str]] | None = None,
) -> Iterator[Table]:
    """The rows of a file, some at a time, of which few are held; the same as `read` gives, where its beginning tells
    how it is read.

    Raises DataError at the first rows that can't be read, unless `unread` takes them; and, before any, for what can
    only be read as a whole and is large.
    """
    file, part = parted(str(path))
    source = Source(Path(file), part, header, encoding, unread=unread)
    reader = _reader(source, tokens)
    in_parts = None if source.is_packed and source.suffix == ".parquet" else STREAMS.get(source.suffix)
    if in_parts is None and (source.path.is_dir() or source.is_large):
        raise DataError(
            f"{source.name} can only be read as a whole, which data.stream is not for",
            f"a stream is of files in {', '.join(STREAMS)}; leave data.stream out, or write it in one of these",
        )
    tables = in_parts(source) if in_parts else map(reader, [source])
    return (replace(table, notes=tuple(source.notes)) for table in tables)


def looks_like_file(name: str) -> bool:
    """Whether a name ends as a data file does."""
    name, _ = parted(name)
    return suffix(name) in READERS or name.lower().endswith(".gz")


def may_have_header(path: str | Path) -> bool:
    """Whether a file is a table of which the first line names the columns or doesn't."""
    return suffix(parted(str(path))[0]) in HEADED


# ---------------------------------------------------------------------- what reads it


def _reader(source: Source, tokens: bool) -> Callable[[Source], Table]:
    """What reads a file or folder. Raises DataError for what is none of a known format."""
    path = source.path
    if not path.exists():
        raise missing(path)
    if path.is_dir():
        if not (reader := folder_reader(path)):
            raise unread_folder(path)
        trust.refuse_links(path)
        return reader
    known = [known for known in READERS if known != ".txt" or tokens]
    if source.suffix not in known:
        raise DataError(
            f"{source.name}: {source.suffix or 'a name with no ending'!r} is not a format that is read here",
            f"the ending tells the format: {', '.join(known)}, each also with .gz",
        )
    if source.suffix in LINED:
        source.refuse_bare_returns()
    return READERS[source.suffix]


def missing(path: Path) -> DataError:
    """What is to be said of a file that is not there: the nearest name."""
    return DataError(f"there is no file {path}", _nearest(path))


def unread_folder(folder: Path) -> DataError:
    """What is to be said of a folder that no reader knows: what would be known, and its files."""
    files = _data_files(folder)
    what = "a folder of neither texts by their labels (pos/1.txt) nor brat's annotations (1.txt, 1.ann)"
    endings = dict.fromkeys(suffix(file) for file in files)
    together = f"; {folder}/*{next(iter(endings))} means all of them" if len(endings) == 1 else ""
    return DataError(f"{folder} is {what}", f"name one of its files{_named(files)}{together}")


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    near = nearest(path.name, [sibling.name for sibling in path.parent.iterdir()], 0.6)
    if near:
        return f"did you mean {path.parent / near}?"
    return f"{path.parent} has no file of a similar name{_named(_data_files(path.parent))}"


def _data_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if looks_like_file(path.name))


def _named(names: list[str]) -> str:
    return f": {some(names)}" if names else ""
