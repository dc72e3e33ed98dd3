"""AdamW that moves only what a step has touched of an embedding, and clips while it moves.

A step reads a few hundred rows of a vocabulary of thirty thousand; the dense gradient of all of them, zeroed,
measured, clipped and stepped, is a tenth of a small model's step on a processor. Here the embedding's gradient
holds the rows of the step's tokens, and a row goes on moving by its momentum for `IDLE` steps after it was last
read; then it rests. When it is read again, and every `IDLE` steps, its moments and weights decay as if it had never
rested, so that what differs from AdamW (Loshchilov and Hutter 2019) is the last 0.6 % of a momentum's way, and the
decay of at most `IDLE` steps that a rested row lacks while the step that wakes it reads it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

IDLE = 48
"""Steps for which a row moves on without a gradient: 0.9**48 is 0.006."""
_LEAST = 1e-30
"""What a weight is multiplied by where rate times decay is 1 or more."""
_WORTH = 4096
"""Rows from which on an embedding is handled by rows."""


def sparsify(model: nn.Module) -> None:
    """Let the large embeddings that learn, and that no other layer shares, give their gradients by rows."""
    users: dict[int, int] = {}
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            users[id(weight)] = users.get(id(weight), 0) + 1
    for module in model.modules():
        if type(module) is nn.Embedding and module.max_norm is None and module.num_embeddings >= _WORTH:
            module.sparse = module.weight.requires_grad and users[id(module.weight)] == 1


class RowAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)` that takes gradients by rows; for processors."""

    grad_scale: torch.Tensor | None = None
    """What the next step divides gradients by; the fused kernel asks for it by this name."""

    def clip(self, most: float = math.inf) -> torch.Tensor:
        """The norm of all gradients, which the next step scales down to `most` where they are longer."""
        parts = []
        for weight in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            if weight.grad.is_sparse:
                weight.grad = weight.grad.coalesce()  # `step` finds it done
            parts.append(weight.grad.values() if weight.grad.is_sparse else weight.grad)
        norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(parts)))
        scale = (norm + 1e-6) / most
        self.grad_scale = scale if bool(scale > 1) else None
        return norm

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; the fused kernel moves what has a dense gradient."""
        by_rows = []
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None and weight.grad.is_sparse:
                    by_rows.append((group, weight, weight.grad.coalesce()))
                    weight.grad = None
        loss = super().step(closure)
        for group, weight, gradient in by_rows:
            self._step_rows(group, weight, gradient)
        self.grad_scale = None
        return loss

    def load_state_dict(self, state_dict: Any) -> None:
        """As torch does it, but for the rows' steps and decays, which are not in the weights' type."""
        super().load_state_dict(state_dict)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for number, stored in state_dict["state"].items():
            exact = {name: stored[name].clone() for name in ("decay", "decayed", "read", "moved") if name in stored}
            self.state[weights[number]].update(exact)

    def _step_rows(self, group: dict[str, Any], weight: nn.Parameter, gradient: torch.Tensor) -> None:
        state = self.state[weight] or self._start(weight)
        state["step"] += 1
        now = int(state["step"])
        state["decay"] += math.log(max(1 - group["lr"] * group["weight_decay"], _LEAST))
        state["read"][gradient.indices()[0]] = now
        all_rows = now % IDLE == 0  # so that the weights that rest decay too
        rows = (state["read"] > (-IDLE if all_rows else now - IDLE)).nonzero().squeeze(1)
        beta1, beta2 = group["betas"]
        rested = (now - state["moved"][rows]).unsqueeze(1)
        first = state["exp_avg"][rows].mul_(beta1**rested)
        second = state["exp_avg_sq"][rows].mul_(beta2**rested)
        found = torch.searchsorted(rows, gradient.indices()[0])
        values = gradient.values() if self.grad_scale is None else gradient.values() / self.grad_scale
        first.index_add_(0, found, values, alpha=1 - beta1)
        second.index_add_(0, found, values.square(), alpha=1 - beta2)
        kept = torch.exp(state["decay"] - state["decayed"][rows]).to(weight.dtype).unsqueeze(1)
        size = group["lr"] / (1 - beta1**now)
        length = (second / (1 - beta2**now)).sqrt_().add_(group["eps"])
        weight[rows] = (weight[rows] * kept).addcdiv_(first, length, value=-size)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = first, second
        state["moved"][rows], state["decayed"][rows] = now, state["decay"]

    def _start(self, weight: nn.Parameter) -> dict[str, Any]:
        """Moments as AdamW keeps them, and for each row the steps at which it was read and moved last."""
        count = weight.shape[0]
        state: dict[str, Any] = {
            "step": torch.zeros(()),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
            "decay": torch.zeros((), dtype=torch.float64),
            "decayed": torch.zeros(count, dtype=torch.float64),
            "read": torch.full((count,), 1 - IDLE, dtype=torch.int64),
            "moved": torch.zeros(count, dtype=torch.int64),
        }
        self.state[weight] = state
        return state
