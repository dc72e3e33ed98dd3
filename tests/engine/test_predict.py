"""Answers for new text: plain texts, objects and files."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.engine import model as models
from ftkit.engine.asking import answer as answer_rows
from ftkit.engine.attribution import explain_new
from ftkit.engine.evaluate import evaluate
from ftkit.engine.lowered import LowWeights
from ftkit.engine.predict import Predictor
from ftkit.engine.train import train
from ftkit.engine.unpad import ATTENTION
from ftkit.errors import DataError, RecipeError, RunError
from tests.runs import Lab, read_jsonl, rows, write_rows
from tests.serving.served import answered, listening, server_of


def predictor(lab: Lab, kind: str) -> Predictor:
    return Predictor(lab.trained(kind, "full").run)


INPUTS = {
    "single": ["text"],
    "ner": ["text"],
    "qa": ["question", "context"],
    "seq2seq": ["document"],
    "causal": ["document"],
}


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_get_the_answers_of_the_predictions_file(lab: Lab, kind: str) -> None:
    model = predictor(lab, kind)
    inputs: list[Any] = [{name: row[name] for name in INPUTS[kind]} for row in rows(kind, "test")]
    written = read_jsonl(model.trained.source.parent / "predictions" / "test.jsonl")
    assert list(model(inputs)) == written
    if len(INPUTS[kind]) == 1:
        assert list(model([value[INPUTS[kind][0]] for value in inputs])) == written
    assert len(list(model.render(inputs, written))) == len(inputs)


def test_answers_are_plain_json_with_places_in_the_input(lab: Lab) -> None:
    for row, answer in zip(rows("qa", "test"), predictor(lab, "qa")(rows("qa", "test")), strict=True):
        assert answer.keys() == {"answer", "start", "end", "score"}
        assert row["context"][answer["start"] : answer["end"]] == answer["answer"]
        assert json.loads(json.dumps(answer)) == answer


def test_words_are_read_where_a_row_has_them(lab: Lab) -> None:
    model = predictor(lab, "ner")
    by_words, by_text = list(model([{"tokens": ["Anna", "works", "."]}])), list(model(["Anna works ."]))
    assert by_words == by_text


def test_nothing_in_nothing_out(lab: Lab) -> None:
    assert list(predictor(lab, "single")([])) == []


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        ("qa", ["a plain text"], "input 1 is a plain text"),
        ("qa", [{"question": "a", "context": "b"}, {"question": "a"}], "input 2 has question"),
        ("single", [{"txt": "a"}], r"input 1 has txt; the task reads text \(a text\)"),
        ("single", ["a", {"text": 3}], "input 2 has text"),
        ("ner", [{"tokens": ["a"]}, "b"], "input 2"),
    ],
)
def test_inputs_that_cannot_be_read_are_named_before_the_first_answer(
    lab: Lab, kind: str, inputs: list[Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        predictor(lab, kind)(inputs)


def test_second_texts_are_never_left_out(lab: Lab, tmp_path: Path) -> None:
    pairs = [{**row, "text_pair": "A fair price."} for row in rows("single", "train")]
    data = write_rows(tmp_path / "pairs.jsonl", pairs)
    settings = (f"data.train={data}", "data.validation=null", "data.test=null")
    model = Predictor(train(lab.recipe("single", *settings), tmp_path / "run").run)
    one, two = {"text": "A fair price."}, {"text": "A fair price.", "text_pair": "My phone arrived broken."}
    assert list(model([two])) != list(model([{**two, "text_pair": "A fair price."}]))
    for inputs in ([one], ["A fair price."], [two, one]):
        with pytest.raises(DataError, match="text_pair"):
            model(inputs)
    with pytest.raises(DataError, match="no column found for 'text_pair'"):
        evaluate(model.trained.source.parent, data=str(lab.file("single", "test")))


def test_second_texts_are_left_out_where_training_had_none(lab: Lab, tmp_path: Path) -> None:
    """A column of that name is something else then."""
    model = Predictor(lab.trained("single", "full").run)
    one, two = {"text": "A fair price."}, {"text": "A fair price.", "text_pair": "My phone arrived broken."}
    assert list(model([two])) == list(model([one])) == list(model(["A fair price."]))
    test = rows("single", "test")
    pairs = write_rows(tmp_path / "pairs.jsonl", [{**row, "text_pair": "A fair price."} for row in test])
    assert list(model.file(str(pairs))) == list(model.file(str(lab.file("single", "test"))))


def test_rows_may_have_the_names_of_the_training_file(lab: Lab, tmp_path: Path) -> None:
    named = [{"review": row["text"], "stars": row["label"]} for row in rows("single", "train")]
    data = write_rows(tmp_path / "named.jsonl", named)
    held_out = ("data.validation=null", "data.test=null")
    columns = "data.columns={text: review, label: stars}"
    model = Predictor(train(lab.recipe("single", f"data.train={data}", columns, *held_out), tmp_path / "run").run)
    expected = list(model(["Broke at once."]))
    assert list(model([{"review": "Broke at once."}])) == list(model([{"text": "Broke at once."}])) == expected
    file_row = {"text": "of another column", "review": "Broke at once.", "stars": "bad"}
    assert list(model([file_row])) == expected
    assert "Broke at once." in next(model.render([{"review": "Broke at once."}], expected))
    with listening(server_of(tmp_path / "run")) as client:
        assert answered(client, [{"review": "Broke at once."}]) == answered(client, ["Broke at once."])


def test_names_that_changed_places_in_the_training_file_are_the_tasks_own(lab: Lab) -> None:
    model = predictor(lab, "qa")
    model.homes = {"question": "context", "context": "question"}
    value = {"question": "Who?", "context": "Anna did."}
    assert model.named(value) == value
    model.homes = {"question": "context", "context": "page"}
    assert model.named({"context": "Who?", "page": "Anna did."}) == value


def test_file_is_read_with_settings(lab: Lab, tmp_path: Path) -> None:
    model = predictor(lab, "single")
    texts = [row["text"] for row in rows("single", "test")]
    file = write_rows(tmp_path / "new.jsonl", [{"body": text} for text in texts])
    assert list(model.file(str(file), ["data.columns={text: body}"])) == list(model(texts))
    with pytest.raises(RecipeError, match=r"only data\.\*"):
        model.file(str(file), ["train.epochs=2"])


def test_what_is_no_model_is_refused(lab: Lab, tmp_path: Path) -> None:
    write_rows(tmp_path / "run" / "recipe.yaml", [])
    with pytest.raises(RunError, match="has no model"):
        Predictor(tmp_path / "run")


@pytest.mark.parametrize("row", ["\ud800 x", {"text": "x \udcff"}])
def test_text_that_is_not_unicode_is_refused(lab: Lab, row: Any) -> None:
    with pytest.raises(DataError, match="input 2 is not valid Unicode"):
        predictor(lab, "single")(["fine" if isinstance(row, str) else {"text": "fine"}, row])


# ---------------------------------------------------------------------- made ready once


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["single", "qa", "seq2seq"])
def test_a_model_is_made_ready_once_and_answers_as_before(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str, precision: str
) -> None:
    made: list[LowWeights] = []
    install = LowWeights.install
    monkeypatch.setattr(LowWeights, "install", lambda low: (made.append(low), install(low)))
    model = Predictor(lab.trained(kind, "full").run, precision=precision)
    inputs: list[Any] = [{name: row[name] for name in INPUTS[kind]} for row in rows(kind, "test")]
    each = [answer for one in inputs for answer in model([one])]
    assert len(made) == 1
    trained = models.load(model.trained.source)
    one_by_one = [answer for one in inputs for answer in answer_rows(trained, model.read([one]), model.settings)]
    assert len(made) == 1 + len(inputs)
    assert each == one_by_one


def test_a_model_is_left_as_it_was_when_its_predictor_goes(lab: Lab) -> None:
    predictor = Predictor(lab.trained("single", "full").run, precision="bf16")
    list(predictor(["One.", "Two."]))
    model: Any = predictor.trained.model
    assert model.config._attn_implementation == ATTENTION
    assert any("forward" in vars(module) for module in model.modules())
    del predictor
    gc.collect()
    assert model.config._attn_implementation != ATTENTION
    assert not any("forward" in vars(module) or module._forward_pre_hooks for module in model.modules())


def test_an_explanation_is_that_of_a_model_that_was_not_made_ready(lab: Lab) -> None:
    predictor = Predictor(lab.trained("single", "full").run)
    example = predictor.read([{"text": rows("single", "test")[0]["text"]}])[0]
    found = explain_new(predictor.trained, example, predictor.settings)
    wanted = explain_new(models.load(predictor.trained.source), example, predictor.settings)
    assert found is not None and wanted is not None and found.gap < 0.01
    assert [word.weight for word in found.words] == pytest.approx([word.weight for word in wanted.words], abs=1e-5)
