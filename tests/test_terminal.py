"""Tables and the progress line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.terminal import (
    Progress,
    baselines_table,
    breakdown_table,
    calibration_note,
    plan_table,
    say,
    scores_table,
    silence,
    table,
)

CELLS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=9)


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=2)))
def test_columns_of_a_table_stand_under_each_other(rows: list[list[str]]) -> None:
    lines = table(rows[0], rows[1:]).split("\n")
    assert len(lines) == len(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for line, row in zip(lines, rows, strict=True):
        place = 0
        for cell, width in zip(row, widths, strict=True):
            assert line[place : place + width].strip() == cell
            place += width + 2


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert table(["name", "n"], [["a", 5], ["long one", 1200]]).split("\n") == [
        "name         n",
        "a            5",
        "long one  1200",
    ]


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


def test_plan_tells_rows_labels_steps_notes_and_warnings() -> None:
    plan = {
        "rows": {"train": 90, "test": 10},
        "labels": [f"label {i}" for i in range(14)],
        "epochs": 2.5,
        "steps": 15,
        "precision": "bf16",
        "checkpoint": "/some/where",
        "notes": ["a guess"],
        "warnings": ["a worry"],
    }
    lines = plan_table(plan).split("\n")
    assert lines[0].split(maxsplit=1) == ["rows", "90 train, 10 test"]
    assert lines[1].endswith("label 11 and 2 more")
    assert lines[2].split(maxsplit=1) == ["training", "2.5 epochs, 15 steps, in bf16"]
    assert lines[3].split() == ["checkpoint", "/some/where"]
    assert lines[4:] == ["note: a guess", "warning: a worry"]
    assert "labels      none" in plan_table({**plan, "labels": []})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.parametrize(("seconds", "left"), [(7.4, "0:07 left"), (61, "1:01 left"), (3725, "1:02:05 left")])
def test_line_tells_loss_rate_speed_and_time_left(monkeypatch: pytest.MonkeyPatch, seconds: float, left: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    terminal = Terminal()
    progress = Progress(terminal)
    progress.start(200)
    progress.note({"accuracy": 0.75, "loss": 1.0})
    progress.step(50, 0.69314, 2e-5, 1234.4, seconds)
    progress.stop()
    told = f"50/200 loss 0.6931  rate 2.0e-05  1,234 examples/s  {left}  validation accuracy 0.7500"
    assert told in " ".join(shown(terminal).split("\n")).replace("\r", "")
    assert terminal.getvalue().rstrip().endswith("\x1b[2K"), "nothing of the line is left"


@pytest.mark.parametrize(
    "progress", [Progress(io.StringIO()), Progress(Terminal(), show=False)], ids=["a file", "not asked for"]
)
def test_nobody_watching_sees_nothing(progress: Progress) -> None:
    progress.start(10)
    progress.step(1, 0.5, 1e-5, 10, 10)
    progress.advance(2)
    progress.note({"f1": 0.5})
    progress.stop()
    assert isinstance(progress.stream, io.StringIO) and progress.stream.getvalue() == ""


def test_sentences_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("a note")
    silence("nothing")
    assert capsys.readouterr() == ("", "a note\n")


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


def test_what_is_said_to_nobody_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ftkit train ... 2>&1 | tee log`: Ctrl-C ends `tee`, too."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        say("stopping")
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            nobody.close()
