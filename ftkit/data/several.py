"""Several files that are read as one: lists and patterns, the tables of all of them joined."""

from __future__ import annotations

import glob
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path

from ftkit.data import mapped
from ftkit.data.mapped import joined
from ftkit.data.read import Table, folder_reader, looks_like_file, parted
from ftkit.errors import DataError, every, problems


def expand(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sources that names and patterns (`parts/*.csv`, sorted) stand for, each once; and what to say of it.

    Raises DataError for a pattern that no file matches, and for what can be read only once, all of them at once.
    """
    found, notes, faults = [], [], []
    for name in names:
        matches = _matches(name) if is_pattern(name) else [name]
        if is_pattern(name):
            notes.append(f"{name}: {len(matches)} files")
        if not matches:
            faults.append(f"no file matches {name}")
        for match in matches:
            if _is_pipe(match):
                faults.append(f"{match} is a pipe or a device, which is gone once it is read: write its rows to a file")
            if match in found:
                notes.append(f"{match} is named twice, and read once")
            else:
                found.append(match)
    if faults:
        hint = "in a pattern, * stands for any part of a name, ** for any folders"
        raise problems(DataError, "", faults, hint if any(map(is_pattern, names)) else "")
    return found, notes


def _is_pipe(name: str) -> bool:
    path = Path(parted(name)[0])
    return path.exists() and not (path.is_file() or path.is_dir())


def read_all(names: Sequence[str], read_one: Callable[..., Table]) -> Table:
    """The rows of all files that names and patterns stand for, as `read_one(name, on_disk=...)` gives those of one."""
    found, notes = expand(names)
    paths = [path for name in found if (path := Path(parted(name)[0])).is_file()]
    on_disk = sum(map(mapped.size, paths)) > mapped.LARGE
    table = join(every([partial(read_one, name, on_disk=on_disk) for name in found]))
    return replace(table, notes=(*notes, *table.notes))


def is_pattern(name: str) -> bool:
    """Whether a name stands for all files that match it."""
    return glob.has_magic(name) and not Path(parted(name)[0]).exists() and not name.startswith(("sample:", "hf://"))


def is_data(name: str) -> bool:
    """Whether a name means labelled rows on this disk: a data file, a pattern of such, or a folder that is read."""
    path = Path(parted(name)[0])
    if path.is_dir():
        return folder_reader(path) is not None
    return looks_like_file(name) and (path.exists() or is_pattern(name))


def _matches(pattern: str) -> list[str]:
    return sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())


def join(tables: Sequence[Table]) -> Table:
    """One table of the rows of all, which are counted from 1; each is still known by its file and line.

    Raises DataError where the tables' columns differ, with all that do.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    faults = [fault for table in tables[1:] if (fault := _difference(first, table))]
    if faults:
        hint = "files that are read together have the same columns"
        raise problems(DataError, f"{first.source} and others", faults, hint)
    name = f"{first.source} and {len(tables) - 1} more"
    rows = joined([table.rows for table in tables])
    starts = [0, *accumulate(len(table.rows) for table in tables)]

    def locate(number: int) -> str:
        part = bisect_right(starts, number - 1) - 1
        return tables[part].where(number - 1 - starts[part])

    columns = tuple(dict.fromkeys(column for table in tables for column in table.columns))
    notes = tuple(note for table in tables for note in table.notes)
    numbers = range(1, len(rows) + 1)
    return replace(first, source=name, columns=columns, rows=rows, numbers=numbers, notes=notes, locate=locate)


def _difference(first: Table, other: Table) -> str:
    """What parts the columns of two tables; '' where nothing does."""
    if first.unit != other.unit:
        return f"{other.source} holds {other.unit}s, and {first.source} {first.unit}s"
    if first.sparse and other.sparse:  # rows of JSON name their own columns
        return ""
    lacks = [repr(name) for name in first.columns if name not in other.columns]
    more = [repr(name) for name in other.columns if name not in first.columns]
    said = [f"lacks {', '.join(lacks)}"] if lacks else []
    said += [f"has {', '.join(more)} more"] if more else []
    return f"{other.source} {' and '.join(said)}" if said else ""
