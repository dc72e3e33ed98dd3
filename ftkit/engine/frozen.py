"""Frozen layers, computed once: what lies below the lowest layer that learns gives the same output every epoch.

While `computed_once` lasts, inside of `unpadded`, the model's lowest layers look up their output for the texts at
hand, and compute it only for texts that they have not met. Dropout among them is off, for their output has to be
the same each time.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

import ftkit
from ftkit.engine.features import KEY, FeatureStore
from ftkit.engine.unpad import ATTENTION, stack_of
from ftkit.methods._layers import layout, plain_model


def boundary(model: nn.Module) -> int:
    """How many layers, counted from the bottom, nothing learns in or below; 0 where that can't be made use of."""
    core, stack = plain_model(model), stack_of(model)
    if stack is None or any(weight.requires_grad for weight in _embeddings(core)):
        return 0
    learning = [any(weight.requires_grad for weight in layer.parameters()) for layer in stack]
    return learning.index(True) if True in learning else len(stack)


def _embeddings(core: Any) -> list[nn.Parameter]:
    parts = layout(core)
    return [weight for name, weight in core.named_parameters() if parts.depth(name) == 0]


@contextmanager
def computed_once(model: nn.Module, checkpoint: str, parent: Path, most: int) -> Iterator[FrozenLayers | None]:
    """Look up the output of frozen layers in `parent`, at most `most` bytes; none where no layer is frozen.

    `checkpoint` is the SHA-256 of the weights that training starts from.
    """
    count = boundary(model) if most else 0
    if not count or plain_model(model).config._attn_implementation != ATTENTION:
        yield None
        return
    frozen = FrozenLayers(model, count, checkpoint, parent, most)
    try:
        yield frozen
    finally:
        frozen.remove()


class FrozenLayers:
    """The lowest `count` layers of a model, with a memory."""

    def __init__(self, model: nn.Module, count: int, checkpoint: str, parent: Path, most: int) -> None:
        self.core: Any = plain_model(model)
        stack = stack_of(model)
        assert stack is not None
        self.layers = list(stack[:count])
        self.checkpoint, self.parent, self.most = checkpoint, parent, most
        self.still = [child for child in self.core.base_model.children() if _holds_embeddings(child)]
        self.stores: dict[str, FeatureStore] = {}
        self.keys: list[bytes] = []
        self.lengths: list[int] = []
        self.held: torch.Tensor | None = None
        self.active = self.probing = self.first_only = False
        self.base = self.core.base_model  # the core itself is entered before autocast is
        self.handle = self.base.register_forward_pre_hook(self._look_up, with_kwargs=True)
        for place, layer in enumerate(self.layers):
            layer.forward = self._layer(place, layer.forward)
        self.first_only = count == len(stack) and self._reads_first_only()

    def remove(self) -> None:
        """Make the layers as they were, and keep what was computed for the next training."""
        self.handle.remove()
        for layer in self.layers:
            del layer.forward
        self.flush()

    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        count = len(self.layers)
        told = f"the lowest {count} layers do not learn: they were computed once for each text, without dropout"
        if not any(store.full for store in self.stores.values()):
            return (told,)
        return (told, "there was no room for all of it, so some texts were computed each time; see train.frozen_cache")

    def flush(self) -> None:
        """Give other processes what was computed, and take theirs."""
        for store in self.stores.values():
            store.flush()
            store.refresh()

    # ------------------------------------------------------------------ before the model

    def _look_up(self, base: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Find the rows of a batch; where all are held, the layers have nothing to do."""
        self.active = self.core.config._attn_implementation == ATTENTION and not self.probing
        for module in (*self.still, *self.layers):
            module.eval()
        if not self.active:
            self.held = self.held if self.probing else None
            return None
        given = inspect.signature(base.forward).bind(*args, **kwargs)
        inputs = {**given.arguments, **given.arguments.get("kwargs", {})}
        inputs.pop("kwargs", None)
        ids, mask = inputs["input_ids"], inputs.get("attention_mask")
        mask = torch.ones_like(ids) if mask is None else mask
        self.lengths = mask.sum(1).tolist()
        self.keys = _hashes(ids, inputs.get("token_type_ids"), mask)
        store = self._store()
        if not all(key in store for key in self.keys):
            self.held = None
            return None
        self.held = torch.cat(store.get(self.keys)).to(ids.device, torch.float32)
        if not self.first_only:
            return None
        self.lengths = [1] * len(self.keys)
        return (), {name: value[:, :1] if _by_token(value, ids) else value for name, value in inputs.items()}

    def _store(self) -> FeatureStore:
        """That of the precision at hand: training computes in one, validation may in another."""
        device = self.core.device.type
        low = torch.is_autocast_enabled(device)
        computed = torch.get_autocast_dtype(device) if low else torch.float32
        kept = torch.float32 if self.first_only else computed
        if str(computed) not in self.stores:
            told = (self.checkpoint, len(self.layers), type(self.core).__name__, computed, kept, self.first_only)
            versions = (ftkit.__version__, torch.__version__, transformers.__version__, device)
            name = hashlib.sha256(repr((told, versions)).encode()).hexdigest()[:32]
            width = self.core.config.hidden_size
            self.stores[str(computed)] = FeatureStore(self.parent, name, width, kept, self.most)
        return self.stores[str(computed)]

    # ------------------------------------------------------------------ in place of the layers

    def _layer(self, place: int, compute: Any) -> Any:
        def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.held is not None:
                return self.held[None] if place == 0 else hidden_states
            with torch.no_grad():
                output = compute(hidden_states, *args, **kwargs)
            if self.active and place == len(self.layers) - 1:
                self._keep(output[0])
            return output

        return forward

    def _keep(self, tokens: torch.Tensor) -> None:
        """Remember the rows of one long row."""
        store = self._store()
        for key, row in zip(self.keys, torch.split(tokens, self.lengths), strict=True):
            store.put(key, row[:1] if self.first_only else row)

    # ------------------------------------------------------------------ what the head reads

    @torch.enable_grad()
    def _reads_first_only(self) -> bool:
        """Whether the head looks at each row's first token alone: then nothing else has to be kept."""
        rows, width = 2, 3
        size = (rows * width, self.core.config.hidden_size)
        self.held = torch.linspace(-1, 1, size[0] * size[1], device=self.core.device).view(size).requires_grad_()
        ids = torch.ones(rows, width, dtype=torch.long, device=self.core.device)
        training, self.probing = self.core.training, True
        outputs = self.core.eval()(input_ids=ids, attention_mask=ids)
        total = sum(value.float().square().sum() for name, value in outputs.items() if name.endswith("logits"))
        (gradient,) = torch.autograd.grad(total, self.held)
        self.core.train(training)
        self.held, self.probing = None, False
        return not gradient.view(rows, width, -1)[:, 1:].any()


def _holds_embeddings(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Embedding) for part in module.modules())


def _by_token(value: Any, ids: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.shape == ids.shape


def _hashes(ids: torch.Tensor, types: torch.Tensor | None, mask: torch.Tensor) -> list[bytes]:
    """A hash of each row's real tokens and their segments."""
    parts = [ids] if types is None else [ids, types]
    numbers, kept = torch.stack(parts, dim=-1).cpu().numpy(), mask.bool().cpu().numpy()
    return [
        hashlib.blake2b(row[real].tobytes(), digest_size=KEY).digest() for row, real in zip(numbers, kept, strict=True)
    ]
