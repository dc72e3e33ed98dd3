"""Weights split over GPUs: what Accelerate is told, what is refused, and a training over processors that pretend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin

from ftkit.engine import pretrained, sharding
from ftkit.engine.arguments import arguments
from ftkit.errors import MachineError, RecipeError
from ftkit.recipe import load_recipe
from ftkit.settings import ShardingSpec, TrainSpec
from tests.command import environment
from tests.runs import Lab, curve, refused, weights

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which need not pretend")


def spec(**settings: Any) -> ShardingSpec:
    return ShardingSpec.model_validate(settings)


def test_name_alone_is_enough_and_nothing_is_split_unless_asked(lab: Lab) -> None:
    assert lab.recipe("single").train.sharding == ShardingSpec() and ShardingSpec().name is None
    assert lab.recipe("single", "train.sharding=zero").train.sharding == spec(name="zero")
    found = lab.recipe("single", "train.sharding=fsdp", "train.sharding.stage=2").train.sharding
    assert (found.name, found.stage, found.offload) == ("fsdp", 2, False)
    assert sharding.arguments(ShardingSpec(), None) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["train.sharding=fsdb"], "train.sharding"),
        (["train.sharding={name: zero, stage: 4}"], "stage"),
        (["train.sharding={name: fsdp, stage: 1}"], "take 2 or 3"),
        (["train.sharding=zero", "train.optimizer=lamb"], "lamb looks at whole weights"),
    ],
)
def test_settings_that_can_not_be_are_refused(lab: Lab, settings: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        lab.recipe("single", *settings)


@NO_GPU
@pytest.mark.parametrize("name", ["fsdp", "zero"])
def test_without_a_gpu_it_is_refused_before_anything_is_made(lab: Lab, tmp_path: Path, name: str) -> None:
    error = refused(lab.recipe("single", f"train.sharding={name}"), tmp_path / "run", processes=2)
    assert isinstance(error, MachineError) and f"train.sharding: {name}" in error.message
    assert "this machine has none" in error.message


def test_one_process_and_an_absent_deepspeed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sharding.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="one process"):
        sharding.check(spec(name="fsdp"), 1)
    with pytest.raises(MachineError, match="not installed"):
        sharding.check(spec(name="zero"), 2)
    sharding.check(spec(name="fsdp"), 2)
    sharding.check(spec(), 1)


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("offload", [False, True])
def test_accelerates_fsdp_plugin_is_what_the_recipe_says(lab: Lab, tmp_path: Path, stage: int, offload: bool) -> None:
    prepared = lab.prepared("single")
    model = pretrained.build(prepared.base.path, prepared.task, prepared.labels)
    train = TrainSpec(precision="fp32", sharding=spec(name="fsdp", stage=stage, offload=offload))
    args = arguments(train, 10, tmp_path, False, model)
    plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward == (stage == 3)
    assert (type(plugin.cpu_offload).__name__ == "CPUOffloadPolicy") == offload
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert plugin.transformer_cls_names_to_wrap == ["BertLayer"]


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("offload", [False, True])
def test_zero_is_what_the_recipe_says_to_transformers_own_reader(stage: int, offload: bool) -> None:
    """Accelerate's own class of DeepSpeed settings reads it, which needs no DeepSpeed."""
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    told = sharding.arguments(spec(name="zero", stage=stage, offload=offload), None)["deepspeed"]
    found = HfDeepSpeedConfig(json.loads(json.dumps(told)))
    assert found.get_value("zero_optimization.stage") == stage
    assert (
        found.is_offload() == (offload and stage > 1)
        and found.is_zero2() == (stage == 2)
        and found.is_zero3() == (stage == 3)
    )
    assert found.is_true("zero_optimization.stage3_gather_16bit_weights_on_model_save") == (stage == 3)


PRETENDING = """
import sys
from accelerate import PartialState
from accelerate.utils import DistributedType

set_up = PartialState.__init__

def pretend(self, *args, **kwargs):
    set_up(self, *args, **kwargs)
    if self.distributed_type == DistributedType.MULTI_CPU:  # for which Accelerate drops the plugin
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU

PartialState.__init__ = pretend
from ftkit.engine import worker
worker.train(sys.argv[1])
"""


@NO_GPU
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method", "stage", "accumulate"),
    [("single", "full", 3, 4), ("ner", "full", 2, 1), ("single", "lora", 3, 2)],
)
def test_fsdp_over_processors_that_pass_for_gpus_trains_and_saves_as_one_process_does(
    lab: Lab, tmp_path: Path, kind: str, method: str, stage: int, accumulate: int
) -> None:
    """PyTorch splits the weights over gloo as it does over NCCL; what a GPU does otherwise is not shown by this."""
    from ftkit.engine.worker import Job, sources
    from ftkit.run import RunDirectory

    settings = ("train.optimizer=sgd", "train.learning_rate=0.1", f"method={method}", f"train.accumulate={accumulate}")
    split = (*settings, f"train.sharding={{name: fsdp, stage: {stage}}}", "train.batch_tokens=64")
    one = lab.train(kind, *settings)
    run = RunDirectory.create(lab.recipe(kind, *split), tmp_path / "run")
    (tmp_path / "pretending.py").write_text(PRETENDING)
    job = Job(
        str(run.path), str(run.final), "", sources(lab.prepared(kind, *split)), 1, 2, results=str(tmp_path / "results")
    )
    (tmp_path / "results").mkdir()
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*line, tmp_path / "pretending.py", job.dump()],
        env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "results" / "0.json").read_text())
    assert told["notes"] == [sharding.NOTE]
    for name, values in curve(one.run).items():
        assert curve(run.final)[name] == pytest.approx(values, rel=1e-5, abs=1e-6), name
    if method == "full":
        ours, theirs = weights(one.run), weights(run.final)
        assert ours.keys() == theirs.keys()
        assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5
    else:
        assert load_recipe(run.final).train.sharding.stage == stage
        assert (run.final / "model" / "adapter_model.safetensors").is_file()
