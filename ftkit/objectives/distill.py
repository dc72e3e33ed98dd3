"""Distillation: a student learns from a teacher's answers beside the labels (Hinton, Vinyals and Dean 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ftkit.config import Section
from ftkit.errors import RecipeError
from ftkit.objectives._base import TEACHER, Objective, by_row
from ftkit.tasks._base import Task, Weighting

if TYPE_CHECKING:
    import torch

    from ftkit.tasks._tensors import Choices

MOST = 256
"""Numbers that are kept of a teacher's distribution: of a longer one, over a vocabulary, the likeliest."""
_NUMBERS = f"{TEACHER}_numbers"
"""Which of a vocabulary the kept ones are."""


class Distill(Objective):
    """The loss on the labels and the distance from the teacher, `weight` of it.

    Where one of several is chosen, the distance is the Kullback-Leibler divergence from the teacher's distribution,
    both softened by the temperature and multiplied by its square, which keeps the gradients' size; of labels that may
    go together each is such a choice; of numbers it is the squared difference. Each target counts as in the task's
    own loss. Of a vocabulary the teacher's likeliest tokens are compared, and all others as one.
    """

    summary = "learn from a teacher's answers beside the labels"

    class Options(Section):
        """The settings of `objective: distill`."""

        teacher: str = Field(min_length=1)
        """The run (or fine-tuned checkpoint) that is learned from; it must be of the same task and labels."""
        temperature: float = Field(2.0, gt=0, le=100)
        """Divides both models' logits: the higher, the more the labels that the teacher ruled out tell."""
        weight: float = Field(0.5, gt=0, le=1)
        """Share of the loss that is the teacher's; the rest is the labels'."""

    @property
    def teacher(self) -> str:
        """The run that is learned from."""
        return str(self.options.teacher)

    def check(self, task: Task) -> None:
        """Raises RecipeError for a task that does not say what its loss compares, and for a temperature of numbers."""
        name = type(task).__name__
        owners = [next(cls for cls in type(task).__mro__ if method in vars(cls)) for method in ("loss", "choices")]
        if not issubclass(owners[1], owners[0]):
            raise RecipeError(
                f"objective.distill: {name} has a loss of its own, and does not say of which logits",
                "write its method `choices`, as ftkit.tasks._base.Task has it",
            )
        usual = self.Options.model_fields["temperature"].default
        if getattr(task.options, "kind", "") == "regression" and self.options.temperature != usual:
            raise RecipeError("objective.temperature: numbers have none", "leave it out")

    def told(self, choices: Choices) -> dict[str, list[list[Any]]]:
        """All its logits; of a vocabulary the likeliest tokens' softened log-probabilities, and which they are."""
        if choices.kind != "token" or choices.logits.shape[-1] <= MOST:
            return super().told(choices)
        scores, numbers = (choices.logits.float() / self.options.temperature).log_softmax(-1).topk(MOST, -1)
        return {TEACHER: by_row(scores, choices), _NUMBERS: by_row(numbers, choices)}

    def collate(self, task: Task, rows: list[dict[str, Any]], tokenizer: Any) -> dict[str, torch.Tensor]:
        """The task's tensors, and the teacher's numbers of all rows one after the other."""
        import torch

        batch = task.collate(rows, tokenizer)
        for name, kind in ((TEACHER, torch.float32), (_NUMBERS, torch.long)):
            if name in rows[0]:
                batch[name] = torch.tensor([value for row in rows for value in row[name]], dtype=kind)
        return batch

    def loss(
        self, task: Task, model: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting
    ) -> tuple[torch.Tensor, Any]:
        """Both parts, summed over the batch's targets."""
        own = {name: value for name, value in batch.items() if name not in (TEACHER, _NUMBERS)}
        labels, outputs = super().loss(task, model, own, weighting)
        apart = self._distance(task.choices(outputs, own, weighting), batch)
        return (1 - self.options.weight) * labels + self.options.weight * apart, outputs

    def _distance(self, choices: Choices, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How far a student's choices lie from the teacher's, summed as the targets weigh."""
        import torch

        logits, said = choices.logits.float(), batch[TEACHER]
        if choices.kind == "number":
            apart: torch.Tensor = (logits - said.view_as(logits)) ** 2
            return (apart * choices.weight[:, None]).sum()
        heat: float = self.options.temperature
        if choices.kind == "each":
            each = _binary_divergence(logits / heat, said.view_as(logits) / heat)
            return (each * choices.weight[:, None]).sum() * heat**2
        ours = (logits / heat).log_softmax(-1)
        if _NUMBERS in batch:
            numbers = batch[_NUMBERS].view(len(logits), MOST)
            ours, theirs = _with_rest(ours.gather(-1, numbers)), _with_rest(said.view(len(logits), MOST))
        else:
            spread = torch.full_like(logits, -float("inf"))
            spread[choices.real] = said
            theirs = (spread / heat).log_softmax(-1)
        gone = theirs == -float("inf")
        each = theirs.exp() * (theirs.masked_fill(gone, 0) - ours.masked_fill(gone, 0))
        total: torch.Tensor = (each.sum(-1) * choices.weight).sum()
        return total * heat**2


def _with_rest(scores: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of some of a distribution, and behind them that of all others."""
    import torch

    rest = (1 - scores.exp().sum(-1, keepdim=True)).clamp(min=1e-6).log()
    return torch.cat([scores, rest], -1)


def _binary_divergence(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """The Kullback-Leibler divergence of yes and no, of logits."""
    import torch.nn.functional as F

    yes = theirs.sigmoid()
    return yes * (F.logsigmoid(theirs) - F.logsigmoid(ours)) + (1 - yes) * (F.logsigmoid(-theirs) - F.logsigmoid(-ours))
