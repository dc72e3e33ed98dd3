"""Files from strangers: no pickle is read, no code of theirs runs, whatever a checkpoint or a recipe asks for."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftkit import checkpoints, trust
from ftkit.engine import model as models
from ftkit.engine.embed import Embedder
from ftkit.errors import CheckpointError, FTKitError, RecipeError, RunError
from ftkit.metrics.evidence import Evidence
from ftkit.recipe import load_recipe
from ftkit.terminal import Progress
from tests.command import ftkit
from tests.faults.harness import Marking, poisoned
from tests.runs import Lab, loose


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that code of a stranger would make."""
    return tmp_path / "ran"


@pytest.fixture
def base(lab: Lab, tmp_path: Path) -> Path:
    """A plain checkpoint that a test may poison."""
    return Path(shutil.copytree(lab.checkpoint("bert"), tmp_path / "base"))


@pytest.fixture
def export(lab: Lab, tmp_path: Path) -> Path:
    """A fine-tuned one."""
    return loose(lab.trained("single", "full").run / "model", tmp_path / "export")


def change(file: Path, **settings: Any) -> None:
    """Settings of a JSON file, new or others."""
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**before, **settings}))


def use(folder: Path) -> list[FTKitError]:
    """All that ftkit does with a checkpoint; the sentences that it refuses it with."""
    calls: list[Callable[[], object]] = [
        lambda: models.locate_base(str(folder)),
        lambda: models.load(folder),
        lambda: Embedder(checkpoints.locate(str(folder)).path, False, Progress(show=False)),
    ]
    said = []
    for call in calls:
        try:
            call()
        except FTKitError as error:
            said.append(error)
    return said


# ---------------------------------------------------------------------- pickles


PICKLES = ("pytorch_model.bin", "model.bin", "pytorch_model.pt", "model.ckpt", "training_args.bin", "optimizer.pt")


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("alone", [True, False])
def test_no_pickle_of_weights_is_read(export: Path, marker: Path, name: str, alone: bool) -> None:
    (export / name).write_bytes(poisoned(marker))
    if alone:
        (export / "model.safetensors").unlink()
    said = use(export)
    assert bool(said) == alone and not marker.exists()


def test_pickles_alone_are_refused_with_the_way_to_convert_them(base: Path, marker: Path) -> None:
    torch.save(Marking(marker), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"pickle files \(pytorch_model.bin\)") as caught:
        checkpoints.locate(str(base))
    assert "save_pretrained" in caught.value.hint and not marker.exists()


def test_a_config_that_names_other_weights_is_refused(export: Path, marker: Path) -> None:
    (export / "other.bin").write_bytes(poisoned(marker))
    change(export / "config.json", transformers_weights="other.bin")
    assert all("transformers_weights" in error.message for error in use(export)) and not marker.exists()
    assert len(use(export)) == 3


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.safetensors"])
def test_no_pickle_of_an_adapter_is_read(lab: Lab, tmp_path: Path, marker: Path, name: str) -> None:
    folder = loose(lab.trained("single", "lora").run / "model", tmp_path / "lora")
    (folder / "adapter_model.safetensors").unlink()
    (folder / name).write_bytes(poisoned(marker))
    with pytest.raises(CheckpointError):
        models.load(folder)
    assert not marker.exists()


def test_an_adapter_beside_weights_is_not_loaded_by_the_way(export: Path, marker: Path) -> None:
    change(export / "adapter_config.json", peft_type="LORA", r=2, base_model_name_or_path="../elsewhere")
    (export / "adapter_model.bin").write_bytes(poisoned(marker))
    assert all("adapter" in error.message for error in use(export)) and len(use(export)) == 3
    assert not marker.exists()


def test_an_adapters_settings_import_nothing(
    lab: Lab, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "megatron").mkdir()
    (tmp_path / "megatron" / "core.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for settings in (
        {"megatron_config": {"a": 1}, "megatron_core": "megatron.core"},
        {"auto_mapping": {"base_model_class": "X", "parent_library": "megatron.core"}},
    ):
        folder = loose(lab.trained("single", "lora").run / "model", tmp_path / settings.popitem()[0])
        change(folder / "adapter_config.json", **settings)
        with contextlib.suppress(FTKitError):
            models.load(folder)
        assert not marker.exists()


def test_evidence_of_pickles_is_refused(tmp_path: Path, marker: Path) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, detail=np.array([Marking(marker)], dtype=object), rows=np.zeros(1))
    with pytest.raises(RunError, match="can't be read"):
        Evidence.load(path)
    assert not marker.exists()


def test_docbins_are_read_without_pickles(tmp_path: Path, marker: Path) -> None:
    data = tmp_path / "rows.spacy"
    data.write_bytes(poisoned(marker))
    assert ftkit("data", "check", data).code == 3
    assert not marker.exists()


# ---------------------------------------------------------------------- code


def test_code_in_the_folder_does_not_run(export: Path, marker: Path) -> None:
    code = f"open({str(marker)!r}, 'w')\nclass A: pass\n"
    for name in ("modeling_a.py", "custom_generate/generate.py", "sitecustomize.py", "tokenization_a.py"):
        (export / name).parent.mkdir(exist_ok=True)
        (export / name).write_text(code)
    everything = {f"Auto{kind}": "modeling_a.A" for kind in ("Config", "Model", "ModelForSequenceClassification")}
    change(export / "config.json", auto_map=everything)
    change(export / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_a.A", None]})
    change(export / "generation_config.json", custom_generate="custom_generate")
    use(export)
    assert not marker.exists()
    change(export / "config.json", model_type="new_here")
    assert len(use(export)) == 2 and not marker.exists()
    change(export / "tokenizer_config.json", tokenizer_class="tokenization_a.A")
    use(export)
    assert not marker.exists()


def test_a_model_of_unknown_code_is_refused_without_a_question(
    export: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who presses y at the prompt of a library has not said --allow-code."""
    (export / "modeling_a.py").write_text(f"open({str(marker)!r}, 'w')\nclass A: pass\n")
    change(export / "config.json", auto_map={"AutoConfig": "modeling_a.A"}, model_type="new_here")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert len(use(export)) == 2 and not marker.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"quantization_config": {"quant_method": "finegrained_fp8"}},
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": "somebody/kernel:run"},
    ],
)
def test_a_config_that_asks_for_code_of_the_hub_is_refused(export: Path, settings: dict[str, Any]) -> None:
    change(export / "config.json", **settings)
    assert len(use(export)) == 3


def test_a_chat_template_can_not_leave_its_sandbox(lab: Lab, tmp_path: Path, marker: Path) -> None:
    folder = loose(lab.trained("causal", "full").run / "model", tmp_path / "causal")
    attack = "{{ ''.__class__.__base__.__subclasses__() }}{{ cycler.__init__.__globals__.os.system('touch %s') }}"
    (folder / "chat_template.jinja").write_text(attack % marker)
    done = ftkit("predict", folder, "a text")
    assert not marker.exists() and "Traceback" not in done.err
    assert done.code in (0, 3)


# ---------------------------------------------------------------------- recipes


@pytest.mark.parametrize(
    "tagged",
    [
        "!!python/object/apply:os.system ['touch {}']",
        "!!python/object/new:os.system ['touch {}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!mine {{a: 1}}",
    ],
)
def test_tags_of_yaml_are_refused_with_a_sentence(tmp_path: Path, marker: Path, tagged: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: qa\nmodel: {{checkpoint: minilm}}\ndata: {tagged.format(marker)}\n")
    with pytest.raises(RecipeError, match=r"recipe\.yaml, line 3: .*tag") as caught:
        load_recipe(recipe)
    assert "without" in caught.value.hint and not marker.exists()
    done = ftkit("train", recipe, "--set", f"data.train={tagged.format(marker)}")
    assert done.code == 3 and not marker.exists() and "Traceback" not in done.err


def test_a_runs_recipe_is_a_strangers_by_its_files_name_too(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_allowed", False)
    (tmp_path / "code.py").write_text(f"open({str(marker)!r}, 'w')")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"task: {tmp_path}/code.py\nmodel: {{checkpoint: minilm}}\n")
    (tmp_path / "recipe.yaml.sha256").write_text("")
    for source in (tmp_path, recipe):
        with pytest.raises(RunError, match=r"code\.py"):
            load_recipe(source)
    assert not marker.exists()
