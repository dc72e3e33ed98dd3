"""What a method is: which weights learn, what is kept of them, and how they become a plain checkpoint again.

A method is one file with one class that inherits `Method`, in `ftkit/methods/` or beside a recipe. Nothing
heavy is imported at module level: torch, transformers and peft come in inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ftkit.config import Section
from ftkit.errors import CheckpointError, problems
from ftkit.methods._layers import plain_model

if TYPE_CHECKING:
    from torch import Tensor, nn


class Method:
    """How much of a checkpoint learns.

    What stands here serves methods that add no weights: `save` writes a plain checkpoint, complete by itself.
    """

    summary: ClassVar[str]
    """One line for listings."""
    peft: ClassVar[bool] = False
    """Whether `apply` returns a `peft.PeftModel`."""
    standalone: ClassVar[bool] = True
    """Whether `save` writes a plain checkpoint; if not, loading needs the base checkpoint too."""
    unmerged: ClassVar[str] = ""
    """Why `merge` can't be done; empty where it can."""

    class Options(Section):
        """The method's settings."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def apply(self, model: nn.Module, peft_type: str) -> nn.Module:
        """Freeze, wrap, insert: the model to train. `model` is changed in place.

        `peft_type` is PEFT's name of the task: SEQ_CLS, TOKEN_CLS, QUESTION_ANS, SEQ_2_SEQ_LM or CAUSAL_LM.
        Raises CheckpointError for an architecture that the method can't serve.
        """
        raise NotImplementedError

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write into `folder`, which exists and is empty, what `load` needs besides the base checkpoint."""
        plain_model(model).save_pretrained(folder)

    def load(self, model: nn.Module, folder: Path) -> nn.Module:
        """The trained model, from the freshly built base (for a standalone method, built from `folder`)."""
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        """The trained model as a plain checkpoint of its architecture. `model` is used up."""
        return model


def stored_file(folder: Path, name: str) -> Path:
    """The file that `save` wrote. Raises CheckpointError when it is missing."""
    path = Path(folder) / name
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {name}", "name a folder that was saved with this method, or train again"
        )
    return path


def check_fit(folder: Path, stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError with every weight that is missing, unknown or of a shape not the model's."""
    found = [f"{name} is missing" for name in expected if name not in stored]
    found += [f"{name} is not part of the model" for name in stored if name not in expected]
    found += [
        f"{name} has the shape {tuple(weight.shape)}, the model's is {tuple(expected[name].shape)}"
        for name, weight in stored.items()
        if name in expected and weight.shape != expected[name].shape
    ]
    if found:
        raise problems(
            CheckpointError,
            f"the weights in {folder} do not fit the model",
            found,
            "load them on the checkpoint and with the labels that they were trained with",
        )
