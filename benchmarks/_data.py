"""The public data sets as their publishers lay them out, made into JSON lines that every contestant reads alike."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_HELD_OUT = 1900
"""Test rows of AG News, whose one file has no split of its own."""


def sst2(folder: Path, split: str) -> list[Row]:
    """{"text", "label"} of SST-2 (Socher et al. 2013)."""
    lines = _lines(folder / "sst2" / f"{split}.tsv")
    return [dict(zip(("text", "label"), line.split("\t"), strict=True)) for line in lines]


def conll2003(folder: Path, split: str) -> list[Row]:
    """{"tokens", "tags"} of CoNLL-2003 (Tjong Kim Sang and De Meulder 2003)."""
    text = (folder / "conll2003" / f"{split}.txt").read_text(encoding="utf-8")
    sentences = [[line.split() for line in block.splitlines()] for block in text.split("\n\n") if block.strip()]
    return [{"tokens": [words[0] for words in s], "tags": [words[1] for words in s]} for s in sentences]


def ag_news(folder: Path, split: str) -> list[Row]:
    """{"text", "label"} of AG News (Zhang et al. 2015): title and description; always the same rows are held out."""
    with (folder / "ag_news" / "all.csv").open(encoding="utf-8", newline="") as file:
        rows = [{"text": f"{title}. {text}", "label": label} for label, title, text in csv.reader(file)]
    random.Random(0).shuffle(rows)
    return rows[:_HELD_OUT] if split == "test" else rows[_HELD_OUT:]


def scitldr(folder: Path, split: str) -> list[Row]:
    """{"document", "summary"} of SciTLDR (Cachola et al. 2020), with the first of a document's summaries."""
    rows = read(folder / "scitldr" / f"{split}.jsonl")
    return [{"document": " ".join(row["source"]), "summary": row["target"][0]} for row in rows]


READERS: dict[str, Callable[[Path, str], list[Row]]] = {
    "sst2": sst2,
    "conll2003": conll2003,
    "ag_news": ag_news,
    "scitldr": scitldr,
}


def draw(rows: Sequence[Row], count: int | None, seed: int) -> list[Row]:
    """`count` of the rows at random; all of them, as they are, without a count."""
    return list(rows) if count is None else random.Random(seed).sample(rows, min(count, len(rows)))


def long_documents(rows: Sequence[Row], words: int, seed: int) -> list[Row]:
    """Documents of at least `words` words, each of shuffled rows on one topic, until the rows are used up."""
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    open_: dict[str, list[str]] = {}
    found = []
    for row in rows:
        parts = open_.setdefault(row["label"], [])
        parts.append(row["text"])
        if sum(len(part.split()) for part in parts) >= words:
            found.append({"text": " ".join(open_.pop(row["label"])), "label": row["label"]})
    return found


def repeated(rows: Sequence[Row], times: int, seed: int) -> list[Row]:
    """The rows `times` times; in each copy after the first a tenth of the words are left out, so that none is equal."""
    chance = random.Random(seed)
    copies = [{**row, "text": _thinned(row["text"], chance)} for _ in range(times - 1) for row in rows]
    return [*rows, *copies]


def _thinned(text: str, chance: random.Random) -> str:
    words = text.split()
    return " ".join(word for word in words if chance.random() >= 0.1) or text


def write(rows: Sequence[Row], path: Path) -> Path:
    """Write JSON lines, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[Row]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")
