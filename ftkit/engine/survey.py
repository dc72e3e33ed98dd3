"""`export --survey`: what each format of a run, and of other runs beside it, is worth: size, speed, score.

All are measured in one process that wrote none of them, on the same rows. Speed is taken by turns: each batch goes
through all models one after the other, again and again, so that what else the machine does meets all of them alike.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, load_from_disk

from ftkit import exporters
from ftkit.engine import asking, elsewhere, gate, learned, machine, speed
from ftkit.engine import evaluate as evaluation
from ftkit.engine import model as models
from ftkit.engine.export import Material, export, held_out_rows, refuse_served, write
from ftkit.errors import FTKitError, RunError, every
from ftkit.exporters._base import Exporter
from ftkit.files import write_json
from ftkit.metrics.evidence import Evidence, asked
from ftkit.metrics.intervals import differences, of_differences
from ftkit.settings import EvaluateSpec
from ftkit.startup import spare_imports
from ftkit.tasks._base import Task
from ftkit.terminal import Say, silence

AS_IT_IS = "fp32"
"""What the run itself is listed as, computed in float32."""


@dataclass
class Line:
    """One model in one format."""

    model: str
    format: str
    error: str = ""
    """Why it does not answer; then the rest is empty."""
    bytes: int = 0
    """Of all that it needs to answer: an adapter's base is counted."""
    milliseconds: dict[str, float] = field(default_factory=dict)
    """For a row, by the number of rows that are computed at once; tokenizing is left out."""
    score: dict[str, Any] = field(default_factory=dict)
    difference: dict[str, Any] | None = None
    """Of the score from the first line's, over the same rows; None of the first, and where a task has no tally."""


@dataclass(frozen=True)
class Survey:
    """A run in all formats, then others beside it."""

    metric: str
    rows: int
    level: float
    lines: list[Line]

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return asdict(self)


def survey(
    source: str | Path,
    beside: Sequence[str | Path] = (),
    formats: Sequence[str] = (),
    to: Path | None = None,
    say: Say = silence,
    *,
    data: str | None = None,
    rows: int | None = None,
    allowed: gate.Allowed | None = None,
) -> Survey:
    """Measure the run `source` as it is and in each of `formats` (all that are installed), and the runs `beside` it.

    The exports of the run are kept, proven, in the folder `to` where it is named; all others are thrown away. Raises
    FTKitError for what can't be loaded or is of another task, and GateError as `export` does.
    """
    first, *others = every([_loader(one) for one in (source, *beside)])
    _refuse_unlike(first, others)
    recipe = asking.recipe_of(source, say)
    taken = _new_to_all(
        (source, *beside), first.task, held_out_rows(first, recipe, source, data, rows, say, usual=None), say
    )
    settings, metric = asking.judged_by(first, recipe)
    with ExitStack() as stack:
        aside = Path(stack.enter_context(TemporaryDirectory()))
        places: list[tuple[str, str, Path]] = []
        for number, (name, trained) in enumerate(zip((source, *beside), (first, *others), strict=True)):
            chosen = _chosen(trained, formats, say)
            places.append((str(name), AS_IT_IS, trained.source))
            if to is not None and number == 0 and chosen:
                folder = export(name, to, list(chosen), say, data=data, rows=rows, allowed=allowed)
                places += [(str(name), one, folder / one if len(chosen) > 1 else folder) for one in chosen]
                continue
            material = Material(name, taken)
            for one, exporter in chosen.items():
                folder = aside / str(number) / one
                write(exporter, one, material, trained, folder)
                places.append((str(name), one, folder))
        lines = _measured(places, taken, settings, metric, aside)
    return Survey(metric, len(taken), settings.level, lines)


def _loader(source: str | Path) -> Callable[[], models.Trained]:
    return lambda: models.load(source)


def _refuse_unlike(first: models.Trained, others: Sequence[models.Trained]) -> None:
    """Raises RunError for models that don't answer what the first one does."""
    for trained in (first, *others):
        refuse_served(trained)
        if not first.task.is_like(trained.task) or set(first.labels) != set(trained.labels):
            raise RunError(
                f"{trained.source} is of another task, or of other labels, than {first.source}",
                "name runs that answer the same question",
            )


def _new_to_all(sources: Sequence[str | Path], task: Task, rows: Dataset, say: Say) -> Dataset:
    """The rows that no model has learned from. Raises RunError where there are none."""
    hashes, seen = asked(rows, task.texts), set[int]()
    for source in sources:
        if places := learned.places(learned.by(source), hashes):
            say(f"note: {source} has learned from {len(places)} of the {len(rows)} rows: they are left out for all")
            seen.update(places)
    if len(seen) == len(rows):
        raise RunError(
            "there is no row that none of these models has learned from", "name a file with new ones: --data FILE"
        )
    return rows.select([place for place in range(len(rows)) if place not in seen]) if seen else rows


def _chosen(trained: models.Trained, formats: Sequence[str], say: Say) -> dict[str, Exporter]:
    """The exporters of those formats that can be had, or of all; it is said which can't."""
    found = {name: exporters.find(name) for name in dict.fromkeys(formats or exporters.names())}
    if not formats:
        found = {name: exporter for name, exporter in found.items() if not exporter.as_run(trained)}
    for name, exporter in list(found.items()):
        missing = exporter.missing()
        why = f"it needs {', '.join(missing)}: pip install 'ftkit[{exporter.extra}]'" if missing else ""
        if why := why or exporter.refuses(trained):
            say(f"note: {name} is left out: {why}")
            del found[name]
    return found


def _measured(
    places: Sequence[tuple[str, str, Path]], rows: Dataset, settings: EvaluateSpec, metric: str, aside: Path
) -> list[Line]:
    """A line for each model (name, format, folder), from a process of its own."""
    job = {
        "places": [(name, format, str(folder.absolute())) for name, format, folder in places],
        "metric": metric,
        "settings": settings.model_dump(mode="json"),
        "aside": str(aside),
    }
    lines = [Line(**line) for line in elsewhere.run("ftkit.engine.survey", job, rows)["lines"]]
    first = aside / "0.npz"
    if lines[0].error:
        raise RunError(f"{lines[0].model} does not answer: {lines[0].error}")
    for number, line in enumerate(lines[1:], 1):
        own = aside / f"{number}.npz"
        if first.is_file() and own.is_file():
            base = Evidence.load(first)
            resampling = of_differences(settings.level, settings.resamples)
            found = differences(Evidence.load(own).tally, base.tally, base.groups, resampling)
            line.difference = found[metric]._asdict() if metric in found else None
    return lines


# ---------------------------------------------------------------------- in the process that measures


def measure(
    places: Sequence[tuple[str, str, Path]], rows: Dataset, settings: EvaluateSpec, metric: str, aside: Path
) -> list[Line]:
    """A line for each model, without differences; what its score was taken of goes to `aside` by its number."""
    lines = [Line(name, format) for name, format, _ in places]
    ready: dict[int, speed.Ready] = {}
    for number, (_, format, folder) in enumerate(places):
        line = lines[number]
        try:
            trained = models.load(folder)
            precision = "fp32" if format == AS_IT_IS else exporters.find(format).precision
            spec = settings.model_copy(update={"precision": machine.at_hand(precision)})
            found = evaluation.score(trained, rows, spec)
        except FTKitError as error:
            line.error = error.message
            continue
        line.score = dict(found.scores.get(metric) or {})
        line.bytes = speed.size(trained).total
        if found.evidence:
            found.evidence.save(aside / f"{number}.npz")
        ready[number] = speed.Ready(trained, spec)
    for number, seconds in zip(ready, speed.seconds(list(ready.values()), rows), strict=True):
        lines[number].milliseconds = {count: 1000 * value / int(count) for count, value in seconds.items()}
    return lines


if __name__ == "__main__":
    spare_imports()
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = measure(
        [(name, format, Path(folder)) for name, format, folder in job["places"]],
        load_from_disk(job["rows"]),
        EvaluateSpec.model_validate(job["settings"]),
        job["metric"],
        Path(job["aside"]),
    )
    write_json(Path(job["result"]), {"lines": [asdict(line) for line in found]})
