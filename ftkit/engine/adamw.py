"""AdamW that moves an embedding's rows when they are read, and clips while it moves.

A step reads a few hundred rows of a vocabulary of thirty thousand; the dense gradient of all of them, zeroed,
measured, clipped and stepped, is a tenth of a small model's step on a processor. Here the embedding's gradient
holds the rows of the step's tokens. A row that is not read rests; before it is read again, or saved, it makes up for
all the steps that AdamW (Loshchilov and Hutter 2019) would have moved it on by its momentum and its decay: the sum of
these moves is the row's direction times a number that depends on when it was moved last alone. What differs is that
`eps` does not shrink against a second moment that fades, and that momentum older than `REACH` steps, of which 1e-22 is
left, is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ftkit.engine.lowered import LowWeights
from ftkit.methods._layers import held_once

REACH = 480
"""Steps after which a row that rests moves no more."""
_LEAST = 1e-30
"""What a weight is multiplied by where rate times decay is 1 or more."""
_PART = 2**20
"""Numbers that a processor's cache holds several times."""
_WORTH = 4096
"""Rows from which on an embedding is handled by rows."""


def sparsify(model: nn.Module) -> None:
    """Let the large embeddings that learn, and that no other layer shares, give their gradients by rows."""
    alone = held_once(model)
    for module in model.modules():
        if type(module) is nn.Embedding and module.max_norm is None and module.num_embeddings >= _WORTH:
            module.sparse = module.weight.requires_grad and module.weight in alone


class RowAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)` that takes gradients by rows; for processors."""

    grad_scale: torch.Tensor | None = None
    """What the next step divides gradients by; the fused kernel asks for it by this name."""
    low: LowWeights | None = None
    """Copies of weights to be written as these move; their gradients come in bfloat16."""

    _wide = torch.empty(0)

    def watch(self, model: nn.Module) -> None:
        """Bring rows of sparse embeddings in `model` up to date before they are read, and all before they are saved."""
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.sparse:
                weight = module.weight
                module.register_forward_pre_hook(lambda _, given, weight=weight: self.catch_up(weight, given[0]))
                module.register_state_dict_pre_hook(lambda *_, weight=weight: self.catch_up(weight))  # type: ignore[no-untyped-call]

    def clip(self, most: float = math.inf) -> torch.Tensor:
        """The norm of all gradients, which the next step scales down to `most` where they are longer."""
        parts = []
        for weight in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            if weight.grad.is_sparse:
                weight.grad = weight.grad.coalesce()  # `step` finds it done
            parts.append(weight.grad.values() if weight.grad.is_sparse else weight.grad)
        norms = torch._foreach_norm(parts, 2, torch.float32)
        norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(norms))
        scale = (norm + 1e-6) / most
        self.grad_scale = scale if bool(scale > 1) else None
        return norm

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; the fused kernel moves what has a dense gradient."""
        by_rows: list[_Moved] = []
        copied: list[_Moved] = []
        low = self.low.adopted if self.low and not self.low.wide else ()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and (weight.grad.is_sparse or weight in low):
                    (by_rows if weight.grad.is_sparse else copied).append((group, weight, weight.grad))
                    weight.grad = None
        loss = super().step(closure)
        if self.low and self.low.wide:
            self.low.written(list(self.low.adopted))
        for group, weight, gradient in by_rows:
            self._step_rows(group, weight, gradient.coalesce())
        for group, some in _at_once(copied):
            self._step_low(group, some)
        self.grad_scale = None
        return loss

    def _step_low(self, group: dict[str, Any], some: list[tuple[nn.Parameter, torch.Tensor]]) -> None:
        """A few weights at a time, so that their gradients in float32, and their copies, are at hand, not in memory."""
        assert self.low is not None
        weights = [weight for weight, _ in some]
        states = [self.state[weight] or self._start_low(weight) for weight in weights]
        sizes = [weight.numel() for weight in weights]
        if self._wide.numel() < sum(sizes):
            self._wide = torch.empty(sum(sizes))
        parts = torch.split(self._wide[: sum(sizes)], sizes)
        wide = [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
        torch._foreach_copy_(wide, [gradient for _, gradient in some])
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            list[torch.Tensor](weights),
            wide,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
            grad_scale=self.grad_scale,
            found_inf=None,
        )
        self.low.written(weights)

    def _start_low(self, weight: nn.Parameter) -> dict[str, Any]:
        """Moments as torch's AdamW keeps them."""
        state = {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
        self.state[weight] = state
        return state

    def load_state_dict(self, state_dict: Any) -> None:
        """As torch does it, but for what is kept of rows, which is not in the weights' type."""
        super().load_state_dict(state_dict)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for number, stored in state_dict["state"].items():
            exact = {name: stored[name].clone() for name in ("moved", "decayed", "idle", "decay") if name in stored}
            self.state[weights[number]].update(exact)

    @torch.no_grad()
    def catch_up(self, weight: nn.Parameter, read: torch.Tensor | None = None) -> None:
        """Make up for the steps that rows have rested: those of the numbers `read`, of any shape, or all."""
        state = self.state.get(weight)
        if not state or "idle" not in state:
            return
        now = int(state["step"])
        rows = torch.arange(len(weight)) if read is None else torch.unique(read)
        rows = rows[state["moved"][rows] < now]
        last = state["moved"][rows]
        group = next(group for group in self.param_groups if any(weight is other for other in group["params"]))
        beta1, beta2 = group["betas"]
        first, second = state["exp_avg"][rows], state["exp_avg_sq"][rows]
        length = (second / _grown(beta2, last).unsqueeze(1)).sqrt_().add_(group["eps"])
        kept = torch.exp(state["decay"] - state["decayed"][rows]).to(weight.dtype).unsqueeze(1)
        way = state["idle"][last].to(weight.dtype).unsqueeze(1)
        moved, rested = weight[rows] * kept - way * first / length, (now - last).unsqueeze(1)
        first, second = first * beta1**rested, second * beta2**rested
        # All is computed: where memory ran out before, nothing has moved, and it may be tried again.
        weight[rows], state["exp_avg"][rows], state["exp_avg_sq"][rows] = moved, first, second
        state["moved"][rows], state["decayed"][rows] = now, state["decay"]

    def catch_up_all(self) -> None:
        """Make up for the steps that rows have rested, of all embeddings."""
        for group in self.param_groups:
            for weight in group["params"]:
                self.catch_up(weight)

    def _step_rows(self, group: dict[str, Any], weight: nn.Parameter, gradient: torch.Tensor) -> None:
        state = self.state[weight] or self._start(weight)
        rows = gradient.indices()[0]
        self.catch_up(weight, rows)
        state["step"] += 1
        now, rate, (beta1, beta2) = int(state["step"]), group["lr"], group["betas"]
        values = gradient.values() if self.grad_scale is None else gradient.values() / self.grad_scale
        first = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        second = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        kept = max(1 - rate * group["weight_decay"], _LEAST)
        length = (second / (1 - beta2**now)).sqrt_().add_(group["eps"])
        weight[rows] = (weight[rows] * kept).addcdiv_(first, length, value=-rate / (1 - beta1**now))
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = first, second
        state["decay"] += math.log(kept)
        state["moved"][rows], state["decayed"][rows] = now, state["decay"]
        self._move_idle(state, now, rate, kept, beta1, beta2)

    def _move_idle(self, state: dict[str, Any], now: int, rate: float, kept: float, beta1: float, beta2: float) -> None:
        """Add this step to the ways of rows that were moved last at each earlier step; `kept` is what decay leaves."""
        if now >= len(state["idle"]):
            state["idle"] = torch.cat([state["idle"], torch.zeros_like(state["idle"])])
        then = torch.arange(max(0, now - REACH), now, dtype=torch.float64)
        fading = (beta1 / math.sqrt(beta2)) ** (now - then) * (math.sqrt(1 - beta2**now) / (1 - beta1**now))
        state["idle"][:now] *= kept
        state["idle"][max(0, now - REACH) : now] += rate * fading / _grown(beta2, then).sqrt()

    def _start(self, weight: nn.Parameter) -> dict[str, Any]:
        """Moments as AdamW keeps them; for each row the step that moved it last, and the decay that it has had.

        `idle[t]` is the way, in lengths of its direction, of a row that rests since step t; `decay` is the logarithm
        of what all steps' decay leaves of a weight.
        """
        count = weight.shape[0]
        state: dict[str, Any] = {
            "step": torch.zeros(()),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
            "moved": torch.zeros(count, dtype=torch.int64),
            "decayed": torch.zeros(count, dtype=torch.float64),
            "idle": torch.zeros(1024, dtype=torch.float64),
            "decay": torch.zeros((), dtype=torch.float64),
        }
        self.state[weight] = state
        return state


_Moved = tuple[dict[str, Any], nn.Parameter, torch.Tensor]
"""A parameter group, one of its weights, and that one's gradient."""


def _at_once(
    moved: Sequence[_Moved],
) -> Iterator[tuple[dict[str, Any], list[tuple[nn.Parameter, torch.Tensor]]]]:
    """Weights of one group, with their gradients, in parts of about `_PART` numbers."""
    some: list[tuple[nn.Parameter, torch.Tensor]] = []
    for place, (group, weight, gradient) in enumerate(moved):
        some.append((weight, gradient))
        last = place + 1 == len(moved) or moved[place + 1][0] is not group
        if last or sum(weight.numel() for weight, _ in some) >= _PART:
            yield group, some
            some = []


def _grown(beta: float, steps: torch.Tensor) -> torch.Tensor:
    """What a moving average of so many steps has of the whole; 1 where there was no step yet, and nothing to divide."""
    return torch.where(steps > 0, 1 - beta**steps, 1.0)
