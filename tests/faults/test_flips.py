"""A byte that flips, a file that is cut or gone: noticed when a trained folder is loaded, and told by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ftkit.engine import contract as contracts
from ftkit.engine import model as models
from ftkit.engine.export import export
from ftkit.errors import CheckpointError
from ftkit.files import SEAL, broken
from tests.command import ftkit
from tests.faults.harness import cut, flip, harmed, places
from tests.runs import Lab


def folders(lab: Lab, tmp_path: Path) -> list[Path]:
    """A run's model, an adapter's, and an export of each kind."""
    full, lora = lab.trained("single", "full").run, lab.trained("single", "lora").run
    runs = [Path(shutil.copytree(run / "model", tmp_path / name)) for name, run in (("full", full), ("lora", lora))]
    return [*runs, export(full, tmp_path / "plain"), export(lora, tmp_path / "adapter", "adapter")]


def test_every_flipped_cut_or_missing_file_of_a_trained_folder_is_noticed(lab: Lab, tmp_path: Path) -> None:
    for folder in folders(lab, tmp_path):
        assert broken(folder) == []
        for file in [path for path in folder.rglob("*") if path.is_file()]:
            for place in places(file):
                with harmed(folder), pytest.raises(CheckpointError, match="is damaged") as caught:
                    flip(file, place)
                    models.load(folder)
                assert file.name in caught.value.message and SEAL in caught.value.hint
            for size in (0, file.stat().st_size - 1):
                with harmed(folder), pytest.raises(CheckpointError, match=file.name):
                    cut(file, size)
                    models.load(folder)
            if file.name != SEAL:
                with harmed(folder), pytest.raises(CheckpointError, match=file.name):
                    file.unlink()
                    models.load(folder)
        models.load(folder)


@pytest.mark.parametrize("line", ["predict {} text", "eval {} --data {}", "export {} --to {}-again"])
def test_commands_end_with_exit_code_3_and_a_way_out(lab: Lab, tmp_path: Path, line: str) -> None:
    run = Path(shutil.copytree(lab.trained("single", "full").run, tmp_path / "run"))
    weights = run / "model" / "model.safetensors"
    flip(weights, weights.stat().st_size - 3)
    done = ftkit(*line.format(run, lab.file("single", "test")).split())
    assert done.code == 3
    assert f"{run}/model is damaged: model.safetensors is not as it was written" in done.err
    assert "copy it anew" in done.err and "Traceback" not in done.err


def test_training_does_not_begin_from_a_damaged_run(lab: Lab, tmp_path: Path) -> None:
    for method in ("full", "lora"):
        run = Path(shutil.copytree(lab.trained("single", method).run, tmp_path / method))
        weights = next((run / "model").glob("*.safetensors"))
        flip(weights, weights.stat().st_size // 2)
        for source in (run, run / "model"):
            with pytest.raises(CheckpointError, match=weights.name):
                models.locate_base(str(source))


def test_a_merged_copy_in_the_cache_that_was_damaged_is_made_anew(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    run = lab.trained("single", "lora").run
    merged = models.locate_base(str(run)).path
    whole = (merged / "model.safetensors").read_bytes()
    flip(merged / "model.safetensors", len(whole) // 2)
    assert (models.locate_base(str(run)).path / "model.safetensors").read_bytes() == whole


def test_calibration_replaces_the_contract_and_its_seal_together(lab: Lab, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lab.trained("single", "full").run / "model", tmp_path / "model"))
    trained = models.load(folder)
    flip(folder / "config.json", 5)
    contracts.write(folder, trained.contract.model_copy(update={"precision": "bf16"}))
    assert broken(folder) == ["config.json is not as it was written"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_without_a_seal_loads_as_before(lab: Lab, tmp_path: Path) -> None:
    folder = export(lab.trained("single", "full").run, tmp_path / "out")
    (folder / SEAL).unlink()
    models.load(folder)


def test_a_list_of_hashes_that_is_not_ftkits_is_no_seal(lab: Lab, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lab.checkpoint("bert"), tmp_path / "base"))
    (folder / SEAL).write_text(f"{'0' * 64}  pytorch_model.bin\n")
    assert models.locate_base(str(folder)).path == folder
