"""A folder of plain texts: a file a text, in a folder named by its label (`reviews/pos/1.txt`).

Above the labels' folders there may be those of splits, as IMDB is laid out: `reviews/train/pos/1.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftkit.data.formats._base import Source, Table, refuse_files
from ftkit.data.split import split_named
from ftkit.errors import DataError, counted

_UNLABELLED = frozenset({"unsup", "unsupervised", "unlabelled", "unlabeled"})


def is_one(folder: Path) -> bool:
    """Whether a folder holds texts in folders of labels."""
    return bool(_labels(folder) or _splits(folder))


def read(source: Source) -> Table:
    """A row a file: `text`, `label`, `id` (its path in the folder), and `split` where folders tell them apart."""
    splits = _splits(source.path)
    folders = [(split, inner) for split, top in (splits or {"": source.path}).items() for inner in _labels(top)]
    files = [
        (split, folder.name, file)
        for split, folder in folders
        if folder.name.casefold() not in _UNLABELLED
        for file in _texts(folder)
    ]
    rows: list[dict[str, Any]] = []
    faults = []
    for split, label, file in files:
        name = file.relative_to(source.path).as_posix()
        try:
            text = replace(source, path=file, called=name).text().removesuffix("\n").removesuffix("\r")
        except DataError as error:
            faults.append(error.message)
            continue
        rows.append({"text": text, "label": label, "id": name, **({"split": split} if splits else {})})
    refuse_files(source.name, faults, "save them again as UTF-8, or take them out")
    _tell(source, [folder for _, folder in folders], len(files))
    names = [f"{source.name}/{row['id']}" for row in rows]
    columns = ("text", "label", "id", *(("split",) if splits else ()))
    return source.table(rows, columns, unit="file", locate=lambda number: names[number - 1])


def _splits(folder: Path) -> dict[str, Path]:
    """The folders of splits, where one of them is for training; each has folders of labels."""
    found: dict[str, Path] = {}
    for inner in _folders(folder):
        if (name := split_named(inner.name)) and _labels(inner):
            if name in found:
                raise DataError(f"{folder} has two folders for {name}, {found[name].name} and {inner.name}", "keep one")
            found[name] = inner
    return found if "train" in found else {}


def _labels(folder: Path) -> list[Path]:
    """The folders that have texts right in them."""
    return [inner for inner in _folders(folder) if any(True for _ in _texts(inner))]


def _folders(folder: Path) -> list[Path]:
    return sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith("."))


def _texts(folder: Path) -> Iterator[Path]:
    """The texts right in a folder: `.txt` files, and those that have no ending, or a number for one."""
    for file in sorted(folder.iterdir()):
        ending = file.suffix.lower()
        if file.is_file() and not file.name.startswith(".") and (ending in ("", ".txt") or ending[1:].isdecimal()):
            yield file


def _tell(source: Source, folders: list[Path], read: int) -> None:
    """Note what of the folder is no row."""
    bare = [folder for folder in folders if folder.name.casefold() in _UNLABELLED]
    without = {folder: sum(1 for _ in _texts(folder)) for folder in bare}
    for folder, count in without.items():
        name = folder.relative_to(source.path).as_posix()
        source.notes.append(f"{source.name}: {counted(count, 'text')} in {name} left out, which have no label")
    there = [file for file in source.path.rglob("*") if file.is_file() and not file.name.startswith(".")]
    if others := len(there) - read - sum(without.values()):
        what = f"{counted(others, 'file')} left out: no texts right in a folder that names their label"
        source.notes.append(f"{source.name}: {what}")
