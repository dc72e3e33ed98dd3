"""Scores of a trained model on held-out rows: after training, and whenever asked again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ftkit.data.identity import changed_files, file_hashes
from ftkit.engine import infer, learned
from ftkit.engine import model as models
from ftkit.engine.asking import answer, data_spec, read_rows, recipe_of, spec_of
from ftkit.engine.device_map import DeviceMap
from ftkit.engine.prepare import check, read_splits
from ftkit.engine.scoring import Scored, scored
from ftkit.errors import RecipeError, RunError
from ftkit.metrics.evidence import asked
from ftkit.recipe import Recipe
from ftkit.run import DATA, RunDirectory
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Prediction
from ftkit.terminal import Progress, Say, silence


@dataclass(frozen=True)
class Evaluation(Scored):
    """A model's scores on one split, and the predictions they were taken from."""

    predictions: list[Prediction]
    truncated: list[bool]
    """Of each row whether something of it was cut."""


def evaluate(
    source: str | Path,
    split: str = "test",
    data: str | None = None,
    settings: Iterable[str] = (),
    say: Say = silence,
    progress: Progress | None = None,
    precision: str | None = None,
    over: DeviceMap | None = None,
) -> Evaluation:
    """Score a run, an export or a fine-tuned checkpoint on one split of its run, or on a file.

    `settings` say how to read the file where it differs from the run's (`data.columns={text: review}`).
    Raises RunError where the run has no such split, DataError for rows that can't be scored.
    """
    trained = models.load(source, over)
    recipe = recipe_of(source, say)
    if data is not None:
        rows = read_rows(trained, data, data_spec(trained, recipe, settings), targets=True, say=say)
        name = Path(data).name
    elif settings := list(settings):
        raise RecipeError(f"--set {settings[0]}: it says how a file is read", "name the file with --data FILE")
    else:
        rows, name = _split(trained, recipe, split, source, say), split
    for warning in check(trained.task, {name: rows}, trained.labels):
        say(f"warning: {warning}")
    if split != "train" or data is not None:
        learned.warn(source, asked(rows, trained.task.texts), name, say)
    return score(trained, rows, spec_of(trained, recipe, precision), say, progress)


def score(
    trained: models.Trained,
    rows: Dataset,
    settings: EvaluateSpec,
    say: Say = silence,
    progress: Progress | None = None,
    observers: Sequence[infer.Observe] = (),
) -> Evaluation:
    """Scores of a loaded model on rows that its task can read; `observers` see what `infer.predict` shows."""
    cut: list[bool] = []
    predictions = list(answer(trained, rows, settings, say, progress, cut, observers))
    found = scored(trained.task, predictions, rows, settings, trained.labels)
    return Evaluation(found.scores, found.level, found.breakdown, found.evidence, predictions, cut)


def held_out(trained: models.Trained, source: str | Path, say: Say) -> Dataset:
    """The rows of a run's test split; where it has none, of validation. Raises RunError where it has neither."""
    splits = _splits(trained, RunDirectory.open(source), say)
    for name in ("test", "validation"):
        if name in splits:
            return splits[name]
    raise RunError(f"the run {source} has no held-out rows", "name a file with --data FILE")


def _split(trained: models.Trained, recipe: Recipe | None, split: str, source: Any, say: Say) -> Dataset:
    if recipe is None:
        raise RunError(f"{source} is no run and remembers no data", "name a file with --data FILE")
    return rows_of(trained, RunDirectory.open(source), split, say, "name a file with --data FILE")


def rows_of(
    trained: models.Trained, run: RunDirectory, split: str, say: Say, hint: str = "name one with --split"
) -> Dataset:
    """The rows of a run's split for a model; it is said where they have changed. Raises RunError for no such split."""
    splits = _splits(trained, run, say)
    if split not in splits:
        raise RunError(f"the run {run.path} has no {split} split; it has {', '.join(splits)}", hint)
    return splits[split]


def _splits(trained: models.Trained, run: RunDirectory, say: Say) -> dict[str, Dataset]:
    run.refuse_outside()
    recipe = run.recipe
    recorded = run.read_json(DATA)["sha256"]
    for path, happened in changed_files(recipe.data, recorded, file_hashes(recipe.data)).items():
        say(f"warning: {path} {happened} since the run was trained")
    return read_splits(recipe, trained.task)[0]
