"""How a trained model is asked: how its run or contract reads rows and in which precision it answers; its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ftkit.data.load import load_file, unified
from ftkit.engine import infer, machine, served
from ftkit.engine import model as models
from ftkit.errors import RecipeError
from ftkit.plugins import sha256_of
from ftkit.recipe import Recipe, override, parse_data
from ftkit.run import RunDirectory
from ftkit.settings import DataSpec, EvaluateSpec, Precision
from ftkit.tasks._base import Batch, Example, Prediction, Task
from ftkit.tasks._truncation import KEPT
from ftkit.terminal import Progress, Say, silence

if TYPE_CHECKING:
    from datasets import Dataset


def recipe_of(source: str | Path, say: Say) -> Recipe | None:
    """The recipe of a run, None for an export or a checkpoint; it is said where it is not the one it was trained with.

    Raises RunError where it names code that is not known to be one's own.
    """
    if not RunDirectory.is_run(source):
        return None
    run = RunDirectory.open(source)
    run.warn_if_edited(say)
    begun = run.begun
    for name, known in begun.get("code", {}).items():
        if sha256_of(name) not in (None, known):
            say(f"warning: {name} has changed since the run was trained")
    return run.recipe


def data_spec(trained: models.Trained, recipe: Recipe | None, settings: Iterable[str]) -> DataSpec:
    """How to read a file for this model: as its run did, or as its contract says; `settings` laid over.

    Raises RecipeError for a setting that has nothing to do with reading.
    """
    spec = recipe.data if recipe else parse_data(trained.contract.data)
    settings = list(settings)
    given = override({}, settings)
    if other := sorted(set(given) - {"data"}):
        raise RecipeError(f"--set {other[0]}: only data.* can be set here", "how the model works is settled")
    found = parse_data(override({"data": spec.model_dump()}, settings)["data"])
    for setting in given.get("data", {}):
        if setting not in _OF_READING:
            hint = f"data.{', data.'.join(_OF_READING)} say how a file is read"
            raise RecipeError(f"--set data.{setting}: it says what is learned from, not how a file is read", hint)
    return found


_OF_READING = ("columns", "labels", "delimiter", "encoding", "clean", "group")
"""What of `data` tells how a file of new rows is read."""


def spec_of(trained: models.Trained, recipe: Recipe | None, precision: str | None = None) -> EvaluateSpec:
    """How a run's recipe evaluates, or the defaults, with the precision settled: one that is named, or the model's own.

    Raises RecipeError for one that there is not, MachineError where the machine lacks it.
    """
    spec, _ = judged_by(trained, recipe)
    wanted = spec.precision if precision is None else precision
    if wanted not in (known := get_args(Precision)):
        raise RecipeError(f"--precision {wanted or repr('')}: there is no such precision", f"one of {', '.join(known)}")
    if served.is_served(trained.model):
        if precision not in (None, "auto", "fp32"):
            raise RecipeError(
                f"--precision {precision}: {trained.source} is an export as {trained.contract.format}, with numbers"
                " of its own",
                "leave --precision out",
            )
        wanted = "fp32"
    if wanted == "auto":
        wanted = machine.at_hand(trained.contract.precision)
    machine.precision(wanted, "--precision" if precision else "evaluate.precision")
    return spec.model_copy(update={"precision": wanted})


def judged_by(trained: models.Trained, recipe: Recipe | None) -> tuple[EvaluateSpec, str]:
    """How a run's recipe evaluates, or the defaults; and the metric that decides."""
    if recipe is None:
        return EvaluateSpec(), trained.task.decider()
    return recipe.evaluate, recipe.train.metric or trained.task.decider()


def read_rows(trained: models.Trained, data: str, spec: DataSpec, targets: bool, say: Say) -> Dataset:
    """The rows of a file in the form that the model's task reads."""
    groups = trained.task.groups if targets else ()
    rows, notes = load_file(data, spec, trained.task.shapes(), targets=targets, groups=groups)
    for note in notes:
        say(f"note: {note}")
    return unified(trained.task, rows)


def answer(
    trained: models.Trained,
    rows: Dataset | Sequence[Example],
    settings: EvaluateSpec,
    say: Say = silence,
    progress: Progress | None = None,
    truncated: list[bool] | None = None,
    observers: Sequence[infer.Observe] = (),
) -> Iterator[Prediction]:
    """An answer for each row, in order; at the end it is said how many rows were cut.

    `truncated` is filled with what it says of each row.
    """
    progress, cut = progress or Progress(show=False), [] if truncated is None else truncated

    def observe(outputs: Any, encoded: Batch, examples: list[Example]) -> None:
        cut.extend(infer.truncated_rows(encoded, len(examples)))
        for other in observers:
            other(outputs, encoded, examples)

    t = trained
    with progress.over(len(rows), "answering") as advance:
        yield from infer.predict(t.model, t.task, t.tokenizer, t.labels, rows, settings, advance, observe)
    if any(cut):
        say(too_long(sum(cut), len(rows), "rows", t.task))


def too_long(cut: int, rows: int, what: str, task: Task) -> str:
    """The sentence about rows that did not fit."""
    kept = KEPT.get(getattr(task.options, "truncate", "head"), "")
    ends = "" if kept in ("", KEPT["head"]) else f", {kept} ones"
    return f"warning: {cut} of {rows} {what} were cut to task.max_length={task.options.max_length} tokens{ends}"
