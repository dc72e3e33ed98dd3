"""Trained folders: what answers is whole and was trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from ftkit.engine import model as models
from ftkit.engine import pretrained
from ftkit.errors import CheckpointError
from tests.runs import Lab, loose


def test_base_checkpoint_has_no_answers(lab: Lab) -> None:
    with pytest.raises(CheckpointError, match="has no head for a task"):
        models.load(lab.checkpoint("bert"))


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_an_answering_head_is_never_made_up(lab: Lab, tmp_path: Path, kind: str) -> None:
    folder = loose(lab.trained(kind, "full").run / "model", tmp_path / "export")
    contract = json.loads((folder / "ftkit.json").read_text())
    (folder / "ftkit.json").write_text(json.dumps({**contract, "labels": contract["labels"][::-1]}))
    with pytest.raises(CheckpointError, match="different labels"):
        models.load(folder)
    (folder / "ftkit.json").write_text(json.dumps(contract))
    weights = load_file(folder / "model.safetensors")
    headless = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    save_file(headless, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack 2 .* classifier"):
        models.load(folder)


def test_a_model_without_its_tokenizer_does_not_answer(lab: Lab, tmp_path: Path) -> None:
    folder = loose(lab.trained("single", "full").run / "model", tmp_path / "export")
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="there is no tokenizer"):
        models.load(folder)


def test_torn_adapters_are_sentences(lab: Lab, tmp_path: Path) -> None:
    folder = loose(lab.trained("single", "lora").run / "model", tmp_path / "export")
    (folder / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="can't be read"):
        models.load(folder)


def test_adapters_of_equal_weights_and_other_labels_are_merged_apart(lab: Lab, tmp_path: Path) -> None:
    """The labels of one would stand with the answers of the other."""
    folder = lab.trained("single", "lora").run / "model"
    other = loose(folder, tmp_path / "export")
    told = json.loads((other / "ftkit.json").read_text())
    names = told["labels"][::-1]
    (other / "ftkit.json").write_text(json.dumps({**told, "labels": names}))
    found = [pretrained.read_config(models.locate_base(str(path)).path) for path in (folder, other, folder)]
    assert [pretrained.label_names(config)[0] for config in found] == [names[-1], names[0], names[-1]]
