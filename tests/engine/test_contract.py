"""Contracts that are torn or were changed are refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.checkpoints.folder import CONTRACT
from ftkit.engine import model as models
from ftkit.errors import CheckpointError, FTKitError
from tests.runs import Lab, loose


def test_torn_contract_is_named(lab: Lab, tmp_path: Path) -> None:
    loose(lab.train("single", "train.epochs=0").run / "model", tmp_path / "out")
    (tmp_path / "out" / "ftkit.json").write_text('{"ftkit": ')
    with pytest.raises(CheckpointError, match=r"ftkit\.json can't be read"):
        models.load(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": {}}, "task"),
        ({"task": {"name": 3}}, "task"),
        ({"method": {}}, "method"),
        ({"labels": []}, "names no labels"),
        ({"precision": "fp8"}, "precision"),
        ({"task": {"name": "classification", "temperature": 1e-300}}, "temperature"),
    ],
)
def test_a_contract_that_was_changed_is_refused(lab: Lab, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = loose(lab.trained("single", "full").run / "model", tmp_path / "model")
    contract = json.loads((folder / CONTRACT).read_text()) | change
    (folder / CONTRACT).write_text(json.dumps(contract))
    with pytest.raises(FTKitError) as caught:
        models.load(folder)
    assert said in caught.value.message
    assert "pydantic" not in caught.value.message
