"""A temperature and a threshold to abstain below, fitted on the validation rows; both travel as options of the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from ftkit.engine import contract as contracts
from ftkit.engine import infer, machine
from ftkit.engine import model as models
from ftkit.engine.prepare import Prepared
from ftkit.errors import RecipeError, problems
from ftkit.metrics import calibration as metrics
from ftkit.metrics.calibration import Decisions
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Batch, Example, Labels, Output, Task
from ftkit.terminal import Progress

LEAST = 50
"""Answers to validation rows that a temperature is fitted to, or more."""
SAME, NEAR = 0.998, 0.005
"""Share of the decisions that bf16 must leave as they are, and how far probabilities may move on average."""
ENOUGH = 200
"""Answers to validation rows that tell such a share, or more."""
MOST = 2_000_000
"""Logits that are kept for it; where there are more, a random sample of the answers is."""
SEED = 13


@dataclass(frozen=True)
class Calibration:
    """What was fitted."""

    temperature: float = 1.0
    abstain: float = 0.0
    n: int = 0
    """Answers to validation rows that it was fitted to; 0 where nothing was."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """That of these answers, and of those to come."""
    notes: tuple[str, ...] = ()
    """What a person should know of it."""


def check(prepared: Prepared) -> None:
    """Raises RecipeError for wishes that the task or the data can't meet, and for options that would be fitted over."""
    task, settings = prepared.task, prepared.recipe.evaluate
    wished, found = wish(settings), []
    for name in wished:
        if not task.calibrates():
            found.append(f"evaluate.{name}: the answers of this task are not calibrated; leave it out")
        elif "validation" not in prepared.splits:
            found.append(f"evaluate.{name}: there are no validation rows to choose a threshold on; set data.validation")
        elif task.options.abstain:
            found.append(f"evaluate.{name} and task.abstain: both say below what to abstain; set one of them")
    if settings.calibrate and task.calibrates() and task.options.temperature != 1:
        found.append("task.temperature: training fits it; leave it out, or set evaluate.calibrate to false")
    if found:
        raise problems(RecipeError, "calibration", found)


def wish(settings: EvaluateSpec) -> dict[str, float]:
    """The wish for a precision or a coverage that the recipe has, by its name."""
    wishes = {"wished_precision": settings.wished_precision, "wished_coverage": settings.wished_coverage}
    return {name: value for name, value in wishes.items() if value is not None}


def calibrated(
    trained: models.Trained, rows: Dataset | None, settings: EvaluateSpec, progress: Progress | None = None
) -> Calibration:
    """The temperature that makes the truth of the validation rows likeliest, and the threshold that the recipe wishes.

    Both are of a task that `calibrates`. Fitted to the answers that the one inference path gives.
    """
    if rows is None:
        return _unfitted(trained, settings, "there are no validation rows")
    progress = progress or Progress(show=False)
    decisions, precision = _in_its_precision(trained, rows, settings, progress)
    n = len(decisions.answers()[0])
    if n < LEAST:
        return _unfitted(trained, settings, f"there are {n} answers to validation rows, and {LEAST} are needed")
    if not np.isfinite(decisions.logits).all():
        return _unfitted(trained, settings, "the model gives logits that are not finite numbers")
    always_right = bool(decisions.right.all())
    temperature = 1.0 if always_right else decisions.temperature()
    abstain, notes = _threshold(trained.task, decisions.answers(temperature), settings)
    return Calibration(temperature, abstain, n, precision, (_NEVER_WRONG, *notes) if always_right else notes)


def _in_its_precision(
    trained: models.Trained, rows: Dataset, settings: EvaluateSpec, progress: Progress
) -> tuple[Decisions, Literal["fp32", "bf16"]]:
    """The decisions in the precision that the recipe names; for `auto`, in bf16 where these are as good as fp32's."""
    if settings.precision != "auto":
        return _decisions(trained, rows, settings, progress), settings.precision
    found = {
        precision: _decisions(trained, rows, settings.model_copy(update={"precision": precision}), progress)
        for precision in (("fp32", "bf16") if machine.has_bf16() else ("fp32",))
    }
    if "bf16" in found and _alike(found["fp32"], found["bf16"]):
        return found["bf16"], "bf16"
    return found["fp32"], "fp32"


def _alike(exact: Decisions, low: Decisions) -> bool:
    """Whether two precisions decide alike; where one found an entity more they don't, and the shapes differ."""
    if exact.logits.shape != low.logits.shape or len(exact.answers()[0]) < ENOUGH:
        return False
    same = float((exact.logits.argmax(-1) == low.logits.argmax(-1)).mean())
    moved = float(np.abs(exact.answers()[0] - low.answers()[0]).mean())
    return same >= SAME and moved <= NEAR


def _unfitted(trained: models.Trained, settings: EvaluateSpec, why: str) -> Calibration:
    note = f"probabilities are not calibrated: {why}"
    precision = trained.contract.precision
    if wish(settings):
        return Calibration(precision=precision, notes=(f"{note}; nothing is withheld",))
    return Calibration(abstain=trained.task.options.abstain, precision=precision, notes=(note,))


_NEVER_WRONG = "the model is never wrong on the validation rows, which tell no temperature then: it stays 1"


def applied(trained: models.Trained, found: Calibration) -> models.Trained:
    """The model with what was fitted; the contract in its folder is replaced by one that holds it too."""
    options = {"temperature": found.temperature, "abstain": found.abstain}
    task = type(trained.task)(trained.task.options.model_copy(update=options))
    changed = {"task": {**trained.contract.task, **options}, "precision": found.precision}
    contract = trained.contract.model_copy(update=changed)
    contracts.write(trained.source, contract)
    return replace(trained, task=task, contract=contract)


class Reliance:
    """How far a split's probabilities can be relied on, with the task's temperature and without; `infer.Observe`.

    What it keeps are two numbers and a truth value an answer.
    """

    def __init__(self, task: Task, labels: Labels) -> None:
        self.task = task
        self.labels = labels
        self.before: list[NDArray[np.float64]] = []
        self.after: list[NDArray[np.float64]] = []
        self.right: list[NDArray[np.bool_]] = []
        self.nll = np.zeros(2)

    def __call__(self, outputs: Sequence[Output], encoded: Batch, examples: Sequence[Example]) -> None:
        found, temperature = self.task.decisions(outputs, encoded, examples, self.labels), self.task.options.temperature
        before, right = found.answers()
        self.before.append(before)
        self.after.append(found.answers(temperature)[0])
        self.right.append(right)
        self.nll += [found.nll(), found.nll(temperature)]

    def measured(self) -> dict[str, Any]:
        """Errors of calibration and reliability diagrams before and after, and what the threshold lets through.

        `n` counts answers; `nll` is their mean negative log-likelihood; `coverage` is the share of answers given,
        `precision` the share of those that are right (0 where none is given).
        """
        before, after, right = np.concatenate(self.before), np.concatenate(self.after), np.concatenate(self.right)
        given = after >= self.task.options.abstain
        nll = self.nll / max(1, len(right))
        return {
            "temperature": self.task.options.temperature,
            "threshold": self.task.options.abstain,
            "n": len(right),
            "coverage": float(given.mean()) if len(given) else 0.0,
            "precision": float(right[given].mean()) if given.any() else 0.0,
            "nll_before": float(nll[0]),
            "nll_after": float(nll[1]),
            "ece_before": metrics.ece(before, right),
            "ece_after": metrics.ece(after, right),
            "reliability_before": metrics.reliability(before, right),
            "reliability_after": metrics.reliability(after, right),
        }


class _Sample:
    """Decisions as they go by, at most `MOST` logits of them; answers are kept whole or not at all."""

    def __init__(self, task: Task, labels: Labels) -> None:
        self.task = task
        self.labels = labels
        self.random = np.random.default_rng(SEED)
        self.share = 1.0
        self.parts: list[tuple[Decisions, NDArray[np.float64]]] = []

    def __call__(self, outputs: Sequence[Output], encoded: Batch, examples: Sequence[Example]) -> None:
        found = self.task.decisions(outputs, encoded, examples, self.labels)
        lots = self.random.random(found.answer.max(initial=-1) + 1)[found.answer]
        self.parts.append(self._thinned(found, lots))
        while sum(part.logits.size for part, _ in self.parts) > MOST:
            self.share /= 2
            self.parts = [self._thinned(*part) for part in self.parts]

    def _thinned(self, decisions: Decisions, lots: NDArray[np.float64]) -> tuple[Decisions, NDArray[np.float64]]:
        kept = lots < self.share
        return decisions.select(kept), lots[kept]


def _decisions(trained: models.Trained, rows: Dataset, settings: EvaluateSpec, progress: Progress) -> Decisions:
    """The decisions that the model takes on the way to its answers, or a sample of them."""
    t, sample = trained, _Sample(trained.task, trained.labels)
    with progress.over(len(rows), "calibrating") as advance:
        for _ in infer.predict(t.model, t.task, t.tokenizer, t.labels, rows, settings, advance, sample):
            pass
    return Decisions.joined(part for part, _ in sample.parts)


def _threshold(
    task: Task, answers: tuple[NDArray[np.float64], NDArray[np.bool_]], settings: EvaluateSpec
) -> tuple[float, tuple[str, ...]]:
    """Below what to abstain, and what is to be said of it."""
    if not wish(settings):
        return task.options.abstain, ()
    found = metrics.threshold_for(*answers, precision=settings.wished_precision, coverage=settings.wished_coverage)
    reached = f"a precision of {found.precision:.3f} with {found.coverage:.3f} of the answers given"
    if found.value is None:
        wished = f"evaluate.wished_precision: no threshold reaches {settings.wished_precision} on the validation rows"
        return 0.0, (f"{wished}; the nearest is {reached}; nothing is withheld",)
    return found.value, (f"below {found.value:.3f} answers are withheld: on the validation rows, {reached}",)
