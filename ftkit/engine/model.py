"""Models on disk and in memory: building one for a task, and the folder that a trained one is kept in.

A trained folder holds the weights that its method keeps (`Method.save`), the tokenizer, and `ftkit.json`: the
contract. The contract names the task with its options, the labels in the order of the outputs, and where the
weights that are not in the folder come from.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from safetensors import SafetensorError

import ftkit
from ftkit import checkpoints, exporters, trust
from ftkit.checkpoints.folder import CARD, CONFIG, CONTRACT, MARK
from ftkit.checkpoints.hub import is_snapshot
from ftkit.engine import machine, served, spread
from ftkit.engine.shrink import shortened
from ftkit.engine.spread import Spread
from ftkit.errors import CheckpointError, MachineError, first, one_line, problems
from ftkit.exporters._base import Exporter
from ftkit.files import SEAL, amend, broken, is_sealed, replacing, seal, sha256
from ftkit.methods._base import Method
from ftkit.methods._layers import head_modules
from ftkit.plugins import Choice, explain_errors, resolve
from ftkit.run import RunDirectory
from ftkit.tasks._base import Labels, Task


class Contract(BaseModel):
    """What a trained folder promises about its outputs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ftkit: str
    """Version that wrote the folder."""
    task: dict[str, Any]
    """Name and options."""
    labels: tuple[str, ...]
    """In the order of the outputs."""
    method: dict[str, Any]
    """Name and options; `full` where the folder is a plain checkpoint."""
    base: dict[str, Any] | None = None
    """Checkpoint, revision and SHA-256 of the weights that the folder builds on, and how many of its `layers` where
    not all are; none for a plain checkpoint."""

    data: dict[str, Any] = {}
    """How the rows that it was trained on are read: columns, labels renamed, delimiter, how texts are cleaned."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What it answers in where the machine can and nobody asks for another."""
    format: str | None = None
    """The format of an export, by which it is known what computes its logits; none for a run."""

    @field_validator("task", "method")
    @classmethod
    def _names_itself(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("name"), str):
            raise ValueError("it must have a name")
        return value

    @field_validator("base")
    @classmethod
    def _names_its_weights(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and not {"checkpoint", "sha256"} <= set(value):
            raise ValueError("base must name its checkpoint and sha256")
        return value


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


def read_config(folder: Path) -> Any:
    """The transformers config of a checkpoint folder. Raises CheckpointError where it can't be read."""
    try:
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder}: config.json can't be used: {one_line(error)}") from error


def read_tokenizer(folder: Path, task: Task) -> Any:
    """The fast tokenizer of a checkpoint folder. Raises CheckpointError where there is none."""
    if not checkpoints.has_tokenizer(folder):  # transformers would make up an empty one
        raise CheckpointError(f"{folder}: there is no tokenizer", "copy the folder anew, tokenizer.json included")
    settings: dict[str, Any] = {"add_prefix_space": True} if task.splits_words else {}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: the tokenizer can't be loaded: {one_line(error)}") from error
    if not tokenizer.is_fast:
        raise CheckpointError(
            f"{folder}: its tokenizer tells no character offsets", "take a checkpoint with tokenizer.json"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def within_positions(task: Task, config: Any, tokenizer: Any) -> Task:
    """The task with inputs that the checkpoint has positions for (T5-like ones have no limit)."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not positions or positions < 0 or config.model_type == "t5":
        return task
    if config.model_type in _OFFSET_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    return task.shortened(positions, tokenizer)


_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "xlm-roberta-xl", "esm"}
"""Families that number positions from behind their padding token's id."""


def build(
    folder: Path,
    task: Task,
    labels: Labels,
    dropout: float | None = None,
    new_head: bool = True,
    over: Spread | None = None,
    layers: int | None = None,
) -> Any:
    """The checkpoint in `folder` with a head for the task, in float32; laid over several devices where asked for.

    Of its layers `layers` are kept, where that is given.

    A head that is missing or was trained on other labels is made anew, or, without `new_head`, refused: what
    answers must have been trained. Raises CheckpointError then, and where the weights can't be read or lack more.
    """
    config = read_config(folder)
    other_labels = bool(labels) and label_names(config) != labels
    if other_labels and not new_head:
        _refuse_other_labels(folder, config, labels)
    for name, value in task.model_settings(labels).items():
        setattr(config, name, value)
    config.return_dict = True
    config.output_attentions = False  # transformers could not save it: its quick attention gives none
    if dropout is not None:
        set_dropout(config, dropout)
    if getattr(config, "pad_token_id", None) is None:  # as `read_tokenizer` does
        eos = getattr(config, "eos_token_id", None)
        config.pad_token_id = eos[0] if isinstance(eos, list) else eos
    model_class = getattr(transformers, task.model_class(config))
    told = spread.settings(over)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, report = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
                **told,
            )
    except Exception as error:
        spread.drop(told)
        if "No space left" in str(error) or isinstance(error, MemoryError):
            raise
        raise CheckpointError(
            f"{folder}: {config.model_type} can't be loaded for this task: {one_line(error)}"
        ) from error
    spread.tidy(model, told)
    _refuse_gaps(folder, model, report, new_head)
    if other_labels and not any(_in_head(model, name) for name in report["missing_keys"]):
        _renew_head(model)
    model = model if layers is None else shortened(model, layers)
    _align(model)
    return model


def _refuse_other_labels(folder: Path, config: Any, labels: Labels) -> None:
    """Raises CheckpointError where contract and config do not name the same labels in the same order."""
    if label_names(config) != labels:
        raise CheckpointError(
            f"{folder}: {CONTRACT} and config.json name different labels: {', '.join(labels)}, and"
            f" {', '.join(label_names(config))}",
            "one of them was changed after training; export the run again",
        )


def _align(model: Any) -> None:
    """Move weights to addresses that products read fast.

    Weights mapped from a file lie anywhere, and the same products then differ in the last digits: a model would
    not score as it did before it was saved.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def label_names(config: Any) -> Labels:
    """The label names of a checkpoint's head, in order (`LABEL_0` and so on where it was given none)."""
    return tuple(str(config.id2label[index]) for index in sorted(config.id2label or {}))


def _renew_head(model: Any) -> None:
    """Give the model a new head: one that was trained on other labels would answer with the wrong ones."""
    fresh: dict[str, Any] = type(model)(model.config).state_dict()
    model.load_state_dict({name: value for name, value in fresh.items() if _in_head(model, name)}, strict=False)


def _refuse_gaps(folder: Path, model: Any, report: dict[str, Any], new_head: bool) -> None:
    """Raises CheckpointError where the weights file lacks more than a head that may be new."""
    gaps = [str(name) for name in report["missing_keys"]]
    gaps += [str(entry[0]) for entry in report.get("mismatched_keys", ())]
    lacking = sorted(n for n in gaps if not (new_head and (_in_head(model, n) or "pooler" in n)))
    if lacking:
        raise CheckpointError(
            f"{folder}: the weights lack {len(lacking)} that {type(model).__name__} needs, {lacking[0]} first",
            "is it a checkpoint of this architecture, and complete?",
        )


def _in_head(model: Any, name: str) -> bool:
    return str(name).startswith(tuple(head_modules(model)))


_DROPOUTS = ("dropout", "drop_rate", "_pdrop")


def set_dropout(config: Any, rate: float) -> None:
    """Set every dropout rate of a config. Raises CheckpointError where it has none."""
    names = [
        name
        for name, value in config.to_dict().items()
        if any(word in name for word in _DROPOUTS) and isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    names += [name for name in ("classifier_dropout",) if hasattr(config, name)]
    if not names:
        raise CheckpointError(
            f"model.dropout: {type(config).__name__} has no dropout to set", "leave model.dropout out"
        )
    for name in names:
        setattr(config, name, rate)


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
    (folder / CONTRACT).write_text(_contract_text(contract), encoding="utf-8")
    for path in folder.glob("*.safetensors"):  # safetensors writes for the owner's eyes only, whatever the umask
        path.chmod((folder / CONTRACT).stat().st_mode)


def write_contract(folder: Path, contract: Contract) -> None:
    """Replace the contract of a trained folder, whole or not at all."""
    amend(folder, CONTRACT, _contract_text(contract))


def _contract_text(contract: Contract) -> str:
    return contract.model_dump_json(indent=2) + "\n"


def contract(
    task: Task,
    task_name: str,
    labels: Labels,
    method: Method,
    method_name: str,
    base: dict[str, Any] | None,
    data: dict[str, Any],
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Contract:
    """The contract of a model that is being trained."""
    return Contract(
        ftkit=ftkit.__version__,
        task={"name": task_name, **task.options.model_dump(mode="json")},
        labels=labels,
        method={"name": method_name, **method.options.model_dump(mode="json")},
        base=None if method.standalone else base,
        data=data,
        precision=precision,
    )


def load(source: str | Path, over: Spread | None = None) -> Trained:
    """A run, an export, or a plain fine-tuned checkpoint (a folder or a Hub id), ready to answer.

    `over` lays it over several devices. Raises CheckpointError or RunError where there is none, or where its base is
    not the one it was trained on.
    """
    folder = _trained_folder(source)
    found = read_contract(folder) if (folder / CONTRACT).is_file() else _infer_contract(folder)
    named = {"task": found.task, "method": found.method}
    trust.refuse_foreign(folder, named)
    trust.refuse_outside(folder, {**named, "base": found.base})
    task: Task = resolve("task", Choice.model_validate(found.task), Task)
    method: Method = resolve("method", Choice.model_validate(found.method), Method)
    spread.refuse_adapter(over, found.base is None, source)
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
    tokenizer = read_tokenizer(folder, task)
    if not (folder / CONTRACT).is_file():
        config = read_config(folder)
        task = within_positions(task.settle(None, config), config, tokenizer)
    if runtime and not runtime.is_torch:
        model = _served(folder, runtime, task, found.labels)
    else:
        layers = (found.base or {}).get("layers")
        model = build(base, task, found.labels, new_head=found.base is not None, over=over, layers=layers)
        model = _load_adapter(method, model, folder)
        model = model if spread.is_spread(model) else model.to(machine.device())
    return Trained(model.eval(), task, tokenizer, found.labels, method, found, folder)


def _served(folder: Path, runtime: Exporter, task: Task, labels: Labels) -> Any:
    """What stands in a model's place where the folder's own runtime computes."""
    if missing := runtime.missing():
        raise MachineError(
            f"{folder} is answered by {', '.join(missing)}, which is not installed",
            f"pip install 'ftkit[{runtime.extra}]'",
        )
    config = read_config(folder)
    if labels:
        _refuse_other_labels(folder, config, labels)
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
    return hashlib.sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode()).hexdigest()


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


def read_contract(folder: Path) -> Contract:
    """The contract of a trained folder. Raises CheckpointError where it can't be read."""
    try:
        return Contract.model_validate_json((folder / CONTRACT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = explain_errors(error, Contract) if isinstance(error, ValidationError) else [one_line(error)]
        raise CheckpointError(
            f"{folder / CONTRACT} can't be read: {'; '.join(what)}",
            f"it was written by another version than {ftkit.__version__}, or changed by hand: copy the folder anew,"
            " or export the run again",
        ) from error


def _base_folder(base: dict[str, Any], folder: Path) -> Path:
    """The folder of the checkpoint that an adapter builds on. Raises CheckpointError where its weights differ."""
    found = locate_base(base["checkpoint"], base.get("revision"))
    if found.sha256 != base["sha256"]:
        raise CheckpointError(
            f"{folder} was trained on other weights of {base['checkpoint']} than the ones found in {found.path}",
            f"SHA-256 {base['sha256'][:12]}... was trained on, {found.sha256[:12]}... was found",
        )
    return found.path


_ARCHITECTURES = {
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "ner",
    "ForQuestionAnswering": "qa",
    "ForConditionalGeneration": "summarization",
    "ForCausalLM": "summarization",
    "LMHeadModel": "summarization",
}
_KINDS = {"multi_label_classification": "multi", "regression": "regression"}


def _infer_contract(folder: Path) -> Contract:
    """The contract of a plain checkpoint, from its config. Raises CheckpointError where it has no head for a task."""
    config = read_config(folder)
    architecture = (config.architectures or ["no architecture"])[0]
    name = next((task for suffix, task in _ARCHITECTURES.items() if architecture.endswith(suffix)), None)
    if name is None:
        raise CheckpointError(
            f"{folder} is {architecture}, which has no head for a task",
            "`ftkit train` gives it one; `eval` and `predict` take runs, exports and fine-tuned checkpoints",
        )
    task: dict[str, Any] = {"name": name}
    labels: Labels = ()
    if name in ("classification", "ner"):
        labels = label_names(config)
    if name == "classification":
        single = "regression" if config.num_labels == 1 else "single"
        task["kind"] = _KINDS.get(config.problem_type or "", single)
    return Contract(ftkit=ftkit.__version__, task=task, labels=labels, method={"name": "full"})


def locate_base(checkpoint: str, revision: str | None = None) -> checkpoints.Located:
    """The plain checkpoint that a recipe's `model.checkpoint` means; of a run or an export, its merged weights."""
    path = Path(checkpoint).expanduser()
    if RunDirectory.is_run(path):
        path = RunDirectory.open(path).model
    refuse_damaged(path)
    plain = None
    if not (path / CONTRACT).is_file():
        plain = checkpoints.locate(str(path) if path.is_dir() else checkpoint, revision)
        path = plain.path
        if not (path / CONTRACT).is_file():
            return plain
    trust.refuse_links(path)
    found = read_contract(path)
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
    """A plain checkpoint of a trained folder that holds only an adapter, kept in ftkit's cache under its hash."""
    weights = checkpoints.weights_sha256(folder)
    target = checkpoints.cache() / "merged" / weights
    if broken(target):
        trained = load(folder)
        merged: Any = trained.method.merge(trained.model)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as beside:
            merged.save_pretrained(beside)
            trained.tokenizer.save_pretrained(beside)
            seal(beside)
    return target
