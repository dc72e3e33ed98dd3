"""A model that answers laid over several devices, the main memory and the disk, where one device can't hold it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any

import torch

from ftkit.engine.served import is_served
from ftkit.errors import CheckpointError, MachineError
from ftkit.yaml12 import load


@dataclass(frozen=True)
class DeviceMap:
    """Where a model's parts go, in Accelerate's words."""

    modules: str | dict[str, Any]
    """`auto`, or module name -> GPU number, `cpu` or `disk`."""
    max_memory: dict[str | int, int | str] | None = None
    """GPU number or `cpu` -> bytes, or `10GiB`: what `auto` takes of it at most."""


def read(device_map: str | None, max_memory: str | None) -> DeviceMap | None:
    """What `--device-map` and `--max-memory` say, in YAML. Raises MachineError for what is no such thing."""
    if device_map is None:
        if max_memory is not None:
            raise MachineError("--max-memory bounds what `--device-map auto` takes", "say that too")
        return None
    named, most = _yaml("--device-map", device_map), max_memory and _yaml("--max-memory", max_memory)
    if named != "auto" and not (isinstance(named, dict) and named):
        raise MachineError(
            f"--device-map {device_map}: it must be `auto`, or name modules: {{bert: 0, classifier: cpu}}"
        )
    if max_memory is not None and not (isinstance(most, dict) and most):
        raise MachineError(f"--max-memory {max_memory}: it must say how much of each device: {{0: 10GiB, cpu: 30GiB}}")
    return DeviceMap(named, most or None)


def _yaml(flag: str, text: str) -> Any:
    return load(text, f"{flag} {text}", "quote it")


def settings(over: DeviceMap | None) -> dict[str, Any]:
    """What `from_pretrained` is told."""
    if over is None:
        return {}
    folder = tempfile.mkdtemp(prefix="ftkit-offload-")
    told = {"device_map": over.modules, "offload_folder": folder}
    return {**told, **({"max_memory": over.max_memory} if over.max_memory else {})}


def tidy(model: Any, told: dict[str, Any]) -> None:
    """Have the folder end with the model, some weights of which may lie in it."""
    if told:
        weakref.finalize(model, shutil.rmtree, told["offload_folder"], ignore_errors=True)


def drop(told: dict[str, Any]) -> None:
    """Remove that folder where no model came of it."""
    if told:
        shutil.rmtree(told["offload_folder"], ignore_errors=True)


def is_spread(model: Any) -> bool:
    """Whether a model lies on several devices, or has weights that are brought where they are used."""
    return getattr(model, "hf_device_map", None) is not None


def device(model: Any) -> torch.device:
    """Where a model takes its inputs."""
    if is_served(model):
        return torch.device("cpu")
    hook = getattr(model, "_hf_hook", None)
    return torch.device(getattr(hook, "execution_device", None) or next(model.parameters()).device)


def refuse_adapter(over: DeviceMap | None, standalone: bool, source: object) -> None:
    """Raises CheckpointError for a model that stands on another one: parts of it would lie in two places."""
    if over and not standalone:
        raise CheckpointError(
            f"--device-map: {source} holds an adapter, and only a plain checkpoint is laid over several devices",
            f"`ftkit export {source} --to DIR` merges it into one",
        )
