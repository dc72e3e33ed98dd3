"""Several processes: their rows, and their errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ftkit.engine import launch
from ftkit.engine.train import train
from ftkit.errors import FTKitError
from ftkit.run import RunDirectory
from tests.runs import Lab, read_jsonl


@pytest.mark.parametrize("kind", ["single", "ner", "multi"])
def test_folds_part_the_rows(lab: Lab, kind: str) -> None:
    prepared = lab.prepared(kind, "train.folds=4")
    parts = [launch.fold_rows(prepared, fold) for fold in (1, 2, 3, 4)]
    assert sorted(i for _, held in parts for i in held) == list(range(22))
    assert all(sorted(kept + held) == list(range(22)) for kept, held in parts)
    assert parts == [launch.fold_rows(prepared, fold) for fold in (1, 2, 3, 4)]


@pytest.mark.slow
def test_error_of_a_process_is_the_users_and_leaves_nothing(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(lab.recipe("single", "train.metric=acuracy"), tmp_path / "run")
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with pytest.raises(FTKitError, match="'acuracy' is no score"):
        launch.fit_in_processes(run, 2, None)
    run.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_folds_in_two_processes_are_the_folds_in_one(lab: Lab, tmp_path: Path) -> None:
    settings = ("train.folds=2", "train.optimizer=sgd", "train.learning_rate=0.1")
    one = lab.train("single", *settings)
    two = train(lab.recipe("single", *settings), tmp_path / "run", 2)
    assert two.scores == one.scores
    ours, theirs = (read_jsonl(run.run / "predictions" / "folds.jsonl") for run in (two, one))
    assert [(a["fold"], a["label"]) for a in ours] == [(a["fold"], a["label"]) for a in theirs]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
