"""A model over main memory and disk answers as it does in one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftkit import api
from ftkit.engine import device_map
from ftkit.engine import model as models
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.errors import CheckpointError
from tests.command import ftkit
from tests.runs import Lab, assert_close

PARTS = (
    "{bert.embeddings: cpu, bert.encoder.layer.0: disk, bert.encoder.layer.1: cpu, bert.encoder.layer.2: disk,"
    " bert.pooler: disk, classifier: cpu}"
)


def offload_folders() -> set[str]:
    import gc
    import tempfile

    gc.collect()  # models are let go of when their cycles are found

    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ftkit-offload-")}


def test_parts_on_the_disk_give_the_same_scores_and_logits(lab: Lab, tmp_path: Path) -> None:
    run, before = lab.trained("single", "full").run, offload_folders()
    texts = [str(row["text"]) for row in lab.prepared("single").splits["test"]]
    whole, parts = Predictor(run, precision="fp32"), Predictor(run, precision="fp32", device_map=PARTS)
    assert device_map.is_spread(parts.trained.model) and not device_map.is_spread(whole.trained.model)
    devices = {name: weight.device.type for name, weight in parts.trained.model.named_parameters()}
    assert devices["bert.pooler.dense.weight"] == "meta" and devices["classifier.weight"] == "cpu"
    assert_close(list(parts(texts)), list(whole(texts)), 1e-5)
    del parts
    ours = api.evaluate(run, precision="fp32", device_map=PARTS).scores
    assert_close(ours, api.evaluate(run, precision="fp32").scores, 1e-5)
    assert offload_folders() == before


@pytest.mark.parametrize("kind", ["seq2seq", "causal", "ner"])
def test_memory_that_does_not_suffice_is_made_up_for_by_the_disk(lab: Lab, kind: str) -> None:
    run = lab.trained(kind, "full").run
    over = device_map.read("auto", "{cpu: 40KB}")
    trained = models.load(run, over)
    assert "disk" in trained.model.hf_device_map.values()
    ours = api.evaluate(run, precision="fp32", device_map="auto", max_memory="{cpu: 40KB}").scores
    assert_close(ours, api.evaluate(run, precision="fp32").scores, 1e-5)


def test_auto_where_one_device_holds_all_changes_nothing(lab: Lab) -> None:
    run = lab.trained("single", "full").run
    assert api.evaluate(run, device_map="auto").scores == api.evaluate(run).scores


def test_adapter_has_to_be_merged_first(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "lora").run
    with pytest.raises(CheckpointError, match="--device-map") as caught:
        models.load(run, device_map.read("auto", None))
    assert "ftkit export" in caught.value.hint
    merged = export(run, tmp_path / "merged")
    assert models.load(merged, device_map.read("{'': disk}", None)).model.hf_device_map == {"": "disk"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--device-map", "automatic"), "--device-map automatic"),
        (("--device-map", "{}"), "--device-map {}"),
        (("--device-map", "{a"), "--device-map {a"),
        (("--device-map", "auto", "--max-memory", "10GiB"), "--max-memory 10GiB"),
        (("--max-memory", "{cpu: 1GiB}"), "--max-memory"),
        (("--device-map", "{bert: 0}"), "can't be loaded"),
    ],
)
def test_what_is_no_map_is_refused(lab: Lab, flags: tuple[str, ...], said: str) -> None:
    run = lab.trained("single", "full").run
    for command in (("eval", run), ("predict", run, "Some text.")):
        before = offload_folders()
        done = ftkit(*command, *flags)
        assert offload_folders() == before
        assert done.code == 3 and said in done.err, done
