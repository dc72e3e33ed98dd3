"""Pruning before a training: weights that become zero and stay zero, in the training and in what is saved.

The smallest weights of each matrix (Han et al. 2015), or what the least important attention heads give (Michel, Levy
and Neubig 2019). Matrices keep their sizes, which no config of most architectures could tell apart by layer: plain
transformers loads the result, and nothing is faster for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import nn

from ftkit.engine.pretrained import label_names, read_config
from ftkit.errors import CheckpointError, RecipeError
from ftkit.methods._layers import is_linear, linears, plain_model, sublayer_outputs
from ftkit.settings import PruneSpec
from ftkit.tasks._base import Weighting

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.engine.prepare import Prepared

ROWS = 256
"""Training rows, evenly of all, that the importance of heads is taken of."""
_AT_ONCE = 16


def check(prepared: Prepared) -> None:
    """Raises RecipeError where zeros could not be kept, and where the importance of heads could not be known."""
    spec = prepared.recipe.model.prune
    if not asked(spec):
        return
    if not prepared.method.standalone:
        raise RecipeError(
            f"model.prune and method: {prepared.recipe.method.name} leaves the checkpoint's own weights as they are",
            "take `method: full`, or leave model.prune out",
        )
    if prepared.recipe.train.sharding.name:
        raise RecipeError("model.prune and train.sharding: zeros are not kept where weights are split", "set one")
    config = read_config(prepared.base.path)
    has_head = prepared.task.model_class(config).removeprefix("AutoModel") in (config.architectures or [""])[0]
    trained = has_head and (not prepared.labels or label_names(config) == prepared.labels)
    writes = prepared.task.writes(config, prepared.tokenizer)  # which a checkpoint comes with
    if spec.heads and not (trained or writes):
        raise RecipeError(
            f"model.prune.heads: {prepared.recipe.model.checkpoint} has not learned this task, so no head is important"
            " for it yet",
            "train it first, and prune its run: model.checkpoint=RUN",
        )


def asked(spec: PruneSpec) -> bool:
    """Whether anything is to be pruned."""
    return bool(spec.weights or spec.heads)


def notes(spec: PruneSpec) -> Iterator[str]:
    """What pruning brings, for whoever asks for it."""
    if asked(spec):
        what = [f"{spec.weights:.0%} of the layers' weights"] if spec.weights else []
        what += [f"what {spec.heads:.0%} of the attention heads give"] if spec.heads else []
        yield (
            f"model.prune: {' and '.join(what)} is zero and stays so; files compress better for it, but zeros in dense"
            " matrices bring no speed and no smaller memory (model.layers does)"
        )


def prune(model: nn.Module, prepared: Prepared, rows: Any) -> str:
    """Make weights zero and keep them so while `model` is trained; a hash of which they are, empty for none.

    `rows` are the encoded training rows. Every process has to call it.
    """
    spec = prepared.recipe.model.prune
    kept: dict[str, torch.Tensor] = {}
    if spec.heads:
        _refuse_all_heads(sum(_heads(model).values()), spec.heads)
        shut = gather_object([_least_important(model, prepared, rows, spec.heads)])[0]
        kept |= _without_heads(model, shut)
    share = spec.weights or 0.0
    for name in linears(model) if share else ():
        weight = _weight(model, name)
        _refuse_all_weights(name, weight.numel(), share)
        kept[name] = kept.get(name, torch.ones_like(weight, dtype=torch.bool)) & _largest(weight, share)
    digest = hashlib.sha256()
    for name, mask in kept.items():
        weight = _weight(model, name)
        with torch.no_grad():
            weight.mul_(mask)
        if weight.requires_grad:
            weight.register_hook(partial(torch.mul, other=mask))  # type: ignore[no-untyped-call]  # no gradient, no step, and no decay: it stays zero
        digest.update(name.encode() + np.packbits(mask.cpu().numpy()).tobytes())
    return digest.hexdigest() if kept else ""


def _left(count: int, share: float) -> int:
    """Of so many, those that are left when a share of them is pruned."""
    return count - round(count * share)


def _refuse_all_weights(name: str, count: int, share: float) -> None:
    """Raises RecipeError where a matrix would have no weight left."""
    if not _left(count, share):
        raise RecipeError(
            f"model.prune.weights: {share} leaves 0 of the {count} weights of {name}, which then gives nothing",
            f"set it to {_most(count)} at most",
        )


def _refuse_all_heads(count: int, share: float) -> None:
    """Raises RecipeError where no attention head would be left."""
    if not _left(count, share):
        raise RecipeError(
            f"model.prune.heads: {share} leaves 0 of the {count} attention heads, so no token would read another",
            f"set it to {_most(count)} at most",
        )


def _most(count: int) -> float:
    """The largest share, in as few digits as tell it, that leaves one of so many."""
    scale = 10 ** len(str(count))
    return float(int((1 - 1 / count) * scale) / scale)


def _weight(model: nn.Module, name: str) -> nn.Parameter:
    weight: Any = plain_model(model).get_submodule(name).weight
    return weight  # type: ignore[no-any-return]


def _largest(weight: torch.Tensor, share: float) -> torch.Tensor:
    """Where the largest weights of a matrix stand, of which a share is pruned."""
    count = _left(weight.numel(), share)
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[weight.detach().abs().flatten().topk(count).indices] = True
    return mask.view_as(weight)


# ---------------------------------------------------------------------- heads


def _heads(model: nn.Module) -> dict[str, int]:
    """The layer that reads what the heads of each attention give, and how many there are.

    Raises CheckpointError where that can't be told.
    """
    core = plain_model(model)
    count = getattr(core.config, "num_attention_heads", 0)
    try:
        names = sublayer_outputs(core).attention
    except CheckpointError:
        names = []
    if not names or not count or any(_width(core.get_submodule(name)) % count for name in names):
        raise CheckpointError(
            f"model.prune.heads: it is not known where {type(core).__name__} puts its heads together",
            "leave model.prune.heads out",
        )
    return dict.fromkeys(names, count)


def _width(linear: nn.Module) -> int:
    """Numbers that a linear layer reads."""
    assert is_linear(linear)
    weight: Any = linear.weight
    return int(weight.shape[1] if isinstance(linear, nn.Linear) else weight.shape[0])


def importance(model: nn.Module, prepared: Prepared, rows: Dataset) -> dict[str, torch.Tensor]:
    """Of each attention's heads: how much the loss of a row moves with what the head gives, each layer of length 1."""
    core = plain_model(model)
    layers = _heads(model)
    found = {name: torch.zeros(count) for name, count in layers.items()}
    places = np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int).tolist()
    task, training = prepared.task, model.training
    shares: list[tuple[str, torch.Tensor]] = []

    def scale(name: str, module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        given = args[0]
        share = torch.ones(len(given), 1, layers[name], 1, device=given.device, requires_grad=True)
        shares.append((name, share))
        split = given.reshape(*given.shape[:-1], layers[name], -1)
        return ((split * share).flatten(-2), *args[1:])

    hooks = [core.get_submodule(name).register_forward_pre_hook(partial(scale, name)) for name in layers]
    model.eval()
    for start in range(0, len(places), _AT_ONCE):
        some = list(rows.select(places[start : start + _AT_ONCE]))
        batch = {name: value.to(core.device) for name, value in task.collate(some, prepared.tokenizer).items()}
        shares.clear()
        loss = task.loss(task.forward(model, batch), batch, Weighting())
        slopes = torch.autograd.grad(loss, [share for _, share in shares])
        for (name, _), slope in zip(shares, slopes, strict=True):
            found[name] += slope.abs().sum((0, 1, 3)).cpu()
    for hook in hooks:
        hook.remove()
    model.train(training)
    return {name: value / value.norm().clamp(min=1e-12) for name, value in found.items()}


def _least_important(model: nn.Module, prepared: Prepared, rows: Dataset, share: float) -> list[tuple[str, int]]:
    """The attention and the number of each head that is shut."""
    found = importance(model, prepared, rows)
    each = [(float(value), name, head) for name, values in found.items() for head, value in enumerate(values)]
    return [(name, head) for _, name, head in sorted(each)[: len(each) - _left(len(each), share)]]


def _without_heads(model: nn.Module, shut: list[tuple[str, int]]) -> dict[str, torch.Tensor]:
    """Of each layer that reads heads of which some are shut: which of its weights stay."""
    core, counts = plain_model(model), _heads(model)
    kept: dict[str, torch.Tensor] = {}
    for name, head in shut:
        layer = core.get_submodule(name)
        mask = kept.setdefault(name, torch.ones_like(_weight(model, name), dtype=torch.bool))
        size = _width(layer) // counts[name]
        columns = slice(head * size, (head + 1) * size)
        if isinstance(layer, nn.Linear):
            mask[:, columns] = False
        else:
            mask[columns] = False
    return kept
