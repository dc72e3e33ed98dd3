"""Trained models: the folder that one is kept in, and what answers when it is loaded again.

A trained folder holds the weights that its method keeps (`Method.save`), the tokenizer, and its contract.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError

from ftkit import checkpoints, exporters, trust
from ftkit.checkpoints.folder import CARD, CONFIG, CONTRACT, MARK
from ftkit.checkpoints.hub import is_snapshot
from ftkit.engine import contract as contracts
from ftkit.engine import device_map, machine, pretrained, served
from ftkit.engine.contract import Contract
from ftkit.engine.device_map import DeviceMap
from ftkit.errors import CheckpointError, MachineError, first, one_line, problems
from ftkit.exporters._base import Exporter
from ftkit.files import SEAL, broken, is_sealed, replacing, seal, sha256_together
from ftkit.methods._base import Method
from ftkit.plugins import Choice, resolve
from ftkit.run import RunDirectory
from ftkit.tasks._base import Labels, Task


@dataclass(frozen=True)
class Trained:
    """A model that can answer, with all that belongs to it."""

    model: Any
    task: Task
    tokenizer: Any
    labels: Labels
    method: Method
    contract: Contract
    source: Path


def save(folder: Path, model: Any, tokenizer: Any, method: Method, contract: Contract) -> None:
    """Write a trained folder's files into an empty `folder`."""
    method.save(model, folder)
    save_beside(folder, tokenizer, contract)


def save_beside(folder: Path, tokenizer: Any, contract: Contract) -> None:
    """Write what a folder with weights lacks to be a trained one."""
    tokenizer.save_pretrained(folder)
    if contract.format and (folder / CONFIG).is_file():
        config = {**json.loads((folder / CONFIG).read_text(encoding="utf-8")), MARK: contract.ftkit}
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / CONTRACT).write_text(contracts.text(contract), encoding="utf-8")
    for path in folder.glob("*.safetensors"):  # safetensors writes for the owner's eyes only, whatever the umask
        path.chmod((folder / CONTRACT).stat().st_mode)


def load(source: str | Path, over: DeviceMap | None = None) -> Trained:
    """A run, an export, or a plain fine-tuned checkpoint (a folder or a Hub id), ready to answer.

    `over` lays it over several devices. Raises CheckpointError or RunError where there is none, or where its base is
    not the one it was trained on.
    """
    folder = _trained_folder(source)
    found = contracts.read(folder) if (folder / CONTRACT).is_file() else contracts.inferred(folder)
    named = {"task": found.task, "method": found.method}
    trust.refuse_foreign(folder, named)
    trust.refuse_outside(folder, {**named, "base": found.base})
    task: Task = resolve("task", Choice.model_validate(found.task), Task)
    method: Method = resolve("method", Choice.model_validate(found.method), Method)
    device_map.refuse_adapter(over, found.base is None, source)
    runtime = exporters.find(found.format) if found.format else None
    if runtime and not runtime.is_torch:
        if over:
            raise CheckpointError(
                f"--device-map: {source} is an export as {found.format}; only a plain checkpoint is laid over devices",
                "leave --device-map out",
            )
        base = folder
    else:
        base = _whole(folder) if found.base is None else _base_folder(found.base, folder)
    if not found.labels and type(task).labels is not Task.labels:
        raise CheckpointError(f"{folder / CONTRACT} names no labels", "copy the folder anew, or export the run again")
    tokenizer = pretrained.read_tokenizer(folder, task)
    if not (folder / CONTRACT).is_file():
        config = pretrained.read_config(folder)
        task = pretrained.within_positions(task.settle(None, config), config, tokenizer)
    if runtime and not runtime.is_torch:
        model = _served(folder, runtime, task, found.labels)
    else:
        layers = (found.base or {}).get("layers")
        model = pretrained.build(base, task, found.labels, new_head=found.base is not None, over=over, layers=layers)
        model = _load_adapter(method, model, folder)
        model = model if device_map.is_spread(model) else model.to(machine.device())
    return Trained(model.eval(), task, tokenizer, found.labels, method, found, folder)


def _served(folder: Path, runtime: Exporter, task: Task, labels: Labels) -> Any:
    """What stands in a model's place where the folder's own runtime computes."""
    if missing := runtime.missing():
        raise MachineError(
            f"{folder} is answered by {', '.join(missing)}, which is not installed",
            f"pip install 'ftkit[{runtime.extra}]'",
        )
    config = pretrained.read_config(folder)
    if labels:
        pretrained.refuse_other_labels(folder, config, labels)
    generation = transformers.GenerationConfig()  # type: ignore[no-untyped-call]
    if (folder / "generation_config.json").is_file():
        generation = transformers.GenerationConfig.from_pretrained(folder)
    sessions = runtime.sessions(folder)
    if not {"model"} <= sessions.keys() and not {"encoder", "decoder"} <= sessions.keys():
        raise CheckpointError(f"{folder} lacks its graphs", "copy the folder anew, or export again")
    return served.model(config, generation, sessions, task, labels, runtime.alone)


def _whole(folder: Path) -> Path:
    """A folder that must be a checkpoint by itself. Raises CheckpointError where it is none, or would run code."""
    if faults := checkpoints.lacks(folder):
        raise problems(
            CheckpointError, f"{folder} can't be loaded", faults, "copy the folder anew, or export the run again"
        )
    return folder


def _load_adapter(method: Method, model: Any, folder: Path) -> Any:
    """What the method keeps in `folder`, on the model that it builds on. Raises CheckpointError for torn files."""
    try:
        return method.load(model, folder)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: what method {type(method).__name__} keeps there can't be read: {one_line(error)}",
            "train again, or copy the folder anew",
        ) from error


def _trained_folder(source: str | Path) -> Path:
    """The folder that a run, an export (which may hold an adapter alone) or a checkpoint is loaded from."""
    is_run = RunDirectory.is_run(source)
    path = RunDirectory.open(source).model if is_run else Path(os.path.expanduser(source))
    refuse_damaged(path)
    if not (path / CONTRACT).is_file():
        path = checkpoints.locate(str(path) if is_run else str(source)).path
    if (path / CONTRACT).is_file():  # a plain checkpoint is the person's own choice, whatever its links are
        trust.refuse_links(path.parent if is_run else path)
    return path


def fingerprint(source: str | Path) -> str:
    """A SHA-256 of all that a trained folder answers by: weights, config, tokenizer, contract."""
    folder = _trained_folder(source)
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in _ANSWERS_BY)
    return sha256_together(files)


_ANSWERS_BY = (".json", ".safetensors", ".txt", ".model")


def refuse_damaged(folder: Path) -> None:
    """Raises CheckpointError where a file of a trained folder is not as it was written.

    A plain checkpoint may come with a list of SHA-256s that is not ftkit's, of other files than were fetched.
    """
    ours = (folder / CONTRACT).is_file() or (
        is_sealed(folder) and CONTRACT in (folder / SEAL).read_text("utf-8", "replace")
    )
    unread = {CARD} if is_snapshot(folder) else ()  # which `checkpoints` leaves on the Hub
    faults = broken(folder, unread) if ours and is_sealed(folder) else []
    if faults:
        raise problems(
            CheckpointError,
            f"{folder} is damaged",
            first(faults, 5),
            f"copy it anew, or train or export again; where you changed it yourself, remove its {SEAL}",
        )


def _base_folder(base: dict[str, Any], folder: Path) -> Path:
    """The folder of the checkpoint that an adapter builds on. Raises CheckpointError where its weights differ."""
    found = locate_base(base["checkpoint"], base.get("revision"))
    if found.sha256 != base["sha256"]:
        raise CheckpointError(
            f"{folder} was trained on other weights of {base['checkpoint']} than the ones found in {found.path}",
            f"SHA-256 {base['sha256'][:12]}... was trained on, {found.sha256[:12]}... was found",
        )
    return found.path


def locate_base(checkpoint: str, revision: str | None = None) -> checkpoints.Located:
    """The plain checkpoint that a recipe's `model.checkpoint` means; of a run or an export, its merged weights."""
    path = Path(checkpoint).expanduser()
    is_here = path.is_absolute()  # as a recipe's paths are by now: another name is a starter's, or of the Hub
    if is_here and RunDirectory.is_run(path):
        path = RunDirectory.open(path).model
    if is_here:
        refuse_damaged(path)
    plain = None
    if not is_here or not (path / CONTRACT).is_file():
        plain = checkpoints.locate(str(path) if is_here and path.is_dir() else checkpoint, revision)
        path = plain.path
        if not (path / CONTRACT).is_file():
            return plain
    trust.refuse_links(path)
    found = contracts.read(path)
    if found.format and not exporters.find(found.format).is_torch:
        raise CheckpointError(
            f"{checkpoint} is an export as {found.format}, whose weights can't be trained",
            "name the run that it comes of, or an export as checkpoint",
        )
    if found.base is None:
        _whole(path)
        return plain or checkpoints.locate(str(path))
    return checkpoints.locate(str(_merged(path)))


def _merged(folder: Path) -> Path:
    """A plain checkpoint of a trained folder that holds only an adapter, kept in ftkit's cache under its hash.

    That is of the labels and the tokenizer, too: adapters of other names may be equal.
    """
    target = checkpoints.cache() / "merged" / fingerprint(folder)
    if broken(target):
        trained = load(folder)
        merged: Any = trained.method.merge(trained.model)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as beside:
            merged.save_pretrained(beside)
            trained.tokenizer.save_pretrained(beside)
            seal(beside)
    return target
