"""A model with fewer layers: some of a checkpoint's, evenly spaced (so DistilBERT began: Sanh et al. 2019)."""

from __future__ import annotations

import copy
from typing import Any

import torch

from ftkit.errors import CheckpointError
from ftkit.methods._layers import counts_layers, stacks

_LISTS = ("layer_types", "mlp_layer_types", "attention_types", "no_rope_layers", "layers_block_type")
"""Settings that say something of each layer."""


def spaced(there: int, count: int) -> list[int]:
    """The places of `count` of so many layers, the first and the last among them; of one, the first."""
    return [0] if count == 1 else [round(i * (there - 1) / (count - 1)) for i in range(count)]


def with_layers(model: Any, count: int) -> Any:
    """The model with `count` of the layers of each of its stacks, as its config says then; itself where it has so many.

    Raises CheckpointError where it has fewer, or no config says what it would be.
    """
    names = stacks(model)
    sizes = {len(model.get_submodule(name)) for name in names}
    if not names:
        raise CheckpointError(
            f"model.layers: {type(model).__name__} has no stack of layers of which some could be left out",
            "leave model.layers out, or take another checkpoint",
        )
    if count > min(sizes):
        raise CheckpointError(
            f"model.layers is {count}, and the checkpoint has {min(sizes)}", f"set it to {min(sizes)} at most"
        )
    if sizes == {count}:
        return model
    kept = {name: spaced(len(model.get_submodule(name)), count) for name in names}
    config = _config(model.config, {size: spaced(size, count) for size in sizes})
    weights = _weights(model, kept)
    with torch.random.fork_rng():
        smaller = type(model)(config).to(model.dtype)
    if (own := smaller.state_dict()).keys() != weights.keys() or any(
        own[name].shape != value.shape for name, value in weights.items()
    ):
        raise CheckpointError(
            f"model.layers: the config of {type(model).__name__} can't say that it has {count}",
            "leave model.layers out, or take another checkpoint",
        )
    smaller.load_state_dict(weights)
    if hasattr(model, "generation_config"):  # what writes has one
        smaller.generation_config = model.generation_config
    return smaller.train(model.training)


def _config(config: Any, kept: dict[int, list[int]]) -> Any:
    """The config with each number of layers, and each list that has an entry for each layer, cut.

    kept: of so many layers, the places of those that stay.
    """
    config = copy.deepcopy(config)
    told = config.to_dict()
    for name, value in told.items():
        if name in _LISTS and isinstance(value, list) and len(value) in kept:
            setattr(config, name, [value[i] for i in kept[len(value)]])
    for name in filter(counts_layers, told):
        if told[name] in kept and type(told[name]) is int:
            setattr(config, name, len(kept[told[name]]))
    return config


def _weights(model: Any, kept: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The weights under the names that they have where the layers between are gone."""
    found = {}
    for name, value in model.state_dict().items():
        stack = next((stack for stack in kept if name.startswith(f"{stack}.")), None)
        if stack is None:
            found[name] = value
            continue
        place, _, rest = name.removeprefix(f"{stack}.").partition(".")
        if int(place) in kept[stack]:
            found[f"{stack}.{kept[stack].index(int(place))}.{rest}"] = value
    return found
