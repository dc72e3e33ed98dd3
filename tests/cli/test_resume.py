"""`ftkit train --resume`: what it needs, what it refuses, what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.engine import interrupt
from tests.command import ftkit, stands
from tests.runs import Lab


def recipe(lab: Lab, folder: Path) -> Path:
    path = folder / "mine.yaml"
    path.write_text(lab.recipe("single", "train.epochs=2").dump())
    return path


def test_an_interrupted_run_is_gone_on_with_by_its_directory_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(interrupt, "asked", lambda: True)
        stopped = ftkit("train", recipe(lab, tmp_path), "--run", tmp_path / "run")
    assert stopped.code == 130 and stopped.out == ""
    assert stopped.err.splitlines()[-2:] == [
        "interrupted after step 1, which is saved",
        f"  `ftkit train --resume --run {tmp_path / 'run'}` goes on from there",
    ]
    again = ftkit("train", "--resume", "--run", tmp_path / "run", "--json")
    assert again.code == 0
    told = json.loads(again.out)
    assert told["scores"] == json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    once_more = ftkit("train", "--resume", "--run", tmp_path / "run", "--json")
    assert once_more.code == 0 and json.loads(once_more.out) == told and "complete" in once_more.err


def test_with_a_recipe_it_begins_what_is_not_there_and_knows_its_own(lab: Lab, tmp_path: Path) -> None:
    mine = recipe(lab, tmp_path)
    assert ftkit("train", mine, "--resume", "--run", tmp_path / "run").code == 0
    assert ftkit("train", mine, "--resume", "--run", tmp_path / "run").code == 0
    other = ftkit("train", mine, "--set", "train.seed=5", "--resume", "--run", tmp_path / "run")
    assert other.code == 3 and "of another recipe, or of other settings" in other.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--resume",), 2, "name its directory with --run"),
        ((), 2, "a recipe is missing"),
        (("--resume", "--run", "none"), 3, "no run has begun in it"),
        (("--resume", "--run", "none", "--dry-run"), 2, "say one of them"),
        (("--resume", "--run", "none", "--set", "train.epochs=3"), 3, "a run goes on as its recipe says"),
    ],
)
def test_what_it_can_not_go_on_with_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ftkit("train", *words)
    assert (done.code, done.out) == (code, "")
    assert said in " ".join(done.err.replace("│", " ").split())
    assert not stands(tmp_path)
