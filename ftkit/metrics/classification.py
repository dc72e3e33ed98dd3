"""Scores for one label a row, for several labels a row, and for numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ftkit.errors import RunError
from ftkit.metrics import Scores, require_pairs, tally
from ftkit.metrics.tally import Floats, LabelTally, MomentTally


def single_label_tally(truth: Sequence[str], predicted: Sequence[str], labels: Collection[str]) -> LabelTally:
    """What each row adds to `single_label`."""
    return tally.labels([(row,) for row in truth], [(row,) for row in predicted], labels, "single")


def multi_label_tally(
    truth: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Collection[str]
) -> LabelTally:
    """What each row adds to `multi_label`."""
    return tally.labels(truth, predicted, labels, "multi")


def regression_tally(truth: Sequence[float], predicted: Sequence[float]) -> MomentTally:
    """What each row adds to `regression`. Raises RunError for predictions that are not finite numbers."""
    require_pairs(truth, predicted)
    true, said = np.asarray(truth, dtype=float), np.asarray(predicted, dtype=float)
    _require_finite(true, said)
    return tally.moments(true, said)


def single_label(truth: Sequence[str], predicted: Sequence[str], labels: Collection[str]) -> Scores:
    """Accuracy, precision, recall, F1, and `mcc`, Matthews' correlation (-1 to 1; Gorodkin 2004).

    `precision`, `recall` and `f1` are macro averages over the labels that occur in the truth or in the
    predictions; `micro_` and `weighted_` stand before the others. Raises ValueError for a label that
    `labels` lacks.
    """
    return single_label_tally(truth, predicted, labels).scores()


def multi_label(
    truth: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Collection[str]
) -> Scores:
    """Scores where a row has any number of labels, none among them; names as for `single_label`.

    `accuracy` is the share of rows whose set of labels is exactly right (subset accuracy), `hamming_accuracy`
    the share of right decisions among rows x `labels` (1 - Hamming loss). Raises ValueError for a label that
    `labels` lacks.
    """
    return multi_label_tally(truth, predicted, labels).scores()


def regression(truth: Sequence[float], predicted: Sequence[float]) -> Scores:
    """Pearson's and Spearman's correlation (-1 to 1), mean squared and mean absolute error, and R squared.

    What is undefined is 0: a correlation where either side is constant, R squared of a single row.
    Raises RunError for predictions that are not finite numbers.
    """
    return regression_tally(truth, predicted).scores()


def _require_finite(true: Floats, said: Floats) -> None:
    if not np.isfinite(true).all():
        raise ValueError("the truth holds values that are not finite numbers")
    bad = int((~np.isfinite(said)).sum())
    if bad:
        raise RunError(
            f"{bad} of {len(said)} predictions are not finite numbers",
            "training has most likely diverged; lower train.learning_rate",
        )
