"""Every format keeps the exporter's contract: what it writes answers as the run does, and what is harmed is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftkit import exporters
from ftkit.engine import export as exporting
from ftkit.engine import model as models
from ftkit.engine.compare import compare
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.errors import CheckpointError, GateError, RecipeError, RunError
from ftkit.files import broken, sha256
from tests.exporters import harms
from tests.runs import CASES, METHODS, Lab, assert_close

FORMATS = exporters.names()
GRAPHS = [name for name in FORMATS if not exporters.find(name).is_torch]
ROTATED = [(kind, methods[i % len(methods)]) for i, (kind, methods) in enumerate(METHODS.items())]
"""Every kind of task with one of its methods; with the tests of tests/engine/test_export.py, every pair is met."""
EXACT = 2e-3
"""How far numbers of an answer may lie from the run's, in a format that rounds nothing."""


def offered(lab: Lab, kind: str, method: str) -> list[str]:
    """The formats that a run can be had in."""
    trained = models.load(lab.trained(kind, method).run)
    whole = trained.method.standalone or trained.method.peft
    return [
        name
        for name in FORMATS
        if not exporters.find(name).refuses(trained) and (whole or name not in ("checkpoint", "torch-bf16"))
    ]


def inputs(lab: Lab, kind: str) -> list[Any]:
    columns = {column.name for column in lab.prepared(kind).task.columns if column.is_input}
    return [{name: row[name] for name in columns & row.keys()} for row in lab.prepared(kind).splits["test"].to_list()]


def check(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    run, formats = lab.trained(kind, method).run, offered(lab, kind, method)
    told: list[str] = []
    export(run, tmp_path / "out", formats, told.append)
    known = list(Predictor(run, precision="fp32")(inputs(lab, kind)))
    for name in formats:
        folder = tmp_path / "out" / name
        assert not broken(folder) and any(line.startswith(f"{name}: logits within") for line in told)
        found = list(Predictor(folder)(inputs(lab, kind)))
        assert [answer.keys() for answer in found] == [answer.keys() for answer in known]
        if exporters.find(name).tolerance is not None:
            assert_close(found, known, EXACT)


@pytest.mark.parametrize(("kind", "method"), ROTATED)
def test_every_task_in_every_format_answers_as_its_run(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    check(lab, tmp_path, kind, method)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "method"), [case for case in CASES if case not in ROTATED])
def test_every_method_of_every_task_does(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    check(lab, tmp_path, kind, method)


def refused(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, method: str, harm: harms.Harm
) -> None:
    """An export of a harmed model is refused in each format, and leaves nothing."""
    run, formats = lab.trained(kind, method).run, offered(lab, kind, method)
    load = exporting.models.load
    monkeypatch.setattr(exporting.Material, "trained", lambda self: harm(load(self.source)))
    with pytest.raises(GateError) as caught:
        export(run, tmp_path / "deep" / "out", formats)
    assert caught.value.exit_code == 4
    lines = caught.value.message.split("\n")[1:]
    assert {line.removeprefix("  - ").partition(":")[0] for line in lines} == set(formats)
    assert not (tmp_path / "deep").exists()


HARMS = [harms.permuted_labels, harms.dropped_head, harms.random_layer]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_what_was_harmed_on_the_way_is_refused(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: harms.Harm
) -> None:
    refused(lab, tmp_path, monkeypatch, "single", "lora", harm)


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize(("kind", "method"), ROTATED)
def test_so_it_is_of_every_task(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, method: str, harm: harms.Harm
) -> None:
    labels = lab.prepared(kind).labels
    if (harm is not harms.random_layer and not labels) or (harm is harms.permuted_labels and len(labels) < 2):
        return
    refused(lab, tmp_path, monkeypatch, kind, method, harm)


@pytest.mark.parametrize("kind", ["single", "causal"])
def test_another_tokenizer_is_refused(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    save = models.save_beside

    def exchanged(folder: Path, tokenizer: Any, contract: models.Contract) -> None:
        save(folder, tokenizer, contract)
        harms.exchange_words(folder / "tokenizer.json")

    monkeypatch.setattr(exporting.models, "save_beside", exchanged)
    with pytest.raises(GateError, match=r"checkpoint: its tokenizer makes other tokens than the run's, of row \d"):
        export(lab.trained(kind, "full").run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_labels_that_are_named_in_another_order_are_refused(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = models.save_beside

    def renamed(folder: Path, tokenizer: Any, contract: models.Contract) -> None:
        labels = contract.labels[1:] + contract.labels[:1]
        save(folder, tokenizer, contract.model_copy(update={"labels": labels}))
        config = json.loads((folder / "config.json").read_text())
        config |= {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
        (folder / "config.json").write_text(json.dumps(config))

    monkeypatch.setattr(exporting.models, "save_beside", renamed)
    with pytest.raises(GateError, match="its labels are sport, trade, arts, the run's arts, sport, trade"):
        export(lab.trained("single", "full").run, tmp_path / "out")


# ------------------------------------------------------------------ what lies in the folder


@pytest.fixture(scope="module")
def folders(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one label a text, in every format."""
    to = tmp_path_factory.mktemp("exports") / "out"
    with pytest.MonkeyPatch.context() as patch:
        from ftkit.engine import gate, parity

        patch.setattr(parity, "PATIENCE", 0.0)
        patch.setattr(gate, "in_a_fresh_process", parity.measure)
        return export(lab.trained("single", "lora").run, to, FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_manifest_tells_files_tolerance_and_what_was_found(folders: Path, name: str) -> None:
    manifest = json.loads((folders / name / "manifest.json").read_text())
    assert set(exporters.find(name).packages) <= manifest["libraries"].keys()
    assert manifest["format"] == name and manifest["parity"]["rows"] == 7
    assert manifest["parity"]["largest_logit_difference"] <= manifest["parity"]["tolerance"]
    assert {"value", "low", "high"} <= manifest["parity"]["scores"]["accuracy"].keys()
    assert manifest["parity"]["seconds"].keys() == {"1", "32"}
    for file, told in manifest["files"].items():
        path = folders / name / file
        assert (sha256(path), path.stat().st_size) == (told["sha256"], told["bytes"])
    there = {path.relative_to(folders / name).as_posix() for path in (folders / name).rglob("*") if path.is_file()}
    assert there == manifest["files"].keys() | {"manifest.json", "SHA256SUMS"}
    assert {"ftkit.json", "tokenizer.json", "README.md", "example.py"} <= there


@pytest.mark.parametrize("name", FORMATS)
def test_scores_and_comparison_take_every_format(lab: Lab, folders: Path, name: str) -> None:
    run = lab.trained("single", "lora").run
    found = evaluate(folders / name, data=str(lab.file("single", "test"))).scores["accuracy"]["value"]
    assert found == pytest.approx(evaluate(run, precision="fp32").scores["accuracy"]["value"], abs=0.15)
    assert compare([run, folders / name]).comparisons[0].difference.value == pytest.approx(0, abs=0.15)


FORBIDDEN = "import sys; sys.modules.update({name: None for name in ('torch', 'transformers', 'ftkit')}); "


def run_example(folder: Path, alone: bool) -> str:
    program = f"{FORBIDDEN if alone else ''}exec(open('example.py').read())"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", GRAPHS)
def test_example_needs_the_runtime_alone_and_answers_as_predict_does(folders: Path, name: str) -> None:
    from ftkit.exporters._example import TEXT

    label, score = run_example(folders / name, alone=True).split()
    answer = next(Predictor(folders / name)([TEXT]))
    assert label == answer["label"] and float(score) == pytest.approx(answer["score"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind != "single"])
def test_examples_of_every_task_and_format_run(lab: Lab, tmp_path: Path, kind: str) -> None:
    method = "full" if "full" in METHODS[kind] else "lora"
    formats = offered(lab, kind, method)
    export(lab.trained(kind, method).run, tmp_path / "out", formats)
    for name in formats:
        assert run_example(tmp_path / "out" / name, alone=name in GRAPHS).strip() or kind in (
            "seq2seq",
            "causal",
            "qa2",
        )


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_answer_in_their_own_numbers_and_are_not_trained_or_exported(
    lab: Lab, folders: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(RecipeError, match="with numbers of its own"):
        Predictor(folders / name, precision="bf16")
    with pytest.raises(RunError, match="of which no other can be made"):
        export(folders / name, tmp_path / "again", data=str(lab.file("single", "test")))
    with pytest.raises(CheckpointError, match="can't be trained"):
        models.locate_base(str(folders / name))


def test_graphs_whose_labels_are_fewer_than_outputs_are_refused(folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(folders / "onnx", folder)
    (folder / "SHA256SUMS").unlink()
    contract, config = (json.loads((folder / name).read_text()) for name in ("ftkit.json", "config.json"))
    contract["labels"], config["id2label"] = contract["labels"][:2], dict(list(config["id2label"].items())[:2])
    for name, value in (("ftkit.json", contract), ("config.json", config)):
        (folder / name).write_text(json.dumps(value))
    with pytest.raises(CheckpointError, match="gives 3 numbers, and 2 labels are named"):
        list(Predictor(folder)(["a text"]))


def test_trained_graphs_hold_nothing_of_this_machine(folders: Path) -> None:
    assert b"site-packages" not in (folders / "onnx" / "model.onnx").read_bytes()
