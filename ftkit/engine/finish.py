"""What follows a training: the saved model is calibrated, scored on the held-out rows, and its mistakes are kept."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from datasets import Dataset

from ftkit.engine import asking, calibrate, learned
from ftkit.engine import evaluate as evaluation
from ftkit.engine import model as models
from ftkit.engine.analysis import analysis, words
from ftkit.engine.baselines import Gain, gain
from ftkit.engine.fit import Fitted
from ftkit.engine.given import as_given
from ftkit.engine.prepare import Prepared
from ftkit.engine.scoring import Scored
from ftkit.errors import FTKitError
from ftkit.metrics import ClassScores, Scores
from ftkit.run import SCORES, RunDirectory
from ftkit.terminal import Progress, Say

_OTHER = ("run", "breakdown")
"""What scores.json has under other names."""


@dataclass(frozen=True)
class Finished:
    """A finished run: where it is, its scores by split, and what training took."""

    run: Path
    scores: dict[str, Scores]
    level: float
    """Share of the scores' intervals that should hold the true score."""
    breakdown: dict[str, list[ClassScores]]
    calibration: dict[str, dict[str, Any]]
    """Of each split, where a temperature was fitted: what `Reliance.measured` gives."""
    metric: str
    """The one that decides."""
    baselines: dict[str, dict[str, Scores]]
    """Split -> baseline -> its scores."""
    gains: dict[str, Gain]
    """Split -> what the model adds to the best baseline."""
    steps: int
    train_seconds: float
    examples: int
    seeds: dict[str, Scores] = field(default_factory=dict)
    """Split -> mean, standard deviation (`sd`) and each value of several seeds' scores; empty for one training."""

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints and scores.json holds."""
        return {
            "run": str(self.run),
            "level": self.level,
            "scores": self.scores,
            "per_class": self.breakdown,
            "calibration": self.calibration,
            "metric": self.metric,
            "baselines": self.baselines,
            "gains": self.gains,
            "seeds": self.seeds,
            "steps": self.steps,
            "train_seconds": self.train_seconds,
            "examples": self.examples,
        }

    @classmethod
    def read(cls, run: RunDirectory) -> Finished:
        """That of a run which is complete."""
        told = run.read_json(SCORES, needs=["per_class", *(one.name for one in fields(cls) if one.name not in _OTHER)])
        return cls(run=run.path, breakdown=told.pop("per_class"), **{k: v for k, v in told.items() if k != "run"})


def finish(
    run: RunDirectory,
    prepared: Prepared,
    fitted: Fitted,
    say: Say,
    progress: Progress,
    *,
    folds: dict[str, Scores] | None = None,
    beside: dict[str, dict[str, Scored]] | None = None,
    seeds: dict[str, Any] | None = None,
    unlabeled: Dataset | None = None,
    analyse: bool = True,
) -> Finished:
    """Score the model as it was saved on every split but the training rows, and keep all that was found in the run.

    `folds`, `beside` (baselines) and `seeds` are kept with it; `unlabeled` are texts that it learned from, too. With
    `analyse` it is kept where the model goes wrong, on the test rows if there are some. A run that has been through
    this is told of as it is.
    """
    if run.has(SCORES):
        return Finished.read(run)
    trained, is_calibrated = _calibrate(models.load(run.path), prepared, say, progress)
    settings = asking.spec_of(trained, prepared.recipe)
    held_out = {name: rows for name, rows in prepared.splits.items() if name != "train"}
    calibration: dict[str, dict[str, Any]] = {}
    answered: dict[str, evaluation.Evaluation] = {}
    for name, rows in held_out.items():
        reliance = calibrate.Reliance(trained.task, trained.labels) if is_calibrated else None
        observers = [reliance] if reliance else []
        with _kept(run):
            answered[name] = evaluation.score(trained, rows, settings, say, progress, observers)
        if reliance:
            calibration[name] = reliance.measured()
    result = Finished(
        run=run.path,
        scores={**(folds or {}), **{name: found.scores for name, found in answered.items()}},
        level=settings.level,
        breakdown={name: found.breakdown for name, found in answered.items() if found.breakdown},
        calibration=calibration,
        metric=prepared.metric,
        baselines={split: {name: its.scores for name, its in each.items()} for split, each in (beside or {}).items()},
        gains=_gains(prepared, answered, beside or {}),
        steps=fitted.steps,
        train_seconds=fitted.seconds,
        examples=fitted.examples,
        seeds=seeds or {},
    )
    if not prepared.stream:
        run.write_learned(learned.of(prepared, unlabeled))
    _keep(run, prepared, answered, beside or {})
    if analyse and answered:
        split = "test" if "test" in answered else next(iter(answered))
        _analyse(run, prepared, trained, split, answered[split])
    run.write_json(SCORES, result.as_json())  # the last: with it the run is complete
    return result


@contextmanager
def _kept(run: RunDirectory) -> Iterator[None]:
    """Where scoring fails, say that the training is not lost."""
    try:
        yield
    except FTKitError as error:
        kept = f"the trained model is kept: mend that, and `ftkit eval {shlex.quote(str(run.path))}` scores it"
        error.hint = f"{error.hint}; {kept}" if error.hint else kept
        raise


def _gains(
    prepared: Prepared,
    answered: dict[str, evaluation.Evaluation],
    beside: dict[str, dict[str, Scored]],
) -> dict[str, Gain]:
    p, resamples = prepared, prepared.recipe.evaluate.resamples
    found = {name: gain(p.task, its, beside.get(name, {}), p.metric, resamples) for name, its in answered.items()}
    return {name: gained for name, gained in found.items() if gained}


def _keep(
    run: RunDirectory,
    prepared: Prepared,
    answered: dict[str, evaluation.Evaluation],
    beside: dict[str, dict[str, Scored]],
) -> None:
    """Write predictions, and what scores were taken of."""
    for name, found in answered.items():
        run.write_predictions(name, as_given(prepared.task, prepared.splits[name], found.predictions))
        everyone = {name: found, **{f"{name}.{baseline}": its for baseline, its in beside.get(name, {}).items()}}
        for whose, scored in everyone.items():
            if scored.evidence:
                run.write_evidence(whose, scored.evidence)


def _calibrate(
    trained: models.Trained, prepared: Prepared, say: Say, progress: Progress
) -> tuple[models.Trained, bool]:
    """The model with its probabilities calibrated on the validation rows, and whether these were enough for it."""
    settings = prepared.recipe.evaluate
    if not settings.calibrate or not trained.task.calibrates():
        return trained, False
    found = calibrate.calibrated(trained, prepared.splits.get("validation"), settings, progress)
    for note in found.notes:
        say(f"note: {note}")
    return calibrate.applied(trained, found), found.n > 0


def _analyse(
    run: RunDirectory,
    prepared: Prepared,
    trained: models.Trained,
    split: str,
    found: evaluation.Evaluation,
) -> None:
    """Keep where the model goes wrong on one split."""
    rows, settings = prepared.splits[split], prepared.recipe.evaluate
    seen = () if prepared.stream else words(prepared.task, prepared.splits["train"])
    where = analysis(trained, found, found.predictions, rows, settings, prepared.metric, found.truncated, seen)
    run.write_analysis(split, where)
