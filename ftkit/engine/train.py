"""`train`, from a recipe to a run with a model and its scores."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftkit import trust
from ftkit.engine import evaluate as evaluation
from ftkit.engine import launch, machine
from ftkit.engine import model as models
from ftkit.engine.arguments import epochs, micro_batch
from ftkit.engine.fit import Fitted, fit
from ftkit.engine.folds import Part, fold_rows
from ftkit.engine.prepare import Prepared, encode_training, prepare
from ftkit.engine.trial import measure
from ftkit.errors import MachineError
from ftkit.metrics import ClassScores, Score, Scores
from ftkit.recipe import Recipe
from ftkit.report import Progress, Say, silence
from ftkit.run import RunDirectory, refuse_existing


@dataclass(frozen=True)
class Finished:
    """A finished run: where it is, its scores by split, and what training took."""

    run: Path
    scores: dict[str, Scores]
    breakdown: dict[str, list[ClassScores]]
    steps: int
    train_seconds: float
    examples: int

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints and scores.json holds."""
        return {
            "run": str(self.run),
            "scores": self.scores,
            "per_class": self.breakdown,
            "steps": self.steps,
            "train_seconds": self.train_seconds,
            "examples": self.examples,
        }


def plan(recipe: Recipe, processes: int | None = None) -> dict[str, Any]:
    """What `train` would do: rows, labels, steps, precision, and, measured on the first steps, time and memory.

    Raises FTKitError as `train` would.
    """
    _check_processes(recipe, machine.processes() if processes is None else processes)
    prepared = prepare(recipe)
    fold_rows(prepared)
    rows = {name: len(split) for name, split in prepared.splits.items()}
    encoded, cut = encode_training(prepared, prepared.splits["train"])
    times = epochs(recipe.train, len(encoded))
    return {
        "rows": rows,
        "labels": list(prepared.labels),
        "epochs": times,
        "steps": math.ceil(-(-len(encoded) // recipe.train.batch) * times),
        "precision": machine.precision(recipe.train.precision),
        "checkpoint": str(prepared.base.path),
        "truncated_training_rows": cut,
        **(measure(prepared, encoded["length"]) if times else {}),
        "notes": list(prepared.notes),
        "warnings": [str(issue) for issue in prepared.warnings],
    }


def train(
    recipe: Recipe,
    path: Path,
    processes: int | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Finished:
    """Fine-tune as the recipe says, then score the held-out rows with the model as it was saved.

    Leaves the run at `path`, which must not exist. Raises FTKitError before the first step for whatever a person
    can mend; then nothing is left behind.
    """
    refuse_existing(path)
    trust.remember(recipe.model_dump())
    machine.precision(recipe.train.precision)
    processes = machine.processes() if processes is None else processes
    _check_processes(recipe, processes)
    prepared = prepare(recipe)
    parts = fold_rows(prepared)
    for message in (*prepared.notes, *(f"warning: {issue}" for issue in prepared.warnings)):
        say(message if message.startswith("warning") else f"note: {message}")
    progress = progress or Progress(show=False)
    with _new_run(recipe, path) as run:
        folds = _cross_validate(run, prepared, parts, processes, progress, say) if parts else {}
        fitted = _fit(run, prepared, processes, progress)
        for note in fitted.notes:
            say(f"note: {note}")
        if fitted.truncated:
            say(evaluation.too_long(fitted.truncated, fitted.examples, "training rows", prepared.task))
        result = _score(run, prepared, fitted, folds, say, progress)
        run.write_json("scores", result.as_json())
    return result


def _check_processes(recipe: Recipe, processes: int) -> None:
    if processes < 1:
        raise MachineError(f"--processes {processes}: one or more are needed", "leave it out for one on each GPU")
    micro_batch(recipe.train, processes)


@contextmanager
def _new_run(recipe: Recipe, path: Path) -> Iterator[RunDirectory]:
    run = RunDirectory.create(recipe, path)
    try:
        yield run
    finally:
        run.discard()


def _fit(run: RunDirectory, prepared: Prepared, processes: int, progress: Progress) -> Fitted:
    if processes > 1:
        return launch.fit_in_processes(run, processes, fold=None)
    return fit(run, prepared, prepared.splits["train"], progress)


def _score(
    run: RunDirectory, prepared: Prepared, fitted: Fitted, folds: dict[str, Scores], say: Say, progress: Progress
) -> Finished:
    """Score the model as it was saved, on every split but the training rows."""
    trained = models.load(run.path)
    scores, breakdown = dict(folds), {}
    for name, rows in prepared.splits.items():
        if name == "train":
            continue
        found = evaluation.score(trained, rows, prepared.recipe.evaluate, say, progress)
        run.write_predictions(name, found.predictions)
        scores[name] = found.scores
        if found.breakdown:
            breakdown[name] = found.breakdown
    return Finished(run.path, scores, breakdown, fitted.steps, fitted.seconds, fitted.examples)


def _cross_validate(
    run: RunDirectory, prepared: Prepared, parts: list[Part], processes: int, progress: Progress, say: Say
) -> dict[str, Scores]:
    """Train a model for each fold, score it on the rows it did not see, and keep all out-of-fold predictions.

    The scores are {"folds": ...}: mean, standard deviation (`sd`) and each fold's value.
    """
    train = prepared.splits["train"]
    each: list[Scores] = []
    answers: list[dict[str, Any]] = [{}] * len(train)
    for fold, (kept, held) in enumerate(parts, 1):
        say(f"fold {fold} of {len(parts)}")
        inner = run.fold(fold)
        if processes > 1:
            launch.fit_in_processes(run, processes, fold)
        else:
            fit(inner, prepared, train.select(kept), progress)
        inner.publish()
        found = evaluation.score(models.load(inner.path), train.select(held), prepared.recipe.evaluate, say, progress)
        inner.write_json("scores", {"scores": {"fold": found.scores}})
        each.append(found.scores)
        for i, prediction in zip(held, found.predictions, strict=True):
            answers[i] = {"fold": fold, **prediction}
    run.write_predictions("folds", answers)
    return {"folds": {name: _spread([scores[name] for scores in each if name in scores]) for name in each[0]}}


def _spread(scores: list[Score]) -> Any:
    values = [score["value"] for score in scores]
    return {
        "value": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "n": sum(score["n"] for score in scores),
        "each": values,
    }
