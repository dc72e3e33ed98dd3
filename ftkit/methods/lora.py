"""Low-rank adaptation: beside each linear layer, a product of two thin matrices learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ftkit.config import Section
from ftkit.errors import CheckpointError, problems
from ftkit.methods._layers import blocks, in_top, linears
from ftkit.methods._peft import PeftMethod, has_conv1d, saved_modules

if TYPE_CHECKING:
    from torch import nn


class Lora(PeftMethod):
    """Low-rank updates of the linear layers (Hu et al. 2021), with the head beside them."""

    summary = "low-rank updates of the linear layers learn, and the head"

    class Options(Section):
        """The settings of `method: lora`."""

        rank: int = Field(8, gt=0)
        """Columns of the thin matrices: 8 for small data, 16 to 64 for more."""
        alpha: float = Field(16.0, gt=0)
        """Strength of the update: it is multiplied by alpha / rank (by alpha / sqrt(rank) for rslora)."""
        dropout: float = Field(0.0, ge=0, lt=1)
        """Share of the update's inputs that are dropped in training."""
        targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
        """Layers with an update: all linear ones inside the transformer blocks, or ends of their names."""
        layers: int | None = Field(None, gt=0)
        """Transformer blocks with updates, counted from the top; what lies below is computed once. All when not set."""
        variant: Literal["lora", "dora", "rslora"] = "lora"
        """Plain, weight-decomposed (Liu et al. 2024) or rank-stabilised (Kalajdzievski 2023)."""
        bias: Literal["none", "all", "lora_only"] = "none"
        """Biases that learn too: none, all, or those of the linear layers with an update."""

    def config(self, model: nn.Module, peft_type: str) -> Any:
        """PEFT's settings for this model. Raises CheckpointError for targets that it does not have."""
        from peft import LoraConfig

        options, targets = self.options, in_top(model, self._targets(model), self.options.layers)
        return LoraConfig(
            task_type=peft_type,
            r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=options.dropout,
            target_modules=targets,
            modules_to_save=saved_modules(model, peft_type),
            use_dora=options.variant == "dora",
            use_rslora=options.variant == "rslora",
            bias=options.bias,
            fan_in_fan_out=has_conv1d(model, targets),
        )

    def _targets(self, model: nn.Module) -> list[str]:
        there = linears(model)
        if not there:
            raise CheckpointError(
                f"{type(model).__name__} has no linear layers inside transformer blocks for LoRA to update",
                "choose `method: full` or `method: head`",
            )
        if self.options.targets == "all-linear":
            return there
        wanted = {end: [name for name in there if f".{name}".endswith(f".{end}")] for end in self.options.targets}
        unknown = [f"no linear layer's name ends with {end!r}" for end, names in wanted.items() if not names]
        if unknown or not wanted:
            listed = ", ".join(_names_in_blocks(model, there))
            raise problems(CheckpointError, "method.targets", unknown or ["names nothing"], f"the model has {listed}")
        return sorted({name for names in wanted.values() for name in names}, key=there.index)


def _names_in_blocks(model: nn.Module, names: list[str]) -> list[str]:
    """Names relative to their blocks, each once, in the model's order."""
    owners = blocks(model)
    return list(dict.fromkeys(n.removeprefix(f"{b}.") for n in names for b in owners if n.startswith(f"{b}.")))
