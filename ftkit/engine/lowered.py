"""Mixed precision on a processor that casts no weights: linear layers read bfloat16 copies that are kept.

Autocast takes every weight to bfloat16 in each forward pass and every gradient back to float32 in each backward pass:
memory traffic that products wait for. Here copies are kept beside the float32 weights (the master weights of
Micikevicius et al. 2018, "Mixed precision training"); the optimizer writes them while it has a weight at hand, and
takes gradients as the products give them. Linear layers that read the same states, as query, key and value do and the
first matrix of a low-rank update beside each, become one product. Nothing is rounded that autocast would not round.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch.nn import functional

from ftkit.methods._layers import held_once

LOW = torch.bfloat16


@contextmanager
def lowered(model: nn.Module, still: bool = False) -> Iterator[LowWeights]:
    """While this lasts, the linear layers of `model` read kept copies wherever bfloat16 autocast is on.

    Of weights that learn, copies are read where an optimizer writes them (`LowWeights.adopt`), or where all stand
    `still` as long as this lasts.
    """
    low = LowWeights(model, still)
    low.install()
    try:
        yield low
    finally:
        low.remove()


class LowWeights:
    """The copies of a model's weights, and which of its layers are one product."""

    def __init__(self, model: nn.Module, still: bool) -> None:
        self.layers = [part for part in model.modules() if type(part) is nn.Linear and "forward" not in vars(part)]
        self.still = still
        self.alone = held_once(model)
        self.adopted: set[nn.Parameter] = set()
        self.wide = False
        """Whether gradients of adopted weights come in float32."""
        self.owners: dict[torch.Tensor, nn.Linear] = {}
        self.products: dict[nn.Linear, Product] = {}
        self.updates: list[Any] = [part for part in model.modules() if _is_update(part)]
        """PEFT's layers with a low-rank update."""
        self._apart = {layer for part in self.updates for layer in _behind_dropout(part)}
        self._runs: list[list[nn.Linear]] = []
        """Layers that read the same states: products to be."""
        self._read: list[tuple[Callable[[], torch.Tensor | None], list[nn.Linear]]] = []
        """The two states read last, and by which layers: between two that read the same, an update's second is met."""

    def install(self) -> None:
        """Stand in for the layers' `forward`."""
        for layer in self.layers:
            layer.forward = partial(self._forward, layer)  # type: ignore[method-assign]
        for update in self.updates:  # else it takes its states to float32, for autocast to take them back
            update.cast_input_dtype_enabled = False

    def remove(self) -> None:
        """Make the layers, and what their gradients may be, as they were."""
        for layer in self.layers:
            del layer.forward
        for update in self.updates:
            update.cast_input_dtype_enabled = True
        for weight in self.adopted:
            weight.grad = None
            weight.grad_dtype = weight.dtype
        self.adopted, self.products, self._runs = set(), {}, []

    def adopt(self, weights: Collection[nn.Parameter], wide: bool = False) -> None:
        """Read copies of these weights too; the caller calls `written`.

        Their gradients stay in bfloat16, or, where they are exchanged with other processes, are taken to float32
        (`wide`). Weights that are tied are left out: others add to their gradients.
        """
        self.wide = wide
        self.owners = {layer.weight: layer for layer in self.layers if layer.weight.dtype == torch.float32}
        self.adopted = {weight for weight in weights if weight in self.owners and weight in self.alone}
        for weight in self.adopted if not wide else ():
            weight.grad_dtype = None

    def meet(self, forward: Callable[[], object]) -> None:
        """Find out, by one pass that `forward` makes, which layers are one product: so the first step has them too.

        (A training that is gone on with begins at another step, and has to compute it as it was computed.)
        """
        with torch.no_grad(), torch.autocast("cpu", LOW):
            forward()
        self._join()

    def written(self, weights: Sequence[nn.Parameter]) -> None:
        """Copy weights that have just moved, which torch's fused optimizers leave no trace of on the weights."""
        if self._runs:
            self._join()
        there = [self.owners[weight] for weight in weights if self.owners[weight] in self.products]
        if not there:
            return
        copies = [self.products[layer].parts[layer] for layer in there]
        torch._foreach_copy_(copies, [layer.weight.detach() for layer in there])
        for layer in there:
            self.products[layer].versions[layer] = layer.weight._version

    def widen(self) -> None:
        """Take gradients to float32, for more to be added."""
        for weight in self.adopted:
            if weight.grad is not None:
                weight.grad = weight.grad.float()

    def _forward(self, layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
        if not (_wanted(states) and self._may(layer)):
            return functional.linear(states, layer.weight, layer.bias)
        if layer not in self.products:
            self._meet(layer, states)
        elif self._runs and not torch.is_grad_enabled():
            self._join()
        return self.products[layer](layer, states)

    def _may(self, layer: nn.Linear) -> bool:
        weight = layer.weight
        return weight.dtype == torch.float32 and (self.still or not weight.requires_grad or weight in self.adopted)

    def _meet(self, layer: nn.Linear, states: torch.Tensor) -> None:
        """Note what a layer reads; it is a product of its own for now."""
        self.products[layer] = Product([layer])
        if layer in self._apart:
            return
        same = [read for read in self._read if read[0]() is states]
        if same:
            read = same[0]
            read[1].append(layer)
        else:
            read = ref(states), [layer]
            self._runs.append(read[1])
        self._read = [*(other for other in self._read if other is not read), read][-2:]

    def _join(self) -> None:
        """Join layers that read the same; between steps, since in one step checkpointed layers are computed twice."""
        for run in self._runs:
            if len(run) > 1:
                self.products.update(dict.fromkeys(run, Product(run)))
        self._runs = []


def _wanted(states: torch.Tensor) -> bool:
    return states.is_cpu and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == LOW


def _is_update(part: Any) -> bool:
    """Whether a part is PEFT's layer with a plain low-rank update, which nobody has told not to cast.

    DoRA computes with weights in the precision of its states, and so has to have them in float32.
    """
    plain = hasattr(part, "lora_A") and not part.lora_variant and part.cast_input_dtype_enabled
    return bool(plain and part.get_base_layer().weight.dtype == torch.float32)


def _behind_dropout(update: Any) -> list[nn.Linear]:
    """First matrices of an update that read what dropout leaves, while in a pass without dropout all read the same."""
    return [update.lora_A[name] for name, part in update.lora_dropout.items() if not isinstance(part, nn.Identity)]


class Product:
    """Linear layers that read the same states, as one matrix product."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        self.layers = list(layers)
        self.sizes = [layer.out_features for layer in layers]
        with torch.inference_mode(False):  # for training may read what validation made
            self.copy = torch.empty(sum(self.sizes), layers[0].in_features, dtype=LOW)
        self.parts = dict(zip(layers, torch.split(self.copy, self.sizes), strict=True))
        self.versions: dict[nn.Linear, int] = {}
        self.states: torch.Tensor | None = None
        self.waiting: dict[nn.Linear, torch.Tensor] = {}

    def write(self, layer: nn.Linear) -> None:
        """Copy a layer's weight as it is now."""
        with torch.inference_mode(False), torch.no_grad():
            self.parts[layer].copy_(layer.weight)
        self.versions[layer] = layer.weight._version

    def __call__(self, layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
        """What `layer` gives; the others' for the same states are computed with it, and wait to be asked for."""
        if states is self.states and layer in self.waiting:
            output = self.waiting.pop(layer)
            if not self.waiting:
                self.states = None
            return output
        for other in self.layers:
            if self.versions.get(other) != other.weight._version:
                self.write(other)
        outputs = self._outputs(states.to(LOW))
        self.waiting = dict(zip(self.layers, outputs, strict=True))
        output = self.waiting.pop(layer)
        self.states = states if self.waiting else None
        return output

    def _outputs(self, states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        biases = [layer.bias for layer in self.layers]
        if torch.is_grad_enabled():
            weights = [layer.weight for layer in self.layers]
            found: Any = _Linears.apply(states, self.copy, self.sizes, *weights, *biases)  # type: ignore[no-untyped-call]
            return found  # type: ignore[no-any-return]
        return torch.split(functional.linear(states, self.copy, _joined(biases, self.sizes)), self.sizes, -1)


def _joined(biases: Sequence[torch.Tensor | None], sizes: list[int]) -> torch.Tensor | None:
    if all(bias is None for bias in biases):
        return None
    return torch.cat([torch.zeros(n) if b is None else b for b, n in zip(biases, sizes, strict=True)]).to(LOW)


class _Linears(torch.autograd.Function):
    """One product of bfloat16 states (..., in) and weights (out, in), its columns dealt out by `sizes`.

    The float32 weights, and as many biases or None, are given for their gradients alone.
    """

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, copy: torch.Tensor, sizes: list[int], *own: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(states, copy)
        ctx.sizes = sizes
        return torch.split(functional.linear(states, copy, _joined(own[len(sizes) :], sizes)), sizes, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        states, copy = ctx.saved_tensors
        sizes, needed = ctx.sizes, ctx.needs_input_grad
        flat = [gradient.reshape(-1, size) for gradient, size in zip(gradients, sizes, strict=True)]
        weights, biases = needed[3 : 3 + len(sizes)], needed[3 + len(sizes) :]
        back: torch.Tensor | None = None
        own: list[torch.Tensor | None] = [None] * len(sizes)
        if needed[0] or all(weights):
            whole = torch.cat(flat, -1) if len(flat) > 1 else flat[0]
            back = (whole @ copy).view_as(states) if needed[0] else None
        if any(weights):
            learning = [i for i, learns in enumerate(weights) if learns]
            part = whole if all(weights) else torch.cat([flat[i] for i in learning], -1)
            found = torch.split(part.t() @ states.reshape(len(part), -1), [sizes[i] for i in learning])
            own = [found[learning.index(i)] if i in learning else None for i in range(len(sizes))]
        return back, None, None, *own, *(part.sum(0) if b else None for part, b in zip(flat, biases, strict=True))
