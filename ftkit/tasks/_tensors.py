"""The tensor work that tasks share: padding, and losses as sums in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import torch

    from ftkit.tasks._base import Weighting

IGNORED = -100
"""A target that no loss counts, as in PyTorch."""


def collate(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    targets: Sequence[str],
    per_token: bool,
    side: str = "right",
) -> dict[str, torch.Tensor]:
    """Encoded rows -> tensors (rows, longest row): inputs padded as the tokenizer says, per-token targets with -100.

    `per_token` says whether list targets have a value for each token (or are one vector a row). `side` is where the
    padding goes: right, or left for models that write on from the end of a row.
    """
    import torch

    padding = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id, "attention_mask": 0}
    width = max(len(row["input_ids"]) for row in rows)
    tensors = {}
    for name in tokenizer.model_input_names:  # `tokenizer.pad` gives the same, ten times as slowly
        if name in rows[0]:
            tensors[name] = torch.tensor([_padded(row[name], width, side, padding.get(name, 0)) for row in rows])
    for name in targets:
        if name not in rows[0]:
            continue
        values = [row[name] for row in rows]
        if per_token and isinstance(values[0], list):
            values = [_padded(value, width, side, IGNORED) for value in values]
        tensors[name] = torch.tensor(values)
    return tensors


def _padded(values: Sequence[Any], width: int, side: str, fill: int) -> list[Any]:
    padding = [fill] * (width - len(values))
    return [*values, *padding] if side == "right" else [*padding, *values]


class Choices(NamedTuple):
    """What a loss compares with targets, a line for each target: there a teacher's answers can be put beside them."""

    logits: torch.Tensor
    """(targets, classes)"""
    weight: torch.Tensor
    """(targets): how much each counts, as `loss_size` adds it up."""
    row: torch.Tensor
    """(targets): the row of the batch that each is of, ascending."""
    rows: int
    """Rows of the batch."""
    kind: Literal["one", "token", "each", "number"] = "one"
    """One of the classes is right; one of a vocabulary; each may be right by itself; or they are numbers."""
    padding: torch.Tensor | None = None
    """(targets, classes): which classes are none; None where all can be chosen."""

    @property
    def real(self) -> torch.Tensor:
        """(targets, classes): which classes can be chosen."""
        import torch

        return torch.ones_like(self.logits, dtype=torch.bool) if self.padding is None else ~self.padding


def choices(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weighting: Weighting,
    weight: torch.Tensor | None = None,
    kind: Literal["one", "token"] = "one",
) -> Choices:
    """Those of the targets that are not -100. logits (rows, ..., classes), targets and `weight` (rows, ...)."""
    import torch

    real = targets != IGNORED
    classes = class_weights(weighting, logits)
    each = torch.ones_like(targets, dtype=torch.float32) if weight is None else weight
    counted = each[real] if classes is None else each[real] * classes[targets[real]]
    return Choices(logits[real], counted, real.nonzero()[:, 0], len(targets), kind)


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weighting: Weighting, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy summed over the targets that are not -100. logits (..., classes), targets and `weight` (...)."""
    import torch.nn.functional as F

    found = F.cross_entropy(
        logits.float().flatten(0, -2),
        targets.flatten(),
        weight=class_weights(weighting, logits),
        ignore_index=IGNORED,
        reduction="sum" if weight is None else "none",
        label_smoothing=weighting.label_smoothing,
    )
    return found if weight is None else (found * weight.flatten()).sum()


def target_weight(targets: torch.Tensor, weighting: Weighting, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The sum of the weights (of classes, and `weight`) of the targets that are not -100; else their number."""
    import torch

    real = targets != IGNORED
    counted = targets[real]
    each = counted.new_ones(counted.shape, dtype=torch.float32) if weight is None else weight[real]
    classes = class_weights(weighting, counted.float())
    return (each if classes is None else each * classes[counted]).sum()


def class_weights(weighting: Weighting, like: torch.Tensor) -> torch.Tensor | None:
    """The class weights as a float32 tensor on the device of `like`."""
    import torch

    if weighting.class_weights is None:
        return None
    return torch.tensor(weighting.class_weights, dtype=torch.float32, device=like.device)
