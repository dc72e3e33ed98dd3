"""One training: what it records."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from ftkit.engine import machine, pretrained
from ftkit.engine.callbacks import Tidy
from ftkit.engine.predict import Predictor
from ftkit.engine.train import train
from ftkit.errors import CheckpointError
from ftkit.methods._layers import trainable
from tests.runs import CASES, Lab, curve, log, refused, rows, write_rows


@pytest.mark.parametrize(("kind", "method"), [case for case in CASES if case[0] in ("single", "causal")])
def test_environment_counts_what_learned(lab: Lab, kind: str, method: str) -> None:
    run = lab.trained(kind, method)
    found = json.loads((run.run / "environment.json").read_text())
    prepared = lab.prepared(kind, f"method={method}")
    built = pretrained.build(prepared.base.path, prepared.task, prepared.labels)
    peft_type = "CAUSAL_LM" if kind == "causal" else prepared.task.peft_type
    assert (found["trainable_parameters"], found["parameters"]) == trainable(prepared.method.apply(built, peft_type))
    assert (found["precision"], found["processes"], found["epochs"]) == ("fp32", 1, 1)


def test_log_tells_loss_norm_and_rate_of_each_step_and_the_validations(lab: Lab) -> None:
    run = lab.train("regression", "train.epochs=2")
    assert [entry.keys() >= {"step", "epoch", "loss", "grad_norm", "learning_rate"} for entry in log(run.run)] == [
        True
    ] * 6
    assert [(entry["step"], entry["epoch"]) for entry in log(run.run, "validation")] == [(3, 1), (6, 2)]


def test_metric_that_no_held_out_row_has_is_refused_without_validation_rows_too(lab: Lab, tmp_path: Path) -> None:
    recipe = lab.recipe("single", "data.validation=null", "train.metric=acuracy")
    assert "'acuracy' is no score of this task" in refused(recipe, tmp_path / "run").message


def test_token_that_the_model_does_not_know_is_named(lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.checkpoint("bert"), tmp_path / "more")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "more")
    tokenizer.add_tokens(["quagga"])
    tokenizer.save_pretrained(tmp_path / "more")
    data = write_rows(tmp_path / "some.jsonl", [*rows("single", "train"), {"text": "A quagga!", "label": "arts"}])
    settings = (f"model.checkpoint={tmp_path / 'more'}", f"data.train={data}")
    error = refused(lab.recipe("single", *settings), tmp_path / "run")
    assert "the token 'quagga'" in error.message and "resize_token_embeddings" in error.hint
    streamed = ("data.stream=true", "data.labels=[arts, sport, trade]", "train.steps=9", "train.epochs=auto")
    with pytest.raises(CheckpointError, match="the token 'quagga'"):
        train(lab.recipe("single", *settings, *streamed), tmp_path / "streamed")
    run = lab.train("single", settings[0]).run
    with pytest.raises(CheckpointError, match="the token 'quagga'"):
        list(Predictor(run)(["A quagga!"]))


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_texts_without_a_token_are_learned_and_answered(lab: Lab, tmp_path: Path, kind: str) -> None:
    shutil.copytree(lab.checkpoint("llama"), tmp_path / "bare")
    tokenizer = json.loads((tmp_path / "bare" / "tokenizer.json").read_text())
    (tmp_path / "bare" / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    empty = {"single": {"text": ""}, "ner": {"text": " ", "entities": []}}[kind]
    data = [{**row, **empty} if i % 2 else row for i, row in enumerate(rows(kind, "train"))]
    settings = (f"model.checkpoint={tmp_path / 'bare'}", f"data.train={write_rows(tmp_path / 'some.jsonl', data)}")
    done = lab.train(kind, *settings)
    assert all(math.isfinite(loss) for loss in curve(done.run)["loss"])
    found = list(Predictor(done.run)(["", "The film was"] if kind == "single" else [" ", "The film was"]))
    assert len(found) == 2


def test_each_training_gives_memory_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(Tidy, "every", 1)
    monkeypatch.setattr(machine, "give_back", lambda: given.append(None))
    done = train(lab.recipe("single"), lab.new())
    assert len(given) >= done.steps
