"""What follows a training: the saved model is calibrated, scored on the held-out rows, and its mistakes are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftkit.engine import calibrate
from ftkit.engine import evaluate as evaluation
from ftkit.engine import model as models
from ftkit.engine.analysis import EXPLAINED, analysis, words
from ftkit.engine.baselines import Gain, gain
from ftkit.engine.fit import Fitted
from ftkit.engine.prepare import Prepared
from ftkit.engine.scoring import Scored
from ftkit.metrics import ClassScores, Scores
from ftkit.run import RunDirectory
from ftkit.terminal import Progress, Say


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


def finish(
    run: RunDirectory,
    prepared: Prepared,
    fitted: Fitted,
    folds: dict[str, Scores],
    beside: dict[str, dict[str, Scored]],
    say: Say,
    progress: Progress,
) -> Finished:
    """Score the model as it was saved, on every split but the training rows."""
    trained, is_calibrated = _calibrate(models.load(run.path), prepared, say, progress)
    task, settings = prepared.task, prepared.recipe.evaluate
    metric = prepared.recipe.train.metric or task.decider()
    scores, breakdown, gains = dict(folds), {}, {}
    calibration: dict[str, dict[str, Any]] = {}
    answered: dict[str, evaluation.Evaluation] = {}
    for name, rows in prepared.splits.items():
        if name == "train":
            continue
        reliances = [calibrate.Reliance(trained.task, trained.labels)] if is_calibrated else []
        found = evaluation.score(trained, rows, settings, say, progress, reliances)
        run.write_predictions(name, found.predictions)
        for reliance in reliances:
            calibration[name] = reliance.measured()
        answered[name] = found
        if found.evidence:
            run.write_evidence(name, found.evidence)
        scores[name] = found.scores
        if found.breakdown:
            breakdown[name] = found.breakdown
        if gained := gain(task, found, beside.get(name, {}), metric, settings.resamples):
            gains[name] = gained
        for baseline, its in beside.get(name, {}).items():
            if its.evidence:
                run.write_evidence(f"{name}.{baseline}", its.evidence)
    result = Finished(
        run.path,
        scores,
        settings.level,
        breakdown,
        calibration,
        metric,
        {split: {name: its.scores for name, its in each.items()} for split, each in beside.items()},
        gains,
        fitted.steps,
        fitted.seconds,
        fitted.examples,
    )
    run.write_json("scores", result.as_json())
    _analyse(run, prepared, trained, answered, metric)
    return result


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
    answered: dict[str, evaluation.Evaluation],
    metric: str,
) -> None:
    """Keep where the model goes wrong. Words are weighed on one split, the test rows if there are some."""
    splits, settings = prepared.splits, prepared.recipe.evaluate
    seen = words(prepared.task, splits["train"])
    for name, found in answered.items():
        weigh = EXPLAINED if name == "test" or "test" not in answered else 0
        where = analysis(
            trained, found, found.predictions, splits[name], settings, metric, found.truncated, seen, weigh
        )
        run.write_analysis(name, where)
