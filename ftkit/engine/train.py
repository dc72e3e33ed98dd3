"""`train`, from a recipe to a run with a model and its scores."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from ftkit import trust
from ftkit.data.identity import fingerprint, from_hub
from ftkit.engine import asking, judge, machine, selftrain
from ftkit.engine import evaluate as evaluation
from ftkit.engine import model as models
from ftkit.engine.arguments import epochs, steps
from ftkit.engine.baselines import run_baselines
from ftkit.engine.begun import changes, gone, identity, version_note
from ftkit.engine.crew import Crew, gathered
from ftkit.engine.finish import Finished, finish
from ftkit.engine.fit import Fitted, finished, fit
from ftkit.engine.folds import Part, fold_rows
from ftkit.engine.given import as_given
from ftkit.engine.preflight import cleared
from ftkit.engine.prepare import Prepared, encode_training, sampled
from ftkit.engine.seeds import keep_best, seeds, with_seed
from ftkit.engine.steps import examples_of
from ftkit.engine.trial import measure
from ftkit.engine.variants import sentence, summary
from ftkit.engine.world import World, alone
from ftkit.errors import Interrupted, MachineError, RunError, problems, some
from ftkit.files import expanded, full_disk_told
from ftkit.metrics import Score, Scores, over_trainings
from ftkit.recipe import Recipe
from ftkit.run import BEGUN, SCORES, RunDirectory, refuse_existing
from ftkit.terminal import Progress, Say, silence


def plan(recipe: Recipe, processes: int | None = None, world: World | None = None) -> dict[str, Any]:
    """What `train` would do: rows, labels, steps, precision, and, measured on the first steps, time and memory.

    Raises FTKitError as `train` would.
    """
    prepared = _ready(recipe, Crew(world or alone(processes))).prepared
    rows = {name: len(split) for name, split in prepared.counted.items()}
    train = prepared.training()
    encoded, cut = encode_training(prepared, train, sampled(prepared, train))
    examples = len(examples_of(encoded))
    times = None if prepared.stream else epochs(recipe.train, examples)
    return {
        "rows": rows,
        "labels": list(prepared.labels),
        "epochs": times,
        "steps": steps(recipe.train, examples),
        "precision": machine.precision(recipe.train.precision),
        "checkpoint": str(prepared.base.path),
        "truncated_training_rows": cut,
        **({} if times == 0 else measure(prepared, encoded)),
        **({"stream": _streamed(recipe, len(train))} if prepared.stream else {}),
        "notes": list(prepared.notes),
        "warnings": [str(finding) for finding in prepared.warnings],
    }


def _streamed(recipe: Recipe, looked_at: int) -> dict[str, Any]:
    """How the training rows of a stream will be learned from, of which the first were looked at."""
    data, settings = recipe.data, recipe.train
    assert settings.steps is not None
    return {
        "sources": list(data.sources("train")),
        "looked_at": looked_at,
        "rows": settings.steps * settings.batch,
        "shuffle_buffer": data.shuffle_buffer,
        "bad_rows": data.bad_rows,
    }


def train(
    recipe: Recipe,
    path: Path,
    processes: int | None = None,
    say: Say = silence,
    progress: Progress | None = None,
    world: World | None = None,
) -> Finished:
    """Fine-tune as the recipe says, then score the held-out rows with the model as it was saved.

    `world` says of which nodes this one is the first; `processes` is for one machine alone. Leaves the run at `path`,
    which must not exist. Raises FTKitError before the first step for whatever a person can mend; then nothing is left
    behind. Raises Interrupted where it is told to stop; `resume` goes on then.
    """
    with gathered(world or alone(processes)) as crew:
        return _train(recipe, path, crew, say, progress)


def _train(recipe: Recipe, path: Path, crew: Crew, say: Say, progress: Progress | None) -> Finished:
    refuse_existing(path)
    ready = _ready(recipe, crew)
    trust.remember(recipe.model_dump())
    for remark in ready.prepared.remarks:
        say(remark)
    with _new_run(recipe, path) as run:
        run.write_json(BEGUN, {"processes": crew.processes, "recipe": run.recipe_sha256(), **identity(ready.prepared)})
        return _with_faults_told(run, ready, progress or Progress(show=False), say)


def resume(
    path: Path,
    processes: int | None = None,
    say: Say = silence,
    progress: Progress | None = None,
    recipe: Recipe | None = None,
    world: World | None = None,
) -> Finished:
    """Go on with a run that was stopped, in whatever way, to the same weights as if it had not been.

    What it has finished is not done again; a run that is complete is told of as it is. Raises RunError where there is
    no run, where another process works on it, where its recipe, data or checkpoint are not what they were, and where
    it is not a run of `recipe`. `processes` and `world` as for `train`; as many as it began with when not given.
    """
    path, world = expanded(path, RunError), world or alone(processes)
    if world.nodes == 1 and world.processes is None and (path / f"{BEGUN}.json").is_file():
        world = replace(world, processes=RunDirectory.open(path).read_json(BEGUN, needs=_NEEDED)["processes"])
    with gathered(world) as crew:
        return _resume(path, crew, say, progress, recipe)


def _resume(path: Path, crew: Crew, say: Say, progress: Progress | None, recipe: Recipe | None) -> Finished:
    run = RunDirectory.open(path)
    trust.refuse_links(run.path)
    if recipe is not None:  # a run that was begun on another machine is one's own by it
        trust.remember(recipe.model_dump())
    if recipe is not None and recipe.filled() != run.recipe.filled():
        raise RunError(
            f"the run {run.path} is of another recipe, or of other settings: {_unlike(recipe, run.recipe)}",
            "leave the recipe out to go on with it, or name another --run",
        )
    with run.locked():
        if run.has(SCORES):
            models.refuse_damaged(run.model)
            crew.meet(run, run.recipe, say)
            say(f"note: the run {run.path} is complete: there is nothing left to do")
            return Finished.read(run)
        begun = run.read_json(BEGUN, needs=_NEEDED)
        run.refuse_edited(begun["recipe"])
        run.refuse_outside()
        if lost := gone(begun):
            way = "bring it back to where it was, or train anew, in another --run"
            raise problems(RunError, f"the run {run.path} can't be gone on with", lost, way)
        ready = _ready(run.recipe, crew)
        if found := changes(begun, ready.prepared):
            raise problems(RunError, f"the run {run.path} can't be gone on with", found, "train anew, in another --run")
        if note := version_note(begun):
            say(note)
        return _with_faults_told(run, ready, progress or Progress(show=False), say)


def _unlike(one: Recipe, other: Recipe) -> str:
    """The names of the settings in which two recipes differ."""
    ours, theirs = one.filled(), other.filled()
    sections = [name for name in ours if isinstance(ours[name], dict)]
    unlike = [
        f"{part}.{name}" for part in sections for name in ours[part] if ours[part][name] != theirs[part].get(name)
    ]
    return some(unlike or ["task, model or method"], 3)


_NEEDED = ("processes", "recipe", "sha256", "checkpoint", "code", "versions")


def _with_faults_told(run: RunDirectory, ready: Cleared, progress: Progress, say: Say) -> Finished:
    """Do what is left of a run; all of a new one."""
    ready.crew.meet(run, ready.prepared.recipe, say)
    way = f"`ftkit train --resume --run {run.final}` goes on from there"
    try:
        with full_disk_told(lambda: f"free some space; {way if run.published else 'nothing was left behind'}"):
            return _stages(run, ready, progress, say)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise RunError(
            f"the run {run.path} can't be written: {error.strerror}", "make it writable, or copy it and go on there"
        ) from error
    except KeyboardInterrupt as stop:
        if not run.published:
            raise
        raise Interrupted(str(stop) or "interrupted", way) from stop


def _stages(run: RunDirectory, ready: Cleared, progress: Progress, say: Say) -> Finished:
    prepared, crew, recipe = ready.prepared, ready.crew, ready.prepared.recipe
    prepared = judge.filtered(run, prepared, progress, say)
    if prepared.augmented:
        say(f"note: {sentence(summary(prepared.augmented.made, len(prepared.splits['train'])))}")
        run.write_augmented({**v.row, "augmenter": v.by} for v in prepared.augmented.made.variants)
    beside = {} if prepared.stream else run_baselines(prepared.task, prepared.labels, prepared.splits, recipe.evaluate)
    folds = _cross_validate(run, prepared, ready.parts, crew, progress, say) if ready.parts else {}
    each = _train_seeds(run, prepared, crew, progress, say)
    if ready.unlabeled is not None:
        fitted = selftrain.self_train(run, prepared, ready.unlabeled, progress, say)
    else:
        fitted = _summed([fitted for fitted, _ in each]) if each else _fit(run, prepared, crew, progress, say)
    for note in (*fitted.notes, *filter(None, [fitted.kept])):
        say(f"note: {note}")
    if fitted.truncated:
        say(asking.too_long(fitted.truncated, fitted.examples, "training rows", prepared.task))
    several = _over_seeds([done for _, done in each])
    taught = selftrain.learned_from(run, ready.unlabeled)
    return finish(run, prepared, fitted, say, progress, folds=folds, beside=beside, seeds=several, unlabeled=taught)


@dataclass(frozen=True)
class Cleared:
    """All that is needed before the first step."""

    prepared: Prepared
    parts: list[Part]
    """Of cross-validation."""
    crew: Crew
    unlabeled: Dataset | None
    """Texts without labels."""


def _ready(recipe: Recipe, crew: Crew) -> Cleared:
    """The recipe made concrete. Raises FTKitError for whatever stands against it."""
    if recipe.data.unlabeled and crew.size > 1:
        raise MachineError("data.unlabeled: self-training runs in one process", "set --processes 1")
    prepared = cleared(recipe, crew.size)
    unlabeled = selftrain.read(prepared)
    if unlabeled is not None and from_hub(recipe.data, "unlabeled"):
        prepared = replace(prepared, files={**prepared.files, "unlabeled": fingerprint(unlabeled)})
    return Cleared(prepared, fold_rows(prepared), crew, unlabeled)


@contextmanager
def _new_run(recipe: Recipe, path: Path) -> Iterator[RunDirectory]:
    run = RunDirectory.create(recipe, path)
    try:
        with run.locked():
            yield run
    finally:
        run.discard()


def _fit(
    run: RunDirectory,
    prepared: Prepared,
    crew: Crew,
    progress: Progress,
    say: Say,
    part: str = "",
    rows: Sequence[int] | None = None,
) -> Fitted:
    """Train the run, or a part of a larger one, on the training rows at `rows` or on all."""
    if crew.size > 1:
        fitted = finished(run) or crew.fit(run.outer or run, prepared, part)
    else:
        fitted = fit(run, prepared, prepared.training(rows), progress, say=say)
    if prepared.stream:
        prepared.stream.refuse_written()
    return fitted


def _cross_validate(
    run: RunDirectory, prepared: Prepared, parts: list[Part], crew: Crew, progress: Progress, say: Say
) -> dict[str, Scores]:
    """Train a model for each fold, score it on the rows it did not see, and keep all out-of-fold predictions.

    The scores are {"folds": ...}: mean, standard deviation (`sd`) and each fold's value.
    """
    train = prepared.splits["train"]
    each: list[Scores] = []
    answers: list[dict[str, Any]] = [{}] * len(train)
    for fold, (kept, held) in enumerate(parts, 1):
        inner = run.part("folds", str(fold))
        if not inner.has(SCORES):
            say(f"fold {fold} of {len(parts)}")
            _fit(inner, prepared, crew, progress, say, f"folds/{fold}", kept)
            inner.publish()
            found = evaluation.score(
                models.load(inner.path), train.select(held), prepared.recipe.evaluate, say, progress
            )
            inner.write_predictions("fold", as_given(prepared.task, train.select(held), found.predictions))
            inner.write_json(SCORES, {"scores": {"fold": found.scores}})
        each.append(inner.read_json(SCORES)["scores"]["fold"])
        for i, prediction in zip(held, inner.read_predictions("fold"), strict=True):
            answers[i] = {"fold": fold, **prediction}
    run.write_predictions("folds", answers)
    return {"folds": over_folds(each)}


def over_folds(each: Sequence[Scores]) -> dict[str, Any]:
    """Each score over the folds that have it; each fold has rows of its own, which are counted together."""
    return {
        name: {**over_trainings(scores), "n": sum(score["n"] for score in scores)}
        for name, scores in _by_name(each).items()
    }


def _by_name(each: Sequence[Scores]) -> dict[str, list[Score]]:
    """Each score of the trainings that have it: of some questions, or labels, not every one has it."""
    found: dict[str, list[Score]] = {}
    for scores in each:
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
    return found


def _train_seeds(
    run: RunDirectory, prepared: Prepared, crew: Crew, progress: Progress, say: Say
) -> list[tuple[Fitted, Finished]]:
    """Train and score a run for each seed of the recipe, and give `run` the one that is kept; none for one training."""
    done, runs, wanted = [], [], seeds(prepared.recipe)
    for number, seed in enumerate(wanted, 1):
        one = with_seed(prepared, seed)
        inner = run.part("seeds", str(seed), one.recipe)
        if not inner.has(SCORES):
            say(f"seed {seed}, {number} of {len(wanted)}")
        fitted = _fit(inner, one, crew, progress, say, f"seeds/{seed}")
        inner.publish()
        done.append((fitted, finish(inner, one, fitted, say, progress, analyse=False)))
        runs.append(inner)
    if runs:
        say(f"kept: {keep_best(run, prepared, runs)}")
    return done


def _summed(each: list[Fitted]) -> Fitted:
    """What several trainings of the same rows took, and what is to be said of each."""
    steps, seconds = sum(one.steps for one in each), sum(one.seconds for one in each)
    return replace(each[0], steps=steps, seconds=seconds, kept="")


def _over_seeds(each: list[Finished]) -> dict[str, Any]:
    splits = each[0].scores if each else {}
    return {
        split: {name: over_trainings(scores) for name, scores in _by_name([one.scores[split] for one in each]).items()}
        for split in splits
    }
