"""Head-only fine-tuning: the encoder is a fixed reader, and only what was put on top of it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ftkit.config import Section
from ftkit.errors import CheckpointError
from ftkit.methods._base import Method
from ftkit.methods._layers import Layout, head_modules, layout, refuse_more_layers

if TYPE_CHECKING:
    from torch import nn


class Head(Method):
    """The head learns, and as many of the top layers as are asked for."""

    summary = "the head learns, and some top layers if asked"

    class Options(Section):
        """The settings of `method: head`."""

        layers: int = Field(0, ge=0)
        """Layers below the head that learn too, counted from the top."""

    def apply(self, model: nn.Module, peft_type: str) -> nn.Module:
        """Freeze all below the head and the top layers.

        Raises CheckpointError for a model without a head of its own, or with fewer layers than asked for.
        """
        parts = layout(model)
        if not head_modules(model):
            raise CheckpointError(
                f"{type(model).__name__} has no head of its own for `method: head` to train",
                "choose `method: lora` or `method: full`",
            )
        self._check_layers(model, parts)
        lowest = len(parts.layers) + 1 - self.options.layers
        for name, weight in model.named_parameters():
            weight.requires_grad_(weight.requires_grad and parts.depth(name) >= lowest)
        return model

    def _check_layers(self, model: nn.Module, parts: Layout) -> None:
        asked, there = self.options.layers, len(parts.layers)
        if asked > 0 and there == 0:
            raise CheckpointError(
                f"{type(model).__name__} has no stack of layers (all are one), so "
                f"method.layers={asked} has no top layers to train",
                "set method.layers to 0, or choose `method: full`",
            )
        refuse_more_layers(model, asked, there)
