"""One source in, its rows out as they stand: nothing is renamed, converted or dropped here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ftkit.data.formats import HEADED, READERS
from ftkit.data.formats._base import SHOWN, Locate, Source, Table, listed, parted, suffix
from ftkit.errors import DataError, nearest

__all__ = ["SHOWN", "Locate", "Table", "looks_like_file", "may_have_header", "parted", "read"]


def read(path: str | Path, *, header: bool, tokens: bool = False) -> Table:
    """The rows of a file in one of the formats of `ftkit/data/formats`; each may end in `.gz`.

    path: `book.xlsx#Sheet` is a sheet of a workbook. header: whether the first line of a table names its columns;
    otherwise they are called "0", "1", ... tokens: whether `.txt` is CoNLL columns. Raises DataError, with every bad
    line, for what can't be read.
    """
    file, part = parted(str(path))
    source = Source(Path(file), part, header)
    _check(source, tokens)
    table = READERS[source.suffix](source)
    if not table.rows:
        raise DataError(f"{source.name} has no rows", "a file with a row for each example is needed")
    return replace(table, notes=(*source.notes, *table.notes))


def looks_like_file(name: str) -> bool:
    """Whether a name ends as a data file does."""
    name, _ = parted(name)
    return suffix(name) in READERS or name.lower().endswith(".gz")


def may_have_header(path: str | Path) -> bool:
    """Whether a file is a table of which the first line names the columns or doesn't."""
    return suffix(parted(str(path))[0]) in HEADED


# ---------------------------------------------------------------------- what can't be read


def _check(source: Source, tokens: bool) -> None:
    """Raises DataError for what is no file of a known format."""
    path = source.path
    if not path.exists():
        raise DataError(f"there is no file {path}", _nearest(path))
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file", f"name one of its files{_named(_data_files(path))}")
    known = [known for known in READERS if known != ".txt" or tokens]
    if source.suffix not in known:
        raise DataError(
            f"{source.name}: {source.suffix or 'a name with no ending'!r} is not a format that is read here",
            f"the ending tells the format: {', '.join(known)}, each also with .gz",
        )


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
    return f": {listed(names)}" if names else ""
