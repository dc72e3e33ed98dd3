"""What a person sees in a terminal: the progress line and the result tables. Plain text where it is no terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from ftkit.errors import counted, one_line, some, visible
from ftkit.metrics import Scores, in_table

if TYPE_CHECKING:
    from ftkit.findings import Finding
    from ftkit.inspection import Inspection

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

    def step(self, done: int, loss: float, rate: float, speed: float, left: float) -> None:
        """Show where training is."""
        text = f"loss {loss:.4f}  rate {rate:.1e}  {speed:,.0f} examples/s  {_duration(left)} left{self._last}"
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
    names = [name for name in dict.fromkeys(n for split in scores.values() for n in split) if in_table(name)]
    rows = [[name, *(_cell(scores[split].get(name)) for split in splits)] for name in names]
    counts = ["rows", *(_count(scores[split]) for split in splits)]
    return table(["", *splits], [*rows, counts])


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    spread = f" ± {score['sd']:.4f}" if "sd" in score else ""
    interval = f" [{score['low']:.3f}, {score['high']:.3f}]" if "low" in score else ""
    return f"{score['value']:.4f}{spread}{interval}"


def _count(scores: Scores) -> str:
    return str(max((score.get("n", 0) for score in scores.values()), default=0))


def intervals_note(scores: Mapping[str, Scores], level: float) -> str:
    """What the intervals beside the scores are; empty where there are none."""
    methods = {score.get("method") for split in scores.values() for score in split.values()} - {None}
    if not methods:
        return ""
    names = ", ".join(text for method, text in _METHODS.items() if method in methods)
    return f"[low, high]: {level:.0%} intervals ({names})"


_METHODS = {
    "bca": "BCa bootstrap over rows, or over documents where rows belong to some",
    "wilson": "Wilson's for shares of rows",
    "jackknife": "jackknife for what other libraries score",
}


def baselines_table(
    scores: Mapping[str, Scores],
    baselines: Mapping[str, Mapping[str, Scores]],
    gains: Mapping[str, Mapping[str, Any]],
    metric: str,
) -> str:
    """The model and the baselines beside each other on the test rows (or the last split), and what it adds to them."""
    split = "test" if "test" in baselines else list(baselines)[-1]
    beside = {"the model": scores[split], **baselines[split]}
    names = [name for name in dict.fromkeys((metric, *_MAIN)) if name in scores[split]]
    rows = [[who, *(_cell(found.get(name)) for name in names)] for who, found in beside.items()]
    beside_each_other = table([split, *names], rows)
    return f"{beside_each_other}\n{gain_sentence(gains[split])}" if split in gains else beside_each_other


_MAIN = ("accuracy", "f1", "exact_match", "rouge1", "rouge2", "rougeL", "pearson", "mse")
"""Scores that are shown beside those of baselines, where a task has them."""


def gain_sentence(gain: Mapping[str, Any]) -> str:
    """Whether the model was worth its training."""
    verdicts = {"better": "better than", "worse": "worse than", "not distinguishable": "not distinguishable from"}
    interval = f"[{gain['low']:+.3f}, {gain['high']:+.3f}]"
    test = f" ({TESTS[gain['test']]})" if "test" in gain else ""  # older runs do not tell
    by = f"{gain['metric']} {gain['value']:+.4f} {interval}, p = {gain['p']:.2g}{test}, n = {gain['n']}"
    return f"the model is {verdicts[gain['verdict']]} {gain['baseline']}, the best baseline: {by}"


TESTS = {"mcnemar": "McNemar's exact test", "randomization": "answers swapped at random"}
"""What `p` is of, and the verdict with it."""


def calibration_note(calibration: Mapping[str, Mapping[str, Any]]) -> str:
    """The temperature, and the error of each split's probabilities before and after; empty where none was fitted."""
    if not calibration:
        return ""
    parts = [f"{split} {c['ece_before']:.3f} -> {c['ece_after']:.3f}" for split, c in calibration.items()]
    one = next(iter(calibration.values()))
    lines = [f"calibration error (ECE) {', '.join(parts)}, with the temperature {one['temperature']:.3f}"]
    if one["ece_after"] > one["ece_before"]:
        lines[0] += ": the likeliest one for the validation rows, by which this error is no smaller"
    if one["threshold"]:
        parts = [f"{split} {c['coverage']:.3f} ({c['precision']:.3f} right)" for split, c in calibration.items()]
        lines.append(f"answers given, at a probability of {one['threshold']:.3f} or more: {', '.join(parts)}")
    return "\n".join(lines)


def breakdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Precision, recall and F1 of each label."""
    cells = [[row["label"], *(f"{row[n]:.4f}" for n in ("precision", "recall")), _f1(row), row["n"]] for row in rows]
    return table(["label", "precision", "recall", "f1", "n"], cells)


def _f1(row: Mapping[str, Any]) -> str:
    return _cell({**row, "value": row["f1"]})


def variants_sentence(found: Mapping[str, Any]) -> str:
    """How many variants of training rows there are, and what became of the others."""
    left = [f"{found[name]} {what}" for name, what in _NO_VARIANTS.items() if found[name]]
    by = ", ".join(f"{count} by {name}" for name, count in found["by"].items())
    said = f"{found['variants']} variants of {found['rows']} training rows{f' ({by})' if by else ''}"
    return "; ".join([said, *left])


_NO_VARIANTS = {
    "flipped": "of them with the opposite label",
    "unchanged": "times nothing could change",
    "repeated": "left out, as they say what is there already",
}


Mark = tuple[str, str]
"""A part of a text, and what is to be seen of it: `changed`, `kept`, or nothing."""
_COLOURS = {"changed": "1;33", "kept": "4"}
_SIGNS = {"changed": "[]", "kept": "{}"}


def marked(parts: Sequence[Mark], colour: bool) -> str:
    """A text with its marks, in colour or in brackets; long parts without a mark are shortened."""
    return "".join(_marked(text, mark, colour) for text, mark in parts)


def _marked(text: str, mark: str, colour: bool) -> str:
    if not mark:
        return text if len(text) <= _LONG else f"{text[: _LONG // 2]} ... {text[-_LONG // 2 :]}"
    return f"\x1b[{_COLOURS[mark]}m{text}\x1b[0m" if colour else f"{_SIGNS[mark][0]}{text}{_SIGNS[mark][1]}"


_LONG = 120


def in_colour(stream: TextIO = sys.stdout) -> bool:
    """Whether a stream is a terminal that shows colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def plan_table(plan: Mapping[str, Any]) -> str:
    """What a training would do, a line each."""
    stream = plan.get("stream")
    counts = [f"{count} {name}" for name, count in plan["rows"].items()]
    lines = {
        "rows": ", ".join(["train a stream", *counts] if stream else counts),
        **({"stream": _stream(stream)} if stream else {}),
        "labels": some(plan["labels"], _MOST_LABELS) or "none",
        "training": f"{_epochs(plan)}{plan['steps']} steps, in {plan['precision']}",
        "checkpoint": plan["checkpoint"],
    }
    if "seconds" in plan:
        memory = f"{plan['memory'] / 2**30:.1f} GiB"
        lines["time"] = f"about {_duration(plan['seconds'])} of training in one process, by a few steps of it"
        lines["memory"] = f"{memory} in a step of the longest rows; about {plan['batch']} of them would fit at once"
    found = [f"note: {note}" for note in plan["notes"]] + [f"warning: {warning}" for warning in plan["warnings"]]
    return "\n".join([*(f"{name:<11} {value}" for name, value in lines.items()), *found])


def _stream(stream: Mapping[str, Any]) -> str:
    """What is known of training rows that are never all at hand."""
    ends = "is left out" if stream["bad_rows"] == "skip" else "stops the training (data.bad_rows)"
    return (
        f"{some(stream['sources'], 3)}: {stream['rows']:,} rows are learned from, each drawn from"
        f" {stream['shuffle_buffer']:,}; a row that can't be read or labelled {ends}"
    )


def _epochs(plan: Mapping[str, Any]) -> str:
    return "" if plan["epochs"] is None else f"{plan['epochs']:g} epochs, "


def findings_table(found: Inspection) -> str:
    """Counts of rows, labels and lengths, then each finding: what, where, how many, an example, what to do."""
    rows = ", ".join(f"{count:,} {name}" for name, count in found.rows.items()) or "none that can be read"
    lines = [f"task       {found.recipe.task.name}", f"rows       {rows}", *_label_lines(found), *_length_lines(found)]
    lines += [f"note       {note}" for note in found.notes]
    if not found.findings:
        return "\n".join([*lines, "", "nothing was found that is wrong"])
    for finding in found.findings:
        lines += ["", *_finding_lines(finding)]
    stops, others = len(found.errors), len(found.findings) - len(found.errors)
    lines += ["", f"{counted(stops, 'error')}, {counted(others, 'warning')}"]
    return "\n".join(lines)


def _finding_lines(finding: Finding) -> Iterator[str]:
    share = f" of {finding.of:,} rows ({_percent(finding.share)})" if finding.share else ""
    where = ", ".join(f"{count:,} {split}" for split, count in finding.splits.items())
    yield f"{finding.level}: {finding.what}  [{finding.kind}]"
    if finding.places:
        yield f"  {where}{share}"
    for place in finding.examples():
        like = f" = {place.like_where}" if place.like else ""
        yield f"  {place.where}{like}: {visible(one_line(place.text, 90))}"
    if finding.fix:
        yield f"  -> {finding.fix}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "less than 0.1%"


def _label_lines(found: Inspection) -> Iterator[str]:
    """The rows of each label; of many labels only the range."""
    names = list(dict.fromkeys(name for counts in found.labels.values() for name in counts))
    if not names:
        return
    if len(names) > _MOST_LABELS:
        train = sorted(found.labels["train"].values())
        yield f"labels     {len(names)}, of {train[0]:,} to {train[-1]:,} training rows" if train else "labels"
        return
    for split, counts in found.labels.items():
        shown = ", ".join(f"{name} {counts.get(name, 0):,}" for name in names)
        yield f"{'labels' if split == 'train' else '':<10} {split}: {shown}"


_MOST_LABELS = 12
"""More labels than these are counted, not listed."""


def _length_lines(found: Inspection) -> Iterator[str]:
    for name, size in found.lengths.items():
        limit = f"; {size['limit']:,} are read" if "limit" in size and size["unit"] == "tokens" else ""
        counts = f"median {size['median']:,}, 95 of 100 up to {size['p95']:,}, longest {size['longest']:,}"
        yield f"length     {name}: {counts} {size['unit']}{limit}"
