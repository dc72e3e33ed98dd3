"""What annotation tools write: Doccano, Label Studio, spaCy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from ftkit.data.load import load, load_file
from ftkit.data.read import read
from ftkit.errors import DataError
from ftkit.init import write_recipe
from ftkit.recipe import load_recipe
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from ftkit.terminal import silence
from tests.runs import write_rows

LABELLED = [[Column("text", "text"), Column("label", "label")]]
SPANS = [[Column("tokens", "tokens"), Column("tags", "tags")], [Column("text", "text"), Column("entities", "entities")]]
ADA = {"start": 0, "end": 3, "type": "PER"}

# ---------------------------------------------------------------------- Doccano


@pytest.mark.parametrize(
    "row",
    [
        {"label": [[0, 3, "PER"]]},
        {"labels": [[0, 3, "PER"]]},
        {"entities": [{"id": 7, "label": "PER", "start_offset": 0, "end_offset": 3}], "relations": []},
        {"label": [{"start_offset": 0, "end_offset": 3, "label": "PER"}]},
    ],
)
def test_spans_of_doccano(tmp_path: Path, row: dict[str, Any]) -> None:
    name = next(iter(row))
    file = write_rows(tmp_path / "all.jsonl", [{"id": 1, "text": "Ada sailed", **row}, {"text": "NA", name: []}] * 30)
    rows, _ = load_file(str(file), DataSpec(), SPANS)
    assert rows["entities"][:2] == [[ADA], []]
    assert load_recipe(write_recipe(file, None, None, silence)).task.name == "ner"


@pytest.mark.parametrize("name", ["label", "labels"])
def test_categories_of_doccano(tmp_path: Path, name: str) -> None:
    texts = [f"a quiet {word} by the sea" for word in ["harbour", "inn", "room", "night", "walk", "view"]]
    rows = [{"text": f"{text} {n}", name: [("ham", "spam")[n % 2]]} for n in range(10) for text in texts]
    file = write_rows(tmp_path / "all.jsonl", [*rows, {"text": "NA", name: []}])
    splits = load(DataSpec(train=str(file), validation=None), LABELLED)
    assert set(splits.train["label"]) == {"ham", "spam"}
    assert len(splits.train) == len(rows)
    assert "all.jsonl: 1 row left out that have no label" in splits.notes
    recipe = load_recipe(write_recipe(file, None, None, silence))
    assert (recipe.task.name, recipe.task.options) == ("classification", {})


# ---------------------------------------------------------------------- Label Studio


def chosen(name: str, *choices: str) -> dict[str, Any]:
    return {"type": "choices", "from_name": name, "to_name": "text", "value": {"choices": list(choices)}}


def marked(start: int, end: int, text: str, kind: str = "PER") -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text, "labels": [kind]}
    return {"type": "labels", "from_name": "label", "to_name": "text", "value": value}


def task(number: int, text: str, *annotations: Any, **more: Any) -> dict[str, Any]:
    made = [{"id": i, **(a if isinstance(a, dict) else {"result": a})} for i, a in enumerate(annotations)]
    return {"id": number, "data": {"text": text}, "annotations": made, "predictions": [], **more}


def export(path: Path, *tasks: dict[str, Any]) -> Path:
    path.write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    return path


def test_choices_of_label_studio(tmp_path: Path) -> None:
    file = export(
        tmp_path / "a.json",
        task(4, "NA", [chosen("mood", "null")]),
        task(5, "nobody looked"),
        task(6, "skipped", {"result": [], "was_cancelled": True}),
        task(7, "twice", {"result": [], "was_cancelled": True}, [chosen("mood", "fine")], [chosen("mood", "bad")]),
    )
    table = read(file, header=True)
    assert [(row["id"], row["text"], row["label"]) for row in table.rows] == [(4, "NA", "null"), (7, "twice", "fine")]
    assert table.where(1) == "a.json, task 4"
    assert table.notes == (
        "a.json: 2 tasks left out that nobody annotated",
        "a.json: 2 cancelled annotations not read",
        "a.json: 1 task with several annotations: the first is read",
    )
    rows, _ = load_file(str(file), DataSpec(), LABELLED)
    assert rows["label"][:] == ["null", "fine"]


def test_several_choices_and_several_controls(tmp_path: Path) -> None:
    many = export(tmp_path / "a.json", task(1, "x", [chosen("topic", "a", "b")]), task(2, "y", [chosen("topic", "a")]))
    assert [row["label"] for row in read(many, header=True).rows] == [["a", "b"], ["a"]]
    both = export(tmp_path / "b.json", task(1, "x", [chosen("topic", "a"), chosen("mood", "b")]))
    assert read(both, header=True).rows == [{"id": 1, "text": "x", "topic": "a", "mood": "b"}]


def test_labels_of_label_studio(tmp_path: Path) -> None:
    rating = {"type": "rating", "from_name": "r", "to_name": "text", "value": {"rating": 3}}
    file = export(
        tmp_path / "a.json",
        task(1, "Ada Rowe sailed", [marked(0, 8, "Ada Rowe"), marked(4, 8, "Rowe"), rating]),
        task(2, "☕🙂 Ada", [marked(4, 7, "Ada")]),
        task(3, "nothing", []),
    )
    rows, notes = load_file(str(file), DataSpec(), SPANS)
    assert rows["entities"][:] == [[{**ADA, "end": 8}], [{"start": 3, "end": 6, "type": "PER"}], []]
    assert "a.json: 1 entity left out that share characters with longer ones ('Rowe' of task 1)" in notes
    assert "a.json: 1 result not read that are neither choices nor labels of a text" in notes
    wrong = export(tmp_path / "b.json", task(1, "Ada Rowe", [marked(0, 4, "Rowe")]))
    with pytest.raises(DataError, match="not where it says: 0-4 is 'Ada ', not 'Rowe'"):
        load_file(str(wrong), DataSpec(), SPANS)


def test_tasks_that_are_laid_out_otherwise(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json: 2 problems\n  - task 1 lacks 'result'\n  - task 2 lacks 'value'"):
        read(export(tmp_path / "a.json", task(1, "x", {"id": 1}), task(2, "y", [{"type": "choices"}])), header=True)


# ---------------------------------------------------------------------- spaCy


def docbin(path: Path, *docs: Doc) -> Path:
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


def test_entities_of_spacy(tmp_path: Path) -> None:
    blank = spacy.blank("en")
    docs = [blank(text) for text in ("Ada ☕ sailed  to Mull.", "NA")]
    docs[0].set_ents([Span(docs[0], 0, 1, "PERSON"), Span(docs[0], 5, 6, "isle")])
    docs[1].set_ents([])
    docs[0].spans["all"] = [Span(docs[0], 0, 2, "x")]
    rows, notes = load_file(str(docbin(tmp_path / "a.spacy", *docs)), DataSpec(), SPANS)
    assert rows["text"][:] == ["Ada ☕ sailed  to Mull.", "NA"]
    marks = [(rows["text"][0][e["start"] : e["end"]], e["type"]) for e in rows["entities"][0]]
    assert marks == [("Ada", "PERSON"), ("Mull", "isle")]
    assert rows["entities"][1] == []
    assert "a.spacy: 1 span in span groups not read; entities are" in notes


def test_categories_of_spacy(tmp_path: Path) -> None:
    blank = spacy.blank("en")
    docs = [blank(text) for text in ("null", "fine")]
    docs[0].cats, docs[1].cats = {"nan": 1.0, "ham": 0.0}, {"nan": 0.2, "ham": 0.8}
    rows, _ = load_file(str(docbin(tmp_path / "a.spacy", *docs)), DataSpec(), LABELLED)
    assert rows["label"][:] == ["nan", "ham"]
    docs[1].cats = {"nan": 1.0, "ham": 0.8}
    assert read(docbin(tmp_path / "b.spacy", *docs), header=True).rows[1]["label"] == ["nan", "ham"]


def test_what_is_no_docbin(tmp_path: Path) -> None:
    (tmp_path / "a.spacy").write_bytes(b"not packed at all")
    with pytest.raises(DataError, match=r"a\.spacy is no DocBin"):
        read(tmp_path / "a.spacy", header=True)


def test_without_spacy_it_says_what_to_install(tmp_path: Path) -> None:
    path = docbin(tmp_path / "a.spacy", spacy.blank("en")("x"))
    code = (
        f"import sys; sys.modules['spacy'] = None; from ftkit.data.read import read; read({str(path)!r}, header=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert "ftkit needs the package spacy\n  pip install 'ftkit[spacy]'" in done.stderr
