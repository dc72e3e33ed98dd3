"""A run that is killed at random moments ends with the weights of one that nobody killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ftkit.files import sha256
from tests.command import environment
from tests.runs import Lab, log

METHODS = {
    "full": ("method=full", "train.precision=auto"),
    "lora": ("method=lora", "train.accumulate=2"),
    "head": ("method=head", "train.batch_tokens=64"),
}


def killed(lab: Lab, folder: Path, kills: int, *settings: str) -> dict[str, int]:
    """Where a run was killed that ended as one that was not."""
    recipe, run = folder / "mine.yaml", folder / "run"
    usual = ("train.checkpoint_every=1", "model.dropout=0.2", "evaluate.resamples=0")
    recipe.write_text(lab.recipe("single", f"train.epochs={2 * kills + 20}", *usual, *settings).dump())
    command = [sys.executable, "-m", "tests.faults.killing", str(recipe), str(run), str(kills), "7"]
    told = subprocess.run(command, env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    whole = folder / "run-whole"
    assert sha256(run / "model") == sha256(whole / "model") and log(run) == log(whole)
    scores = [json.loads((path / "scores.json").read_text())["scores"] for path in (run, whole)]
    assert scores[0] == scores[1]
    left = sorted(path.name for path in folder.iterdir() if "starting" not in path.name)
    assert left == ["mine.yaml", "run", "run-whole"]
    return dict(json.loads(told.stdout))


def test_three_kills(lab: Lab, tmp_path: Path) -> None:
    assert sum(killed(lab, tmp_path, 3).values()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_fifty_kills(lab: Lab, tmp_path: Path, method: str) -> None:
    where = killed(lab, tmp_path, 50, *METHODS[method])
    assert sum(where.values()) == 50 and where["saving"] >= 20
