"""Where memory does not hold a micro-batch: it is split, and nothing but time changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ftkit.errors import MachineError, SmallerParts

T = TypeVar("T")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device or a processor has no memory left."""
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said


class Limit:
    """The tokens, padding included, that are computed at once: fewer from the moment on that memory runs out.

    `found` is told of each new limit. Of several processes that go in step none may split alone (`alone`).
    """

    def __init__(self, tokens: int, found: Callable[[int], None] = lambda tokens: None, alone: bool = True) -> None:
        self.tokens, self.found, self.alone = tokens, found, alone

    def lower(self, error: RuntimeError, parts: Sequence[tuple[int, int]]) -> None:
        """Halve the largest of `parts`, (rows, tokens), in which `error` came up.

        Raises the error itself where it is not about memory, MachineError where a single row is too large, and
        SmallerParts where other processes are in the midst of the step: all begin again at the last checkpoint.
        """
        if not ran_out(error):
            raise error
        splittable = [tokens for rows, tokens in parts if rows > 1]
        if not splittable:
            raise MachineError(
                "there is not enough memory for a single row",
                "lower task.max_length, take a smaller model, or, to train, set train.activation_checkpointing",
            ) from error
        self.tokens = max(splittable) // 2
        error.__traceback__ = None  # its frames hold what was computed
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.found(self.tokens)
        if not self.alone:
            raise SmallerParts("memory ran out for one of several processes", "raise train.accumulate") from error

    def within(self, compute: Callable[[list[int]], list[T]], rows: list[int], longest: int) -> list[T]:
        """What `compute` gives for some rows, padded to `longest`; for their halves where memory does not hold all."""
        try:
            return compute(rows)
        except RuntimeError as error:
            self.lower(error, [(len(rows), len(rows) * longest)])
        half = len(rows) // 2
        return [*self.within(compute, rows[:half], longest), *self.within(compute, rows[half:], longest)]
