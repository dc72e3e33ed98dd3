"""The teacher of `augment.teacher`: trained without variants, it keeps those whose label it still gives."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

from ftkit.engine import infer
from ftkit.engine import model as models
from ftkit.engine.fit import fit
from ftkit.engine.prepare import Prepared
from ftkit.errors import RecipeError
from ftkit.run import TEACHER, RunDirectory
from ftkit.tasks._base import Task
from ftkit.terminal import Progress, Say


def check(prepared: Prepared) -> None:
    """Raises RecipeError where a teacher is asked for and has no labels to agree with."""
    if prepared.recipe.augment.teacher and not judges(prepared.task):
        raise RecipeError(
            f"augment.teacher: {type(prepared.task).__name__} has no labels of texts that a teacher could agree with;"
            " entities and answers stay true without one",
            "leave augment.teacher out",
        )


def judges(task: Task) -> bool:
    """Whether the task's rows have labels of their own."""
    return any(column.kind in ("label", "labels") for column in task.shapes()[0])


def filtered(run: RunDirectory, prepared: Prepared, progress: Progress, say: Say) -> Prepared:
    """The same with the variants alone that a model trained on the originals gives their labels; it is then removed."""
    augmented = prepared.augmented
    if augmented is None or not prepared.recipe.augment.teacher or not augmented.made.variants:
        return prepared
    if not run.has(TEACHER):
        say(f"teacher: a model of the {len(prepared.splits['train'])} training rows alone judges their variants")
        part = run.part(TEACHER, str(prepared.recipe.train.seed))
        fit(part, prepared, prepared.splits["train"], progress, say=say)
        run.write_json(TEACHER, {"variants": len(augmented.rows), "kept": _agreed(models.load(part.path), prepared)})
    shutil.rmtree(run.path / TEACHER, ignore_errors=True)
    kept = run.read_json(TEACHER)["kept"]
    say(f"teacher: {len(kept)} of {len(augmented.rows)} variants are kept, on which it agrees with their label")
    return _with(prepared, kept)


def recalled(run: RunDirectory, prepared: Prepared) -> Prepared:
    """What `filtered` gave, in another process of the same run."""
    if prepared.augmented is None or not run.has(TEACHER):
        return prepared
    return _with(prepared, run.read_json(TEACHER)["kept"])


def _agreed(trained: models.Trained, prepared: Prepared) -> list[int]:
    """Places of the variants whose label the teacher gives."""
    assert prepared.augmented is not None
    rows, settings = prepared.augmented.rows, prepared.recipe.evaluate
    found = list(infer.predict(trained.model, trained.task, trained.tokenizer, trained.labels, iter(rows), settings))
    said, true = trained.task.answers(found, rows)
    return [i for i, (one, other) in enumerate(zip(said, true, strict=True)) if _same(one, other)]


def _same(said: Any, true: Any) -> bool:
    return bool(set(said) == set(true) if isinstance(true, list) else said == true)


def _with(prepared: Prepared, kept: list[int]) -> Prepared:
    assert prepared.augmented is not None
    return replace(prepared, augmented=prepared.augmented.only(kept))
