"""Scores as a terminal shows them."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.cli._scores import baselines_table, breakdown_table, calibration_note, scores_table
from ftkit.metrics import percent


def test_scores_have_a_row_each_and_a_column_for_each_split() -> None:
    scores = {
        "folds": {"f1": {"value": 0.5, "sd": 0.125, "n": 40}},
        "test": {
            "f1": {"value": 1 / 3, "n": 10},
            "micro_precision": {"value": 0.1, "n": 10},
            "loss": {"value": 12.0, "n": 10},
        },
    }
    lines = [line.split() for line in scores_table(scores).split("\n")]  # type: ignore[arg-type]
    assert lines == [
        ["folds", "test"],
        ["f1", "0.5000", "±", "0.1250", "0.3333"],
        ["loss", "12.0000"],
        ["rows", "40", "10"],
    ]


def test_split_without_scores_has_no_rows() -> None:
    assert scores_table({"test": {}}).split() == ["test", "rows", "0"]


def test_labels_have_a_row_each() -> None:
    rows = [{"label": "yes", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "n": 4}]
    assert breakdown_table(rows).split() == [
        "label",
        "precision",
        "recall",
        "f1",
        "n",
        "yes",
        "1.0000",
        "0.5000",
        "0.6667",
        "4",
    ]


def test_calibration_tells_the_error_before_and_after_and_what_is_given() -> None:
    split = {"temperature": 1.5, "threshold": 0.0, "ece_before": 0.08, "ece_after": 0.021}
    assert calibration_note({}) == ""
    told = calibration_note({"validation": split, "test": {**split, "ece_after": 0.03}})
    assert told == (
        "calibration error (ECE) validation 0.080 -> 0.021, test 0.080 -> 0.030, with the temperature 1.500"
    )
    split |= {"threshold": 0.75, "coverage": 0.6, "precision": 0.95}
    told = calibration_note({"test": split})
    assert told.splitlines()[1] == "answers given, at a probability of 0.750 or more: test 0.600 (0.950 right)"


@pytest.mark.parametrize("verdict", ["better", "worse", "not distinguishable"])
def test_baselines_stand_beside_the_model(verdict: str) -> None:
    ours = {"f1": {"value": 0.75}, "accuracy": {"value": 0.8}}
    theirs = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
    gain: dict[str, Any] = {"baseline": "majority", "metric": "accuracy", "n": 40, "value": 0.3, "low": 0.2}
    gain |= {"high": 0.4, "p": 0.012, "test": "mcnemar"}
    scores, baselines = {"validation": {}, "test": ours}, {"validation": {}, "test": {"majority": theirs}}
    shown = baselines_table(scores, baselines, {"test": {**gain, "verdict": verdict}}, "accuracy")  # type: ignore[arg-type]
    header, model, majority, sentence = shown.split("\n")
    assert header.split() == ["test", "accuracy", "f1"]
    assert model.split() == ["the", "model", "0.8000", "0.7500"]
    assert majority.split() == ["majority", "0.5000", "[0.400,", "0.600]"]
    assert (
        sentence.startswith(f"the model is {verdict} ")
        and "accuracy +0.3000 [+0.200, +0.400], p = 0.012 (McNemar's exact test), n = 40" in sentence
    )
    assert baselines_table(scores, baselines, {}, "accuracy") == "\n".join([header, model, majority])  # type: ignore[arg-type]


def test_levels_are_told_as_they_were_set() -> None:
    assert [percent(level) for level in (0.95, 0.995, 0.9)] == ["95%", "99.5%", "90%"]
