"""The formats of files, one a file: each reads a source into a table, and notes what of it has no place in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ftkit.data.formats import brat, conll, delimited, docbin, excel, json_list, jsonl, parquet, texts
from ftkit.data.formats._base import Source, Table

READERS: dict[str, Callable[[Source], Table]] = {
    ".csv": delimited.read,
    ".tsv": delimited.read,
    ".json": json_list.read,
    ".jsonl": jsonl.read,
    ".xlsx": excel.read,
    ".parquet": parquet.read,
    ".spacy": docbin.read,
    ".conll": conll.read,
    ".txt": conll.read,
}
"""What reads a file, by the ending of its name."""
STREAMS: dict[str, Callable[[Source], Iterator[Table]]] = {
    ".csv": delimited.stream,
    ".tsv": delimited.stream,
    ".jsonl": jsonl.stream,
    ".parquet": parquet.stream,
}
"""What goes through a file once, by the ending of its name: a part after the other, of which one is held."""
LINED = (".csv", ".tsv", ".jsonl", ".conll", ".txt")
"""Text in which a row is a line, or several."""
HEADED = (".csv", ".tsv", ".xlsx")
"""Tables whose columns have names where their first line gives them some, and numbers where it doesn't."""


def folder_reader(folder: Path) -> Callable[[Source], Table] | None:
    """What reads a folder, by what lies in it; None for a folder of other things."""
    return next((kind.read for kind in (brat, texts) if kind.is_one(folder)), None)
