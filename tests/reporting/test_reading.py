"""The files of a run as a report reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.errors import RunError
from ftkit.reporting.reading import read_runs
from tests.reporting.made import made


def test_the_test_rows_come_first_and_folds_last(tmp_path: Path) -> None:
    (run,) = read_runs([made(tmp_path / "run")])
    assert list(run.scores["scores"]) == ["folds", "validation", "test"]
    assert list(run.splits()) == ["test", "validation", "folds"]


def test_the_run_says_which_metric_decides_else_its_analysis_else_the_first_is_taken(tmp_path: Path) -> None:
    scores = {"scores": {"test": {"f1": {"value": 0.5}, "accuracy": {"value": 0.6}}}}
    analysed = {"analysis/test.json": {"rows": 3, "metric": "accuracy"}}
    (said,) = read_runs([made(tmp_path / "a", **{"scores.json": {**scores, "metric": "mcc"}, **analysed})])
    (known,) = read_runs([made(tmp_path / "b", **{"scores.json": scores, **analysed})])
    (first,) = read_runs([made(tmp_path / "c", **{"scores.json": scores, "analysis/test.json": None})])
    assert [run.metric() for run in (said, known, first)] == ["mcc", "accuracy", "f1"]


def test_a_line_in_the_middle_of_the_log_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    lines = (run / "log.jsonl").read_text().splitlines()
    (run / "log.jsonl").write_text("\n".join([lines[0], '{"step": 2, "lo', *lines[2:]]))
    with pytest.raises(RunError, match=r"log\.jsonl, line 2 can't be read"):
        read_runs([run])
