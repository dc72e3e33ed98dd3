"""Encoders without padding: their layers compute the real tokens of a batch alone, as one long row.

Hooks around the layer stack drop the padding before the first layer and put it back behind the last, and one
attention function, registered with transformers, tells the examples apart in between: no model is rewritten.
(The idea: Krell et al. 2021, "Efficient sequence packing without cross-contamination"; Warner et al. 2024,
ModernBERT.) Results equal the padded path's but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface

from ftkit.engine.dropout import dropout as fast_dropout
from ftkit.methods._layers import is_norm, plain_model, stacks

ATTENTION = "ftkit_unpadded"
"""Name of the attention function in transformers' registry."""
_LONG = 128
"""Tokens from which on the fused attention of torch is faster than two plain products."""


@dataclass(frozen=True)
class Packing:
    """Where the tokens of one batch, padded to (rows, width), lie in the long row."""

    rows: int
    width: int
    real: torch.Tensor | None
    """Places of the real tokens in the flattened batch, shape (tokens,); none where nothing is padded."""
    surplus: int
    """Rows of zeros behind the real tokens: products of lengths that were met before need not be set up anew."""
    slots: torch.Tensor | None
    """For each place of the flattened batch a token of the long row, shape (rows * width,); padding reads any."""
    padding: torch.Tensor | None
    """True where there is padding, shape (rows, 1, 1, width)."""

    @classmethod
    def of(cls, rows: int, width: int, mask: torch.Tensor | None) -> Packing:
        """From an attention mask (rows, width), true at the real tokens; none is all true."""
        if mask is None or bool(mask.all()):
            return cls(rows, width, None, 0, None, None)
        mask = mask.bool()
        flat = mask.flatten()
        slots = (flat.cumsum(0) - 1).clamp(min=0)
        real = flat.nonzero().squeeze(1)
        return cls(rows, width, real, rounded(len(real)) - len(real), slots, ~mask[:, None, None, :])

    def pack(self, states: torch.Tensor) -> torch.Tensor:
        """(rows, width, ...) to (1, tokens, ...)."""
        flat = states.flatten(0, 1)
        if self.real is not None:
            flat = _Pack.apply(flat, self.real, self.surplus)  # type: ignore[no-untyped-call]
        return flat[None]

    def unpack(self, states: torch.Tensor) -> torch.Tensor:
        """(1, tokens, ...) to (rows, width, ...), with zeros for padding."""
        flat: torch.Tensor = states[0]
        if self.real is not None:
            flat = _Scatter.apply(flat, self.real, self.rows * self.width)  # type: ignore[no-untyped-call]
        return flat.view(self.rows, self.width, *flat.shape[1:])

    def firsts(self, device: torch.device) -> torch.Tensor:
        """Place in the long row of each example's first token, shape (rows,)."""
        starts = torch.arange(self.rows, device=device) * self.width
        return starts if self.slots is None else self.slots[starts]

    def unpack_firsts(self, states: torch.Tensor) -> torch.Tensor:
        """(1, rows, ...), each example's first token, to (rows, width, ...), with zeros for all others."""
        return functional.pad(states[0].unsqueeze(1), (0, 0, 0, self.width - 1))

    def hidden(self, window: int | None, device: torch.device) -> torch.Tensor | None:
        """True where a token may not look, (rows or 1, 1, width or 1, width): padding, and outside of a window."""
        if window is None or window >= self.width:
            return self.padding
        place = torch.arange(self.width, device=device)
        far = ((place[:, None] - place).abs() >= window)[None, None]
        return far if self.padding is None else far | self.padding

    def spread(self, heads: torch.Tensor) -> torch.Tensor:
        """(1, heads, tokens, size) to (rows, heads, width, size), with some token's values for padding."""
        flat: torch.Tensor = heads[0].transpose(0, 1)
        if self.real is not None:
            flat = _Spread.apply(flat, self.slots, self.real)  # type: ignore[no-untyped-call]
        return flat.reshape(self.rows, self.width, *flat.shape[1:]).transpose(1, 2)


class _Pack(torch.autograd.Function):
    """The real tokens' rows, and behind them rows of zeros; the gradient is put back among zeros."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, real: torch.Tensor, surplus: int) -> torch.Tensor:
        ctx.real, ctx.size = real, rows.shape[0]
        packed = rows.new_empty(len(real) + surplus, *rows.shape[1:])
        torch.index_select(rows, 0, real, out=packed[: len(real)])
        packed[len(real) :].zero_()
        return packed

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        back = gradient.new_zeros(ctx.size, *gradient.shape[1:])
        return back.index_copy_(0, ctx.real, gradient[: len(ctx.real)]), None, None


class _Spread(torch.autograd.Function):
    """Each place's row of the long row. Padding reads some row too, and its gradient is dropped: nothing reads it.

    (So the gradient is a gather; `index_select` alone would add into zeros, one thread doing it.)
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, slots: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        ctx.real, ctx.size = real, rows.shape[0]
        return rows.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return _Pack.apply(gradient, ctx.real, ctx.size - len(ctx.real)), None, None  # type: ignore[no-untyped-call]


class _Scatter(torch.autograd.Function):
    """The real tokens' rows put at their places among zeros; the gradient is a gather."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, real: torch.Tensor, size: int) -> torch.Tensor:
        ctx.real, ctx.surplus = real, rows.shape[0] - len(real)
        return rows.new_zeros(size, *rows.shape[1:]).index_copy_(0, real, rows[: len(real)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return _Pack.apply(gradient, ctx.real, ctx.surplus), None, None  # type: ignore[no-untyped-call]


_FINE = 16
"""Lengths between one power of two and the next that long rows are rounded to."""


def rounded(tokens: int) -> int:
    """The next length that many batches share."""
    step = max(1, (1 << tokens.bit_length() - 1) // _FINE)
    return -(-tokens // step) * step


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Packing,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each example of a long row: (1, heads, tokens, size) thrice to (1, tokens, heads, size)."""
    packing = attention_mask
    query, key, value = (packing.spread(states.to(value.dtype)) for states in (query, key, value))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    hidden = packing.hidden(sliding_window, query.device)
    if dropout == 0.0 and packing.width >= _LONG:
        allowed = None if hidden is None else ~hidden
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=scaling)
    else:
        with torch.autocast(query.device.type, enabled=False):  # it would take the weights to float32 and back
            scores = torch.matmul(query * scaling, key.transpose(2, 3))
            if hidden is not None:
                scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)  # a padding row may be hidden whole
            weights = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)  # of few keys, slower in bfloat16
            found = torch.matmul(fast_dropout(weights, dropout) if dropout else weights, value)
    return packing.pack(found.transpose(1, 2)), None


def _keep(attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """The mask as the tokenizer made it, (rows, width): `Packing` is made of it."""
    return attention_mask


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, _keep)


class _Hooks:
    """What stands before and behind each layer of a stack while one batch goes through."""

    def __init__(self, core: Any, layers: torch.nn.ModuleList) -> None:
        self.core, self.before = core, core.config._attn_implementation
        self.packing: Packing | None = None
        self.off = False
        self.narrow = False
        """Whether the last layer goes on with each example's first token alone once attention is through."""
        self.handles = [
            core.base_model.register_forward_pre_hook(self.begin, with_kwargs=True),
            core.base_model.register_forward_hook(self.end, always_call=True),
            layers[-1].register_forward_hook(self.leave),
        ]
        if (norm := first_norm(layers[-1])) is not None:
            self.handles.append(norm.register_forward_hook(self.narrowed))
        for place, layer in enumerate(layers):
            enter = self.first if place == 0 else self.next
            self.handles.append(layer.register_forward_pre_hook(enter, with_kwargs=True))

    def remove(self) -> None:
        """Leave the model as it was found."""
        for handle in self.handles:
            handle.remove()
        self.handles = []
        self.core.set_attn_implementation(self.before)

    def begin(self, base: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Stand aside where the states between the layers are asked for: they have to have the batch's shape."""
        self.off = bool(kwargs.get("output_hidden_states", self.core.config.output_hidden_states))
        if self.off:
            self.core.set_attn_implementation(self.before)

    def end(self, base: Any, args: tuple[Any, ...], output: Any) -> None:
        """Be ready for the next batch."""
        if self.off:
            self.core.set_attn_implementation(ATTENTION)
        self.off = False

    def first(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Drop the padding."""
        if self.off:
            return args, kwargs
        states = args[0] if args else kwargs["hidden_states"]
        mask = args[1] if len(args) > 1 else kwargs.get("attention_mask")
        self.packing = Packing.of(states.shape[0], states.shape[1], mask)
        packed = self.packing.pack(states)
        if args:
            return self.next(layer, (packed, *args[1:]), kwargs)
        return self.next(layer, args, {**kwargs, "hidden_states": packed})

    def next(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Give the layer the packing for its mask, and what goes by position in the packed order."""
        if self.off:
            return args, kwargs
        rest = [self.packing] if len(args) > 1 else []
        named = {name: self._by_position(value) for name, value in kwargs.items() if name != "attention_mask"}
        if not rest:
            named["attention_mask"] = self.packing
        return (*args[:1], *rest, *args[2:]), named

    def narrowed(self, norm: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        """Go on with the first tokens alone, where nothing else is read."""
        if self.off or not self.narrow:
            return output
        assert self.packing is not None
        return output.index_select(1, self.packing.firsts(output.device))

    def leave(self, layer: Any, args: tuple[Any, ...], output: Any) -> Any:
        """Put the padding back."""
        if self.off:
            return output
        assert self.packing is not None
        unpack = self.packing.unpack_firsts if self.narrow else self.packing.unpack
        if isinstance(output, tuple):
            return (unpack(output[0]), *output[1:])
        return unpack(output)

    def _by_position(self, value: Any) -> Any:
        """A tensor of shape (1 or rows, width, ...), as rotary embeddings are, in the packed order."""
        assert self.packing is not None
        if isinstance(value, tuple):
            return tuple(self._by_position(part) for part in value)
        if isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[1] == self.packing.width:
            return self.packing.pack(value.expand(self.packing.rows, *value.shape[1:]))
        return value


def is_encoder(model: torch.nn.Module) -> bool:
    """Whether a model only reads: what writes is padded as transformers has it, and nobody need be told."""
    core = plain_model(model)
    causal = any(getattr(module, "is_causal", False) for module in core.modules())
    return not (core.config.is_encoder_decoder or causal)


def first_norm(layer: torch.nn.Module) -> torch.nn.Module | None:
    """The first norm of a layer. Where it stands behind attention (BERT and its kin), all that follows reads it."""
    return next((module for module in layer.modules() if is_norm(module)), None)


def stack_of(model: torch.nn.Module) -> torch.nn.ModuleList | None:
    """The one layer stack of an encoder whose attention can be exchanged; none for other models."""
    core = plain_model(model)
    names = stacks(core)
    if len(names) != 1 or not is_encoder(core) or not core._supports_attention_backend:
        return None
    return core.get_submodule(names[0])  # type: ignore[return-value]


@contextmanager
def unpadded(model: torch.nn.Module, whole: bool = False) -> Iterator[bool]:
    """While this lasts, the model computes no padding, if it is of a kind that can; tells whether it does.

    Where the head reads each text's first token alone, what the last layer makes of the others is not computed either,
    unless `whole` asks for it. Of each model it is tried once that the outputs are those of the padded path.
    """
    core = plain_model(model)
    if core.config._attn_implementation == ATTENTION:
        yield True
        return
    layers = stack_of(core)
    if layers is None or _AGREES.get(core) is False:
        yield False
        return
    wanted = [] if core in _AGREES else _probe(core)
    hooks = _Hooks(core, layers)
    core.set_attn_implementation(ATTENTION)
    try:
        if core not in _AGREES:
            _AGREES[core] = _agree(wanted, _probe(core))
        if not _AGREES[core]:
            hooks.remove()
        elif not whole:
            hooks.narrow = _narrows(core, hooks)
        yield _AGREES[core]
    finally:
        hooks.remove()


_AGREES: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Whether a model's outputs without padding were found to be those with it."""
_TOLERANCE = 1e-3
"""Of the largest output: far above what the order of sums makes (1e-6), far below what a wrong mask does."""


def _agree(wanted: list[torch.Tensor], found: list[torch.Tensor]) -> bool:
    pairs = list(zip(wanted, found, strict=False))
    return len(pairs) == _PROBES and all((a - b).abs().max() <= _TOLERANCE * a.abs().max() for a, b in pairs)


_PROBES = 2


def _narrows(core: Any, hooks: _Hooks) -> bool:
    """Whether the last layer may go on with first tokens alone: tried once, the logits are those of all tokens."""
    if core not in _NARROWS:
        wanted = _probe(core, logits=True) if reads_first_only(core) else []
        hooks.narrow = True
        _NARROWS[core] = bool(wanted) and _agree(wanted, _probe(core, logits=True))
    return _NARROWS[core]


_NARROWS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def reads_first_only(core: Any) -> bool:
    """Whether the head looks at each row's first token alone: the gradient of its logits reaches no other."""
    if core not in _READS_FIRST_ONLY:
        _READS_FIRST_ONLY[core] = _reached(core) == [True, False, False]
    return _READS_FIRST_ONLY[core]


_READS_FIRST_ONLY: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def _reached(core: Any) -> list[bool]:
    """Which of three tokens the head's logits depend on, by what the last layer gives; nothing for unusual heads."""
    rows, width = 2, 3
    layers, seen = stack_of(core), []
    assert layers is not None

    def probe(layer: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        seen.append(torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output).requires_grad_())
        return seen[0]

    training = core.training
    handle = layers[-1].register_forward_hook(probe, prepend=True)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            ids = torch.ones(rows, width, dtype=torch.long, device=core.device)
            outputs = core.eval()(input_ids=ids, attention_mask=ids)
            total = sum(value.float().square().sum() for name, value in outputs.items() if name.endswith("logits"))
            (gradient,) = torch.autograd.grad(total, seen)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):  # a head that is called otherwise
        return []
    finally:
        handle.remove()
        core.train(training)
    found: list[bool] = (gradient.view(rows, width, -1).abs().sum(dim=(0, 2)) > 0).tolist()
    return found


@torch.no_grad()
def _probe(core: Any, logits: bool = False) -> list[torch.Tensor]:
    """The base model's outputs for the real tokens of two made up rows, one of them shorter: short ones, then long.

    The long ones go beyond windows and `_LONG`. There are fewer outputs where the architecture is built otherwise.
    With `logits`, those of the whole model instead.
    """
    window = max((getattr(part, "sliding_window", None) or 0 for part in core.modules()), default=0)
    most = getattr(core.config, "max_position_embeddings", 512) // 2
    training, found = core.training, []
    core.eval()
    try:
        for width in (min(9, most), min(max(_LONG, window) + 9, most)):
            ids = torch.arange(2 * width, device=core.device).view(2, width) % min(core.config.vocab_size, 997)
            mask = torch.ones_like(ids)
            mask[1, width // 2 :] = 0
            with torch.autocast(core.device.type, enabled=False):
                if logits:
                    found.append(core(input_ids=ids, attention_mask=mask).logits.float())
                    continue
                states = core.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            found.append(states[mask.bool()].float())
    except Exception:  # whatever it is, the model then runs as transformers has it
        return found
    finally:
        core.train(training)
    return found
