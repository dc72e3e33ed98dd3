"""The commands as functions: what `ftkit.train`, `ftkit.evaluate` and `ftkit.export` are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ftkit.recipe import Recipe, load_recipe
from ftkit.run import default_path

if TYPE_CHECKING:
    from ftkit.engine.evaluate import Evaluation
    from ftkit.engine.train import Trained


def train(
    recipe: str | Path | Recipe,
    settings: Iterable[str] = (),
    run: str | Path | None = None,
    processes: int | None = None,
) -> Trained:
    """Fine-tune as `recipe` says (a file, a shelf name such as `sentiment/lora`, or a Recipe).

    `settings` are laid over it as `--set` does: `["data.train=reviews.csv", "train.epochs=1"]`. The run directory
    `run` must not exist; `runs/<recipe>-<time>` when not given. Returns the run's path and scores.
    Raises FTKitError for whatever a person can mend.
    """
    from ftkit.engine.train import train as run_training

    name = "recipe" if isinstance(recipe, Recipe) else str(recipe)
    checked = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, settings)
    return run_training(checked, Path(run) if run else default_path(name), processes)


def evaluate(source: str | Path, split: str = "test", data: str | None = None) -> Evaluation:
    """Score a run, an export or a fine-tuned checkpoint on a split of its run, or on the file `data`.

    Raises FTKitError for a source that can't answer or rows that can't be scored.
    """
    from ftkit.engine.evaluate import evaluate as run_evaluation

    return run_evaluation(source, split, data)


def export(source: str | Path, to: str | Path, format: str = "checkpoint") -> Path:
    """Write a run's model to the folder `to`, which must not exist: a plain `checkpoint`, or the `adapter` alone.

    Raises FTKitError where that can't be done.
    """
    from ftkit.engine.export import export as run_export

    return run_export(source, Path(to), format)
