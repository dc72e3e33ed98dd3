"""brat's standoff annotations (Stenetorp et al. 2012): an `x.ann` with the entities of the `x.txt` beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ftkit.data.formats._base import Source, Table, apart, lines, refuse_files
from ftkit.data.split import split_named
from ftkit.errors import DataError, brief, counted, some


@dataclass
class Found:
    """What was read of all documents, and what can't be."""

    faults: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Entities of several parts."""
    shared: list[str] = field(default_factory=list)
    """Entities that lie in others, or cross them."""
    others: int = 0
    """Relations, events, attributes and notes."""


def is_one(folder: Path) -> bool:
    """Whether a folder holds annotations."""
    return any(True for _ in folder.rglob("*.ann"))


def read(source: Source) -> Table:
    """A row a document: `text`, `entities`, `id` (its path in the folder), and `split` where folders name splits."""
    found = Found()
    annotated = sorted(source.path.rglob("*.ann"))
    splits = [split_named(file.relative_to(source.path).parts[0]) for file in annotated]
    rows: list[dict[str, Any]] = []
    for file, split in zip(annotated, splits, strict=True):
        name = file.relative_to(source.path).with_suffix("").as_posix()
        try:
            text = replace(source, path=file.with_suffix(".txt")).text()
            spans = list(_spans(name, replace(source, path=file).text(), text, found))
        except DataError as error:
            found.faults.append(error.message)
            continue
        row = {"text": text, "entities": _without_shared(name, spans, found), "id": name}
        rows.append({**row, "split": split} if all(splits) else row)
    refuse_files(
        source.name, found.faults, "offsets count characters from 0, `end` excluded; a text lies beside each .ann"
    )
    _tell(source, annotated, found)
    columns = ("text", "entities", "id", *(("split",) if all(splits) else ()))
    return source.table(rows, columns, unit="document", locate=lambda n: f"{source.name}/{rows[n - 1]['id']}.txt")


def _spans(name: str, annotations: str, text: str, found: Found) -> Iterator[dict[str, Any]]:
    """The entities of a document that are one part of its text; the others are counted."""
    for number, line in enumerate(lines(annotations), 1):
        if not line.startswith("T"):
            found.others += bool(line.strip())
            continue
        key, _, rest = line.partition("\t")
        place, _, covered = rest.partition("\t")
        kind, _, offsets = place.partition(" ")
        parts = [part.split() for part in offsets.split(";")]
        if not all(len(part) == 2 and all(map(str.isdecimal, part)) for part in parts):
            found.faults.append(f"{name}.ann, line {number}: {brief(line)} is no entity (T1, tab, TYPE 0 5, tab, text)")
            continue
        bounds = [(int(start), int(end)) for start, end in parts]
        said = " ".join(text[start:end] for start, end in bounds)
        if covered and said.split() != covered.split():
            places = f"{key} is {brief(said)} in the text, not {brief(covered)}"
            found.faults.append(f"{name}.ann, line {number}: {places}")
        elif any(text[end:start].strip() for (_, end), (start, _) in pairwise(bounds)):  # a line break alone is no gap
            found.broken.append(f"{name}.ann {key}")
        else:
            yield {"start": bounds[0][0], "end": bounds[-1][1], "type": kind, "name": key}


def _without_shared(name: str, spans: list[dict[str, Any]], found: Found) -> list[dict[str, Any]]:
    kept, shared = apart(spans)
    found.shared += [f"{name}.ann {span['name']}" for span in shared]
    return [{"start": span["start"], "end": span["end"], "type": span["type"]} for span in kept]


def _tell(source: Source, annotated: list[Path], found: Found) -> None:
    """Note what is in the folder and in no row."""
    if found.broken:
        what = f"{counted(len(found.broken), 'entity')} left out that consist of several parts"
        source.notes.append(f"{source.name}: {what} ({some(found.broken)})")
    if found.shared:
        what = f"{counted(len(found.shared), 'entity')} left out that share characters with longer ones"
        source.notes.append(f"{source.name}: {what} ({some(found.shared)})")
    if found.others:
        what = f"{counted(found.others, 'line')} with relations, events, attributes and notes not read"
        source.notes.append(f"{source.name}: {what}")
    alone = [file for file in source.path.rglob("*.txt") if file.with_suffix(".ann") not in set(annotated)]
    if alone:
        names = some([file.relative_to(source.path).as_posix() for file in sorted(alone)])
        source.notes.append(f"{source.name}: {counted(len(alone), 'text')} left out that no .ann lies beside ({names})")
