"""`train`, from a recipe to a run with a model and its scores."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftkit import trust
from ftkit.engine import calibrate, launch, machine
from ftkit.engine import evaluate as evaluation
from ftkit.engine import model as models
from ftkit.engine.arguments import epochs, micro_batch
from ftkit.engine.baselines import run_baselines
from ftkit.engine.finish import Finished, finish
from ftkit.engine.fit import Fitted, fit
from ftkit.engine.folds import Part, fold_rows
from ftkit.engine.prepare import Prepared, encode_training, prepare
from ftkit.engine.seeds import keep_best, require_validation, seeds, with_seed
from ftkit.engine.trial import measure
from ftkit.errors import MachineError
from ftkit.metrics import Score, Scores
from ftkit.recipe import Recipe
from ftkit.run import RunDirectory, refuse_existing
from ftkit.terminal import Progress, Say, silence


def plan(recipe: Recipe, processes: int | None = None) -> dict[str, Any]:
    """What `train` would do: rows, labels, steps, precision, and, measured on the first steps, time and memory.

    Raises FTKitError as `train` would.
    """
    _check_processes(recipe, machine.processes() if processes is None else processes)
    prepared = prepare(recipe)
    calibrate.check(prepared)
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
    calibrate.check(prepared)
    parts = fold_rows(prepared)
    require_validation(prepared)
    for message in (*prepared.notes, *(f"warning: {issue}" for issue in prepared.warnings)):
        say(message if message.startswith("warning") else f"note: {message}")
    progress = progress or Progress(show=False)
    with _new_run(recipe, path) as run:
        beside = run_baselines(prepared.task, prepared.labels, prepared.splits, recipe.evaluate)
        folds = _cross_validate(run, prepared, parts, processes, progress, say) if parts else {}
        each = _train_seeds(run, prepared, processes, progress, say)
        fitted = _summed(each) if each else _fit(run, prepared, processes, progress)
        for note in fitted.notes:
            say(f"note: {note}")
        if fitted.truncated:
            say(evaluation.too_long(fitted.truncated, fitted.examples, "training rows", prepared.task))
        result = replace(finish(run, prepared, fitted, folds, beside, say, progress), seeds=_over_seeds(each))
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
        return launch.fit_in_processes(run, processes)
    return fit(run, prepared, prepared.splits["train"], progress)


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
        inner = run.part("folds", str(fold))
        if processes > 1:
            launch.fit_in_processes(run, processes, f"folds/{fold}")
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


def _train_seeds(run: RunDirectory, prepared: Prepared, processes: int, progress: Progress, say: Say) -> list[Finished]:
    """Train and score a run for each seed of the recipe, and give `run` the one that is kept; none for one training."""
    done, runs = [], []
    wanted = seeds(prepared.recipe)
    for number, seed in enumerate(wanted, 1):
        say(f"seed {seed}, {number} of {len(wanted)}")
        one = with_seed(prepared, seed)
        inner = run.part("seeds", str(seed), one.recipe)
        if processes > 1:
            fitted = launch.fit_in_processes(run, processes, f"seeds/{seed}")
        else:
            fitted = fit(inner, one, one.splits["train"], progress)
        inner.publish()
        done.append(finish(inner, one, fitted, {}, {}, say, progress))
        runs.append(inner)
    if runs:
        say(f"kept: {keep_best(run, prepared, runs)}")
    return done


def _summed(each: list[Finished]) -> Fitted:
    """What several trainings took."""
    return Fitted(sum(one.steps for one in each), sum(one.train_seconds for one in each), each[0].examples, 0)


def _over_seeds(each: list[Finished]) -> dict[str, Any]:
    splits = each[0].scores if each else {}
    return {
        split: {name: {**_spread([one.scores[split][name] for one in each]), "n": found[name]["n"]} for name in found}
        for split, found in splits.items()
    }


def _spread(scores: list[Score]) -> Any:
    values = [score["value"] for score in scores]
    return {
        "value": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
        "n": sum(score["n"] for score in scores),
        "each": values,
    }
