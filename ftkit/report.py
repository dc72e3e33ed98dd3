"""What a person sees in a terminal: the progress line and the result tables. Plain text where it is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from ftkit.metrics import Scores

Say = Callable[[str], None]
"""Takes a sentence for the person at the terminal."""


def say(message: str) -> None:
    """Tell the person what is going on, on standard error."""
    print(message, file=sys.stderr, flush=True)


def silence(message: str) -> None:
    """Tell nobody."""


class Progress:
    """One live line with loss, rate, examples a second and time left; silent where nobody watches."""

    def __init__(self, stream: TextIO = sys.stderr, show: bool = True) -> None:
        self.shown = show and stream.isatty()
        self.stream = stream
        self._line: Any = None
        self._last = ""

    def start(self, steps: int, what: str = "training") -> None:
        """Begin a line for `steps` steps."""
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

    def step(self, done: int, loss: float, rate: float, speed: float, left: float) -> None:
        """Show where training is."""
        if self._line:
            text = f"loss {loss:.4f}  rate {rate:.1e}  {speed:,.0f} examples/s  {_duration(left)} left{self._last}"
            self._line.update(self._task, completed=done, text=text)

    def advance(self, done: int) -> None:
        """Show how many are done."""
        if self._line:
            self._line.update(self._task, completed=done)

    def note(self, scores: Mapping[str, float]) -> None:
        """Show the newest validation score behind the line."""
        name, value = next(iter(scores.items()))
        self._last = f"  validation {name} {value:.4f}"

    def stop(self) -> None:
        """End the line and leave nothing of it."""
        if self._line:
            self._line.stop()
            self._line = None


def _duration(seconds: float) -> str:
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


def scores_table(scores: Mapping[str, Scores]) -> str:
    """A row for each metric, a column for each split."""
    splits = list(scores)
    names = [name for name in dict.fromkeys(n for split in scores.values() for n in split) if name not in _IN_FILE]
    rows = [[name, *(_cell(scores[split].get(name)) for split in splits)] for name in names]
    counts = ["rows", *(_count(scores[split]) for split in splits)]
    return table(["", *splits], [*rows, counts])


_IN_FILE = {f"{average}_{name}" for average in ("micro", "weighted") for name in ("precision", "recall")}
"""Scores that scores.json and --json have and a terminal's table does without."""


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    spread = f" ± {score['sd']:.4f}" if "sd" in score else ""
    return f"{score['value']:.4f}{spread}"


def _count(scores: Scores) -> str:
    return str(max((score.get("n", 0) for score in scores.values()), default=0))


def breakdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Precision, recall and F1 of each label."""
    header = list(rows[0])
    return table(header, [[f"{row[h]:.4f}" if isinstance(row[h], float) else row[h] for h in header] for row in rows])


def plan_table(plan: Mapping[str, Any]) -> str:
    """What a training would do, a line each."""
    rows = ", ".join(f"{count} {name}" for name, count in plan["rows"].items())
    labels = ", ".join(plan["labels"][:12]) + (
        f" and {len(plan['labels']) - 12} more" if len(plan["labels"]) > 12 else ""
    )
    lines = {
        "rows": rows,
        "labels": labels or "none",
        "training": f"{plan['epochs']:g} epochs, {plan['steps']} steps, in {plan['precision']}",
        "checkpoint": plan["checkpoint"],
    }
    if "seconds" in plan:
        memory = f"{plan['memory'] / 2**30:.1f} GiB"
        lines["time"] = f"about {_duration(plan['seconds'])} of training in one process, by a few steps of it"
        lines["memory"] = f"{memory} in a step of the longest rows; about {plan['batch']} of them would fit at once"
    found = [f"note: {note}" for note in plan["notes"]] + [f"warning: {warning}" for warning in plan["warnings"]]
    return "\n".join([*(f"{name:<11} {value}" for name, value in lines.items()), *found])
