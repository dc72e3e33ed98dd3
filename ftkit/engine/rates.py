"""Discriminative learning rates: the lower a weight lies, the less it moves.

Lower layers hold what all tasks share, upper ones what the last task needed (ULMFiT, Howard and Ruder 2018;
for BERT, Sun et al. 2019). The optimizer gets groups of parameters by depth, with and without weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ftkit.errors import CheckpointError
from ftkit.methods._layers import Layout, is_norm, layout

_FACTORS = ("ia3_l", "lora_magnitude_vector")
"""Parameters that multiply: decay would draw them to 0, which is not where they start from."""


def param_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    bottom_rate: float | None = None,
    head_multiplier: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups for a torch optimizer that hold every parameter that learns exactly once, from bottom to top.

    With n layers and depth d (0 embeddings, 1..n layers, n+1 head) the rate is
    `learning_rate * layer_decay**(n+1-d)`, or lies on the line from `bottom_rate` at d = 0 to `learning_rate`
    at d = n; the head's is `learning_rate * head_multiplier`. Biases, norms and multiplying vectors have no
    weight decay. A group holds `params`, `lr`, `weight_decay`, `depth` and `name`.

    A recipe sets one of `layer_decay` and `bottom_rate`. Raises CheckpointError for a model without the layers or the
    head that the rates speak of.
    """
    parts = layout(model)
    _check_parts(model, parts, layer_decay != 1.0 or bottom_rate is not None, head_multiplier != 1.0)
    rate = _rates(len(parts.layers), learning_rate, layer_decay, bottom_rate, head_multiplier)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, weight, decays in _learning(model):
        depth = parts.depth(name)
        group = groups.setdefault(
            (depth, not decays),
            {
                "params": [],
                "lr": rate(depth),
                "weight_decay": weight_decay if decays else 0.0,
                "depth": depth,
                "name": _name(depth, len(parts.layers), decays),
            },
        )
        group["params"].append(weight)
    return [groups[key] for key in sorted(groups)]


def _rates(
    layers: int, top: float, decay: float, bottom: float | None, head_multiplier: float
) -> Callable[[int], float]:
    """The rate at each depth."""

    def rate(depth: int) -> float:
        if depth > layers:
            return top * head_multiplier
        if bottom is not None:
            return bottom + (top - bottom) * depth / layers
        return top * decay ** (layers + 1 - depth)

    return rate


def _learning(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """(name, parameter, whether it decays) of all that learn, shared ones once, under their first name."""
    still = {
        id(weight)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False)
        if is_norm(module) or name.endswith("bias")
    }
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            yield name, weight, id(weight) not in still and not any(part in name for part in _FACTORS)


def _check_parts(model: nn.Module, parts: Layout, by_depth: bool, by_head: bool) -> None:
    kind = type(model).__name__
    if by_depth and not parts.layers:
        raise CheckpointError(
            f"{kind} has no stack of layers (all are one), so rates by layer mean nothing",
            "leave train.layer_decay at 1 and train.bottom_rate unset, or choose another checkpoint",
        )
    if by_head and not parts.top:
        raise CheckpointError(
            f"{kind} has no head apart from its embeddings, so train.head_multiplier means nothing",
            "leave train.head_multiplier at 1",
        )


def _name(depth: int, layers: int, decays: bool) -> str:
    part = "embeddings" if depth == 0 else "head" if depth > layers else f"layer {depth}"
    return part if decays else f"{part}, no decay"
