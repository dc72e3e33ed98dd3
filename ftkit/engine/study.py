"""A study: several trainings that tell something about the data, each a run inside of the study's folder.

A study that was stopped goes on where it was: what is finished is not trained again. Of each training the scores and
what they were taken of are kept, not the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from ftkit.engine.finish import finish
from ftkit.engine.fit import fit
from ftkit.engine.prepare import Prepared
from ftkit.errors import RecipeError, RunError, problems
from ftkit.metrics.evidence import Evidence
from ftkit.recipe import Recipe
from ftkit.run import RunDirectory
from ftkit.terminal import Progress, Say, silence


class Done(NamedTuple):
    """A training of a study."""

    evidence: Evidence
    """What its scores were taken of."""
    examples: int
    """Rows that it learned from."""


@dataclass(frozen=True)
class Outcome:
    """What every study tells: where it is, and on what its trainings were scored."""

    study: Path
    split: str
    metric: str
    level: float
    """Share of the intervals that should hold the true value."""
    test_rows: int

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "run": str(self.study),
            "split": self.split,
            "metric": self.metric,
            "level": self.level,
            "test_rows": self.test_rows,
        }


class Study:
    """The folder of some trainings of `prepared`, whose rows and labels they share."""

    def __init__(self, run: RunDirectory, prepared: Prepared, say: Say, progress: Progress) -> None:
        self.run, self.prepared, self.say, self.progress = run, prepared, say, progress

    @classmethod
    def open(cls, path: Path, prepared: Prepared, say: Say, progress: Progress) -> Study:
        """A new study, or the one that stands at `path` to go on with.

        Raises RunError where that is another's, or where there are no rows to score on; RecipeError for settings that
        ask for several trainings themselves. Nothing is left behind then.
        """
        _refuse_several(prepared.recipe)
        _scored_split(prepared)
        if not path.exists():
            run = RunDirectory.create(prepared.recipe, path)
            run.publish()
            run.write_json("data", {"sha256": prepared.files})
            return cls(run, prepared, say, progress)
        if not RunDirectory.is_run(path):
            raise RunError(f"{path} is there, and is no folder of such trainings", "name a new folder with --run")
        run = RunDirectory.open(path)
        if run.recipe.filled() != prepared.recipe.filled():
            raise RunError(f"{path} is of another recipe, or of other settings", "name another folder with --run")
        if run.read_json("data")["sha256"] != prepared.files:
            raise RunError(f"{path} is of other data: a file has changed since", "name another folder with --run")
        return cls(run, prepared, say, progress)

    @property
    def split(self) -> str:
        """The rows that trainings are scored on."""
        return _scored_split(self.prepared)

    @property
    def about(self) -> dict[str, Any]:
        """What its `Outcome` begins with."""
        return {
            "study": self.run.path,
            "split": self.split,
            "metric": self.prepared.metric,
            "level": self.prepared.recipe.evaluate.level,
            "test_rows": len(self.prepared.splits[self.split]),
        }

    def train(self, name: str, seed: int, rows: Callable[[RunDirectory], Dataset], steps: int | None = None) -> Done:
        """Train with `seed` on what `rows` makes, told the training's folder, unless that is done already.

        `name` is what tells the training from the study's others with this seed; `steps` are those that it takes, as
        many as the recipe says when not given.
        """
        folder = self.run.path / name / str(seed)
        try:
            return self._done(folder)
        except (RunError, KeyError, TypeError):  # not begun, stopped in the midst, or its files are torn
            if not (folder / "checkpoints").is_dir():
                shutil.rmtree(folder, ignore_errors=True)
            self._train(name, str(seed), rows, steps)
        return self._done(folder)

    def _done(self, folder: Path) -> Done:
        """A finished training. Raises RunError where it is none."""
        part = RunDirectory.open(folder)
        return Done(Evidence.load(part.evidence(self.split)), int(part.read_json("scores")["examples"]))

    def _train(self, name: str, seed: str, rows: Callable[[RunDirectory], Dataset], steps: int | None) -> None:
        recipe = _with_train(self.prepared.recipe, seed=int(seed))
        learned = rows(self.run.part(name, seed, recipe))
        if steps is not None:
            recipe = _with_train(recipe, epochs=steps / -(-len(learned) // recipe.train.batch))
        part = self.run.part(name, seed, recipe)
        prepared = replace(self.prepared, recipe=recipe)
        self.say(f"training {name}, seed {seed}: {len(learned)} rows")
        fitted = fit(part, prepared, learned, self.progress, say=self.say)
        finish(part, prepared, fitted, silence, self.progress, analyse=False)
        shutil.rmtree(part.model)


def _scored_split(prepared: Prepared) -> str:
    found = next((name for name in ("test", "validation") if name in prepared.splits), None)
    if found is None:
        raise RunError("there are no rows to score on", "set data.test or data.validation")
    return found


def _refuse_several(recipe: Recipe) -> None:
    asked = {
        "train.seeds": recipe.train.seeds,
        "train.folds": recipe.train.folds,
        "data.unlabeled": recipe.data.unlabeled,
    }
    found = [
        f"{name}: a study trains once for each seed, and has no use for it" for name, value in asked.items() if value
    ]
    if found:
        raise problems(RecipeError, "the recipe", found, "leave it out here")


def _with_train(recipe: Recipe, **settings: Any) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=settings)})
