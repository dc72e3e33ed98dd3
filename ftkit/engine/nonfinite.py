"""Numbers that are no numbers: a step with an infinite loss or gradient moves nothing, and is told of.

What overflows is named by its step, its rows and its layer; after several such steps in a row the training ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ftkit.errors import CheckpointError, FTKitError, RecipeError, some

MOST = 3
"""Steps in a row that move nothing before the training ends."""
_SCALED = 24
"""The same where gradients are scaled, whose scale is halved each time: 16 times from what it begins with to 1."""
_SHOWN = 5
OVERFLOWING = {"t5", "mt5", "umt5", "longt5", "pegasus", "deberta", "deberta-v2"}
"""Families whose activations pass what fp16 holds (65,504): they were trained in bf16 or fp32."""


def refuse_overflow(family: str, precision: str) -> None:
    """Raises RecipeError for a family of models that is known to overflow in fp16."""
    if precision == "fp16" and family in OVERFLOWING:
        raise RecipeError(
            f"train.precision: fp16 can't hold what a {family} model computes: its loss becomes nan",
            "set train.precision to bf16 or fp32",
        )


def not_finite() -> CheckpointError:
    """The error for a model whose outputs are no numbers."""
    return CheckpointError(
        "the model's outputs are not finite numbers: its weights are of no use",
        "train again with a lower train.learning_rate, or with train.precision=fp32",
    )


class Watch:
    """Looks at each step's gradients before the optimizer does."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        """Those of the step at hand."""
        self.lost = 0
        """Steps in a row that moved nothing."""

    def passes(self, trainer: Any, norm: Any) -> bool:
        """Whether the gradients, whose norm is given, are finite; if not, it is told where that comes from.

        Raises FTKitError after `MOST` such steps in a row.
        """
        if bool(torch.as_tensor(norm).isfinite()):
            self.lost = 0
            return True
        self.lost += 1
        step, scaled = trainer.state.global_step + 1, trainer.accelerator.scaler is not None
        if scaled and self.lost < _SCALED:  # fp16: the scale is found by overflowing now and then
            return True
        told = f"step {step}: {_where(trainer, self.rows)}"
        if self.lost >= (_SCALED if scaled else MOST):
            raise FTKitError(
                f"{told}; {self.lost} such steps in a row end the training. What was saved is kept",
                "lower train.learning_rate, set train.precision to fp32, or look at the rows named",
            )
        trainer.say(f"warning: {told}; nothing was learned in this step")
        return False


def _where(trainer: Any, rows: list[dict[str, Any]]) -> str:
    """What is not finite: the rows' loss and the first layer, or else the gradients of a layer."""
    gradients = [name for name, weight in trainer.model.named_parameters() if _is_lost(weight.grad)]
    bad, layer = _losses(trainer, rows)
    if bad:
        numbers = some(bad, _SHOWN)
        return f"the loss of training rows {numbers} is not finite, from {layer} on"
    where = f", of {gradients[-1]} first" if gradients else ""
    numbers = some([_number(row) for row in rows], _SHOWN)
    return f"the gradient of training rows {numbers} is not finite{where}"


def _losses(trainer: Any, rows: list[dict[str, Any]]) -> tuple[list[str], str]:
    """Numbers of the rows whose loss is not finite, and the first layer whose output is not."""
    bad: list[str] = []
    layer = "the loss"
    with torch.no_grad(), trainer.compute_loss_context_manager():
        for row in rows:
            batch = trainer._prepare_inputs(trainer.collated([row]))
            with _first_lost(trainer.model) as found:
                loss = trainer.compute_loss(trainer.model, batch)
            if _is_lost(loss):
                bad.append(_number(row))
                layer = found[0] if found else layer
    return bad, layer


@contextmanager
def _first_lost(model: torch.nn.Module) -> Iterator[list[str]]:
    """The names of the modules whose output is not finite, in the order of computation."""
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            tensors = [output] if isinstance(output, torch.Tensor) else output if isinstance(output, tuple) else []
            if any(_is_lost(tensor) for tensor in tensors if isinstance(tensor, torch.Tensor)):
                found.append(name)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _is_lost(tensor: torch.Tensor | None) -> bool:
    if tensor is None:
        return False
    values = tensor.coalesce().values() if tensor.is_sparse else tensor
    return values.is_floating_point() and not bool(values.isfinite().all())


def _number(row: dict[str, Any]) -> str:
    """A row's number in the training data, from 1."""
    return str(row["row"]) if row.get("row") else "of a variant"
