"""Analysis: what is counted is counted once, slices that are worse are found, mistakes are shown with their places."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine import model as models
from ftkit.engine.analysis import (
    _LONGEST,
    ERRORS,
    Slice,
    _inside,
    _is_asked,
    _is_worse,
    _part,
    _ranges,
    analysis,
    entity_confusion,
    pairs,
    words,
)
from ftkit.engine.attribution import Explained, Word
from ftkit.engine.scoring import scored
from ftkit.metrics.classification import single_label_tally
from ftkit.metrics.spans import entity_tally
from ftkit.metrics.tally import Tally, means
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Batch, Column, Example, Labels, Marks, Prediction, Task, TokenPlace
from tests.runs import KINDS, Lab

SETTINGS = EvaluateSpec(resamples=200)
FULL = [kind for kind in KINDS if kind != "causal"]


@pytest.mark.parametrize("kind", FULL)
def test_a_run_keeps_the_analysis_of_its_splits(lab: Lab, kind: str) -> None:
    run = lab.trained(kind, "lora" if kind == "multi" else "full").run
    rows = lab.prepared(kind).splits["test"]
    found = json.loads((run / "analysis" / "test.json").read_text())
    scores = json.loads((run / "scores.json").read_text())
    assert found["rows"] == len(rows)
    assert found["metric"] == scores["metric"]
    for group in found["slices"]:
        assert sum(one["rows"] for one in group["slices"]) == len(rows)
        assert group["whole"] == pytest.approx(scores["scores"]["test"][group["metric"]]["value"])
    numbers = {row: i for i, row in enumerate(rows["row"])}
    assert found["errors"]["rows"]
    for error in found["errors"]["rows"]:
        row = rows[numbers[error["row"]]]
        for part in error["texts"]:
            whole = row[part["column"]]
            assert part["text"] == whole[part["before"] : len(whole) - part["after"]]
            for mark in part.get("marks", []):
                assert 0 <= mark["start"] < mark["end"] <= len(part["text"])


def judged(lab: Lab, truth: list[str], said: list[str], **columns: Any) -> dict[str, Any]:
    """The analysis of made up answers of a model of texts with one label."""
    trained = models.load(lab.trained("single", "full").run)
    texts = columns.pop("text", [f"word{i % 7} and {'more ' * (i % 5)}" for i in range(len(truth))])
    rows = Dataset.from_dict({"text": texts, "label": truth, "row": list(range(1, len(truth) + 1)), **columns})
    predictions = [{"label": label, "score": 0.5 + i / len(said) / 2} for i, label in enumerate(said)]
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    return analysis(trained, found, predictions, rows, SETTINGS, "accuracy", explained=1)


def test_a_slice_that_is_wholly_worse_is_flagged_and_no_other(lab: Lab) -> None:
    sources = ["mail", "web", "phone"] * 40
    truth = ["arts", "sport"] * 60
    said = [
        "trade" if source == "web" and i % 4 else label
        for i, (label, source) in enumerate(zip(truth, sources, strict=True))
    ]
    found = judged(lab, truth, said, group=sources)
    by = {group["by"]: group for group in found["slices"]}
    assert {one["name"]: one["worse"] for one in by["group"]["slices"]} == {"mail": False, "web": True, "phone": False}
    web = next(one for one in by["group"]["slices"] if one["name"] == "web")
    assert web["high"] < by["group"]["whole"] and web["method"] == "wilson"


def test_rows_that_belong_to_no_group_are_in_no_slice_by_group(lab: Lab) -> None:
    groups = ["mail", "web", None] * 40
    found = judged(lab, ["arts", "sport"] * 60, ["arts"] * 120, group=groups)
    by = {group["by"]: group["slices"] for group in found["slices"]}
    assert {one["name"]: one["rows"] for one in by["group"]} == {"mail": 40, "web": 40}
    found = judged(lab, ["arts", "sport"] * 60, ["arts"] * 120, group=["mail", None] * 60)
    assert "group" not in {group["by"] for group in found["slices"]}, "one group alone is beside none"


def test_numbers_that_are_exact_are_no_mistakes(lab: Lab) -> None:
    trained = models.load(lab.trained("regression", "full").run)
    truth, said = [1.0, 2.0, 3.0, 4.0], [1.0, 2.5, 3.0, 2.0]
    rows = Dataset.from_dict({"text": ["a", "b", "c", "d"], "label": truth, "row": [1, 2, 3, 4]})
    predictions = [{"value": value} for value in said]
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    errors = analysis(trained, found, predictions, rows, SETTINGS, "mse")["errors"]
    assert (errors["order"], errors["wrong"]) == ("absolute error", 2)
    assert [(error["row"], error["score"]) for error in errors["rows"]] == [(4, 2.0), (2, 0.5)]


def test_confusions_and_the_most_confident_mistakes(lab: Lab) -> None:
    truth = ["arts", "arts", "sport", "trade", "trade", "trade"]
    found = judged(lab, truth, ["arts", "sport", "sport", "arts", "arts", "trade"])
    assert found["confusion"] == {
        "true": ["arts", "sport", "trade"],
        "said": ["arts", "sport", "trade"],
        "counts": [[1, 1, 0], [0, 1, 0], [2, 0, 1]],
    }
    errors = found["errors"]
    assert (errors["order"], errors["wrong"]) == ("confidence", 3)
    assert [error["row"] for error in errors["rows"]] == [5, 4, 2]
    assert [(error["truth"], error["answer"]) for error in errors["rows"]] == [("trade", "arts")] * 2 + [
        ("arts", "sport")
    ]
    assert ["weights" in error["texts"][0] for error in errors["rows"]] == [True, False, False]


def test_endless_texts_are_cut_and_mistakes_are_no_more_than_wanted(lab: Lab) -> None:
    found = judged(lab, ["arts"] * 50, ["sport"] * 50, text=["x" * 1_000_000] + ["short"] * 49)
    assert len(found["errors"]["rows"]) == ERRORS
    assert len(json.dumps(found)) < 50_000
    whole = judged(lab, ["arts", "arts"], ["sport", "arts"], text=["word " * 200_000, "short"])
    (part,) = whole["errors"]["rows"][0]["texts"]
    assert len(part["text"]) == _LONGEST
    assert part["after"] == 1_000_000 - _LONGEST


def test_words_that_training_never_saw_make_slices(lab: Lab) -> None:
    trained = models.load(lab.trained("single", "full").run)
    rows = Dataset.from_dict(
        {"text": ["Known WORDS", "all unknown here"] * 20, "label": ["arts"] * 40, "row": range(40)}
    )
    predictions = [{"label": "arts", "score": 0.9}, {"label": "sport", "score": 0.9}] * 20
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    seen = words(trained.task, [{"text": "known words"}])
    result = analysis(trained, found, predictions, rows, SETTINGS, "accuracy", [True, False] * 20, seen, 0)
    by = {group["by"]: group["slices"] for group in result["slices"]}
    assert [(one["name"], one["value"]) for one in by["words that training never saw"]] == [("0%", 1.0), ("100%", 0.0)]
    assert {(one["name"], one["value"]) for one in by["cut to task.max_length"]} == {("cut", 1.0), ("whole", 0.0)}


# ---------------------------------------------------------------------- a task of one's own


class Notes(Task):
    """One label a note, with the note's place that says so."""

    columns = (Column("note", "text"), Column("label", "label"))

    def encode(self, batch: Batch, tokenizer: Any, labels: Labels) -> Any:
        return dict(tokenizer(batch["note"]))

    def answers(self, predictions: Any, examples: Any) -> tuple[list[Any], list[Any]]:
        return [p["label"] for p in predictions], list(examples["label"])

    def tally(self, predictions: Any, examples: Any) -> Tally:
        said, true = self.answers(predictions, examples)
        return single_label_tally(true, said, sorted({*said, *true}))


class Told(Notes):
    """Takes part in all that is looked at."""

    def traits(self, example: Example) -> dict[str, str]:
        return {"ends with": "?"} if example["note"].endswith("?") else {"ends with": ".", "long": "yes"}

    def marks(self, example: Example, prediction: Prediction) -> Marks:
        return Marks("note", [("", 0, 3)], [("", *prediction["at"])])

    def confidence(self, prediction: Prediction) -> float:
        return float(prediction["sure"])

    def token_places(self, example: Example, encoded: Batch, tokenizer: Any) -> list[list[TokenPlace]] | None:
        found = tokenizer(example["note"], return_offsets_mapping=True)
        places = zip(found.word_ids(), found["offset_mapping"], strict=True)
        return [[None if word is None else ("note", word, *at) for word, at in places]]


def of_own(lab: Lab, kind: type[Task]) -> dict[str, Any]:
    task = kind(kind.Options())
    trained = replace(models.load(lab.trained("single", "full").run), task=task)
    label = task.columns[1].name
    rows = Dataset.from_dict({"note": ["the cat.", "one dog?"] * 10, label: ["arts"] * 20, "row": range(20)})
    predictions = [{"label": "arts", "at": (4, 7), "sure": 0.5}, {"label": "sport", "at": (0, 3), "sure": 0.9}] * 10
    found = scored(task, predictions, rows, SETTINGS, trained.labels)
    return analysis(trained, found, predictions, rows, SETTINGS, "accuracy", explained=1)


def test_a_task_of_ones_own_takes_part_by_its_methods(lab: Lab) -> None:
    found = of_own(lab, Told)
    by = {group["by"]: {one["name"]: one["value"] for one in group["slices"]} for group in found["slices"]}
    assert by["ends with"] == {".": 1.0, "?": 0.0}
    assert "long" not in by, "one value alone is beside none"
    error = found["errors"]["rows"][0]
    assert error["confidence"] == 0.9
    (part,) = error["texts"]
    assert part["marks"] == [{"kind": "right", "label": "", "start": 0, "end": 3}]
    assert [part["text"][start:end] for start, end, _ in part["weights"]] == ["one", "dog", "?"]
    assert error["gap"] < 0.1


class Stances(Told):
    """Its label has a name of its own."""

    columns = (Column("note", "text"), Column("stance", "label"))

    def answers(self, predictions: Any, examples: Any) -> tuple[list[Any], list[Any]]:
        return [p["label"] for p in predictions], list(examples["stance"])


def test_a_label_may_be_called_otherwise(lab: Lab) -> None:
    kinds = [{one["by"]: one["slices"] for one in of_own(lab, kind)["slices"]} for kind in (Told, Stances)]
    assert kinds[0] == kinds[1]


class Errors(Notes):
    """Counts errors, of which few are good."""

    best_metric, lower_is_better = "cer", ("cer",)

    def tally(self, predictions: Any, examples: Any) -> Tally:
        return means({"cer": [0.9, 0.0, 0.5, 1.7] * 5})


def test_of_errors_the_largest_are_the_worst(lab: Lab) -> None:
    found = of_own(lab, Errors)["errors"]
    assert (found["order"], found["wrong"]) == ("cer", 15)
    assert [row["score"] for row in found["rows"]] == [1.7] * 5 + [0.9] * 5 + [0.5] * 5


def test_a_task_of_ones_own_need_not_take_part(lab: Lab) -> None:
    found = of_own(lab, Notes)
    assert found["confusion"]["counts"][found["confusion"]["true"].index("arts")].count(10) == 2
    error = found["errors"]["rows"][0]
    assert error.keys() == {"row", "texts", "truth", "answer"}
    assert error["texts"] == [{"column": "note", "text": "one dog?", "before": 0, "after": 0}]


# ---------------------------------------------------------------------- entities


def test_entities_are_paired_with_the_exact_one_first_and_then_with_what_overlaps_most() -> None:
    truth = [("PER", 0, 5), ("LOC", 10, 20), ("ORG", 30, 35)]
    found = [("PER", 0, 5), ("PER", 3, 12), ("LOC", 14, 20), ("ORG", 40, 44)]
    assert pairs(truth, found) == [
        (("PER", 0, 5), ("PER", 0, 5)),
        (("LOC", 10, 20), ("LOC", 14, 20)),
        (("ORG", 30, 35), None),
        (None, ("PER", 3, 12)),
        (None, ("ORG", 40, 44)),
    ]
    table = entity_confusion([truth], [found])
    assert table["said"] == ["LOC", "ORG", "PER", "other edges", "missed"]
    assert dict(zip(table["true"], table["counts"], strict=True)) == {
        "LOC": [0, 0, 0, 1, 0],
        "ORG": [0, 0, 0, 0, 1],
        "PER": [0, 0, 1, 0, 0],
        "no entity": [0, 1, 1, 0, 0],
    }


spans = st.lists(
    st.tuples(st.sampled_from(("A", "B")), st.integers(0, 20), st.integers(1, 6)).map(
        lambda s: (s[0], s[1], s[1] + s[2])
    ),
    max_size=6,
    unique=True,
)


@given(spans, spans)
def test_every_entity_is_counted_once_and_the_diagonal_is_what_is_right(truth: Any, found: Any) -> None:
    table = entity_confusion([truth], [found])
    counts = np.array(table["counts"]).reshape(len(table["true"]), -1)
    assert counts[:-1].sum() == len(truth)
    assert counts.sum() - counts[:, -1].sum() == len(found)
    assert np.trace(counts[:-1, : len(table["true"]) - 1]) == len(set(truth) & set(found))


# ---------------------------------------------------------------------- mistakes of other tasks


def asked(lab: Lab) -> dict[str, Any]:
    """The analysis of made up answers to three questions on a long passage."""
    trained = models.load(lab.trained("qa", "full").run)
    context = "so it goes " * 400 + "Anna lives in Rome with an old cat."
    questions = {"Whose cat is it?": "Anna", "In which town is it, and where?": "in Rome", "How old?": "an old cat"}
    at = {text: context.index(text) for text in ("Anna", "lives", "in Rome", "Rome", "an old cat")}
    said = {"lives": 0.1, "Rome": 0.8, "an old cat": 0.9}
    rows = Dataset.from_dict(
        {
            "question": list(questions),
            "context": [context] * 3,
            "answers": [{"text": [text], "answer_start": [at[text]]} for text in questions.values()],
            "row": [1, 2, 3],
        }
    )
    predictions = [
        {"answer": text, "start": at[text], "end": at[text] + len(text), "score": score} for text, score in said.items()
    ]
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    return analysis(trained, found, predictions, rows, SETTINGS, "f1", explained=0)


def test_the_worst_answers_come_first_however_sure_with_their_places_in_a_long_passage(lab: Lab) -> None:
    errors = asked(lab)["errors"]
    assert (errors["order"], errors["wrong"]) == ("f1", 2)
    assert [(error["row"], error["confidence"]) for error in errors["rows"]] == [(1, 0.1), (2, 0.8)]
    assert errors["rows"][0]["score"] == 0 < errors["rows"][1]["score"] < 1
    part = next(part for part in errors["rows"][0]["texts"] if part["column"] == "context")
    assert part["before"] > 0 and part["text"].endswith("old cat.")
    assert {(m["kind"], part["text"][m["start"] : m["end"]]) for m in part["marks"]} == {
        ("missed", "Anna"),
        ("wrong", "lives"),
    }


def test_questions_make_slices_by_their_word_and_the_answers_length(lab: Lab) -> None:
    by = {group["by"]: {one["name"]: one["rows"] for one in group["slices"]} for group in asked(lab)["slices"]}
    assert by["question word"] == {"who": 1, "which": 1, "how": 1}
    assert by["answer's length"] == {"1 word": 1, "2 to 3 words": 2}


def test_entities_that_were_withheld_count_and_a_wrong_type_says_both(lab: Lab) -> None:
    trained = models.load(lab.trained("ner", "lora").run)
    rows = lab.prepared("ner").splits["train"]
    rows = rows.select([i for i, row in enumerate(rows) if row["entities"]][:2])
    other = {"LOC": "PER", "PER": "LOC"}
    true = [[{k: e[k] for k in ("type", "start", "end")} | {"score": 0.4} for e in row["entities"]] for row in rows]
    turned = {**true[1][0], "type": other[true[1][0]["type"]]}
    predictions = [{"entities": [], "withheld": true[0]}, {"entities": [turned, *true[1][1:]], "withheld": []}]
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    result = analysis(trained, found, predictions, rows, SETTINGS, "f1", explained=0)
    counts = np.array(result["confusion"]["counts"])
    assert counts[:, -2:].sum() == 0 and counts[-1].sum() == 0
    assert counts[np.eye(*counts.shape, dtype=bool)].sum() == counts.sum() - 1
    (error,) = result["errors"]["rows"]
    (wrong,) = [mark for mark in error["texts"][0]["marks"] if mark["kind"] == "wrong"]
    assert (wrong["label"], wrong["truth"]) == (turned["type"], true[1][0]["type"])


def test_numbers_are_ordered_by_how_far_they_are_off_and_have_no_confidence(lab: Lab) -> None:
    trained = models.load(lab.trained("regression", "full").run)
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0.0, 0.5, 1.0], "row": [1, 2, 3]})
    predictions = [{"value": 0.2}, {"value": -0.1}, {"value": 1.3}]
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    errors = analysis(trained, found, predictions, rows, SETTINGS, "mse")["errors"]
    assert errors["order"] == "absolute error"
    assert [error["row"] for error in errors["rows"]] == [2, 3, 1]
    assert [error["score"] for error in errors["rows"]] == pytest.approx([0.6, 0.3, 0.2])
    assert not any("confidence" in error for error in errors["rows"])


def test_of_errors_a_slice_with_more_is_worse() -> None:
    assert _is_worse({"low": 0.5, "high": 0.9}, 0.4, True) and not _is_worse({"low": 0.5, "high": 0.9}, 0.95, True)
    assert _is_worse({"low": 0.5, "high": 0.9}, 0.95, False) and not _is_worse({"low": 0.5, "high": 0.9}, 0.4, False)


def test_a_slice_without_entities_true_or_predicted_is_not_scored() -> None:
    """Nothing was asked of it, and nothing is wrong in it."""
    truth = [[(0, 1, "PER")]] * 4 + [[]] * 4
    tally = entity_tally(truth, truth)
    assert _is_asked(tally, Slice("with", np.arange(4))) and not _is_asked(tally, Slice("without", np.arange(4, 8)))
    wrong = entity_tally([[]] * 8, truth)
    assert _is_asked(wrong, Slice("with", np.arange(4))) and not _is_asked(wrong, Slice("without", np.arange(4, 8)))


def test_rows_of_documents_are_drawn_by_document_in_slices_too(lab: Lab) -> None:
    truth = ["arts", "sport"] * 40
    said = [label if i % 3 else "trade" for i, label in enumerate(truth)]
    found = judged(lab, truth, said, group=[f"d{i // 8}" for i in range(80)])
    by = {group["by"]: group["slices"] for group in found["slices"]}
    assert {one["method"] for one in by["true label"]} == {"bca"}
    assert {one["method"] for one in by["group"]} == {"wilson"}, "one document alone can't be drawn again"


@pytest.mark.parametrize("cut", [True, False])
def test_mistakes_say_whether_their_own_row_was_cut(lab: Lab, cut: bool) -> None:
    trained = models.load(lab.trained("single", "full").run)
    rows = Dataset.from_dict({"text": ["a b"] * 8, "label": ["arts"] * 8, "row": range(8)})
    predictions = [{"label": "arts", "score": 0.9}, {"label": "sport", "score": 0.9}] * 4
    found = scored(trained.task, predictions, rows, SETTINGS, trained.labels)
    truncated = [not cut, cut] * 4
    errors = analysis(trained, found, predictions, rows, SETTINGS, "accuracy", truncated, explained=0)["errors"]["rows"]
    assert [error.get("cut", False) for error in errors] == [cut] * 4


def test_weights_are_shares_of_the_strongest_whatever_its_sign_and_places_are_cut_at_the_edges() -> None:
    explained = Explained([Word("text", 0, 1, -4.0), Word("text", 2, 3, 1.0), Word("other", 0, 1, 2.0)], "", "", 0.0)
    assert _part("text", "a b", [], explained)["weights"] == [[0, 1, -1.0], [2, 3, 0.25]]
    places = [{"start": 5, "end": 15}, {"start": 12, "end": 25}, {"start": 0, "end": 10}]
    assert _inside(places, 10, 20) == [{"start": 0, "end": 5}, {"start": 2, "end": 10}]


def test_ranges_are_of_equal_size_and_equal_values_stay_together() -> None:
    found = _ranges([1, 2, 3, 4, 1, 2, 3, 4], 4, lambda low, high: f"{low:.0f}-{high:.0f}")
    assert [(one.name, len(one.places)) for one in found] == [(f"{i}-{i}", 2) for i in (1, 2, 3, 4)]
    assert [one.name for one in _ranges([0, 0, 0, 5], 2, lambda low, high: f"{low:.0f}-{high:.0f}")] == ["0-0", "5-5"]
