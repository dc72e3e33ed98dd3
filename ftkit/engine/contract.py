"""The contract of a trained folder, `ftkit.json`: what it promises about its outputs.

It names the task with its options, the labels in the order of the outputs, and where the weights that are not in the
folder come from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

import ftkit
from ftkit.checkpoints.folder import CONTRACT
from ftkit.engine import pretrained
from ftkit.errors import CheckpointError, one_line, some
from ftkit.files import amend
from ftkit.methods._base import Method
from ftkit.metrics.schemes import is_tag
from ftkit.plugins import explain_errors
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


def of_training(
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


def read(folder: Path) -> Contract:
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


def write(folder: Path, contract: Contract) -> None:
    """Replace the contract of a trained folder, whole or not at all."""
    amend(folder, CONTRACT, text(contract))


def text(contract: Contract) -> str:
    return contract.model_dump_json(indent=2) + "\n"


_HEADS = {
    "ForSequenceClassification": ("classification", "text-classification"),
    "ForTokenClassification": ("ner", "token-classification"),
    "ForQuestionAnswering": ("qa", "question-answering"),
    "ForConditionalGeneration": ("summarization", "summarization"),
    "ForCausalLM": ("summarization", "text-generation"),
    "LMHeadModel": ("summarization", "text-generation"),
}
"""By the ending of a model's class: the task that has such a head, and the Hub's word for what it does."""


def head_of(architecture: str) -> tuple[str, str] | tuple[None, None]:
    """Task and the Hub's word for a class of transformers; nothing where its head is of no task."""
    return next((found for ending, found in _HEADS.items() if architecture.endswith(ending)), (None, None))


_KINDS = {"multi_label_classification": "multi", "regression": "regression"}


def inferred(folder: Path) -> Contract:
    """The contract of a plain checkpoint, from its config. Raises CheckpointError where it has no head for a task."""
    config = pretrained.read_config(folder)
    architecture = (config.architectures or ["no architecture"])[0]
    name, _ = head_of(architecture)
    if name is None:
        raise CheckpointError(
            f"{folder} is {architecture}, which has no head for a task",
            "`ftkit train` gives it one; `eval` and `predict` take runs, exports and fine-tuned checkpoints",
        )
    task: dict[str, Any] = {"name": name}
    labels: Labels = ()
    if name in ("classification", "ner"):
        labels = pretrained.label_names(config)
    if name == "ner" and (other := [label for label in labels if not is_tag(label)]):
        raise CheckpointError(
            f"{folder}: its labels are no tags of entities (B-, I-, O): {some(other)}",
            "`ftkit train ner/full --set model.checkpoint=...` trains it on such",
        )
    if name == "classification":
        single = "regression" if config.num_labels == 1 else "single"
        task["kind"] = _KINDS.get(config.problem_type or "", single)
    return Contract(ftkit=ftkit.__version__, task=task, labels=labels, method={"name": "full"})
