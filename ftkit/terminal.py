"""What a person sees in a terminal: sentences, the progress line, plain tables. No more than text where it is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

Say = Callable[[str], None]
"""Takes a sentence for the person at the terminal."""


def say(message: str) -> None:
    """Tell the person what is going on, on standard error, if anybody reads it."""
    with suppress(BrokenPipeError):
        print(message, file=sys.stderr, flush=True)


def silence(message: str) -> None:
    """Tell nobody."""


_PAUSE = 60.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """One live line with loss, rate, examples a second and time left; a line a minute where it is no terminal."""

    def __init__(self, stream: TextIO = sys.stderr, show: bool = True) -> None:
        self.show = show
        self.shown = show and stream.isatty()
        self.stream = stream
        self._line: Any = None
        self._last = ""
        self._told = time.monotonic()

    def start(self, steps: int, what: str = "training") -> None:
        """Begin a line for `steps` steps."""
        self._told = time.monotonic()
        if not self.shown:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Line

        columns = (
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._line = Line(*columns, console=Console(file=self.stream), transient=True)
        self._line.start()
        self._task = self._line.add_task(what, total=steps, text="")

    @contextmanager
    def over(self, size: int, what: str) -> Iterator[Callable[[int], None]]:
        """A line for `size` things, which ends however they do; gives what is told how many are done."""
        self.start(size, what)
        try:
            yield self.advance
        finally:
            self.stop()

    def step(self, done: int, loss: float, rate: float, speed: float, left: float) -> None:
        """Show where training is."""
        text = f"loss {loss:.4f}  rate {rate:.1e}  {speed:,.0f} examples/s  {duration(left)} left{self._last}"
        if self._line:
            self._line.update(self._task, completed=done, text=text)
        elif self.show and time.monotonic() - self._told > _PAUSE:  # in a file, a line now and then
            self._told = time.monotonic()
            with suppress(BrokenPipeError):
                print(f"step {done}  {text}", file=self.stream, flush=True)

    def advance(self, done: int) -> None:
        """Show how many are done."""
        if self._line:
            self._line.update(self._task, completed=done)

    def note(self, name: str, value: float) -> None:
        """Show the newest validation score behind the line."""
        self._last = f"  validation {name} {value:.4f}"

    def stop(self) -> None:
        """End the line and leave nothing of it."""
        if self._line:
            self._line.stop()
            self._line = None


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A plain table: the first column to the left, numbers to the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    numeric = [all(_is_number(line[i]) for line in lines[1:]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).replace("-", "", 1).replace(",", "").isdigit() or cell == ""
