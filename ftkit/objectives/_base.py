"""What an objective is: what a training minimises, made of a task's losses.

An objective is one file with one class that inherits `Objective`, in `ftkit/objectives/` or beside a recipe. Nothing
heavy is imported at module level: torch comes in inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ftkit.config import Section
from ftkit.tasks._base import Task, Weighting

if TYPE_CHECKING:
    import torch

    from ftkit.tasks._tensors import Choices

TEACHER = "teacher"
"""What a teacher said of a row, among its encoded columns and in a batch."""


class Objective:
    """What is learned from. What stands here learns from the labels alone.

    The loss is a sum over targets, so that any split of a step adds up to the same; a step divides it by what
    `Task.loss_size` counts.
    """

    summary: ClassVar[str]
    """One line for listings."""

    class Options(Section):
        """The objective's settings."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def teacher(self) -> str | None:
        """The run or checkpoint whose answers it reads; None for none."""
        return None

    def check(self, task: Task) -> None:
        """Raises RecipeError where it can't serve the task, or a setting would do nothing."""

    def told(self, choices: Choices) -> dict[str, list[list[Any]]]:
        """What is kept of a teacher's choices for each row of a batch: encoded column -> its numbers one by one."""
        return {TEACHER: by_row(choices.logits.float(), choices)}

    def collate(self, task: Task, rows: list[dict[str, Any]], tokenizer: Any) -> dict[str, torch.Tensor]:
        """Encoded rows as tensors: the task's, and whatever `loss` reads besides."""
        return task.collate(rows, tokenizer)

    def loss(
        self, task: Task, model: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting
    ) -> tuple[torch.Tensor, Any]:
        """The loss summed over a batch's targets, in float32, and the outputs that it is of."""
        outputs = task.forward(model, batch)
        return task.loss(outputs, batch, weighting), outputs


def by_row(values: torch.Tensor, choices: Choices) -> list[list[Any]]:
    """The numbers of each encoded row, those of padding left off."""
    import torch

    real = choices.real if values.shape == choices.logits.shape else torch.ones_like(values, dtype=torch.bool)
    found: list[list[Any]] = [[] for _ in range(choices.rows)]
    for row, some, there in zip(choices.row.tolist(), values.cpu(), real.cpu(), strict=True):
        found[row] += some[there].tolist()
    return found
