"""Attention of causal models, while they are trained on a processor: plain products, without what order hides.

There torch's fused attention goes back at half the speed of the products that it stands for, and computes what lies
behind a token when a mask is given. Here some queries at a time meet the keys up to the last of them; heads that share
keys are one product. The weights are kept for the way back where they are few, and computed again where they are many
(Rabe and Staats 2021, "Self-attention does not need O(n^2) memory").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ftkit.engine.dropout import mask as dropout_mask
from ftkit.engine.unpad import is_encoder
from ftkit.methods._layers import plain_model

ATTENTION = "ftkit_causal"
"""Name of the attention function in transformers' registry."""
_FUSED = "sdpa"
_RUN = 96
"""Queries at a time: their weights stay in the processor's cache."""
_MOST = 2**23
"""Weights, of what is hidden too, that a layer keeps for the way back: half as many numbers are kept for long rows."""
_THEIRS = {"is_causal", "position_bias", "softcap", "cache", "s_aux"}
"""What changes attention in ways that only transformers' own function knows."""


@contextmanager
def plain_attention(model: torch.nn.Module) -> Iterator[None]:
    """While this lasts, a causal model of fused attention on a processor computes it by plain products."""
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
    length, size = query.shape[2:]
    keep = query[..., 0].numel() * length <= _MOST
    own = length == key.shape[2] and query.requires_grad and getattr(module, "is_causal", False)
    known = not set(kwargs) & _THEIRS and (keep or not dropout)  # what dropout took can't be computed again
    if not (own and known and (attention_mask is None or _is_ordered(attention_mask))):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    scaled = query.to(value.dtype) * (size**-0.5 if scaling is None else scaling)
    allowed = _ordered(query) if attention_mask is None else attention_mask
    with torch.autocast(query.device.type, enabled=False):  # it would take the weights to float32 and back
        found: Any = _Ordered.apply(  # type: ignore[no-untyped-call]
            scaled.reshape(len(key), key.shape[1], -1, length, size),
            key.to(value.dtype).contiguous(),
            value.contiguous(),
            allowed.unsqueeze(1),
            dropout,
            keep,
        )
    return found.flatten(1, 2).transpose(1, 2).contiguous(), None


def _ordered(query: torch.Tensor) -> torch.Tensor:
    """Each token may look at itself and those before it, (1, 1, tokens, tokens)."""
    length = query.shape[2]
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=query.device).tril()


def _is_ordered(mask: torch.Tensor) -> bool:
    """Whether a mask says of each row, or of all, which tokens up to one's own may be looked at."""
    return mask.dtype == torch.bool and mask.shape[1] == 1 and not bool(mask.triu(1).any())


class _Ordered(torch.autograd.Function):
    """Attention by plain products to keys up to one's own place, a run of queries at a time.

    query (rows, key heads, heads that share them, tokens, size), scaled; key and value (rows, key heads, tokens, size);
    allowed (rows or 1, 1, 1, tokens, tokens).
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        allowed: torch.Tensor,
        rate: float,
        keep: bool,
    ) -> torch.Tensor:
        found, kept, masks = query.new_empty(*query.shape[:-1], value.shape[-1]), [], []
        for run in _runs(query):
            weights = _weights(query, key, allowed, run)
            mask = dropout_mask(weights, rate) if rate else None
            _put(found, run, _masked(weights, mask) @ value[:, :, : run.stop])
            kept.append(weights if keep else None)
            masks.append(mask)
        ctx.save_for_backward(query, key, value, allowed, *kept, *masks)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        query, key, value, allowed, *rest = ctx.saved_tensors
        runs = _runs(query)
        of_query, of_key, of_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        with torch.autocast(query.device.type, enabled=False):
            for run, kept, mask in zip(runs, rest[: len(runs)], rest[len(runs) :], strict=True):
                keys, values, own = key[:, :, : run.stop], value[:, :, : run.stop], _taken(gradient, run)
                weights = _weights(query, key, allowed, run) if kept is None else kept
                of_value[:, :, : run.stop] += _masked(weights, mask).transpose(2, 3) @ own
                of_weights = _masked(own @ values.transpose(2, 3), mask)
                of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
                _put(of_query, run, of_scores @ keys)
                of_key[:, :, : run.stop] += of_scores.transpose(2, 3) @ _taken(query, run)
        return of_query, of_key, of_value, None, None, None


def _runs(query: torch.Tensor) -> list[slice]:
    length = query.shape[3]
    return [slice(start, min(start + _RUN, length)) for start in range(0, length, _RUN)]


def _weights(query: torch.Tensor, key: torch.Tensor, allowed: torch.Tensor, run: slice) -> torch.Tensor:
    """What queries of a run give each key up to the run's end: (rows, key heads, sharing heads x queries, keys)."""
    scores = _taken(query, run) @ key[:, :, : run.stop].transpose(2, 3)
    hidden = ~allowed[..., run, : run.stop]
    least = torch.finfo(scores.dtype).min  # not -inf: of a padding row all may be hidden
    by_head = scores.view(*query.shape[:3], -1, run.stop)
    by_head.masked_fill_(hidden, least)
    return scores.softmax(-1)


def _taken(states: torch.Tensor, run: slice) -> torch.Tensor:
    """A run's states, of the heads that share keys one after the other."""
    return states[..., run, :].flatten(2, 3)


def _put(states: torch.Tensor, run: slice, found: torch.Tensor) -> None:
    there = states[..., run, :]
    there.copy_(found.view(there.shape))


def _masked(weights: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return weights if mask is None else weights * mask


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
