"""Fewer layers: those of the checkpoint, evenly spaced, in a folder that plain transformers loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from ftkit.engine import model as models
from ftkit.engine.shrink import spaced, with_layers
from ftkit.engine.unpad import unpadded
from ftkit.errors import CheckpointError
from ftkit.methods._layers import in_top, stacks
from tests.runs import Lab, answers, assert_close, refused
from tests.tiny import CAUSAL, ENCODERS, SEQ2SEQ, batch, logits, tiny, usual_kind

KNOWN = [name for name in (*ENCODERS, *SEQ2SEQ, *CAUSAL) if name != "albert"]


@pytest.mark.parametrize(
    ("there", "count", "kept"),
    [(6, 3, [0, 2, 5]), (12, 6, [0, 2, 4, 7, 9, 11]), (12, 2, [0, 11]), (3, 1, [0]), (4, 4, [0, 1, 2, 3])],
)
def test_layers_are_evenly_spaced(there: int, count: int, kept: list[int]) -> None:
    assert spaced(there, count) == kept


@pytest.mark.parametrize("architecture", KNOWN)
@pytest.mark.parametrize("count", [1, 2])
def test_the_kept_layers_are_the_checkpoints_and_the_config_says_so(
    architecture: str, count: int, tmp_path: Path
) -> None:
    kind = usual_kind(architecture)
    whole = tiny(architecture, kind)
    names = stacks(whole)
    sizes = [len(whole.get_submodule(name)) for name in names]
    found = with_layers(whole, count)
    for name, size in zip(names, sizes, strict=True):
        layers = found.get_submodule(name)
        assert len(layers) == count
        for place, origin in zip(range(count), spaced(size, count), strict=True):
            ours, theirs = layers[place].state_dict(), whole.get_submodule(name)[origin].state_dict()
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert found.config.num_hidden_layers == count
    found.save_pretrained(tmp_path)
    again, report = type(whole).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert torch.equal(logits(again, kind), logits(found, kind))
    assert stacks(again) == names
    assert logits(found, kind).shape == logits(whole, kind).shape and batch(kind)


def test_each_kept_layer_attends_as_it_did() -> None:
    whole = tiny("modernbert", num_hidden_layers=4)
    assert whole.config.layer_types == ["full_attention", *["sliding_attention"] * 2, "full_attention"]
    assert with_layers(whole, 2).config.layer_types == ["full_attention"] * 2


def test_what_writes_does_so_as_before() -> None:
    whole = tiny("t5", "SEQ_2_SEQ_LM")
    whole.generation_config.num_beams = 3
    assert with_layers(whole, 1).generation_config.num_beams == 3
    assert not with_layers(whole, 1).training and with_layers(whole.train(), 1).training


def test_as_many_layers_as_there_are_is_the_model_itself() -> None:
    model = tiny("bert")
    assert with_layers(model, 3) is model


def test_more_layers_than_there_are_and_shared_ones_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"model\.layers is 4, and the checkpoint has 3"):
        with_layers(tiny("bert"), 4)
    with pytest.raises(CheckpointError, match="has no stack of layers"):
        with_layers(tiny("albert"), 1)


def test_a_trained_folder_loads_in_plain_transformers(lab: Lab) -> None:
    run = lab.train("single", "model.layers=2").run
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(run / "model")
    assert plain.config.num_hidden_layers == 2 and len(plain.bert.encoder.layer) == 2


def test_an_adapter_finds_the_layers_that_it_was_trained_on(lab: Lab) -> None:
    done = lab.train("single", "method=lora", "model.layers=2", "train.learning_rate=0.02")
    trained = models.load(done.run)
    assert trained.contract.base is not None and trained.contract.base["layers"] == 2
    examples = lab.prepared("single").splits["test"].to_list()
    again = lab.train("single", f"model.checkpoint={done.run}", "train.epochs=0").run
    assert_close(answers(done.run, examples), answers(again, examples), 1e-4)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "deberta_v2", "modernbert"])
def test_one_layer_computes_no_padding_where_several_do_not(architecture: str) -> None:
    whole = tiny(architecture)
    with unpadded(whole) as several:
        pass
    one = with_layers(whole, 1)
    padded = logits(one, "SEQ_CLS")
    with unpadded(one) as alone:
        torch.testing.assert_close(logits(one, "SEQ_CLS"), padded, atol=1e-5, rtol=0)
    assert alone == several


def test_too_many_top_layers_of_one_are_told_as_of_several() -> None:
    with pytest.raises(CheckpointError, match=r"has 1 layers, and method\.layers asks for 2"):
        in_top(with_layers(tiny("bert"), 1), [], 2)


def test_a_recipe_that_asks_for_too_many_leaves_nothing_behind(lab: Lab) -> None:
    assert "model.layers is 9" in str(refused(lab.recipe("single", "model.layers=9"), lab.new()))
