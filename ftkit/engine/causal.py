"""Attention of causal models, while they are trained on a processor: plain products where rows are short.

There torch's fused attention goes forward as fast as the two products that it stands for, and back at half their speed.
A few rows are computed at a time, so that their weights stay in the processor's cache. Unlike the fused one it keeps
them for the way back, in at most `_MOST` numbers a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ftkit.engine.unpad import is_encoder, products
from ftkit.methods._layers import plain_model

ATTENTION = "ftkit_causal"
"""Name of the attention function in transformers' registry."""
_FUSED = "sdpa"
_LONG = 640
"""Tokens beyond which the fused attention is faster."""
_AT_ONCE = 2**20
"""Weights, of all heads, that a cache holds."""
_MOST = 2**23
"""Weights that a layer keeps for the way back at most, 16 MB in bfloat16; the fused attention keeps none."""
_THEIRS = {"is_causal", "position_bias", "softcap", "cache", "s_aux"}
"""What changes attention in ways that only transformers' own function knows."""


@contextmanager
def plain_attention(model: torch.nn.Module) -> Iterator[None]:
    """While this lasts, a model of fused attention on a processor computes that of short rows by plain products."""
    core = plain_model(model)
    if not _can(core):
        yield
        return
    core.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        core.set_attn_implementation(_FUSED)


def _can(core: Any) -> bool:
    """Whether a model only writes, by attention that can be exchanged."""
    writes = not is_encoder(core) and not core.config.is_encoder_decoder
    return (
        writes
        and core.device.type == "cpu"
        and core.config._attn_implementation == _FUSED
        and core._can_set_attn_implementation()
    )


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention to the tokens that the mask, or else the order, allows.

    query (rows, heads, tokens, size), key and value of as many heads or of a part of them; returns
    (rows, tokens, heads, size).
    """
    rows, heads, length, size = query.shape
    short = length == key.shape[2] <= _LONG and rows * heads * length * length <= _MOST
    own = short and query.requires_grad and getattr(module, "is_causal", False) and not set(kwargs) & _THEIRS
    if not own or not (attention_mask is None or _is_of_rows(attention_mask)):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    query = query.to(value.dtype) * (size**-0.5 if scaling is None else scaling)
    key, value = (states.to(value.dtype).repeat_interleave(heads // states.shape[1], 1) for states in (key, value))
    allowed = _ordered(length, query.device) if attention_mask is None else attention_mask
    hidden = (~allowed).expand(rows, 1, length, length)
    count = max(1, _AT_ONCE // (heads * length * length))
    parts = [slice(start, start + count) for start in range(0, rows, count)]
    found = torch.cat([products(query[p], key[p], value[p], hidden[p], dropout, value.dtype) for p in parts])
    return found.transpose(1, 2).contiguous(), None


def _is_of_rows(mask: torch.Tensor) -> bool:
    """Whether a mask says of each row, or of all, which tokens may be looked at, (rows or 1, 1, tokens, tokens)."""
    return mask.dtype == torch.bool and mask.shape[1] == 1


def _ordered(length: int, device: torch.device) -> torch.Tensor:
    """Each token may look at those before it, (tokens, tokens)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
