"""Several trainings of one recipe that differ in their seed alone: how much they differ, and the one that is kept."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ftkit.engine import asking
from ftkit.engine import evaluate as evaluation
from ftkit.engine import model as models
from ftkit.engine.prepare import Prepared
from ftkit.errors import RecipeError
from ftkit.files import SEAL
from ftkit.recipe import Recipe
from ftkit.run import SCORES, RunDirectory


def seeds(recipe: Recipe) -> range:
    """The seeds of a recipe's trainings; none where it asks for one training alone."""
    first, count = recipe.train.seed, recipe.train.seeds or 0
    return range(first, first + count)


def with_seed(prepared: Prepared, seed: int) -> Prepared:
    """The same, for one training with this seed."""
    train = prepared.recipe.train.model_copy(update={"seed": seed, "seeds": None})
    return replace(prepared, recipe=prepared.recipe.model_copy(update={"train": train}))


def require_validation(prepared: Prepared) -> None:
    """Raises RecipeError where there are no rows by which one of several seeds could be chosen."""
    if prepared.recipe.train.seeds and "validation" not in prepared.splits:
        raise RecipeError("train.seeds: there are no validation rows to choose a seed by", "set data.validation")


def keep_best(run: RunDirectory, prepared: Prepared, runs: Sequence[RunDirectory]) -> str:
    """Give `run` the model of the best of `runs` by validation, or the average of all their weights if that is better.

    What is told of the training (log, environment, data) is the best one's.
    (Averaged weights: Wortsman et al. 2022, "Model soups".) Only methods that train a whole checkpoint have an average.
    Tells which it is.
    """
    metric, sign = prepared.metric, prepared.task.sign(prepared.metric)
    values = [sign * part.read_json(SCORES)["scores"]["validation"][metric]["value"] for part in runs]
    best = runs[values.index(max(values))]
    run.take_record(best)
    if prepared.method.standalone:
        run.write_model(lambda folder: average([part.model for part in runs], folder))
        trained = models.load(run.path)
        settings = asking.spec_of(trained, prepared.recipe)
        found = evaluation.score(trained, prepared.splits["validation"], settings)
        if sign * found.scores[metric]["value"] > max(values):
            return "the average of all seeds' weights, which is better by validation than each alone"
    run.take_model(best)
    return f"seed {best.path.name}, the best by validation"


def average(folders: Sequence[Path], to: Path) -> None:
    """Write the mean of the weights of several trained folders of one architecture into the empty folder `to`."""
    shutil.copytree(folders[0], to, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SEAL))
    for file in folders[0].glob("*.safetensors"):
        parts = [load_file(folder / file.name) for folder in folders]
        mean = {name: _mean([part[name] for part in parts]) for name in parts[0]}
        save_file(mean, to / file.name, metadata={"format": "pt"})


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of numbers; what counts (a buffer of whole numbers) is the same in all."""
    if not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(tensors[0].dtype)
