"""Every format keeps the exporter's contract: what its folder holds, and what reads it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit import exporters
from ftkit.engine import model as models
from ftkit.engine.compare import compare
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import Material, export, write
from ftkit.engine.predict import Predictor
from ftkit.errors import CheckpointError, RecipeError, RunError
from ftkit.exporters._example import QUESTION, TEXT, asked, example
from ftkit.files import sha256
from tests.exporters import harms
from tests.exporters.cases import FORMATS, GRAPHS, run_example
from tests.runs import Lab, assert_close, gate_here, rows, write_rows


def plain(text: str) -> str:
    return "".join(text.lower().split())


@pytest.fixture(scope="module")
def folders(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one label a text, in every format."""
    to = tmp_path_factory.mktemp("exports") / "out"
    with gate_here(), pytest.MonkeyPatch.context() as patch:
        harms.trace_once(patch)
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


@pytest.mark.parametrize("name", GRAPHS)
def test_example_needs_the_runtime_alone_and_answers_as_predict_does(folders: Path, name: str) -> None:
    label, score = run_example(folders / name, alone=True).split()
    answer = next(Predictor(folders / name)([TEXT]))
    assert label == answer["label"] and float(score) == pytest.approx(answer["score"], abs=1e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_a_rows_answer_does_not_depend_on_the_rows_beside_it(lab: Lab, folders: Path, name: str) -> None:
    predictor = Predictor(folders / name)
    texts = [row["text"] for row in rows("single", "beside", 24)]
    together, alone = list(predictor(texts)), [next(predictor([text])) for text in texts]
    assert [one["label"] for one in alone] == [one["label"] for one in together]
    near = 0.0 if exporters.find(name).alone else 0.01 if exporters.find(name).tolerance is None else 1e-5
    assert_close(alone, together, near)


@pytest.mark.parametrize("format", ["checkpoint", "torch-bf16"])
def test_example_of_a_question_gives_an_answer_that_can_be_one(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    run = lab.trained("qa", "lora").run
    trained = models.load(run)
    folder = tmp_path / "out"
    write(exporters.find(format), format, Material(run, lab.prepared("qa").splits["test"]), trained, folder)
    (folder / "example.py").write_text(example(trained, exporters.find(format), format))
    monkeypatch.chdir(folder)
    exec((folder / "example.py").read_text(), {})
    answer = next(Predictor(folder)([{"question": QUESTION, "context": TEXT}]))["answer"]
    assert answer and plain(capsys.readouterr().out) == plain(answer)


@pytest.mark.parametrize("format", ["checkpoint", "onnx"])
def test_examples_of_pairs_and_of_several_labels_answer_as_predict_does(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", [{**row, "text_pair": "It is so."} for row in rows("single", "train")])
    settings = (f"data.train={data}", "data.validation=0.2", "data.test=null", "method=lora")
    for number, run in enumerate((lab.train("single", *settings).run, lab.trained("multi", "lora").run)):
        trained, folder = models.load(run), tmp_path / str(number)
        write(exporters.find(format), format, Material(run, lab.prepared("single").splits["test"]), trained, folder)
        (folder / "example.py").write_text(example(trained, exporters.find(format), format))
        monkeypatch.chdir(folder)
        exec((folder / "example.py").read_text(), {})
        printed = capsys.readouterr().out
        (answer,) = Predictor(folder)([asked(trained.task)])
        said = [label for label in trained.labels if repr(label) in printed or printed.startswith(label)]
        assert sorted(said) == sorted(answer["labels"] if number else [answer["label"]]), printed


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


@pytest.mark.parametrize("name", GRAPHS)
def test_writing_graphs_tells_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """OpenVINO sends that it is imported, what its converter converts, how, and how long it took."""
    import openvino_telemetry
    from onnx import TensorProto, helper

    told: list[str] = []
    for event in ("start_session", "send_event", "send_error"):
        monkeypatch.setattr(openvino_telemetry.Telemetry, event, lambda *given, **named: told.append("something"))
    for module in [each for each in sys.modules if each == "openvino" or each.startswith("openvino.tools")]:
        monkeypatch.delitem(sys.modules, module)  # what is imported tells once
    sides = [helper.make_tensor_value_info(side, TensorProto.FLOAT, ["rows", 4]) for side in ("x", "logits")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [float(i) for i in range(16)])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])], "one", [sides[0]], [sides[1]], [weight]
    )
    exporter: Any = exporters.find(name)
    exporter.keep({"model": helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])}, tmp_path)
    found = exporter.sessions(tmp_path)["model"]({"x": np.ones((2, 4), np.float32)})["logits"]
    assert found == pytest.approx(np.ones((2, 4)) @ np.arange(16).reshape(4, 4), rel=0.05) and not told
