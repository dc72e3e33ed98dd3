"""Frozen layers, computed once: what lies below the lowest layer that learns gives the same output every epoch.

While `computed_once` lasts, inside of `unpadded`, the model's lowest layers look up their output for the texts at
hand, and compute it only for texts that they have not met. Dropout among them is off, for their output has to be
the same each time.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

import ftkit
from ftkit.engine.features import KEY, FeatureStore
from ftkit.engine.unpad import ATTENTION, reads_first_only, rounded, stack_of
from ftkit.methods._layers import head_modules, layout, plain_model


def boundary(model: nn.Module) -> int:
    """How many layers, counted from the bottom, nothing learns in or below; 0 where that can't be made use of."""
    core, stack = plain_model(model), stack_of(model)
    parts = layout(core)
    if stack is None or any(w.requires_grad and parts.depth(name) == 0 for name, w in core.named_parameters()):
        return 0
    learning = [any(weight.requires_grad for weight in layer.parameters()) for layer in stack]
    return learning.index(True) if True in learning else len(stack)


@contextmanager
def computed_once(
    model: nn.Module, origin: str, parent: Path, most: int, whole: bool = False
) -> Iterator[FrozenLayers | None]:
    """Look up the output of frozen layers in `parent`, at most `most` bytes; none where no layer is frozen.

    `origin` tells the weights and whatever else decides the output, beside the model's config: the checkpoint's
    SHA-256, the method. With `whole` all of a text is kept, whatever the head reads.
    """
    count = boundary(model) if most else 0
    if not count or plain_model(model).config._attn_implementation != ATTENTION:
        yield None
        return
    all_frozen = count == len(stack_of(model) or ())
    first_only = all_frozen and not whole and reads_first_only(plain_model(model))
    frozen = FrozenLayers(model, count, origin, parent, most, first_only)
    frozen.install()
    try:
        yield frozen
    finally:
        frozen.remove()


class FrozenLayers:
    """The lowest `count` layers of a model, with a memory."""

    def __init__(
        self, model: nn.Module, count: int, origin: str, parent: Path, most: int, first_only: bool = False
    ) -> None:
        self.core: Any = plain_model(model)
        self.base: Any = self.core.base_model
        stack: Any = stack_of(model)
        self.layers, self.above = list(stack[:count]), list(stack[count:])
        self.above += [self.core.get_submodule(name) for name in head_modules(self.core)]
        self.origin, self.parent, self.most = origin, parent, most
        self.signature = inspect.signature(self.base.forward)
        self.stores: dict[str, FeatureStore] = {}
        self.first_only = first_only
        """Whether of each text only its first token is kept."""
        self.refused = False
        self.active = False
        self.keys: list[bytes] = []
        self.lengths: list[int] = []
        self.held: torch.Tensor | None = None

    def install(self) -> None:
        """Stand before the base model and in place of its lowest layers."""
        # The core is entered before autocast is, the base after.
        self.handle = self.base.register_forward_pre_hook(self._look_up, with_kwargs=True)
        self.before = [vars(layer).get("forward") for layer in self.layers]
        for place, layer in enumerate(self.layers):
            layer.forward = self._layer(place, layer.forward)

    def remove(self) -> None:
        """Make the layers as they were, and keep what was computed for the next training."""
        self.handle.remove()
        for layer, before in zip(self.layers, self.before, strict=True):
            del layer.forward
            if before is not None:
                layer.forward = before
        for store in self.stores.values():
            store.close()

    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        told = f"the lowest {len(self.layers)} layers do not learn: without dropout"
        if self.refused or any(store.full for store in self.stores.values()):
            rest = "there was no room to keep the outputs of all texts, so some were computed each time"
            return (f"{told}; {rest} (train.frozen_cache)",)
        return (f"{told}, they were computed once for each text (train.frozen_cache=0: each time, with dropout)",)

    def publish(self) -> None:
        """See what was computed to the disk."""
        for store in self.stores.values():
            store.flush()

    def exchange(self) -> None:
        """Give other processes what was computed, and take theirs."""
        self.publish()
        for store in self.stores.values():
            store.refresh()

    # ------------------------------------------------------------------ before the base model

    def _look_up(self, base: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Find the rows of a batch; where all are held, the layers have nothing to do."""
        self._still()
        self.held, self.active = None, False
        given = self.signature.bind(*args, **kwargs).arguments
        inputs = {**given, **given.get("kwargs", {})}
        inputs.pop("kwargs", None)
        texts = _by_token(inputs)
        store = self._store() if texts and self.core.config._attn_implementation == ATTENTION else None
        if store is None:
            return None
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        mask = torch.ones_like(ids) if mask is None else mask
        self.active, self.lengths, self.keys = True, mask.sum(1).tolist(), _hashes(texts, mask)
        if not all(key in store for key in self.keys):
            return None
        self.held = torch.cat(store.get(self.keys)).to(ids.device, torch.float32)
        if not self.first_only:
            surplus = 0 if bool(mask.all()) else rounded(len(self.held)) - len(self.held)
            self.held = nn.functional.pad(self.held, (0, 0, 0, surplus))
            return None
        return (), {**inputs, **{name: value[:, :1] for name, value in texts.items()}}

    def _still(self) -> None:
        """Evaluation mode for all that is frozen, whatever the rest is in."""
        training = self.core.training
        if self.base.training or any(module.training != training for module in self.above):
            self.base.eval()
            for module in self.above:
                module.train(training)

    def _store(self) -> FeatureStore | None:
        """That of the precision at hand (training computes in one, validation may in another), if there can be one."""
        device = self.core.device.type
        low = torch.is_autocast_enabled(device)
        computed = torch.get_autocast_dtype(device) if low else torch.float32
        if str(computed) not in self.stores and not self.refused:
            kept = torch.float32 if self.first_only else computed
            config = self.core.config.to_json_string(use_diff=False)
            told = (self.origin, config, type(self.core).__name__, len(self.layers), computed, kept, self.first_only)
            versions = (ftkit.__version__, torch.__version__, transformers.__version__, device)
            name = hashlib.sha256(repr((told, versions)).encode()).hexdigest()[:32]
            try:
                opened = FeatureStore.open(self.parent, name, self.core.config.hidden_size, kept, self.most)
                self.stores[str(computed)] = opened
            except OSError:  # no folder to write to: all is computed each time, as `notes` say
                self.refused = True
        return self.stores.get(str(computed))

    # ------------------------------------------------------------------ in place of the layers

    def _layer(self, place: int, compute: Any) -> Any:
        def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.held is not None:
                return self.held[None] if place == 0 else hidden_states
            with torch.no_grad():
                output = compute(hidden_states, *args, **kwargs)
            if self.active and place == len(self.layers) - 1 and isinstance(output, torch.Tensor):
                return self._keep(output)
            return output

        return forward

    def _keep(self, output: torch.Tensor) -> torch.Tensor:
        """Remember the rows of one long row; what goes on is as exact as what is kept, so that both are the same."""
        store = self._store()
        assert store is not None
        output = output.to(store.dtype).to(output.dtype)
        firsts = output.shape[1] == len(self.lengths)  # `unpadded` may have dropped all other tokens
        lengths = [1] * len(self.lengths) if firsts else self.lengths
        for key, row in zip(self.keys, torch.split(output[0, : sum(lengths)], lengths), strict=True):
            store.put(key, row[:1] if self.first_only else row)
        return output


def _by_token(inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The inputs that have a number for each token; none where another tensor comes in, which may say anything."""
    ids = inputs.get("input_ids")
    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    if ids is None or any(value.shape != ids.shape for value in tensors.values()):
        return {}
    return tensors


def _hashes(texts: Mapping[str, torch.Tensor], mask: torch.Tensor) -> list[bytes]:
    """A hash of each row's real tokens, their places, and what else is said of them."""
    names = sorted(texts)
    place = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    numbers = torch.stack([place, *(texts[name] for name in names)], dim=-1).cpu().numpy()
    rows = (row[real].tobytes() for row, real in zip(numbers, mask.bool().cpu().numpy(), strict=True))
    return [hashlib.blake2b(repr(names).encode() + row, digest_size=KEY).digest() for row in rows]
