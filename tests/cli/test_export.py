"""`ftkit export`: the folder is printed, and holds what its format says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit import exporters
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


@pytest.mark.fresh_process
@pytest.mark.parametrize("more", [(), pytest.param(("adapter", "torch-bf16"), marks=pytest.mark.slow)])
def test_several_formats_are_proven_in_a_process_of_their_own(lab: Lab, tmp_path: Path, more: tuple[str, ...]) -> None:
    run, formats = lab.trained("single", "lora").run, ("checkpoint", "onnx-int8", *more)
    flags = [word for name in formats for word in ("--format", name)]
    done = ftkit("export", run, "--to", tmp_path / "out", *flags, "--rows", 5)
    assert done.code == 0 and done.out == "".join(f"{tmp_path / 'out' / name}\n" for name in formats)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(formats)
    for name in formats:
        assert f"{name}: logits within" in done.err and "of 5 answers the same, accuracy 0." in done.err
        assert json.loads((tmp_path / "out" / name / "manifest.json").read_text())["parity"]["seconds"]["32"] > 0


def test_a_tolerance_that_is_not_kept_ends_with_4_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "full").run
    done = ftkit("export", run, "--to", tmp_path / "deep" / "out", "--format", "onnx-int8", "--tolerance", "1e-9")
    assert done.code == 4 and done.out == ""
    assert "onnx-int8: its logits differ by up to" in done.err and "1e-09 is allowed" in done.err
    assert not list(tmp_path.iterdir())


def test_what_was_allowed_is_recorded(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "full").run
    done = ftkit("export", run, "--to", tmp_path / "out", "--tolerance", "0.5", "--allow-drop", "0.25")
    assert done.code == 0
    told = json.loads((tmp_path / "out" / "manifest.json").read_text())["parity"]
    assert (told["tolerance"], told["allow_drop"]) == (0.5, 0.25)


def test_all_that_can_not_be_is_told_at_once(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftkit.exporters.openvino import OpenVino

    monkeypatch.setattr(OpenVino, "packages", ("openvino_of_tomorrow",))
    run = lab.trained("single", "full").run
    done = ftkit("export", run, "--to", tmp_path / "out", "--format", "adapter", "--format", "openvino")
    assert done.code == 3 and "method full has no adapter" in done.err
    assert "openvino needs openvino_of_tomorrow" in done.err and "pip install 'ftkit[openvino]'" in done.err
    assert "did you mean onnx?" in ftkit("export", run, "--to", tmp_path / "out", "--format", "onnx8").err


def test_help_names_every_format() -> None:
    told = ftkit("export", "--help").out
    assert all(name in told for name in exporters.names())
