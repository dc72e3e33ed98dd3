"""Harms to a model between its run and its exports: what no gate may let through, whatever the format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ftkit.engine.model import Trained
from ftkit.methods._layers import blocks, head_modules, plain_model

Harm = Callable[[Trained], Trained]


def permuted_labels(trained: Trained) -> Trained:
    """The outputs in another order than the labels."""
    for layer in _head(trained):
        if layer.out_features == len(trained.labels):
            layer.weight.data, layer.bias.data = (value.data.roll(1, 0) for value in (layer.weight, layer.bias))
    return trained


def dropped_head(trained: Trained) -> Trained:
    """A head that was never trained."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for layer in _head(trained):
            layer.weight.data = torch.randn_like(layer.weight) * 0.5
    return trained


def random_layer(trained: Trained) -> Trained:
    """One layer of weights drawn anew: of those that the method keeps, where it does not keep all."""
    model = trained.model
    core = plain_model(model)
    middle = blocks(core)[len(blocks(core)) // 2]
    inside = [(name, weight) for name, weight in core.named_parameters() if name.startswith(f"{middle}.")]
    small = [weight for name, weight in inside if "lora_" in name or "ia3_" in name or ".adapter." in name]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for weight in small or [weight for _, weight in inside if weight.dim() > 1]:
            weight.data = torch.randn_like(weight) * 2
    return trained


def exchange_words(path: Path) -> None:
    """The numbers of a tokenizer's words, each another's."""
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [piece for piece in vocabulary if piece.strip("Ġ#").isalpha()]
    numbers = [vocabulary[word] for word in words]
    vocabulary |= dict(zip(words, numbers[1:] + numbers[:1], strict=True))
    path.write_text(json.dumps(tokenizer))


def _head(trained: Trained) -> list[nn.Linear]:
    core: Any = plain_model(trained.model)
    names = tuple(head_modules(core))
    return [layer for name, layer in core.named_modules() if name.startswith(names) and isinstance(layer, nn.Linear)]
