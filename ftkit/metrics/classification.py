"""Scores for one label a row, for several labels a row, and for numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftkit.errors import RunError
from ftkit.metrics import ClassScores, Scores, require_pairs, score
from ftkit.metrics.counts import Counts, averages, by_label, count


def single_label(truth: Sequence[str], predicted: Sequence[str], labels: Collection[str]) -> Scores:
    """Accuracy, precision, recall, F1, and `mcc`, Matthews' correlation (-1 to 1; Gorodkin 2004).

    `precision`, `recall` and `f1` are macro averages over the labels that occur in the truth or in the
    predictions; `micro_` and `weighted_` stand before the others. Raises ValueError for a label that
    `labels` lacks.
    """
    counts = _counts(truth, predicted, labels)
    n = len(truth)
    values = {"accuracy": counts.correct.total() / n, **averages(counts), "mcc": _matthews(counts, n)}
    return {name: score(value, n) for name, value in values.items()}


def multi_label(
    truth: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Collection[str]
) -> Scores:
    """Scores where a row has any number of labels, none among them; names as for `single_label`.

    `accuracy` is the share of rows whose set of labels is exactly right (subset accuracy), `hamming_accuracy`
    the share of right decisions among rows x `labels` (1 - Hamming loss). Raises ValueError for a label that
    `labels` lacks.
    """
    counts = _counts(truth, predicted, labels)
    n = len(truth)
    exact = sum(set(true) == set(said) for true, said in zip(truth, predicted, strict=True))
    wrong = counts.said.total() + counts.true.total() - 2 * counts.correct.total()
    hamming = 1 - wrong / max(n * len(set(labels)), 1)
    values = {"accuracy": exact / n, "hamming_accuracy": hamming, **averages(counts)}
    return {name: score(value, n) for name, value in values.items()}


def per_class(truth: Sequence[Any], predicted: Sequence[Any], labels: Sequence[str]) -> list[ClassScores]:
    """Precision, recall and F1 of each of `labels`, in that order.

    Rows hold one label (str) or several (a collection). Raises ValueError for a label that `labels` lacks.
    """
    return by_label(_counts(truth, predicted, labels), labels)


def regression(truth: Sequence[float], predicted: Sequence[float]) -> Scores:
    """Pearson's and Spearman's correlation (-1 to 1), mean squared and mean absolute error, and R squared.

    What is undefined is 0: a correlation where either side is constant, R squared of a single row.
    Raises RunError for predictions that are not finite numbers.
    """
    from scipy.stats import rankdata
    from sklearn.metrics import r2_score

    require_pairs(truth, predicted)
    true, said = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    _require_finite(true, said)
    values = {
        "pearson": _correlation(true, said),
        "spearman": _correlation(rankdata(true), rankdata(said)),
        "mse": np.mean((true - said) ** 2),
        "mae": np.mean(np.abs(true - said)),
        "r2": r2_score(true, said) if len(true) > 1 else 0.0,
    }
    return {name: score(value, len(true)) for name, value in values.items()}


def _counts(truth: Sequence[Any], predicted: Sequence[Any], labels: Collection[str]) -> Counts:
    counts = count([_items(row) for row in truth], [_items(row) for row in predicted], str)
    unknown = sorted({*counts.true, *counts.said} - set(labels))
    if unknown:
        raise ValueError(f"labels {unknown} are not among {list(labels)}")
    return counts


def _items(row: str | Collection[str]) -> Collection[str]:
    return (row,) if isinstance(row, str) else row


def _matthews(counts: Counts, n: int) -> float:
    """0 where either side has one label only, as scikit-learn has it."""
    chance = sum(counts.said[name] * times for name, times in counts.true.items())
    spread = 1
    for side in (counts.said, counts.true):
        spread *= n * n - sum(times * times for times in side.values())
    return (counts.correct.total() * n - chance) / math.sqrt(spread) if spread else 0.0


def _require_finite(true: NDArray[np.float64], said: NDArray[np.float64]) -> None:
    if not np.isfinite(true).all():
        raise ValueError("the truth holds values that are not finite numbers")
    bad = int((~np.isfinite(said)).sum())
    if bad:
        raise RunError(
            f"{bad} of {len(said)} predictions are not finite numbers",
            "training has most likely diverged; lower train.learning_rate",
        )


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    # The range, not the variance: the mean of equal floats can differ from them in the last bit.
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
