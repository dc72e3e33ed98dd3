"""Whether probabilities mean what they say: temperature scaling, calibration error, and thresholds to abstain below."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.tally import Floats

BINS = 15
LIMITS = 0.01, 100.0
"""Temperatures that are looked at."""
_STEPS = 25
_TINY = 1e-12
_DIGITS = 9
"""Of a confidence: nearer ones are equal, and no threshold lies between them."""


class Decisions(NamedTuple):
    """What a model decided for its answers: one for each text, or one for each word of the entities that it found.

    An answer is made of one decision or several, and its confidence is the mean of their highest probabilities.
    """

    logits: NDArray[np.floating]
    """(decisions, labels)."""
    answer: NDArray[np.integer]
    """(decisions): the number of the answer that each is part of, from 0 in order."""
    right: NDArray[np.bool_]
    """(decisions): whether that answer is right as a whole."""
    truth: NDArray[np.integer] | None = None
    """(decisions): the number of the right label, where an answer is one decision; else None."""

    @classmethod
    def joined(cls, parts: Iterable[Decisions]) -> Decisions:
        """Those of several batches, answers numbered on."""
        numbered, first = [], 0
        for part in parts:
            numbered.append(part._replace(answer=part.answer + first))
            first += int(part.answer.max(initial=-1)) + 1
        logits, answer, right = (np.concatenate([part[i] for part in numbered]) for i in range(3))
        truths = [part.truth for part in numbered if part.truth is not None]
        return cls(logits, answer, right, np.concatenate(truths) if truths else None)

    def select(self, kept: NDArray[np.bool_]) -> Decisions:
        """Those where `kept` is true."""
        truth = None if self.truth is None else self.truth[kept]
        return Decisions(self.logits[kept], self.answer[kept], self.right[kept], truth)

    def answers(self, temperature: float = 1.0) -> tuple[Floats, NDArray[np.bool_]]:
        """(confidence, whether it is right) of each answer, in order."""
        _, first, of = np.unique(self.answer, return_index=True, return_inverse=True)
        highest = softmax(self.logits, temperature).max(-1)
        return np.bincount(of, highest) / np.bincount(of), self.right[first]

    def nll(self, temperature: float = 1.0) -> float:
        """Negative log-likelihood, summed: of the right labels, or of the answers' being right or wrong."""
        if self.truth is not None:
            return nll(self.logits, self.truth, temperature)
        confidence, right = self.answers(temperature)
        likely = np.where(right, confidence, 1 - confidence)
        return float(-np.log(np.clip(likely, _TINY, None)).sum())

    def temperature(self) -> float:
        """The temperature that makes `nll` least.

        Where answers are made of several decisions it is fitted to the answers: a temperature that is right for words
        is wrong for entities, most of whose words are easy.
        """
        return temperature(self.logits, self.truth) if self.truth is not None else _least(self.nll)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Floats:
    """Probabilities over the last axis, of logits divided by the temperature, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    weights = np.exp(shifted / temperature)
    return np.asarray(weights / weights.sum(-1, keepdims=True))


def nll(logits: NDArray[np.floating], truth: NDArray[np.integer], temperature: float = 1.0) -> float:
    """Negative log-likelihood of the truth, summed over decisions. logits (n, labels), truth (n)."""
    shifted = (logits.astype(np.float64) - logits.max(-1, keepdims=True)) / temperature
    right = np.take_along_axis(shifted, truth[:, None], axis=-1)[:, 0]
    return float((np.log(np.exp(shifted).sum(-1)) - right).sum())


def temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """The number that the logits divided by are likeliest to give the truth (Guo et al. 2017), within `LIMITS`.

    logits (n, labels), truth (n). Above 1 where the model is surer than it is right. Where it is never wrong, no number
    is the likeliest, and a small one is given. Raises ValueError for no logits, and for some that aren't finite.
    """
    if not len(truth) or not np.isfinite(logits).all():
        raise ValueError("a temperature is fitted to finite logits, one row or more")
    return _least(lambda t: nll(logits, truth, t) / len(truth))


def _least(loss: Callable[[float], float]) -> float:
    """The temperature with the least loss: the best of a few, and then the best around it."""
    from scipy.optimize import minimize_scalar

    logs = np.log(np.geomspace(*LIMITS, _STEPS))
    best = int(np.argmin([loss(float(np.exp(x))) for x in logs]))
    around = logs[max(0, best - 1)], logs[min(_STEPS - 1, best + 1)]
    found = minimize_scalar(lambda x: loss(float(np.exp(x))), bounds=around, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


class Bin(TypedDict):
    """Answers whose confidence lies above `low` and up to `high`: how sure they are, and how often they are right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidence: Floats, correct: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """The bins of a reliability diagram, of equal width; those that hold no answer are left out."""
    of = np.clip(np.ceil(np.round(confidence * bins, _DIGITS)) - 1, 0, bins - 1).astype(int)
    found: list[Bin] = []
    for i in np.unique(of):
        sure, right = confidence[of == i], correct[of == i]
        found.append(
            {
                "low": float(i / bins),
                "high": float((i + 1) / bins),
                "n": len(sure),
                "confidence": float(sure.mean()),
                "accuracy": float(right.mean()),
            }
        )
    return found


def ece(confidence: Floats, correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error (Naeini et al. 2015): how far confidence and accuracy of a bin lie apart, on average.

    0 where there are no answers.
    """
    apart = [row["n"] * abs(row["accuracy"] - row["confidence"]) for row in reliability(confidence, correct, bins)]
    return sum(apart) / len(confidence) if apart else 0.0


class Threshold(NamedTuple):
    """A confidence below which answers are withheld, and what is reached by it on the answers that it was chosen on."""

    value: float | None
    """None where the wish can't be met; then the others say what comes nearest."""
    precision: float
    """Share of the answers given that are right."""
    coverage: float
    """Share of all answers that are given."""


def threshold_for(
    confidence: Floats,
    correct: NDArray[np.bool_],
    *,
    precision: float | None = None,
    coverage: float | None = None,
) -> Threshold:
    """The threshold that lets most answers through with at least this precision, or the surest with this coverage.

    It lies half-way between two confidences, so that the last digit of neither decides; at 0 nothing is withheld.
    Raises ValueError for no answers, and unless one of the two is wished.
    """
    if (precision is None) == (coverage is None) or not len(confidence):
        raise ValueError("wish a precision or a coverage, of one answer or more")
    sure = np.round(confidence, _DIGITS)
    levels, counts = np.unique(-sure, return_counts=True)
    answered = np.cumsum(counts)
    right = np.cumsum(np.bincount(np.searchsorted(levels, -sure), correct, len(levels)))
    reached, share = right / answered, answered / len(sure)
    if precision is None:
        last = int(np.searchsorted(answered, round((coverage or 0) * len(sure), _DIGITS)))
    elif (enough := np.flatnonzero(reached >= precision)).size:
        last = int(enough[-1])
    else:
        nearest = int(reached.argmax())
        return Threshold(None, float(reached[nearest]), float(share[nearest]))
    value = 0.0 if last == len(levels) - 1 else -float(levels[last] + levels[last + 1]) / 2
    return Threshold(value, float(reached[last]), float(share[last]))
