"""Each option off its default reaches its consumer."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from pytorch_optimizer import Lamb
from transformers import AttentionInterface

from ftkit import checkpoints
from ftkit.engine import pretrained, unpad
from ftkit.engine.adamw import RowAdamW
from ftkit.engine.arguments import arguments
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.engine.prepare import encode_training, prepare, weighting
from ftkit.engine.steps import AtHand
from ftkit.engine.train import train
from ftkit.engine.trainer import FTTrainer, _split
from tests.runs import Lab, Rows, curve, log, qa, read_jsonl, refused, rows, text, write_rows

# ---------------------------------------------------------------------- train


def trainer(lab: Lab, folder: Path, *settings: str) -> FTTrainer:
    """The trainer of a recipe, before its first step."""
    recipe, prepared = lab.recipe("single", *settings), lab.prepared("single")
    encoded = encode_training(prepared, prepared.splits["train"])[0]
    return FTTrainer(
        model=pretrained.build(prepared.base.path, prepared.task, prepared.labels),
        args=arguments(recipe.train, len(encoded), folder, validates=False),
        task=prepared.task,
        settings=recipe.train,
        weighting=weighting(prepared, prepared.splits["train"]),
        tokenizer=prepared.tokenizer,
        rows=AtHand(encoded, recipe.train.batch, recipe.train.seed),
        validate=lambda *_: {},
        callbacks=[],
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adamw", RowAdamW),
        ("sgd", torch.optim.SGD),
        ("lamb", Lamb),
        ("adafactor", transformers.optimization.Adafactor),
    ],
)
def test_optimizer_is_the_one_that_is_named(lab: Lab, tmp_path: Path, name: str, expected: type) -> None:
    found: Any = trainer(lab, tmp_path, f"train.optimizer={name}", "train.weight_decay=0.3").create_optimizer()
    assert type(getattr(found, "optimizer", found)) is expected
    assert {group["weight_decay"] for group in found.param_groups} == {0.0, 0.3}
    assert {group["lr"] for group in found.param_groups} == {1e-3}


@pytest.mark.parametrize(
    ("accumulate", "count", "sizes"),
    [(1, 8, [8]), (2, 8, [4, 4]), (4, 8, [2, 2, 2, 2]), (8, 8, [1] * 8), (4, 5, [2, 2, 1])],
)
def test_a_step_is_split_into_that_many_micro_batches(
    lab: Lab, tmp_path: Path, accumulate: int, count: int, sizes: list[int]
) -> None:
    made = trainer(lab, tmp_path, f"train.accumulate={accumulate}")
    step = made.rows.dataset.to_list()[:count]
    parts = made.micro_batches(step)
    assert [len(part["input_ids"]) for part in parts] == sizes
    assert torch.cat([part["labels"] for part in parts]).tolist() == [row["labels"] for row in step]


def test_a_constant_rate_rises_first_and_then_stays(lab: Lab) -> None:
    run = lab.train(
        "single",
        "data.validation=null",
        "data.test=null",
        "train.epochs=2",
        "train.schedule=constant",
        "train.warmup=0.5",
    )
    assert [entry["learning_rate"] for entry in log(run.run)] == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, *[1e-3] * 3])


def test_order_of_class_weights_does_not_matter(lab: Lab) -> None:
    prepared = lab.prepared("single")
    assert prepared.labels == ("arts", "sport", "trade")
    for written in ("{arts: 3, trade: 0.2}", "{trade: 0.2, arts: 3}"):
        recipe = lab.recipe("single", f"train.class_weights={written}")
        found = weighting(replace(prepared, recipe=recipe), prepared.splits["train"])
        assert found.class_weights == (3.0, 1.0, 0.2)


# ---------------------------------------------------------------------- data


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_validation_share_keeps_the_shares_of_labels(lab: Lab, tmp_path: Path, seed: int) -> None:
    random, sizes = Random(seed), {"arts": 35, "sport": 10, "trade": 5}
    skewed = [
        {"text": f"{text(random)} {name} {i}", "label": name} for name, size in sizes.items() for i in range(size)
    ]
    file = write_rows(tmp_path / "skewed.jsonl", skewed)
    settings = [f"data.train={file}", "data.validation=0.2", "data.test=null", f"data.seed={seed}"]
    splits = prepare(lab.recipe("single", *settings)).splits
    assert Counter(splits["validation"]["label"]) == {"arts": 7, "sport": 2, "trade": 1}
    assert Counter(splits["train"]["label"]) == {"arts": 28, "sport": 8, "trade": 4}


def questions(titled: bool) -> tuple[Rows, dict[str, str]]:
    """Two questions for each of 20 passages, two passages a title; and each passage's group."""
    random, found, group = Random(0), [], {}
    for number in range(20):
        row = qa(random)
        row["context"] += f" This is passage {number}."
        title = f"Title {number // 2}"
        group[row["context"]] = title if titled else row["context"]
        found += [{**row, "question": word, **({"title": title} if titled else {})} for word in ("What?", "Who?")]
    random.shuffle(found)
    return found, group


@pytest.mark.parametrize("titled", [False, True], ids=["contexts", "titles"])
def test_a_validation_share_keeps_questions_of_a_passage_together(lab: Lab, tmp_path: Path, titled: bool) -> None:
    found, group = questions(titled)
    file = write_rows(tmp_path / "questions.jsonl", found)
    splits = prepare(lab.recipe("qa", f"data.train={file}", "data.validation=0.2", "data.test=null")).splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 32, "validation": 8}
    ours, theirs = ({group[context] for context in splits[name]["context"]} for name in ("train", "validation"))
    assert not ours & theirs


def test_an_export_reads_files_as_its_run_did(lab: Lab, tmp_path: Path) -> None:
    files = {}
    for split in ("train", "validation", "test"):
        renamed = [{"body": row["text"], "kind": row["label"], "text": "no"} for row in rows("single", split)]
        files[split] = write_rows(tmp_path / f"{split}.jsonl", renamed)
    settings = [f"data.{split}={file}" for split, file in files.items()]
    run = train(lab.recipe("single", *settings, "data.columns={text: body, label: kind}"), tmp_path / "run")
    folder = export(run.run, tmp_path / "out")
    found = evaluate(folder, data=str(files["test"]))
    assert found.scores == run.scores["test"]
    ours = [row["score"] for row in read_jsonl(run.run / "predictions" / "test.jsonl")]
    assert [row["score"] for row in found.predictions] == pytest.approx(ours, abs=1e-5)


# ---------------------------------------------------------------------- model


def test_revision_is_asked_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []
    here = checkpoints.locate(str(lab.checkpoint("bert")))

    def spy(checkpoint: str, revision: str | None = None) -> checkpoints.Located:
        asked.append((checkpoint, revision))
        return here

    monkeypatch.setattr(checkpoints, "locate", spy)
    prepared = prepare(lab.recipe("single", "method=lora", "model.checkpoint=someone/model", "model.revision=v2"))
    assert asked == [("someone/model", "v2")]
    assert prepared.contract.base is not None
    assert prepared.contract.base["revision"] == "v2"


@given(
    lengths=st.lists(st.integers(1, 40), max_size=40),
    size=st.integers(1, 16),
    tokens=st.integers(1, 200),
)
def test_a_step_is_split_where_it_gets_too_long(lengths: list[int], size: int, tokens: int) -> None:
    parts = _split(lengths, size, tokens)
    assert [i for part in parts for i in part] == list(range(len(lengths)))
    for part in parts:
        assert 1 <= len(part) <= size
        assert len(part) == 1 or len(part) * max(lengths[i] for i in part) <= tokens
    for part, following in pairwise(parts):
        longest = max(lengths[i] for i in (*part, following[0]))
        assert len(part) == size or (len(part) + 1) * longest > tokens


@pytest.mark.parametrize("setting", ["train.batch_tokens=20", "train.activation_checkpointing=true"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_bounds_memory_changes_nothing_else(lab: Lab, setting: str, method: str) -> None:
    usual = (f"method={method}", "train.precision=fp32", "model.dropout=0", "train.epochs=1")
    plain, bounded = lab.train("single", *usual), lab.train("single", *usual, setting)
    for one, other in zip(log(plain.run), log(bounded.run), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=2e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_activation_checkpointing_computes_layers_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    attend = unpad.attend
    counted: Any = lambda *args, **kwargs: (calls.append(1), attend(*args, **kwargs))[1]  # noqa: E731
    monkeypatch.setitem(AttentionInterface._global_mapping, unpad.ATTENTION, counted)
    settings = ("train.epochs=4", "data.validation=null", "data.test=null", "train.seed=5")
    lab.train("single", *settings)
    once = len(calls)
    lab.train("single", *settings, "train.activation_checkpointing=true")
    assert len(calls) - once > 1.5 * once


def test_a_rate_that_takes_all_weights_away_is_no_arithmetic_error(lab: Lab) -> None:
    settings = ("train.learning_rate=0.5", "train.weight_decay=4", "train.warmup=0", "train.epochs=1")
    assert lab.train("single", *settings).steps > 0


def test_an_architecture_that_computes_no_layer_again_is_told(lab: Lab) -> None:
    checkpoint = f"model.checkpoint={lab.checkpoint('albert')}"
    error = refused(lab.recipe("single", checkpoint, "train.activation_checkpointing=true"), lab.new())
    assert "train.activation_checkpointing" in str(error)


def test_a_checkpoint_that_wants_its_attentions_told_is_trained_and_saved(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "attentive"
    shutil.copytree(lab.prepared("single").base.path, folder)
    config = json.loads((folder / "config.json").read_text())
    for change in ({"output_attentions": True}, {"return_dict": False}):
        (folder / "config.json").write_text(json.dumps(config | change))
        done = train(lab.recipe("single", f"model.checkpoint={folder}", "train.epochs=1"), lab.new())
        assert done.steps > 0


def test_weights_that_leave_nothing_are_refused_and_one_that_is_left_out_counts(lab: Lab, tmp_path: Path) -> None:
    zeros = "train.class_weights={arts: 0, sport: 0, trade: 0}"
    assert "every label weighs 0" in refused(lab.recipe("single", zeros), tmp_path / "run").message
    prepared = prepare(lab.recipe("single", "train.class_weights={arts: 0}"))
    assert weighting(prepared, prepared.splits["train"]).class_weights == (0.0, 1.0, 1.0)


def test_a_step_of_rows_that_weigh_nothing_moves_nothing(lab: Lab) -> None:
    settings = ("train.class_weights={arts: 0, sport: 1, trade: 0}", "train.label_smoothing=0.1", "train.batch=1")
    losses = curve(lab.train("single", *settings).run)["loss"]
    assert max(losses) < 100 and min(losses) == 0
