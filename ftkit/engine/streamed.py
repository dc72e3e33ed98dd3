"""Steps whose rows come from a stream: drawn from a buffer, encoded and sorted by length window by window.

The order depends on the seed and the rows alone, so it is the same for any number of processes, each of which reads
the whole stream. What a training that goes on has behind it is read again, and not encoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, islice
from random import Random
from typing import Any

from datasets import Dataset
from torch.utils.data import DataLoader

from ftkit import checks
from ftkit.data.clean import GIVEN
from ftkit.data.load import unified
from ftkit.data.stream import Part, naming_skip
from ftkit.data.typed import as_dataset, column, in_parts
from ftkit.engine.prepare import Prepared, encode_training
from ftkit.engine.steps import WINDOW, Row, Steps, examples_of
from ftkit.errors import DataError, counted
from ftkit.findings import Finding, errors, unusable

_ASIDE = ("id", "group", GIVEN)
"""Columns that nothing is learned from."""


@dataclass
class Place:
    """How far a training has come in its stream."""

    steps: int = 0
    """Behind it."""
    passes: int = 0
    """Times that the stream has come to its end."""
    window: int = 0
    """The number of the window in this pass."""
    step: int = 0
    """The number of the step in this window."""
    rows: int = 0
    """Rows that were learned from, each once."""
    again: int = 0
    """Those that were learned from again."""
    cut: int = 0
    """Of the rows, those that were too long."""
    left_out: int = 0
    """Rows of the first pass that can't be used."""


class Streamed:
    """The steps of one training, by number: each can be asked for once, in order."""

    def __init__(self, prepared: Prepared) -> None:
        assert prepared.stream is not None and prepared.recipe.train.steps is not None
        self.prepared, self.stream = prepared, prepared.stream
        self.settings, self.total = prepared.recipe.train, prepared.recipe.train.steps
        self.at = Place()
        self._read = self._given = 0
        """Rows of this pass that were read, and that went into windows."""
        self._ended = False
        """Whether all rows of this pass were read."""

    # ------------------------------------------------------------------ as the Trainer asks for them

    @property
    def dataset(self) -> Streamed:
        """Itself."""
        return self

    def loader(self) -> DataLoader[Any]:
        """The steps, one after the other."""
        return DataLoader(self, batch_size=1, shuffle=False, collate_fn=_alone)  # type: ignore[arg-type]

    def first(self) -> Row:
        """The first row that was looked at."""
        encoded, _ = encode_training(self.prepared, self.prepared.splits["train"].select([0]))
        return dict(encoded[0])

    @property
    def size(self) -> int:
        """Examples of all steps."""
        return self.total * self.settings.batch

    @property
    def learned(self) -> int:
        """Rows that were learned from, each once."""
        return self.at.rows

    @property
    def cut(self) -> int:
        """Of these, those that were too long."""
        return self.at.cut

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, number: int) -> list[Row]:
        assert number == self.at.steps, "steps of a stream are asked for in order"
        return next(self._steps)

    # ------------------------------------------------------------------ going on

    def state(self) -> dict[str, Any]:
        """How far it has come."""
        return asdict(self.at)

    def put_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.at = Place(**state)

    def told(self) -> dict[str, Any]:
        """What the run records of the rows that went by."""
        at = self.at
        whole = at.passes + (self._ended and self._given == self._read)  # the last step may have ended a pass
        seen = {"rows": at.rows, "rows_again": at.again, "left_out": at.left_out, "whole_passes": whole}
        return {"stream": {**seen, "shuffle_buffer": self.prepared.recipe.data.shuffle_buffer}}

    def notes(self) -> tuple[str, ...]:
        """How many rows were left out."""
        out = self.at.left_out
        return (f"{counted(out, 'row')} of the stream left out, which can't be read or labelled",) if out else ()

    # ------------------------------------------------------------------ which rows

    @cached_property
    def _steps(self) -> Iterator[list[Row]]:
        return self._all()

    def _all(self) -> Iterator[list[Row]]:
        at = self.at
        while True:
            before = at.window
            for rows in self._windows():
                yield from self._window(rows)
                at.window, at.step = at.window + 1, 0
            if before == at.window == 0:
                raise DataError(f"{self.stream.name}: the stream has no rows that can be used", "name another file")
            at.passes, at.window = at.passes + 1, 0

    def _window(self, rows: list[Row]) -> Iterator[list[Row]]:
        at = self.at
        encoded, cut = encode_training(self.prepared, _dataset(rows))
        if at.step == 0 and at.passes:
            at.again += len(rows)
        elif at.step == 0:
            at.rows, at.cut = at.rows + len(rows), at.cut + cut
        lengths = list(column(encoded, "length"))
        steps = Steps(lengths, self.settings.batch, self.settings.seed, examples_of(encoded))
        steps.set_epoch(at.passes * _FAR + at.window)
        for step in islice(steps, at.step, None):
            at.step, at.steps = at.step + 1, at.steps + 1
            yield encoded.__getitems__(step)

    def _windows(self) -> Iterator[list[Row]]:
        """The windows of this pass from the one at hand on; the last of all holds what the steps that are left take."""
        at, batch = self.at, self.settings.batch
        random = Random(f"{self.settings.seed}/{at.passes}")
        rows = shuffled(self._rows(), self.prepared.recipe.data.shuffle_buffer, random)
        self._given = sum(1 for _ in islice(rows, at.window * WINDOW * batch))
        while window := list(islice(rows, min(WINDOW, self.total - at.steps + at.step) * batch)):
            self._given += len(window)
            yield window

    def _rows(self) -> Iterator[Row]:
        """The rows that can be used, in the order of the stream."""
        at = self.at
        if not at.passes:
            at.left_out = 0
        self._read, self._ended = 0, False
        for part in self.stream.parts():
            rows, left_out = self._usable(part)
            if not at.passes:
                at.left_out += left_out + part.left_out
            for row in rows:
                self._read += 1
                yield row
        self._ended = True

    def _usable(self, part: Part) -> tuple[Iterable[Row], int]:
        """The rows of a part in the form that the task reads, and the number of others, if they may be left out."""
        if part.examples is None:
            return [], 0
        task, labels = self.prepared.task, self.prepared.labels
        refused: list[Finding] = []
        read = unified(task, as_dataset(part.examples), refused)
        found = [finding.within("train", len(read)) for finding in refused]
        if len(read):
            found += checks.of_task(task, {"train": read}, labels)
        bad = unusable(found)
        if self.prepared.recipe.data.bad_rows == "stop" or bad is None:
            with naming_skip(self.prepared.recipe.data):
                checks.usable(errors(found), {"train": part.numbering})
        rows = read.remove_columns([name for name in _ASIDE if name in read.column_names]).to_list()
        kept = [row for row in rows if row["row"] not in (bad or ())]
        return kept, len(part.examples.rows) - len(kept)


_FAR = 999_983
"""Windows from one pass to the next, for their order: more than a pass has."""


def shuffled(rows: Iterable[Row], size: int, random: Random) -> Iterator[Row]:
    """The rows, each drawn from `size` of them."""
    rows = iter(rows)
    held = list(islice(rows, size))
    for row in rows:
        place = random.randrange(size)
        yield held[place]
        held[place] = row
    random.shuffle(held)
    yield from held


def _dataset(rows: list[Row]) -> Dataset:
    names = dict.fromkeys(chain.from_iterable(rows))
    return in_parts([{name: [row.get(name) for row in rows] for name in names}])


def _alone(steps: list[list[Row]]) -> list[Row]:
    return steps[0]
