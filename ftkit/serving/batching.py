"""Rows of many requests, answered together by one thread.

Nothing waits for a batch to fill: while one is answered, the next gathers. So a lone request is answered at once, and
the more there are, the larger batches get. Long requests take turns with the others, a part of theirs at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import accumulate
from time import monotonic
from typing import Any, NamedTuple

from ftkit.errors import DataError
from ftkit.serving.limits import Limits

Row = dict[str, Any]
Answer = Callable[[list[Row]], Sequence[Any]]
"""An answer for each row. Raises DataError for rows that can't be answered."""
Watch = Callable[[int, float], None]
"""Is told of each batch how many rows it had, and the seconds that it took."""


class Full(Exception):
    """So many rows wait that no more are taken."""


class Closed(Exception):
    """The server is stopping."""


class Job:
    """A request: rows to answer, or, with `call`, something else that the model's thread is to do."""

    def __init__(self, rows: list[Row], call: Callable[[], Any] | None = None, weight: int = 0) -> None:
        self.rows, self.call = rows, call
        self.size = weight or len(rows)
        """What it counts for in the queue."""
        self.answers: list[Any] = []
        self.begun = False
        self.future: Future[Any] = Future()

    def settle(self, result: Any = None, error: Exception | None = None) -> None:
        """Give the job's result, or its error, to whoever still waits."""
        with suppress(InvalidStateError):
            self.future.set_exception(error) if error else self.future.set_result(result)


class Part(NamedTuple):
    """Some rows of a job, which are answered in one batch."""

    job: Job
    rows: list[Row]


class Batcher:
    """The queue before a model, and the thread that works it off."""

    def __init__(self, answer: Answer, limits: Limits, watch: Watch = lambda rows, seconds: None) -> None:
        self.answer, self.limits, self.watch = answer, limits, watch
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that no batch has taken yet."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether the thread is there to answer."""
        return self._thread.is_alive()

    def submit(self, job: Job) -> Future[Any]:
        """Put a job into the queue. Cancel the future to give it up. Raises Full, or Closed."""
        with self._changed:
            if self._closed:
                raise Closed
            if self._waiting + job.size > self.limits.queue:
                raise Full
            self._jobs.append(job)
            self._waiting += job.size
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Take no more; what is queued is still answered, and then the thread ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    # ------------------------------------------------------------------ the model's thread

    def _work(self) -> None:
        while parts := self._next():
            begun = monotonic()
            if parts[0].job.call:
                self._call(parts[0].job)
                continue
            self._answer(parts)
            self.watch(sum(len(part.rows) for part in parts), monotonic() - begun)

    def _next(self) -> list[Part]:
        """What the next batch is made of: one job that is no rows, or rows; none when closed and all is done."""
        with self._changed:
            while True:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                parts = self._gathered()
                if parts or (self._closed and not self._jobs):
                    return parts

    def _gathered(self) -> list[Part]:
        parts: list[Part] = []
        unfinished: list[Job] = []
        rows, characters = self.limits.batch, self.limits.characters
        while self._jobs and rows and not (parts and self._jobs[0].call):
            job = self._jobs.popleft()
            if job.future.cancelled():
                self._waiting -= len(job.rows) or job.size
                continue
            if job.call:
                job.begun = True
                self._waiting -= job.size
                return [Part(job, [])]
            taken = _fitting(job.rows, rows, characters) or int(not parts)
            if not taken:
                self._jobs.appendleft(job)
                break
            job.begun = True
            parts.append(Part(job, job.rows[:taken]))
            rows, characters = rows - taken, characters - sum(map(length, job.rows[:taken]))
            job.rows = job.rows[taken:]
            self._waiting -= taken
            if job.rows:
                unfinished.append(job)
        self._jobs.extend(unfinished)
        return parts

    def _call(self, job: Job) -> None:
        assert job.call
        try:
            job.settle(job.call())
        except Exception as error:  # it is the request's answer, and the next is to be served
            job.settle(error=error)

    def _answer(self, parts: list[Part]) -> None:
        """Answer rows together; where some can't be answered, each request on its own: one's fault is no other's."""
        try:
            answers = list(self.answer([row for part in parts for row in part.rows]))
        except DataError as error:
            if len(parts) == 1:
                self._give_up(parts[0].job, error)
            else:
                for part in parts:
                    self._answer([part])
            return
        except Exception as error:  # as in `_call`
            for part in parts:
                self._give_up(part.job, error)
            return
        for part in parts:
            part.job.answers += answers[: len(part.rows)]
            del answers[: len(part.rows)]
            if not part.job.rows:
                part.job.settle(part.job.answers)

    def _give_up(self, job: Job, error: Exception) -> None:
        job.settle(error=error)
        with self._changed:
            self._waiting -= len(job.rows)
            job.rows = []
            if job in self._jobs:
                self._jobs.remove(job)


def length(row: Row) -> int:
    """Characters of a row."""
    return sum(len(value) if isinstance(value, str) else sum(len(word) + 1 for word in value) for value in row.values())


def _fitting(rows: Sequence[Row], most: int, characters: int) -> int:
    """How many of the first rows have at most so many characters together."""
    sizes = accumulate(map(length, rows[:most]))
    return sum(size <= characters for size in sizes)
