"""Cleaned texts through training, `eval`, `predict` and `compare`: the steps travel, places are those of the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftkit.data.clean import clean as cleaned
from ftkit.engine import model as models
from ftkit.engine.compare import compare
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.engine.prepare import prepare
from ftkit.engine.train import train
from ftkit.errors import RecipeError
from ftkit.recipe import changed
from tests.runs import SIZES, Lab, Rows, read_jsonl, rows, write_rows

STEPS = "data.clean=[html, nfc, whitespace]"


def soiled(text: str) -> str:
    """The text with markup before each capital, entities for its commas, and wide gaps."""
    marked = "".join(f"<b>{c}</b>" if c.isupper() else c for c in text).replace(" ", "   ")
    return "<p>" + marked.replace(",", "&#44;")


def soil(row: dict[str, Any]) -> dict[str, Any]:
    """A row with soiled texts, its entities and answers at their places there."""
    found = {name: soiled(value) if name in ("text", "question", "context") else value for name, value in row.items()}
    if "entities" in row:
        found["entities"] = [
            {
                **e,
                "start": len(soiled(row["text"][: e["start"]])),
                "end": len(soiled(row["text"][: e["end"]])),
            }
            for e in row["entities"]
        ]
    if "answers" in row:
        answers, context = row["answers"], row["context"]
        starts = [len(soiled(context[:start])) for start in answers["answer_start"]]
        texts = [soiled(text).removeprefix("<p>") for text in answers["text"]]
        found["answers"] = {"text": texts, "answer_start": starts}
    return found


def soiled_files(folder: Path, kind: str) -> list[str]:
    """Settings that name the kind's files with soiled texts."""
    return [
        f"data.{split}={write_rows(folder / f'{split}.jsonl', list(map(soil, rows(kind, split))))}" for split in SIZES
    ]


@pytest.mark.parametrize("kind", ["single", "ner", "qa"])
def test_cleaned_rows_train_the_model_that_clean_rows_train(lab: Lab, tmp_path: Path, kind: str) -> None:
    clean = lab.trained(kind, "full")
    settings = (*soiled_files(tmp_path, kind), STEPS)
    rate = f"train.learning_rate={0.002 if 'qa' in kind else 0.02}"
    said: list[str] = []
    run = train(changed(lab.recipe(kind, "method=full", rate), settings), tmp_path / "run", say=said.append)
    assert run.scores == clean.scores
    assert [line for line in said if "data.clean" in line] == [
        f"note: data.clean (html, nfc, whitespace) changed {sum(SIZES.values())} of {sum(SIZES.values())} rows"
    ]
    assert models.load(run.run).contract.data["clean"] == ["html", "nfc", "whitespace"]
    assert evaluate(run.run).scores == clean.scores["test"]
    file = tmp_path / "test.jsonl"
    exported = export(run.run, tmp_path / "exported")
    assert evaluate(exported, data=str(file)).scores == clean.scores["test"]
    predictor = Predictor(exported)
    inputs: Rows = [{k: v for k, v in row.items() if k in ("text", "question", "context")} for row in read_jsonl(file)]
    found = list(predictor(inputs))
    assert found == list(predictor.file(str(file))) == read_jsonl(run.run / "predictions" / "test.jsonl")
    plain = read_jsonl(clean.run / "predictions" / "test.jsonl")
    for row, answer, other in zip(inputs, found, plain, strict=True):
        assert_same_answer(row, answer, other)
    assert len(list(predictor.render(inputs, found))) == len(inputs)


def assert_same_answer(row: dict[str, Any], answer: dict[str, Any], other: dict[str, Any]) -> None:
    """The answer to a soiled row is the one to the clean row, in the soiled row's own text."""
    if "label" in answer:
        assert answer == other
    elif "entities" in answer:
        assert len(answer["entities"]) == len(other["entities"])
        for entity, same in zip(answer["entities"], other["entities"], strict=True):
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
            assert_says(entity["text"], same["text"])
            assert (entity["type"], entity["score"]) == (same["type"], same["score"])
    else:
        assert row["context"][answer["start"] : answer["end"]] == answer["answer"]
        assert_says(answer["answer"], other["answer"])


def assert_says(text: str, same: str) -> None:
    assert cleaned(text, ["html", "nfc", "whitespace"]).removesuffix("<") == same


def test_models_that_clean_otherwise_are_compared_on_the_same_rows(lab: Lab, tmp_path: Path) -> None:
    settings = soiled_files(tmp_path, "ner")
    recipe = changed(lab.recipe("ner"), settings)
    one = train(recipe, tmp_path / "one")
    two = train(changed(recipe, [STEPS]), tmp_path / "two")
    assert compare([one.run, two.run]).entries[1].name


def test_steps_are_refused_by_name(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"data\.clean.*'nfc', 'nfkc'"):
        lab.recipe("single", "data.clean=[stem]")
    assert lab.recipe("single", "data.clean=html").data.clean == ("html",)


def test_an_export_says_how_texts_are_cleaned(lab: Lab, tmp_path: Path) -> None:
    run = train(lab.recipe("single", "data.clean=[nfkc, lowercase]", "train.epochs=0"), tmp_path / "run")
    card = (export(run.run, tmp_path / "plain") / "README.md").read_text()
    assert (
        "Texts are cleaned before they are read: nfkc, lowercase. `ftkit` does so; plain transformers does not." in card
    )


def test_variants_are_made_of_cleaned_rows(lab: Lab, tmp_path: Path) -> None:
    settings = [*soiled_files(tmp_path, "ner"), STEPS, "augment.by=[swap]", "train.epochs=0"]
    prepared = prepare(changed(lab.recipe("ner"), settings))
    learned = prepared.training()
    assert len(learned) > SIZES["train"]
    assert not [text for text in learned["text"] if "<" in text or "  " in text]
    for row in learned:
        assert all(row["text"][e["start"] : e["end"]].strip() for e in row["entities"])
    train(prepared.recipe, tmp_path / "run")
