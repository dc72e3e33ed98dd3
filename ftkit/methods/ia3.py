"""IA3: vectors that stretch keys, values and feed-forward activations learn; the smallest of the methods."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ftkit.errors import CheckpointError
from ftkit.methods._layers import linears, plain_model, sublayer_outputs
from ftkit.methods._peft import PeftMethod, has_conv1d, saved_modules

if TYPE_CHECKING:
    from torch import nn

_KEYS_AND_VALUES = re.compile(r"(?:k|v|key|value)(?:_lin|_proj)?|Wqkv|c_attn|query_key_value|qkv(?:_proj)?")
"""Last part of the names that keys and values have, alone or fused with queries."""


class IA3(PeftMethod):
    """Keys, values and feed-forward activations are multiplied by learned vectors (Liu et al. 2022)."""

    summary = "vectors that stretch keys, values and activations learn, and the head"

    def config(self, model: nn.Module, peft_type: str) -> Any:
        """PEFT's settings for this model. Raises CheckpointError when keys and values can't be told."""
        from peft import IA3Config

        stretched, feed_forward = _targets(model)
        return IA3Config(
            task_type=peft_type,
            target_modules=stretched + feed_forward,
            feedforward_modules=feed_forward,
            modules_to_save=saved_modules(model, peft_type),
            fan_in_fan_out=has_conv1d(model, stretched),
        )


def _targets(model: nn.Module) -> tuple[list[str], list[str]]:
    """(layers whose output is stretched, layers whose input is), as PEFT knows them or by structure."""
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEED_FORWARD,
    )
    from peft.utils.constants import (
        TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TARGETS,
    )

    kind = plain_model(model).config.model_type
    there = linears(model)
    if kind in TARGETS:
        feed_forward = _ending(there, FEED_FORWARD[kind])
        return [name for name in _ending(there, TARGETS[kind]) if name not in feed_forward], feed_forward
    stretched = [name for name in there if _KEYS_AND_VALUES.fullmatch(name.rpartition(".")[2])]
    if not stretched:
        raise CheckpointError(
            f"IA3 can't tell the keys and values of {type(model).__name__} from its other layers",
            "choose `method: lora`, which needs no such knowledge",
        )
    return stretched, sublayer_outputs(model).feed_forward


def _ending(names: list[str], ends: list[str]) -> list[str]:
    return [name for name in names if any(name.endswith(f".{end}") for end in ends)]
