"""A study: several trainings that tell something about the data, each a run inside of the study's folder.

A study that was stopped goes on where it was: what is finished is not trained again. Of each training the scores and
what they were taken of are kept, not the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from ftkit import trust
from ftkit.engine import begun
from ftkit.engine.finish import finish
from ftkit.engine.fit import finished, fit
from ftkit.engine.prepare import Prepared
from ftkit.engine.scoring import documents
from ftkit.errors import Interrupted, RecipeError, RunError, counted, problems
from ftkit.files import broken
from ftkit.metrics.evidence import Evidence
from ftkit.metrics.intervals import FEWEST
from ftkit.recipe import Recipe
from ftkit.run import BEGUN, GIVEN, SCORES, TEACHER, RunDirectory
from ftkit.tasks._base import Task
from ftkit.terminal import Progress, Say, silence


class Done(NamedTuple):
    """A training of a study."""

    evidence: Evidence
    """What its scores were taken of."""
    given: int
    """Rows that it was given, before `data.balance` repeated or left out some."""


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
    @contextmanager
    def open(
        cls,
        path: Path,
        recipe: Recipe,
        prepared: Prepared,
        say: Say,
        progress: Progress,
        how: Mapping[str, Any] | None = None,
    ) -> Iterator[Study]:
        """A new study of `recipe`, or the one that stands at `path` to go on with; no other process does meanwhile.

        `how` is what the trainings depend on besides the recipe. Raises RunError where what stands there is another's,
        or where there are no rows to score on; RecipeError for settings that ask for several trainings themselves.
        Nothing is left behind then.
        """
        _refuse_several(recipe)
        _refuse_untold(prepared)
        trust.remember(recipe.model_dump())
        wanted = {**begun.identity(replace(prepared, recipe=recipe)), "how": dict(how or {})}
        run = _standing(path, recipe) if path.exists() else RunDirectory.create(recipe, path)
        try:
            with run.locked():
                if run.published:
                    _go_on(run, replace(prepared, recipe=recipe), wanted, say)
                else:
                    run.write_json(BEGUN, wanted)
                    run.publish()
                study = cls(run, prepared, say, progress)
                for remark in (*prepared.remarks, *study.remarks):
                    say(remark)
                yield study
        except KeyboardInterrupt as stop:
            way = f"the same command with --run {run.final} goes on from there"
            raise Interrupted(getattr(stop, "message", "interrupted"), way) from stop
        finally:
            run.discard()

    @property
    def split(self) -> str:
        """The rows that trainings are scored on."""
        return _scored_split(self.prepared)

    @cached_property
    def _documents(self) -> tuple[int, ...] | None:
        """The document of each row that is scored; None where rows stand alone."""
        return documents(self.prepared.task, self.prepared.splits[self.split])

    @property
    def groups(self) -> tuple[int, ...] | None:
        """The documents, which are drawn whole; None where they are too few to draw."""
        return self._documents if len(set(self._documents or ())) >= FEWEST else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the rows that are scored, before it is trained."""
        if self._documents is None or self.groups is not None:
            return ()
        many = counted(len(set(self._documents)), "document")
        what = f"the {self.split} rows are of {many}: what is told holds for rows of these, not for new documents"
        return (f"warning: {what}",)

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
        many as the recipe says when not given. Trainings of so many steps stop at none before, and are scored as often.
        """
        folder = self.run.path / name / str(seed)
        try:
            return self._done(folder)
        except (RunError, KeyError, TypeError):  # not begun, stopped in the midst, or its files are torn
            if not _was_stopped(folder):
                shutil.rmtree(folder, ignore_errors=True)
            self._train(name, str(seed), rows, steps)
        return self._done(folder)

    def _done(self, folder: Path) -> Done:
        """A finished training, of which the model is not kept. Raises RunError where it is none."""
        part = RunDirectory.open(folder)
        examples = int(part.read_json(SCORES)["examples"])
        given = int(part.read_json(GIVEN)["rows"]) if part.has(GIVEN) else examples  # older studies do not tell
        if not part.evidence(self.split).is_file():
            raise RecipeError(_UNTOLD, "write its method `tally` with what ftkit.metrics.tally makes")
        done = Done(Evidence.load(part.evidence(self.split)), given)
        if (metric := self.prepared.metric) not in (scores := done.evidence.tally.scores()):
            what = f"the score that decides, {metric!r}, is none of those that the {self.split} rows are tallied by"
            raise RecipeError(what, f"set train.metric to one of {', '.join(scores)}")
        shutil.rmtree(folder / "model", ignore_errors=True)
        return done

    def _train(self, name: str, seed: str, rows: Callable[[RunDirectory], Dataset], steps: int | None) -> None:
        recipe = _with_train(self.prepared.recipe, seed=int(seed))
        learned = rows(self.run.part(name, seed, recipe))
        if steps is not None:
            every = "auto" if recipe.train.evaluate_every == "epoch" else recipe.train.evaluate_every
            recipe = _with_train(recipe, steps=steps, epochs="auto", evaluate_every=every, patience=None)
        part = self.run.part(name, seed, recipe)
        part.write_json(GIVEN, {"rows": len(learned)})
        prepared = replace(self.prepared, recipe=recipe)
        self.say(f"training {name}, seed {seed}: {len(learned)} rows")
        fitted = fit(part, prepared, learned, self.progress, say=self.say)
        finish(part, prepared, fitted, silence, self.progress, analyse=False)


def _standing(path: Path, recipe: Recipe) -> RunDirectory:
    """The study that stands at `path`. Raises RunError where that is none, or one of another recipe."""
    if not RunDirectory.is_run(path):
        raise RunError(f"{path} is there, and is no folder of such trainings", "name a new folder with --run")
    run = RunDirectory.open(path)
    if not run.has(BEGUN) or run.recipe.filled() != recipe.filled():
        raise RunError(f"{path} is of another recipe, or of other settings", "name another folder with --run")
    return run


def _go_on(run: RunDirectory, prepared: Prepared, wanted: Mapping[str, Any], say: Say) -> None:
    """Raises RunError where a study began with other data, another checkpoint, or in another way."""
    before = run.read_json(BEGUN)
    if found := begun.changes(before, prepared):
        raise problems(RunError, f"{run.path} can't be gone on with", found, "name another folder with --run")
    other = [name for name, value in wanted["how"].items() if before["how"].get(name) != value]
    if other:
        what = ", ".join(f"--{name.replace('_', '-')}" for name in other)
        raise RunError(f"{run.path} was begun with another {what}", "name another folder with --run")
    if note := begun.version_note(before):
        say(note)


def _was_stopped(folder: Path) -> bool:
    """Whether a training that is not done has left something to go on from, its own or its teacher's.

    One with scores was done, and was damaged since: no model is left of it.
    """
    part = RunDirectory(folder)
    try:
        if part.has(SCORES):
            return False
        itself = _has_begun(part)
        if part.has(TEACHER):
            return isinstance(part.read_json(TEACHER)["kept"], list)
        return itself or any(_has_begun(RunDirectory(other)) for other in folder.glob(f"{TEACHER}/*"))
    except (RunError, KeyError, TypeError):
        return False


def _has_begun(part: RunDirectory) -> bool:
    """Whether there is a trained model, or a checkpoint. Raises RunError, KeyError or TypeError for a damaged one."""
    if finished(part) is None:
        return part.checkpoints.is_dir()
    if faults := broken(part.model):
        raise RunError(f"{part.model} is damaged: {faults[0]}")
    return True


def _scored_split(prepared: Prepared) -> str:
    found = next((name for name in ("test", "validation") if name in prepared.splits), None)
    if found is None:
        raise RunError("there are no rows to score on", "set data.test or data.validation")
    return found


def _refuse_untold(prepared: Prepared) -> None:
    """Raises RunError where there is nothing to score on, RecipeError where scores can't be drawn again."""
    _scored_split(prepared)
    if type(prepared.task).tally is Task.tally:
        raise RecipeError(_UNTOLD, "write its method `tally` with what ftkit.metrics.tally makes")


_UNTOLD = "task: it keeps no tally that a file can hold, of which alone it can be told how sure a score is"


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
