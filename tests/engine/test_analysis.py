"""Analysis: what is counted is counted once, slices that are worse are found, mistakes are shown with their places."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine import model as models
from ftkit.engine.analysis import _LONGEST, ERRORS, analysis, entity_confusion, pairs, truncated_rows, words
from ftkit.engine.scoring import scored
from ftkit.recipe import EvaluateSpec
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


def test_cut_rows_are_told_by_any_of_their_windows() -> None:
    assert truncated_rows({"example": [0, 1, 1, 2], "truncated": [False, False, True, False]}, 4) == [
        False,
        True,
        False,
        False,
    ]
    assert truncated_rows({"example": [0, 1]}, 2) == [False, False]


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
