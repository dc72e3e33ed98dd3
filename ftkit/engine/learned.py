"""Which rows a run has learned from, so that they are told where they are to count as new.

A run keeps a hash of what each asks, white space aside and whatever its answer: of its training rows, of the texts
without labels that it trained itself on, and of the rows of the runs that it began with and was taught by. Of an
export, and of what a stream gave, nothing is known. Of a row's variants the row itself counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ftkit.findings import Finding, Place
from ftkit.metrics.evidence import asked
from ftkit.run import RunDirectory
from ftkit.terminal import Say

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.engine.prepare import Prepared

Hashes = NDArray[np.uint64]


def of(prepared: Prepared, unlabeled: Dataset | None = None) -> Hashes:
    """What a training of rows at hand learns from, itself and by what it begins with."""
    own = [rows for rows in (prepared.splits["train"], unlabeled) if rows is not None]
    return np.unique(
        np.concatenate([*(asked(rows, prepared.task.texts) for rows in own), *map(by, _origins(prepared))])
    )


def by(source: str | Path) -> Hashes:
    """What a run, or the model in it, has learned from; nothing where nothing is known.

    Raises RunError where the run's file can't be read.
    """
    run = _run(source)
    found = run.learned() if run else None
    return np.empty(0, np.uint64) if found is None else found


def _run(source: str | Path) -> RunDirectory | None:
    path = Path(source).expanduser().resolve()
    return next(
        (RunDirectory(run) for run in (path, path.parent) if RunDirectory.is_run(run) and path in (run, run / "model")),
        None,
    )


def places(known: Hashes, rows: Hashes) -> list[int]:
    """Which of the rows, by their hashes, are among those that are `known`."""
    return [int(index) for index in np.flatnonzero(np.isin(rows, known))]


def warn(source: str | Path, rows: Hashes, name: str, say: Say) -> None:
    """Say so where some of the rows are not new to `source`, or where it is a run and nothing tells."""
    run = _run(source)
    known = run.learned() if run else None
    if run and known is None:
        say(f"note: {_untold(source)}: these may be among them")
    if known is not None and (count := len(places(known, rows))):
        many = f"{count} of the {len(rows)} rows of {name}" if count < len(rows) else f"all {len(rows)} rows of {name}"
        say(f"warning: {source} has learned from {many}: its score there says little of new texts")


def told(prepared: Prepared) -> Iterator[Finding]:
    """Held-out rows of a training, those of its folds too, that are not new to what it begins with."""
    in_folds = prepared.recipe.train.folds is not None
    held_out = {name: rows for name, rows in prepared.splits.items() if in_folds or name != "train"}
    origins = {source: known for source in _origins(prepared) if len(known := by(source))}
    hashes = {name: asked(rows, prepared.task.texts) for name, rows in held_out.items()} if origins else {}
    for source, known in origins.items():
        found = [
            Place(held_out[name][index]["row"], name) for name, rows in hashes.items() for index in places(known, rows)
        ]
        if found:
            what = f"{source} has learned from this held-out row; its score says nothing of new texts"
            fix = "hold out the rows that it held out: data.validation, data.test and data.seed as in its recipe"
            if any(place.split == "train" for place in found):
                fix = "begin with a checkpoint that has not learned from the rows that folds hold out"
            yield Finding("learned", "warning", what, tuple(found), fix, of=sum(map(len, hashes.values())))


def of_parts(prepared: Prepared) -> Iterator[str]:
    """Of what trainings on parts of the rows begin with, that which knows the other rows as well."""
    rows = asked(prepared.splits["train"], prepared.task.texts)
    for source in _origins(prepared):
        if (run := _run(source)) and run.learned() is None:
            yield f"{_untold(source)}: the other rows of a part may be among them"
        if count := len(places(by(source), rows)):
            many = f"{count} of the {len(rows)} training rows"
            yield f"{source} has learned from {many}: trainings on a part of them know the rest, too"


def untold(prepared: Prepared) -> tuple[str, ...]:
    """Of the runs that a training with held-out rows begins with, those of which nothing is known, a note for each."""
    if len(prepared.splits) < 2 and not prepared.recipe.train.folds:
        return ()
    runs = {source: run for source in _origins(prepared) if (run := _run(source))}
    unknown = [source for source, run in runs.items() if run.learned() is None]
    return tuple(f"{_untold(source)}: held-out rows may be among them" for source in unknown)


def _untold(source: str | Path) -> str:
    return f"nothing tells which rows {source} has learned from"


def _origins(prepared: Prepared) -> list[str]:
    """The checkpoint that a training begins with, and the teacher that it has."""
    teacher = prepared.objective.teacher
    return [prepared.recipe.model.checkpoint, *([teacher] if teacher else [])]
