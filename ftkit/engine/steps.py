"""Which rows a step has: of a data set that is at hand, those of each epoch in an order of its own."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler

from ftkit.data.typed import column

Row = dict[str, Any]
WINDOW = 50
"""Steps whose rows are sorted by length together: wide enough for little padding, random enough to learn well."""


class Steps(Sampler[list[int]]):
    """The row numbers of each step of an epoch: random windows, rows of similar length together, steps shuffled.

    The order depends on the seed, the epoch and the rows alone, so it is the same for any number of processes.
    `examples` are the rows of each example, where these stay together; a step is `batch` of them then.
    """

    def __init__(
        self, lengths: Sequence[int], batch: int, seed: int, examples: Sequence[Sequence[int]] | None = None
    ) -> None:
        self.rows = lengths
        self.examples = Alone(len(lengths)) if examples is None else examples
        self.lengths = array("Q", (sum(lengths[i] for i in rows) for rows in self.examples))
        self.batch, self.seed, self.epoch = batch, seed, 0

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = array("Q", torch.randperm(len(self.lengths), generator=generator).numpy().tobytes())
        for start in range(0, len(order), self.batch * WINDOW):
            window = slice(start, start + self.batch * WINDOW)
            order[window] = array("Q", sorted(order[window], key=lambda i: -self.lengths[i]))
        for place in torch.randperm(len(self), generator=generator).tolist():
            step = order[place * self.batch : (place + 1) * self.batch]
            yield sorted((i for example in step for i in self.examples[example]), key=lambda i: -self.rows[i])

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch; the Trainer calls it."""
        self.epoch = epoch


class Alone(Sequence[Sequence[int]]):
    """The rows of each example, where each row is one."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: Any) -> Any:
        return (range(self.size)[index],)


def examples_of(rows: Any) -> Sequence[Sequence[int]]:
    """The numbers of the encoded rows of each example; each row alone where they need not stay together."""
    if "example" not in rows.column_names:
        return Alone(len(rows))
    found: dict[int, list[int]] = {}
    for i, example in enumerate(column(rows, "example")):
        found.setdefault(example, []).append(i)
    return list(found.values())


class Rows(Protocol):
    """Where the rows of steps come from."""

    @property
    def dataset(self) -> Any:
        """What has a length, for the Trainer."""

    @property
    def size(self) -> int:
        """Examples of an epoch."""

    @property
    def learned(self) -> int:
        """Rows that are learned from, copies not counted."""

    @property
    def cut(self) -> int:
        """Of these, those that are cut."""

    def loader(self) -> DataLoader[Any]:
        """Gives each process all rows of a step; which of them it computes, `FTTrainer.training_step` decides."""

    def first(self) -> Row:
        """One encoded row."""

    def told(self) -> dict[str, Any]:
        """What the run records of rows that are not counted beforehand."""

    def notes(self) -> tuple[str, ...]:
        """What a person should know of the rows that went by."""


class AtHand:
    """Encoded rows that are all there, of the training rows at `places`; `cut` of them were too long."""

    def __init__(self, rows: Dataset, batch: int, seed: int, places: Sequence[int] = (), cut: int = 0) -> None:
        self.dataset, self.batch, self.seed, self.places, self.cut = rows, batch, seed, places, cut
        self.examples = examples_of(rows)

    @property
    def size(self) -> int:
        """Examples of an epoch."""
        return len(self.examples)

    @property
    def learned(self) -> int:
        """Rows that are learned from, copies not counted."""
        return len(self.places if isinstance(self.places, range) else set(self.places))

    def loader(self) -> StepLoader:
        """The rows of each step."""
        steps = Steps(array("Q", column(self.dataset, "length")), self.batch, self.seed, self.examples)
        return StepLoader(self.dataset, batch_sampler=steps, collate_fn=list)

    def first(self) -> Row:
        """The first row."""
        return dict(self.dataset[0])

    def told(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()


class StepLoader(DataLoader[Any]):
    """Goes over the steps of an epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch; the Trainer calls it."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
