"""What precision, recall and F1 are made of, for labels, sets of labels and entities alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from ftkit.metrics import ClassScores, require_pairs


class Counts(NamedTuple):
    """How often each label was predicted rightly, was predicted, and is true."""

    correct: Counter[str]
    said: Counter[str]
    true: Counter[str]


def count(
    truth: Sequence[Collection[Hashable]],
    predicted: Sequence[Collection[Hashable]],
    label: Callable[[Any], str],
) -> Counts:
    """Counts over rows that each hold a set of items; `label` says under which name an item is counted."""
    require_pairs(truth, predicted)
    counts = Counts(Counter(), Counter(), Counter())
    for expected, found in zip(truth, predicted, strict=True):
        true, said = set(expected), set(found)
        counts.correct.update(map(label, true & said))
        counts.said.update(map(label, said))
        counts.true.update(map(label, true))
    return counts


def by_label(counts: Counts, labels: Iterable[str]) -> list[ClassScores]:
    """Precision, recall and F1 of each of `labels`, in that order."""
    rows: list[ClassScores] = []
    for name in labels:
        n = counts.true[name]
        precision, recall, f1 = _ratios(counts.correct[name], counts.said[name], n)
        rows.append({"label": name, "precision": precision, "recall": recall, "f1": f1, "n": n})
    return rows


def averages(counts: Counts) -> dict[str, float]:
    """`precision`, `recall` and `f1` as macro averages, then `micro_` and `weighted_` ones.

    Macro averages take the labels that occur in the truth or in the predictions, as scikit-learn does when it
    is given no labels: one that a small test set happens to lack does not pull the mean down.
    """
    rows = by_label(counts, sorted({*counts.true, *counts.said}))
    micro = _ratios(counts.correct.total(), counts.said.total(), counts.true.total())
    values = {}
    for name, pooled in zip(("precision", "recall", "f1"), micro, strict=True):
        of_labels = [row[name] for row in rows]  # type: ignore[literal-required]
        weighted = sum(value * row["n"] for value, row in zip(of_labels, rows, strict=True))
        values[name] = fmean(of_labels) if rows else 0.0
        values[f"micro_{name}"] = pooled
        values[f"weighted_{name}"] = weighted / max(counts.true.total(), 1)
    return values


def _ratios(correct: int, said: int, true: int) -> tuple[float, float, float]:
    """Precision, recall and F1; what has nothing to divide by is 0."""
    precision = correct / said if said else 0.0
    recall = correct / true if true else 0.0
    return precision, recall, 2 * correct / (said + true) if said + true else 0.0
