"""What is exported of what, and what is refused; tests/exporters proves that exports answer as their runs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit.engine import model as models
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.engine.train import train
from ftkit.errors import CheckpointError, RunError
from tests.runs import Lab, answers, assert_close, gate_here


def test_plain_checkpoint_is_read_by_its_config_alone(lab: Lab, tmp_path: Path) -> None:
    for kind in ("single", "multi", "regression", "ner", "qa", "seq2seq", "causal"):
        run = lab.trained(kind, "full" if kind != "multi" else "lora")
        folder = export(run.run, tmp_path / kind)
        again = evaluate(folder, data=str(lab.file(kind, "test"))).scores
        assert {name: s["value"] for name, s in again.items()} == pytest.approx(
            {name: s["value"] for name, s in run.scores["test"].items()}, abs=1e-4
        )
        (folder / "ftkit.json").unlink()
        (folder / "SHA256SUMS").unlink()
        t = models.load(folder)
        assert t.labels == lab.prepared(kind).labels
        assert t.task.__class__ is lab.prepared(kind).task.__class__
        text = "The council of Leeds will vote on the budget."
        inputs: list[Any] = [text] if kind != "qa" else [{"question": "Who votes?", "context": text}]
        mine, theirs = (next(Predictor(source)(inputs)) for source in (folder, run.run))
        if kind not in ("seq2seq", "causal"):
            assert_close(mine, theirs, 1e-5)


def test_export_again_from_an_export(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "lora")
    first = export(run.run, tmp_path / "adapter", "adapter")
    with pytest.raises(RunError, match="remembers no rows to prove an export on"):
        export(first, tmp_path / "merged")
    second = export(first, tmp_path / "merged", data=str(lab.file("single", "test")))
    examples = lab.prepared("single").splits["test"].to_list()
    assert_close(answers(second, examples), answers(run.run, examples), 1e-5)


def test_adapter_on_other_weights_is_refused(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "base"
    transformers.AutoModel.from_pretrained(lab.checkpoint("bert")).save_pretrained(base)
    transformers.AutoTokenizer.from_pretrained(lab.checkpoint("bert")).save_pretrained(base)
    run = train(lab.recipe("single", f"model.checkpoint={base}", "method=lora"), tmp_path / "run")
    model = transformers.AutoModel.from_pretrained(base)
    torch.nn.init.zeros_(model.embeddings.word_embeddings.weight)
    model.save_pretrained(base)
    with pytest.raises(CheckpointError, match="trained on other weights"):
        models.load(run.run)


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    full = lab.trained("single", "full").run
    (tmp_path / "there").mkdir()
    for to, format, said in [
        ("there", "checkpoint", "exists"),
        ("new", "onnxx", "no format"),
        ("new", "adapter", "full"),
        ("deep/new", "adapter", "full"),
    ]:
        with pytest.raises(RunError, match=said):
            export(full, tmp_path / to, format)
    with pytest.raises(RunError, match="can't be merged"):
        export(lab.trained("single", "adapter").run, tmp_path / "deep" / "new", "checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_link_to_nowhere_is_no_place_for_an_export(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "not-there-yet")
    with pytest.raises(RunError, match="exists already"):
        export(lab.trained("single", "full").run, tmp_path / "out")


def test_rows_that_the_run_has_learned_from_are_not_called_held_out(lab: Lab, tmp_path: Path) -> None:
    said: list[str] = []
    run = lab.trained("single", "full").run
    with gate_here():
        export(run, tmp_path / "out", data=str(lab.file("single", "train")), say=said.append)
        export(run, tmp_path / "new", data=str(lab.file("single", "test")), say=said.append)
    assert len([line for line in said if "has learned from all 22 rows" in line]) == 1
    cards = [(tmp_path / name / "README.md").read_text() for name in ("out", "new")]
    assert "On 22 rows, all of which the run has learned from" in cards[0] and "On 7 held-out rows" in cards[1]
    told = [
        json.loads((tmp_path / name / "manifest.json").read_text())["parity"]["learned_rows"] for name in ("out", "new")
    ]
    assert told == [22, 0]
