"""`ftkit export`: the folder is printed, and holds what its format says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import ftkit
from tests.runs import Lab


def test_checkpoint_is_the_default_and_its_folder_is_printed(lab: Lab, tmp_path: Path) -> None:
    done = ftkit("export", lab.trained("single", "lora").run, "--to", tmp_path / "deep" / "out")
    assert done.code == 0 and done.out == f"{tmp_path / 'deep' / 'out'}\n"
    files = {path.name for path in (tmp_path / "deep" / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "ftkit.json", "README.md"} <= files
    assert not any("adapter" in name or name.startswith(".") for name in files)


def test_adapter_is_what_was_trained(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "lora").run
    assert ftkit("export", run, "--to", tmp_path / "out", "--format", "adapter").code == 0
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert any("adapter" in path.name for path in (tmp_path / "out").iterdir())
    told = [ftkit("predict", source, "a text", "--json").out for source in (run, tmp_path / "out")]
    assert told[0] == told[1] != ""


def test_readme_of_the_export_tells_its_scores(lab: Lab, tmp_path: Path) -> None:
    trained = lab.trained("single", "full")
    ftkit("export", trained.run, "--to", tmp_path / "out")
    assert f"{trained.scores['test']['accuracy']['value']:.4f}" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_export_names_its_labels_in_the_order_of_its_outputs(lab: Lab, tmp_path: Path, kind: str) -> None:
    ftkit("export", lab.trained(kind, "full").run, "--to", tmp_path / "out")
    names = json.loads((tmp_path / "out" / "config.json").read_text())["id2label"]
    assert tuple(names[str(i)] for i in range(len(names))) == lab.prepared(kind).labels


def test_run_may_move_and_be_exported_from_where_it_is(lab: Lab, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(lab.trained("single", "full").run, tmp_path / "moved")
    assert ftkit("export", tmp_path / "moved", "--to", tmp_path / "out").code == 0
