"""Weights, gradients and optimizer states split over GPUs: `train.sharding` in the words of Accelerate's plugins.

What is split has to be asked for together: every process goes through the model equally often, and helps to save.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ftkit.errors import MachineError
from ftkit.methods._layers import blocks, plain_model
from ftkit.settings import ShardingSpec

NOTE = "weights are split over the processes, so padding is computed and every process scores all validation rows"


def check(spec: ShardingSpec, processes: int) -> None:
    """Raises MachineError where this machine can't split what a training holds."""
    if spec.name is None:
        return
    if not torch.cuda.is_available():
        raise MachineError(
            f"train.sharding: {spec.name} splits weights over GPUs, and this machine has none: on processors the"
            " library would silently keep all of them in each process",
            "leave it out; train.accumulate, train.batch_tokens and train.activation_checkpointing save memory too",
        )
    if processes < 2:
        raise MachineError("train.sharding: there is one process, and nothing to split over", "start several")
    if spec.name == "zero" and importlib.util.find_spec("deepspeed") is None:
        raise MachineError(
            "train.sharding: zero is DeepSpeed's, which is not installed", "pip install deepspeed, or take fsdp"
        )


def arguments(spec: ShardingSpec, model: Any) -> dict[str, Any]:
    """What `TrainingArguments` are told, from which transformers makes Accelerate's plugin."""
    if spec.name == "fsdp":
        return {"fsdp": True, "fsdp_config": _fsdp(spec, model)}
    if spec.name == "zero":
        return {"deepspeed": _zero(spec)}
    return {}


def _fsdp(spec: ShardingSpec, model: Any) -> dict[str, Any]:
    """FSDP2, with a unit for each layer.

    They are named: of BERT, Accelerate would take the embeddings for one too, and then split their weights twice.
    """
    core = plain_model(model)
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": sorted({type(core.get_submodule(name)).__name__ for name in blocks(core)}),
        "reshard_after_forward": spec.stage == 3,
        "cpu_offload": spec.offload,
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,  # each process reads the checkpoint, and a new head is drawn by seed
    }


def _zero(spec: ShardingSpec) -> dict[str, Any]:
    """DeepSpeed's settings; `auto` is filled in from the arguments beside them."""
    to = {"device": "cpu" if spec.offload else "none"}
    stage: dict[str, Any] = {"stage": spec.stage, "offload_optimizer": to}
    if spec.stage == 3:
        stage |= {"offload_param": to, "stage3_gather_16bit_weights_on_model_save": True}
    return {
        "zero_optimization": stage,
        "zero_allow_untested_optimizer": True,  # torch's SGD; what looks at whole weights is refused by the recipe
        "zero_force_ds_cpu_optimizer": False,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": 1,  # micro-batches are the Trainer's own, see `held`
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
    }


@contextmanager
def held(accelerator: Any, model: Any, last: bool) -> Iterator[None]:
    """Gradients are summed here and exchanged with the last micro-batch alone, when DeepSpeed moves the weights too."""
    state = accelerator.gradient_state
    before = state.sync_gradients
    state._set_sync_gradients(last)
    try:
        if last:
            yield
            return
        with accelerator.no_sync(model):
            yield
    finally:
        state._set_sync_gradients(before)


def whole_weights(accelerator: Any, model: Any) -> dict[str, torch.Tensor]:
    """All weights, gathered by all processes together; only the first one is given them."""
    found: dict[str, torch.Tensor] = accelerator.get_state_dict(model)
    return found if accelerator.is_main_process else {}
