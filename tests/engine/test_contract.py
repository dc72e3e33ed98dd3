"""Contracts that are torn or were changed are refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.checkpoints.folder import CONTRACT
from ftkit.engine import contract
from ftkit.engine import model as models
from ftkit.errors import CheckpointError, FTKitError
from tests.runs import Lab, loose
from tests.tiny import tiny


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
        ({"presicion": "bf16"}, "presicion"),
        ({"task": {"name": "classification", "temperature": 1e-300}}, "temperature"),
    ],
)
def test_a_contract_that_was_changed_is_refused(lab: Lab, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = loose(lab.trained("single", "full").run / "model", tmp_path / "model")
    told = json.loads((folder / CONTRACT).read_text()) | change
    (folder / CONTRACT).write_text(json.dumps(told))
    with pytest.raises(FTKitError) as caught:
        models.load(folder)
    assert said in caught.value.message
    assert "pydantic" not in caught.value.message


@pytest.mark.parametrize("labels", [("NOUN", "VERB"), ("PER", "O"), ("LABEL_0", "LABEL_1")])
def test_a_plain_tagger_of_other_tags_is_refused(tmp_path: Path, labels: tuple[str, ...]) -> None:
    config = tiny("bert", labels=len(labels)).config
    config.architectures, config.id2label = ["BertForTokenClassification"], dict(enumerate(labels))
    config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="its labels are no tags of entities"):
        contract.inferred(tmp_path)


@pytest.mark.parametrize(
    ("labels", "problem", "kind"),
    [
        (3, None, "single"),
        (3, "single_label_classification", "single"),
        (3, "multi_label_classification", "multi"),
        (1, None, "regression"),
        (1, "regression", "regression"),
    ],
)
def test_a_plain_classifier_answers_as_it_was_trained_to(
    tmp_path: Path, labels: int, problem: str | None, kind: str
) -> None:
    tiny("bert", labels=labels, problem_type=problem).save_pretrained(tmp_path)
    assert contract.inferred(tmp_path).task == {"name": "classification", "kind": kind}
