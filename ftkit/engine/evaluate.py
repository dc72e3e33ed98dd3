"""Scores of a trained model on held-out rows: after training, and whenever asked again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from datasets import Dataset

from ftkit.data.load import load_file, unified
from ftkit.engine import infer, learned, machine, served
from ftkit.engine import model as models
from ftkit.engine.prepare import changed_files, check, file_hashes, read_splits
from ftkit.engine.scoring import Scored, scored
from ftkit.engine.spread import Spread
from ftkit.errors import RecipeError, RunError
from ftkit.metrics.evidence import asked
from ftkit.recipe import Recipe, override, parse_data
from ftkit.run import DATA, RunDirectory
from ftkit.settings import DataSpec, EvaluateSpec, Precision
from ftkit.tasks._base import Batch, Example, Prediction, Task
from ftkit.tasks._truncation import KEPT
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
    over: Spread | None = None,
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
        wanted = trained.contract.precision if machine.has_bf16() else "fp32"
    machine.precision(wanted, "--precision" if precision else "evaluate.precision")
    return spec.model_copy(update={"precision": wanted})


def judged_by(trained: models.Trained, recipe: Recipe | None) -> tuple[EvaluateSpec, str]:
    """How a run's recipe evaluates, or the defaults; and the metric that decides."""
    if recipe is None:
        return EvaluateSpec(), trained.task.decider()
    return recipe.evaluate, recipe.train.metric or trained.task.decider()


def recipe_of(source: str | Path, say: Say) -> Recipe | None:
    """The recipe of a run, None for an export or a checkpoint; it is said where it is not the one it was trained with.

    Raises RunError where it names code that is not known to be one's own.
    """
    if not RunDirectory.is_run(source):
        return None
    run = RunDirectory.open(source)
    run.warn_if_edited(say)
    return run.recipe


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


def answer(
    trained: models.Trained,
    rows: Dataset,
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

    progress.start(len(rows), "answering")
    t = trained
    try:
        yield from infer.predict(t.model, t.task, t.tokenizer, t.labels, rows, settings, progress.advance, observe)
    finally:
        progress.stop()
    if any(cut):
        say(too_long(sum(cut), len(rows), "rows", t.task))


def too_long(cut: int, rows: int, what: str, task: Task) -> str:
    """The sentence about rows that did not fit."""
    kept = KEPT.get(getattr(task.options, "truncate", "head"), "")
    ends = "" if kept in ("", KEPT["head"]) else f", {kept} ones"
    return f"warning: {cut} of {rows} {what} were cut to task.max_length={task.options.max_length} tokens{ends}"


def read_rows(trained: models.Trained, data: str, spec: DataSpec, targets: bool, say: Say) -> Dataset:
    """The rows of a file in the form that the model's task reads."""
    groups = trained.task.groups if targets else ()
    rows, notes = load_file(data, spec, trained.task.shapes(), targets=targets, groups=groups)
    for note in notes:
        say(f"note: {note}")
    return unified(trained.task, rows)


def data_spec(trained: models.Trained, recipe: Recipe | None, settings: Iterable[str]) -> DataSpec:
    """How to read a file for this model: as its run did, or as its contract says; `settings` laid over.

    Raises RecipeError for a setting that has nothing to do with reading.
    """
    spec = recipe.data if recipe else parse_data(trained.contract.data)
    raw = override({"data": spec.model_dump()}, settings)
    if other := sorted(set(raw) - {"data"}):
        raise RecipeError(f"--set {other[0]}: only data.* can be set here", "how the model works is settled")
    return parse_data(raw["data"])


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
    for path in changed_files(recipe, recorded, file_hashes(recipe)):
        say(f"warning: {path} has changed since the run was trained")
    return read_splits(recipe, trained.task)[0]
