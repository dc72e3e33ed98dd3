"""Exports answer as the run does: in ftkit, and in plain transformers with nothing of ftkit."""

from __future__ import annotations

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
from tests.runs import CASES, KINDS, Lab, answers, assert_close

PLAIN = [case for case in CASES if case[1] != "adapter"]


@pytest.mark.parametrize(("kind", "method"), PLAIN)
def test_plain_transformers_gives_the_same_logits(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    run = lab.trained(kind, method)
    folder = export(run.run, tmp_path / "out")
    t = models.load(run.run)
    model = getattr(transformers, t.task.model_class(t.model.config)).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    prepared = lab.prepared(kind)
    text = "The council of Leeds will vote on the budget in Madrid."
    batch = dict(tokenizer([text, text[:30]], padding=True, return_tensors="pt"))
    if t.model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = torch.tensor([[0, 5, 6], [0, 7, 8]])
    with torch.no_grad():
        ours, theirs = t.model(**batch), model(**batch)
    for name in [name for name in theirs if name.endswith("logits")]:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=0)
    if t.labels:
        assert tuple(model.config.id2label.values()) == prepared.labels == t.labels


@pytest.mark.parametrize(("kind", "method"), PLAIN)
def test_export_answers_and_scores_as_the_run(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    run = lab.trained(kind, method)
    folder = export(run.run, tmp_path / "deep" / "out")
    examples = lab.prepared(kind).splits["test"].to_list()
    assert_close(answers(folder, examples), answers(run.run, examples), 1e-5)
    again = evaluate(folder, data=str(lab.file(kind, "test"))).scores
    assert {name: s["value"] for name, s in again.items()} == pytest.approx(
        {name: s["value"] for name, s in run.scores["test"].items()}, abs=1e-4
    )


@pytest.mark.parametrize(("kind", "method"), [c for c in CASES if c[1] in ("lora", "ia3", "adapter")])
def test_adapter_export_answers_as_the_run_to_the_last_digit(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    run = lab.trained(kind, method)
    folder = export(run.run, tmp_path / "out", "adapter")
    examples = lab.prepared(kind).splits["test"].to_list()
    assert answers(folder, examples) == answers(run.run, examples)
    base = (lab.checkpoint(KINDS[kind][0]) / "model.safetensors").stat().st_size
    assert sum(file.stat().st_size for file in folder.glob("*.safetensors")) < base / 2


def test_plain_checkpoint_is_read_by_its_config_alone(lab: Lab, tmp_path: Path) -> None:
    for kind in ("single", "multi", "regression", "ner", "qa", "seq2seq", "causal"):
        run = lab.trained(kind, "full" if kind != "multi" else "lora")
        folder = export(run.run, tmp_path / kind)
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
    with pytest.raises(CheckpointError):
        export(lab.trained("single", "adapter").run, tmp_path / "deep" / "new", "checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
