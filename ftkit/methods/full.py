"""Full fine-tuning: every weight learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftkit.methods._base import Method

if TYPE_CHECKING:
    from torch import nn


class Full(Method):
    """Every weight learns, but for those that the architecture itself freezes (sinusoidal positions)."""

    summary = "every weight learns"

    def apply(self, model: nn.Module, peft_type: str) -> nn.Module:
        """The model as it is."""
        return model
