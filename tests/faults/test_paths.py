"""What came from elsewhere names no path outside of its folder, unless the person says --allow-code."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftkit import checkpoints, trust
from ftkit.data.read import read
from ftkit.engine import model as models
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.errors import CheckpointError, RunError
from ftkit.recipe import load_recipe
from tests.command import ftkit
from tests.runs import Lab, loose


@pytest.fixture(autouse=True)
def stranger(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing was trained."""
    lab.trained("single", "full"), lab.trained("single", "lora")
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "_own", set())
    monkeypatch.setattr(trust, "_lent", set())
    monkeypatch.setattr(trust, "_allowed", False)


def pulled(lab: Lab, tmp_path: Path, method: str = "full") -> Path:
    """A run that was trained elsewhere."""
    return Path(shutil.copytree(lab.trained("single", method).run, tmp_path / "pulled"))


def rename(run: Path, section: str, **settings: Any) -> None:
    """Other names in a run's recipe."""
    import yaml

    raw = yaml.safe_load((run / "recipe.yaml").read_text())
    (run / "recipe.yaml").write_text(yaml.safe_dump({**raw, section: {**raw[section], **settings}}))


def test_a_pulled_run_answers_but_its_data_elsewhere_is_not_read(lab: Lab, tmp_path: Path) -> None:
    run = pulled(lab, tmp_path)
    assert ftkit("predict", run, "a text").code == 0
    assert ftkit("eval", run, "--data", lab.file("single", "test")).code == 0
    for refused in (lambda: evaluate(run), lambda: load_recipe(run), lambda: load_recipe(run / "recipe.yaml")):
        with pytest.raises(RunError, match=r"lies outside of it .*test\.jsonl|lies outside of it") as caught:
            refused()
        assert "--allow-code" in caught.value.hint
    assert ftkit("eval", run, "--allow-code").code == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "~/.ssh/id_rsa", "data/../../x.csv", "./../x.csv"])
def test_a_pulled_recipe_leads_nowhere_else(lab: Lab, tmp_path: Path, name: str) -> None:
    run = pulled(lab, tmp_path)
    for split in ("train", "validation"):
        shutil.copy(lab.file("single", split), run / f"{split}.jsonl")
        rename(run, "data", **{split: str(run / f"{split}.jsonl")})
    rename(run, "data", test=name)
    rename(run, "model", checkpoint="minilm")
    with pytest.raises(RunError, match="names what lies outside of it"):
        evaluate(run)
    rename(run, "data", test=[str(run / "train.jsonl"), name])
    with pytest.raises(RunError, match="names what lies outside of it"):
        evaluate(run)


def test_a_pulled_run_is_not_gone_on_with_from_data_elsewhere(lab: Lab, tmp_path: Path) -> None:
    run = pulled(lab, tmp_path)
    (run / "scores.json").unlink()
    done = ftkit("train", "--resume", "--run", run)
    assert done.code == 3 and "names what lies outside of it" in done.err


def test_a_pulled_recipe_may_name_what_lies_in_its_run(lab: Lab, tmp_path: Path) -> None:
    run = pulled(lab, tmp_path)
    for split in ("train", "validation", "test"):
        shutil.copy(lab.file("single", split), run / f"{split}.jsonl")
        rename(run, "data", **{split: str(run / f"{split}.jsonl")})
    rename(run, "model", checkpoint="minilm")
    assert evaluate(run).scores
    assert load_recipe(run).data.test == str(run / "test.jsonl")


def test_a_link_through_which_a_pulled_recipe_leaves_is_followed(lab: Lab, tmp_path: Path) -> None:
    run = pulled(lab, tmp_path)
    (run / "inner").symlink_to("/etc")
    rename(run, "data", test=str(run / "inner" / "passwd"))
    with pytest.raises(RunError):
        evaluate(run)


def test_the_base_of_a_pulled_adapter_lies_nowhere_else(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = loose(lab.trained("single", "lora").run / "model", tmp_path / "pulled")
    with pytest.raises(RunError, match=f"names what lies outside of it .*{lab.checkpoint('bert')}") as caught:
        models.load(folder)
    assert "--allow-code" in caught.value.hint
    contract = json.loads((folder / "ftkit.json").read_text())
    for name in ("../../x", "/x", "~/x", str(lab.checkpoint("bert").relative_to("/"))):
        contract["base"]["checkpoint"] = name
        (folder / "ftkit.json").write_text(json.dumps(contract))
        monkeypatch.chdir("/")
        with pytest.raises(RunError, match="names what lies outside of it"):
            models.load(folder)


def test_what_was_trained_here_is_followed(lab: Lab, tmp_path: Path) -> None:
    run = pulled(lab, tmp_path, "lora")
    trust.remember(lab.recipe("single", "method=lora").model_dump())
    assert evaluate(run).scores and load_recipe(run)
    models.load(export(run, tmp_path / "out", "adapter"))


@pytest.mark.parametrize("file", ["model.safetensors", "ftkit.json", "config.json"])
def test_links_out_of_a_pulled_folder_are_refused(lab: Lab, tmp_path: Path, file: str) -> None:
    folder = loose(lab.trained("single", "full").run / "model", tmp_path / "pulled")
    (folder / file).rename(tmp_path / file)
    (folder / file).symlink_to(os.path.join("..", file))
    with pytest.raises(RunError, match=f"links that leave it: {file} -> ../{file}"):
        models.load(folder)
    run = pulled(lab, tmp_path / "a")
    shutil.move(run / "model", tmp_path / "model")
    (run / "model").symlink_to(tmp_path / "model")
    with pytest.raises(RunError, match="links that leave it: model"):
        models.load(run)
    trust.allow()
    models.load(folder), models.load(run)


def test_links_inside_a_folder_are_no_fault(lab: Lab, tmp_path: Path) -> None:
    folder = loose(lab.trained("single", "full").run / "model", tmp_path / "pulled")
    (folder / "weights").mkdir()
    (folder / "model.safetensors").rename(folder / "weights" / "model.safetensors")
    (folder / "model.safetensors").symlink_to("weights/model.safetensors")
    models.load(folder)


def test_links_of_the_hubs_cache_are_its_own(lab: Lab, tmp_path: Path) -> None:
    export_ = loose(lab.trained("single", "full").run / "model", tmp_path / "export")
    snapshot = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True), blobs.mkdir()
    for file in export_.iterdir():
        shutil.copy(file, blobs / f"blob-{file.name}")
        (snapshot / file.name).symlink_to(os.path.join("..", "..", "blobs", f"blob-{file.name}"))
    models.load(snapshot)
    (snapshot / "ftkit.json").unlink()
    (snapshot / "ftkit.json").symlink_to(export_ / "ftkit.json")
    with pytest.raises(RunError, match="links that leave it"):
        models.load(snapshot)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/x.safetensors", "a/../../x.safetensors", "..", "x.bin", "sub/x.safetensors"]
)
def test_an_index_names_files_of_its_folder_alone(lab: Lab, tmp_path: Path, name: str) -> None:
    for source in (lab.checkpoint("bert"), lab.trained("single", "full").run / "model"):
        folder = loose(source, tmp_path / source.name)
        (folder / "model.safetensors").rename(tmp_path / "x.safetensors")
        index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": name}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(CheckpointError, match=r"not a list of weight files beside it \(it names"):
            models.load(folder)
        with pytest.raises(CheckpointError, match="it names"):
            checkpoints.locate(str(folder))


def test_a_tokenizers_settings_name_files_of_its_folder_alone(lab: Lab, tmp_path: Path) -> None:
    folder = loose(lab.trained("single", "full").run / "model", tmp_path / "a" / "pulled")
    elsewhere = tmp_path / "a" / "tokenizer.1.0.json"
    elsewhere.write_text("{}")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    for name in ("../tokenizer.1.0.json", str(elsewhere)):
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "fast_tokenizer_files": [name]}))
        with pytest.raises(CheckpointError, match=r"tokenizer_config\.json names a file of another folder"):
            models.load(folder)
    away = {"vocab_file": "/etc/passwd", "tokenizer_file": str(elsewhere), "special_tokens_map_file": "/etc/passwd"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **away}))
    before = models.load(lab.trained("single", "full").run).tokenizer.get_vocab()
    assert models.load(folder).tokenizer.get_vocab() == before


@pytest.mark.parametrize("ending", [".ann", ".txt"])
def test_links_out_of_a_folder_of_texts_are_refused(tmp_path: Path, ending: str) -> None:
    data, secret = tmp_path / "data", tmp_path / "secret"
    data.mkdir()
    (data / "a.txt").write_text("Ada wrote.")
    (data / "a.ann").write_text("T1\tPER 0 3\tAda\n")
    assert len(read(data, header=False).rows) == 1
    secret.write_text("Ada wrote. And more.")
    (data / f"a{ending}").unlink()
    (data / f"a{ending}").symlink_to("../secret")
    with pytest.raises(RunError, match=rf"links that leave it: a\{ending}"):
        read(data, header=False)
