"""A checkpoint as transformers has it: its config, its tokenizer, and its model with a head for a task."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from ftkit import checkpoints
from ftkit.checkpoints.folder import CONTRACT
from ftkit.data.typed import AT_ONCE
from ftkit.engine import device_map
from ftkit.engine.device_map import DeviceMap
from ftkit.engine.shrink import with_layers
from ftkit.errors import CheckpointError, one_line
from ftkit.methods._layers import head_modules
from ftkit.tasks._base import Labels, Task

if TYPE_CHECKING:
    from datasets import Dataset


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


_OFFSET_POSITIONS = {
    *("roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "xlm-roberta-xl", "xmod", "esm"),
    *("data2vec-text", "ibert", "layoutlmv3", "lilt", "longformer", "luke", "markuplm"),
}
"""Families that number positions from behind their padding token's id."""


def build(
    folder: Path,
    task: Task,
    labels: Labels,
    dropout: float | None = None,
    new_head: bool = True,
    over: DeviceMap | None = None,
    layers: int | None = None,
) -> Any:
    """The checkpoint in `folder` with a head for the task, in float32; laid over several devices where asked for.

    Of its layers `layers` are kept, where that is given.

    A head that is missing or was trained on other labels is made anew, or, without `new_head`, refused: what
    answers must have been trained. Raises CheckpointError then, and where the weights can't be read or lack more.
    """
    config = read_config(folder)
    other_labels = bool(labels) and label_names(config) != labels and not gives_a_number(task, config)
    if other_labels and not new_head:
        refuse_other_labels(folder, config, labels)
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
    told = device_map.settings(over)
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
        device_map.drop(told)
        if "No space left" in str(error) or isinstance(error, MemoryError):
            raise
        raise CheckpointError(
            f"{folder}: {config.model_type} can't be loaded for this task: {one_line(error)}"
        ) from error
    device_map.tidy(model, told)
    _refuse_gaps(folder, model, report, new_head)
    if other_labels and not any(_in_head(model, name) for name in report["missing_keys"]):
        _renew_head(model)
    model = model if layers is None else with_layers(model, layers)
    _align(model)
    return model


def gives_a_number(task: Task, config: Any) -> bool:
    """Whether the task's answer is a number, and the checkpoint's head gives one, whatever it calls it."""
    wanted = task.model_settings(("value",)).get("problem_type") == "regression"
    return wanted and config.num_labels == 1 and config.problem_type in (None, "regression")


def refuse_other_labels(folder: Path, config: Any, labels: Labels) -> None:
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
    """Give the model a new head: one that was trained on other labels would answer with the wrong ones.

    The pooler knows no labels, and stays as the checkpoint has it.
    """
    fresh: dict[str, Any] = type(model)(model.config).state_dict()
    new = {name: value for name, value in fresh.items() if _in_head(model, name) and "pooler" not in name}
    model.load_state_dict(new, strict=False)


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


def refuse_unknown_tokens(model: Any, encoded: Dataset, tokenizer: Any) -> None:
    """Raises CheckpointError where a row has a token that the model has no embedding of."""
    import pyarrow.compute as pc

    parts = encoded.select_columns(["input_ids"]).with_format("arrow").iter(AT_ONCE)
    highest = max((pc.max(pc.list_flatten(part["input_ids"])).as_py() or 0 for part in parts), default=0)
    refuse_token(model, highest, tokenizer)


def refuse_token(model: Any, token: int, tokenizer: Any) -> None:
    """Raises CheckpointError where the model has no embedding of a token, by its number."""
    known = model.get_input_embeddings().num_embeddings
    if token >= known:
        name = tokenizer.convert_ids_to_tokens(token)
        raise CheckpointError(
            f"model.checkpoint: the token {name!r} is number {token} in the tokenizer, and the model knows {known}",
            "a token was added to the tokenizer alone: model.resize_token_embeddings(len(tokenizer)), and save both",
        )
