"""Checkpoints: heads that fit are kept, others made anew, and broken folders told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ftkit.engine import pretrained
from ftkit.errors import CheckpointError
from ftkit.tasks.classification import Classification
from ftkit.tasks.ner import NamedEntities
from tests.runs import Lab
from tests.tiny import tiny

TASK = Classification(Classification.Options())


def saved(folder: Path, labels: tuple[str, ...] = ()) -> Path:
    """A classifier's folder, with label names where they are given."""
    model = tiny("bert", labels=max(2, len(labels)))
    if labels:
        model.config.id2label = dict(enumerate(labels))
        model.config.label2id = {name: i for i, name in enumerate(labels)}
    model.save_pretrained(folder)
    return folder


def head(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.classifier.weight
    return weight


def test_head_of_the_same_labels_is_kept(tmp_path: Path) -> None:
    folder = saved(tmp_path, ("a", "b"))
    assert torch.equal(head(pretrained.build(folder, TASK, ("a", "b"))), tiny("bert", labels=2).classifier.weight)


@pytest.mark.parametrize("labels", [("b", "a"), ("x", "y"), ("a", "b", "c")])
def test_head_of_other_labels_is_made_anew(tmp_path: Path, labels: tuple[str, ...]) -> None:
    """Two labels in another order too: the old head would answer with the wrong names."""
    model = pretrained.build(saved(tmp_path, ("a", "b")), TASK, labels)
    assert tuple(model.config.id2label.values()) == labels
    assert head(model).shape == (len(labels), 32)
    assert not torch.equal(head(model)[:2], tiny("bert", labels=2).classifier.weight)
    for body in ("bert.encoder.layer.0.attention.self.query.weight", "bert.pooler.dense.weight"):
        assert torch.equal(model.state_dict()[body], tiny("bert", labels=2).state_dict()[body])


@pytest.mark.parametrize("problem", [None, "regression"])
def test_head_that_gives_a_number_is_kept_whatever_the_number_is_called(tmp_path: Path, problem: str | None) -> None:
    before = tiny("bert", labels=1, problem_type=problem)
    before.save_pretrained(tmp_path)
    numbers = Classification(Classification.Options(kind="regression"))
    model = pretrained.build(tmp_path, numbers, ("value",))
    assert torch.equal(head(model), before.classifier.weight) and tuple(model.config.id2label.values()) == ("value",)


@pytest.mark.parametrize("family", ["data2vec-text", "ibert", "longformer", "luke", "roberta"])
def test_positions_that_begin_behind_padding_are_left_for_text(family: str) -> None:
    """A model of so many positions reads the longest input that it is given."""
    known: Any = transformers.AutoConfig.for_model(family)
    small = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    small |= {"vocab_size": 40, "max_position_embeddings": 34, "pad_token_id": 1, "entity_vocab_size": 8}
    small |= {"attention_window": [8]} if family == "longformer" else {}
    config = type(known)(**{name: value for name, value in small.items() if hasattr(known, name)})
    task = pretrained.within_positions(TASK, config, None)
    longest = task.options.max_length
    assert longest == 32
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        model(torch.full((1, longest), 5))
    with pytest.raises((IndexError, RuntimeError)), torch.no_grad():
        model(torch.full((1, longest + 1), 5))


def test_weights_are_float32_whatever_the_checkpoint_has(tmp_path: Path) -> None:
    tiny("bert").to(torch.bfloat16).save_pretrained(tmp_path)
    assert {w.dtype for w in pretrained.build(tmp_path, TASK, ("a", "b", "c")).parameters()} == {torch.float32}


def test_dropout_is_set_everywhere(tmp_path: Path) -> None:
    model = pretrained.build(saved(tmp_path), TASK, ("a", "b"), dropout=0.25)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.25}


def test_weights_that_lack_a_layer_are_refused(lab: Lab, tmp_path: Path) -> None:
    shutil.copytree(lab.checkpoint("bert"), tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(CheckpointError, match=r"the weights lack 16 .* bert\.encoder\.layer\.3"):
        pretrained.build(tmp_path / "base", TASK, ("a", "b"))


def test_labels_of_a_head_are_read_in_order() -> None:
    config = transformers.BertConfig(id2label={1: "b", 0: "a"})
    assert pretrained.label_names(config) == ("a", "b")
    assert pretrained.label_names(tiny("bert", labels=2).config) == ("LABEL_0", "LABEL_1")


def test_words_are_split_by_a_tokenizer_with_a_space_before_them(lab: Lab) -> None:
    tokenizer = pretrained.read_tokenizer(lab.checkpoint("roberta"), NamedEntities(NamedEntities.Options()))
    assert tokenizer.is_fast and len(tokenizer(["a", "film"], is_split_into_words=True)["input_ids"]) >= 4
    assert pretrained.read_tokenizer(lab.checkpoint("gpt2"), TASK).pad_token == "<|endoftext|>"
