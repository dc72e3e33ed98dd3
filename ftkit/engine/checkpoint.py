"""Checkpoints of a training: all that it needs to go on as if it had never been stopped.

`RUN/checkpoints/step-00000120` is written beside its place, sealed, flushed and renamed, so that it is there whole or
not at all. It holds numbers alone, as safetensors and JSON: nothing that is read here can run code.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from transformers.trainer import TRAINER_STATE_NAME

from ftkit.errors import RunError
from ftkit.files import broken, flush, remove, seal
from ftkit.terminal import Say

KEPT = 2
"""Checkpoints that are kept while a training runs: the newest, and the one before should that be damaged."""
WEIGHTS, OPTIMIZER, STATE, RANDOM = "weights.safetensors", "optimizer.safetensors", "state.json", "random.json"
_NAME = re.compile(r"step-(\d{8})")


class Checkpoints:
    """Those of one training, in its run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """The steps after which there is one, whole or not; the newest first."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted((int(found[1]) for name in names if (found := _NAME.fullmatch(name))), reverse=True)

    def path(self, step: int) -> Path:
        """Where the one after `step` is, or would be."""
        return self.folder / f"step-{step:08}"

    def newest(self, say: Say) -> Path | None:
        """The newest whole one; `say` is told of others that are newer and damaged. None where there is none at all.

        Raises RunError where all are damaged.
        """
        damaged: list[str] = []
        for path in map(self.path, self.steps()):
            if not (faults := broken(path)):
                if damaged:
                    say(f"warning: {'; '.join(damaged)}: {path.name} is taken")
                return path
            damaged.append(f"{path} is damaged ({'; '.join(faults)})")
        if damaged:
            raise self.lost(f"{'; '.join(damaged)}, and there is no other to go on from")
        return None

    def lost(self, why: str) -> RunError:
        """What is to be said where the training can't be gone on with, but begun anew."""
        return RunError(why, f"bring it back from a copy; or remove {self.folder} to have it begin anew with --resume")

    def write(self, step: int, files: Mapping[str, Any]) -> None:
        """Write one: tensors by name for each `.safetensors`, any value for each `.json`; then remove the oldest.

        Raises OSError, or SafetensorError, where it can't be written; the ones before are as they were then.
        """
        self.folder.mkdir(exist_ok=True)
        self._tidy()
        beside = self.folder / f".step-{step:08}.writing"
        beside.mkdir()
        try:
            for name, content in files.items():
                if name.endswith(".json"):
                    (beside / name).write_text(json.dumps(content), encoding="utf-8")
                else:
                    save_file({key: value.contiguous() for key, value in content.items()}, beside / name)
            seal(beside)
            self._remove(newer for newer in self.steps() if newer >= step)  # damaged, or this would not be the newest
            os.rename(beside, self.path(step))
            flush(self.folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        self._remove(self.steps()[KEPT:])

    def clear(self) -> None:
        """Remove them all: the training is done."""
        self._remove(self.steps())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self, steps: Iterable[int]) -> None:
        """Under a name that none is looked for by, so that a kill leaves no half of one."""
        for step in steps:
            if self.path(step).exists():
                away = self.folder / f".step-{step:08}.removing"
                os.rename(self.path(step), away)
                shutil.rmtree(away)

    def _tidy(self) -> None:
        """Remove what a killed process was writing or removing: one process at a time works on a run."""
        for left in self.folder.glob(".step-*"):
            remove(left)


# ---------------------------------------------------------------------- what is in one


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a training changes of a model: the weights that learn, and the buffers that are saved with it.

    As they stand in memory: `state_dict` would have an embedding's rows make up for the steps that they rest.
    """
    found = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                found[f"{path}.{name}" if path else name] = buffer
    return found


def put_weights(model: torch.nn.Module, folder: Path) -> None:
    """Give a model, built as at the training's beginning, the weights of a checkpoint.

    In place: where a weight lies in memory decides the last digits of products. Raises RunError for other weights.
    """
    stored, own = load_file(folder / WEIGHTS), weights_of(model)
    unlike = [name for name in {**own, **stored} if _shape(stored, name) != _shape(own, name)]
    if unlike:
        raise RunError(
            f"{folder} is of another model: {len(unlike)} weights differ in name or shape, {unlike[0]} first",
            "the checkpoint or the method has changed since the run began; train anew in another --run",
        )
    for name, value in own.items():
        value.copy_(stored[name])


def _shape(weights: Mapping[str, torch.Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """An optimizer's state: the tensors, by `number.name` of what they belong to, and all the rest."""
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for weight, entries in state["state"].items():
        for name, value in entries.items():
            kind: dict[str, Any] = tensors if isinstance(value, torch.Tensor) else numbers
            kind[f"{weight}.{name}"] = value
    return tensors, {"groups": state["param_groups"], "numbers": numbers}


def put_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], rest: Any) -> None:
    """Set an optimizer as it was."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **rest["numbers"]}.items():
        weight, _, name = key.partition(".")
        state.setdefault(int(weight), {})[name] = value.clone() if isinstance(value, torch.Tensor) else value
    groups = [
        {name: tuple(value) if isinstance(own.get(name), tuple) else value for name, value in group.items()}
        for group, own in zip(rest["groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state() -> dict[str, Any]:
    """Where this process's random generators stand: Python's, NumPy's, torch's, and those of its GPUs."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": [state.cpu().numpy().tobytes().hex() for state in torch.cuda.get_rng_state_all()],
    }


def put_random_state(state: Mapping[str, Any]) -> None:
    """Set this process's random generators as they stood."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_bytes(state["torch"]))
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_bytes(each) for each in state["cuda"]])


def _bytes(hexadecimal: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(hexadecimal), dtype=torch.uint8)


# ---------------------------------------------------------------------- a whole training


def snapshot(trainer: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a checkpoint of a Trainer between two steps. Every process calls it; `told` is what callers keep."""
    tensors, rest = optimizer_tensors(trainer.plain_optimizer)
    scaler = trainer.accelerator.scaler
    return {
        WEIGHTS: weights_of(trainer.model),
        OPTIMIZER: tensors,
        STATE: {
            **told,
            "optimizer": rest,
            "schedule": trainer.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
        },
        RANDOM: gather_object([random_state()]),
        TRAINER_STATE_NAME: asdict(replace(trainer.state, log_history=[], stateful_callbacks={})),
    }


def read(folder: Path, name: str) -> Any:
    """One of a checkpoint's JSON files."""
    return json.loads((folder / name).read_text(encoding="utf-8"))


def put_optimizer_and_schedule(trainer: Any, folder: Path) -> None:
    """Set a Trainer's optimizer, schedule and gradient scaler as they were."""
    state = read(folder, STATE)
    put_optimizer(trainer.plain_optimizer, load_file(folder / OPTIMIZER), state["optimizer"])
    trainer.lr_scheduler.load_state_dict(state["schedule"])
    if trainer.accelerator.scaler and state["scaler"]:
        trainer.accelerator.scaler.load_state_dict(state["scaler"])


def put_random(folder: Path, process: int) -> None:
    """Set the random generators of a process as they stood, if the training had a process of that number."""
    states = read(folder, RANDOM)
    if process < len(states):
        put_random_state(states[process])
