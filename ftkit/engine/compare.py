"""`compare`: which of several models is better on the same test rows, and whether so many rows can tell."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ftkit.engine import learned
from ftkit.errors import RunError, every, nearest, problems
from ftkit.metrics import intervals, over_trainings
from ftkit.metrics.evidence import Evidence
from ftkit.metrics.intervals import Difference, Resampling, Verdict, of_differences
from ftkit.plugins import resolve
from ftkit.run import SCORES, RunDirectory
from ftkit.tasks._base import Task
from ftkit.terminal import Progress, Say, silence

_SEED = "train.seed"


class Model(NamedTuple):
    """What was scored: a run, a baseline of one, an export or a checkpoint."""

    name: str
    task: Task
    evidence: Evidence
    settings: dict[str, Any]
    """Of a run's recipe, by dotted name; empty for all else."""
    usual: dict[str, Any]
    """What options of its task, its method and its objective are where nobody sets them."""
    begun: dict[str, Any]
    """What a run began with (`engine/begun`): data, checkpoint, code; empty where nothing tells."""


@dataclass(frozen=True)
class Entry:
    """One side of comparisons: a model, or several that differ in nothing but the seed."""

    name: str
    models: tuple[Model, ...]
    scores: dict[str, Any]
    """With intervals; of several models the mean, the standard deviation `sd`, and `each` one's value."""


@dataclass(frozen=True)
class Compared:
    """An entry beside the first one."""

    name: str
    verdict: Verdict
    metric: str
    """The one that decides."""
    n: int
    """Cases that it is taken over."""
    all: dict[str, Difference]
    """This entry minus the first, in each score that both have."""
    settings: dict[str, tuple[Any, Any]]
    """Recipe settings that differ: the first entry's value, and this one's."""

    @property
    def difference(self) -> Difference:
        """In the metric that decides."""
        return self.all[self.metric]

    def sentence(self, first: str) -> str:
        """The verdict for a person, `first` being the first entry's name."""
        found = self.difference
        told = f"{self.metric} {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p = {found.p:.2g}"
        if max(abs(found.value), abs(found.low), abs(found.high)) < 1e-12:
            return f"{self.name} scores exactly as {first} does, whichever rows are drawn ({self.metric}, n = {self.n})"
        if self.verdict != "not distinguishable":
            return f"{self.name} is {self.verdict} than {first}: {told}"
        apart = "by how the answers differ" if found.apart is None else f"just one of them is right on {found.apart}"
        could = "too few to tell any" if found.apart is not None else "no difference could be told"
        if found.least is not None:
            could = f"a difference of {found.least:.3f} or more could be told"
        size = f"n = {self.n}; {apart}: {could}"
        return f"{self.name} is not distinguishable from {first} at this size ({size}): {told}"


@dataclass(frozen=True)
class Comparison:
    """Models on the same rows: the first entry is what the others are measured against."""

    split: str
    metric: str
    """The one that decides."""
    level: float
    """Share of intervals that should hold the true value; 1 - level is the p from which two models differ."""
    entries: list[Entry]
    comparisons: list[Compared]

    @property
    def worse(self) -> list[str]:
        """Entries that are worse than the first."""
        return [found.name for found in self.comparisons if found.verdict == "worse"]

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        entries = [
            {"name": entry.name, "runs": [model.name for model in entry.models], "scores": entry.scores}
            for entry in self.entries
        ]
        comparisons = [
            {
                "name": found.name,
                "verdict": found.verdict,
                "metric": found.metric,
                "n": found.n,
                "difference": found.difference._asdict(),
                "all": {name: difference._asdict() for name, difference in found.all.items()},
                "test": found.difference.test,
                "settings": {name: list(values) for name, values in found.settings.items()},
            }
            for found in self.comparisons
        ]
        head = {"split": self.split, "metric": self.metric, "level": self.level}
        return {**head, "entries": entries, "comparisons": comparisons}


def compare(
    sources: Iterable[str | Path],
    split: str = "test",
    metric: str | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Comparison:
    """Compare models with the first one of `sources`, row by row, on a split of their runs.

    A source is a run; a baseline of one (`RUN:majority`; `majority` for the first run's); or an export or checkpoint,
    which is scored on the first run's rows. `metric` decides; the first run's own when not given. Each comparison is
    at the level of the first run's recipe on its own: with many, some will differ by chance.
    Raises RunError where they were not scored on the same rows, by the same task, or not on that metric.
    """
    names = [str(source) for source in sources]
    if blank := [name for name in names if not name.strip() or name.endswith(":")]:
        raise RunError(f"{blank[0]!r} names nothing to compare", "is a variable of the shell empty?")
    if len(names) < 2:
        raise RunError("there is nothing to compare", "name two or more: the first is what the others are measured by")
    home = _first_run(names, split)
    found = every([partial(_model, name, split, home, say, progress) for name in names])
    _refuse_unlike(found, split)
    for model in found:
        run, _ = _parts(model.name, home)
        if model.evidence.asked is not None:
            learned.warn(run.path if run else model.name, model.evidence.asked, split, say)
    recipe, task = home.recipe, found[0].task
    decisive = _decisive(metric, [recipe.train.metric, task.decider()], found)
    resampling = of_differences(recipe.evaluate.level, recipe.evaluate.resamples)
    groups = next((model.evidence.groups for model in found if model.evidence.groups), None)
    together = _by_recipe(found)
    for models in together:
        if len(models) > 1:
            say(f"note: {', '.join(model.name for model in models)} differ in their seed alone: they are one entry")
    entries = [_entry(models, groups, resampling) for models in together]
    lower = decisive in task.lower_is_better
    compared = [_compared(entries[0], other, decisive, lower, groups, resampling) for other in entries[1:]]
    return Comparison(split, decisive, resampling.level, entries, compared)


# ------------------------------------------------------------------ what is compared


def _first_run(names: Sequence[str], split: str) -> RunDirectory:
    """The run whose rows count: the first that has some in the split, if any has."""
    runs = [run for name in names if (run := _parts(name)[0])]
    if runs:
        return next((run for run in runs if _has_split(run, split)), runs[0])
    raise RunError(
        f"none of {', '.join(names)} is a run, and only a run remembers its test rows",
        "name the run that one of them comes from, too",
    )


def _has_split(run: RunDirectory, split: str) -> bool:
    return split in run.read_json(SCORES)["scores"]


def _parts(name: str, home: RunDirectory | None = None) -> tuple[RunDirectory | None, str]:
    """The run that a name means, and which of its baselines, if any; no run for an export or a checkpoint."""
    if RunDirectory.is_run(name):
        return RunDirectory.open(name), ""
    run, colon, baseline = name.rpartition(":")
    if colon and RunDirectory.is_run(run):
        return RunDirectory.open(run), baseline
    is_word = "/" not in name and not os.path.exists(name)
    return (home, name) if is_word else (None, "")


def _model(name: str, split: str, home: RunDirectory, say: Say, progress: Progress | None) -> Model:
    run, baseline = _parts(name, home)
    if run is None:
        return _scored_now(name, split, home, say, progress)
    run.warn_if_edited(say)
    recipe = run.recipe
    task: Task = resolve("task", recipe.task, Task)
    path = run.evidence(f"{split}.{baseline}" if baseline else split)
    if path.is_file():
        evidence = Evidence.load(path)
    elif baseline:
        raise _no_baseline(run, split, baseline)
    elif not _has_split(run, split) and _has_split(home, split):
        say(f"note: {name} has no {split} rows of its own: it is scored on those of {home.path}")
        evidence = _scored_now(name, split, home, say, progress).evidence
    else:
        evidence = _evidence_now(run, split, say, progress)
    if baseline:
        return Model(name, task, evidence, {}, {}, {})
    begun = run.begun
    return Model(name, task, evidence, dict(_flat(recipe.filled())), dict(_flat(recipe.usual_options())), begun)


def _no_baseline(run: RunDirectory, split: str, baseline: str) -> RunError:
    files = run.evidence(split).parent.glob(f"{split}.*.npz")
    there = sorted(file.name.removeprefix(f"{split}.").removesuffix(".npz") for file in files)
    return RunError(
        f"the run {run.path} has no baseline {baseline!r} scored on {split}; it has {', '.join(there) or 'none'}",
        "a run or an export is named by its folder, a checkpoint of the Hub as org/name",
    )


def _evidence_now(run: RunDirectory, split: str, say: Say, progress: Progress | None) -> Evidence:
    """The run scored again, on its own rows."""
    from ftkit.engine import evaluate as evaluation

    say(f"note: {run.path} does not hold what its {split} scores were taken of; it is scored now")
    return _kept(str(run.path), evaluation.evaluate(run.path, split, say=say, progress=progress).evidence)


def _scored_now(name: str, split: str, home: RunDirectory, say: Say, progress: Progress | None) -> Model:
    """A model scored on the rows of the run `home`."""
    from ftkit.engine import asking
    from ftkit.engine import evaluate as evaluation
    from ftkit.engine import model as models
    from ftkit.engine.prepare import check

    trained, recipe = models.load(name), home.recipe
    if not trained.task.is_like(resolve("task", recipe.task, Task)):
        raise RunError(f"{name} and {home.path} are of different tasks", "compare what answers the same question")
    rows = evaluation.rows_of(trained, home, split, say)
    for warning in check(trained.task, {split: rows}, trained.labels):
        say(f"warning: {warning}")
    found = evaluation.score(trained, rows, asking.spec_of(trained, recipe), say, progress)
    return Model(name, trained.task, _kept(name, found.evidence), {}, {}, {})


def _kept(name: str, evidence: Evidence | None) -> Evidence:
    if evidence is None:
        raise RunError(
            f"{name}: its task says what all rows score together, not what each adds, or adds up in a way of its own",
            "give the task a `tally` that ftkit.metrics makes",
        )
    return evidence


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of each setting; a task's or method's own name stands under `task` or `method`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield (prefix + name).removesuffix(".name"), value


# ------------------------------------------------------------------ whether it can be


def _refuse_unlike(models: Sequence[Model], split: str) -> None:
    """Raises RunError for models that were not scored on the first one's rows, in its way."""
    first = models[0]
    found = [what for model in models[1:] if (what := _unlike(first, model))]
    if found:
        raise problems(
            RunError,
            f"these can't be compared with {first.name} on {split}",
            found,
            "score the same rows: name an export, or a run's folder `model`, and it is scored on the first run's",
        )


def _unlike(first: Model, other: Model) -> str:
    """Why two models can't be compared; empty where they can."""
    one, two = first.evidence, other.evidence
    if not first.task.is_like(other.task) or _kind(one) != _kind(two):
        return f"{other.name} is of another task"
    if np.array_equal(one.rows, two.rows):
        return ""
    if np.array_equal(np.sort(one.rows), np.sort(two.rows)):
        return f"{other.name} was scored on the same rows in another order"
    sizes = f"{len(two.rows)} rows, not {len(one.rows)}; " if len(one.rows) != len(two.rows) else ""
    least = min(len(one.rows), len(two.rows))
    places = np.flatnonzero(one.rows[:least] != two.rows[:least])
    example = int(places[0]) if len(places) else least
    differ = len(places) + max(len(one.rows), len(two.rows)) - least
    return f"{other.name} was scored on other rows: {sizes}{differ} differ, the first is row {example + 1}"


def _kind(evidence: Evidence) -> tuple[type, str | None]:
    return type(evidence.tally), getattr(evidence.tally, "kind", None)


def _decisive(wanted: str | None, usual: Sequence[str | None], models: Sequence[Model]) -> str:
    """The metric that decides. Raises RunError where a model has no such score."""
    known = [
        name for name in models[0].evidence.tally.scores() if all(name in m.evidence.tally.scores() for m in models)
    ]
    for name in [wanted] if wanted else usual:
        if name in known:
            return str(name)
    missing = wanted or next(name for name in usual if name)
    guess = nearest(missing, known)
    raise RunError(
        f"there is no score {missing} to compare by; there are {', '.join(known)}",
        f"did you mean --metric {guess}?" if guess else "name one with --metric",
    )


# ------------------------------------------------------------------ how they compare


def _by_recipe(models: Sequence[Model]) -> list[tuple[Model, ...]]:
    """Runs of one recipe but for the seed put together, unless nothing would be left to compare with."""
    found: list[list[Model]] = []
    for model in models:
        place = next((group for group in found if _is_other_seed(group, model)), None)
        if place is None:
            found.append([model])
        else:
            place.append(model)
    return [tuple(group) for group in found] if len(found) > 1 else [(model,) for model in models]


def _is_other_seed(group: Sequence[Model], model: Model) -> bool:
    if not model.settings or not group[0].settings:
        return False
    known = {member.settings[_SEED] for member in group}
    same = all(model.begun.get(name) == group[0].begun.get(name) for name in _SAME)
    return same and model.settings[_SEED] not in known and not _changed(group[0], model, but=_SEED)


_SAME = ("sha256", "checkpoint", "teacher", "labels", "code")
"""What runs that differ in their seed alone began with."""


def _entry(models: tuple[Model, ...], groups: Sequence[int] | None, resampling: Resampling) -> Entry:
    if len(models) == 1:
        return Entry(models[0].name, models, dict(intervals.scores(models[0].evidence.tally, groups, resampling)[0]))
    each = [model.evidence.tally.scores() for model in models]
    return Entry(f"{models[0].name} ({len(models)} seeds)", models, {name: _mean(each, name) for name in each[0]})


def _mean(scores: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    return over_trainings([score[name] for score in scores if name in score])


def _compared(
    first: Entry, other: Entry, metric: str, lower: bool, groups: Sequence[int] | None, resampling: Resampling
) -> Compared:
    more, less = ([model.evidence.tally for model in entry.models] for entry in (other, first))
    found = intervals.differences(more, less, groups, resampling)
    several = len(first.models) > 1 or len(other.models) > 1
    settings = _changed(first.models[0], other.models[0], but=_SEED if several else "")
    said = found[metric].verdict(resampling.level, lower)
    return Compared(other.name, said, metric, first.scores[metric]["n"], found, settings)


def _changed(one: Model, other: Model, but: str = "") -> dict[str, tuple[Any, Any]]:
    """Settings that differ, of two runs; None for one that a side does not have.

    An option that only one side's plug-in has is no change of the recipe where nobody has set it.
    """
    if not one.settings or not other.settings:
        return {}
    names = dict.fromkeys([*one.settings, *other.settings])
    pairs = {name: (one.settings.get(name), other.settings.get(name)) for name in names if name != but}
    filled_in = {
        name
        for has, lacks in ((one, other), (other, one))
        for name, value in has.usual.items()
        if name not in lacks.settings and has.settings.get(name) == value
    }
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b and name not in filled_in}
