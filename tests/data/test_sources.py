"""Every kind of source from its files to a scored run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy

from ftkit.engine.train import train
from tests.data.formats.test_excel import book
from tests.data.formats.test_exports import chosen, docbin, export, marked, task
from tests.runs import SIZES, Lab, Rows, read_jsonl, write_rows


def excel(folder: Path, rows: Rows) -> str:
    path = book(folder / "a.xlsx", Notes=[["x"]], Rows=[["text", "label"], *([r["text"], r["label"]] for r in rows)])
    return f"{path}#Rows"


def texts(folder: Path, rows: Rows) -> str:
    for number, row in enumerate(rows):
        path = folder / "texts" / row["label"] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["text"], encoding="utf-8")
    return str(folder / "texts")


def several(folder: Path, rows: Rows) -> str:
    write_rows(folder / "a.jsonl", rows[:5])
    write_rows(folder / "b.jsonl", rows[5:])
    return f"{folder}/[ab].jsonl"


def doccano(folder: Path, rows: Rows) -> str:
    return str(write_rows(folder / "a.jsonl", [{"text": row["text"], "label": [row["label"]]} for row in rows]))


def label_studio(folder: Path, rows: Rows) -> str:
    return str(export(folder / "a.json", *(task(n, r["text"], [chosen("k", r["label"])]) for n, r in enumerate(rows))))


def latin(folder: Path, rows: Rows) -> str:
    words = "Die Fähre fährt über die Förde, und für die Küche fehlen größere Möbel."
    lines = [f"{row['text']} {words}\t{row['label']}\n" for row in rows]
    (folder / "a.tsv").write_bytes("".join(["text\tlabel\n", *lines]).encode("cp1252"))
    return str(folder / "a.tsv")


def brat(folder: Path, rows: Rows) -> str:
    for number, row in enumerate(rows):
        spans = [f"{e['type']} {e['start']} {e['end']}\t{row['text'][e['start'] : e['end']]}" for e in row["entities"]]
        lines = [f"T{count}\t{span}\n" for count, span in enumerate(spans, 1)]
        (folder / f"{number}.txt").write_text(row["text"], encoding="utf-8")
        (folder / f"{number}.ann").write_text("".join(lines), encoding="utf-8")
    return str(folder)


def studio_spans(folder: Path, rows: Rows) -> str:
    def results(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [marked(e["start"], e["end"], row["text"][e["start"] : e["end"]], e["type"]) for e in row["entities"]]

    return str(export(folder / "a.json", *(task(n, row["text"], results(row)) for n, row in enumerate(rows))))


def spacys(folder: Path, rows: Rows) -> str:
    blank = spacy.blank("en")
    docs = [blank(row["text"]) for row in rows]
    for doc, row in zip(docs, rows, strict=True):
        found = [doc.char_span(e["start"], e["end"], e["type"]) for e in row["entities"]]
        doc.set_ents([span for span in found if span])
    return str(docbin(folder / "a.spacy", *docs))


def iob1(folder: Path, rows: Rows) -> str:
    lines = []
    for row in rows:
        spans = {row["text"][e["start"] : e["end"]]: e["type"] for e in row["entities"]}
        lines += [f"{'I-' + spans[word] if word in spans else 'O'} {word}" for word in row["text"].split()] + [""]
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "a.txt")


SINGLE = (excel, texts, several, doccano, label_studio, latin)
SPANS = (brat, studio_spans, spacys, iob1)


@pytest.mark.parametrize("make", [*SINGLE, *SPANS], ids=lambda make: make.__name__)
def test_a_source_trains_and_is_scored(lab: Lab, tmp_path: Path, make: Callable[[Path, Rows], str]) -> None:
    kind = "single" if make in SINGLE else "ner"
    rows = read_jsonl(lab.file(kind, "train"))
    source = make(tmp_path, rows)
    held = (f"data.validation={source}", f"data.test={source}") if make is iob1 else ()  # a shape for all splits
    recipe = lab.recipe(kind, f"data.train={json.dumps(source)}", "evaluate.resamples=0", *held)
    done = train(recipe, lab.new())
    assert done.scores["validation"]["f1"]["value"] >= 0
    assert json.loads((Path(done.run) / "data.json").read_text())["rows"]["train"] == SIZES["train"]
