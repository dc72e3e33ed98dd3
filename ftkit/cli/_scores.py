"""Scores as a terminal shows them: tables, and the sentences about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftkit.metrics import Scores, in_table, percent
from ftkit.terminal import table


def scores_table(scores: Mapping[str, Scores]) -> str:
    """A row for each metric, a column for each split."""
    splits = list(scores)
    names = [name for name in dict.fromkeys(n for split in scores.values() for n in split) if in_table(name)]
    rows = [[name, *(_cell(scores[split].get(name)) for split in splits)] for name in names]
    counts = ["rows", *(_count(scores[split]) for split in splits)]
    return table(["", *splits], [*rows, counts])


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    spread = f" ± {score['sd']:.4f}" if "sd" in score else ""
    interval = f" [{score['low']:.3f}, {score['high']:.3f}]" if "low" in score else ""
    return f"{score['value']:.4f}{spread}{interval}"


def _count(scores: Scores) -> str:
    return str(max((score.get("n", 0) for score in scores.values()), default=0))


def intervals_note(scores: Mapping[str, Scores], level: float) -> str:
    """What the intervals beside the scores are; empty where there are none."""
    methods = {score.get("method") for split in scores.values() for score in split.values()} - {None}
    if not methods:
        return ""
    names = ", ".join(text for method, text in _METHODS.items() if method in methods)
    return f"[low, high]: {percent(level)} intervals ({names})"


_METHODS = {
    "bca": "BCa bootstrap over rows, or over documents where rows belong to some",
    "wilson": "Wilson's for shares of rows",
    "jackknife": "jackknife for what other libraries score",
}


def baselines_table(
    scores: Mapping[str, Scores],
    baselines: Mapping[str, Mapping[str, Scores]],
    gains: Mapping[str, Mapping[str, Any]],
    metric: str,
) -> str:
    """The model and the baselines beside each other on the test rows (or the last split), and what it adds to them."""
    split = "test" if "test" in baselines else list(baselines)[-1]
    beside = {"the model": scores[split], **baselines[split]}
    names = [name for name in dict.fromkeys((metric, *_MAIN)) if name in scores[split]]
    rows = [[who, *(_cell(found.get(name)) for name in names)] for who, found in beside.items()]
    beside_each_other = table([split, *names], rows)
    return f"{beside_each_other}\n{gain_sentence(gains[split])}" if split in gains else beside_each_other


_MAIN = ("accuracy", "f1", "exact_match", "rouge1", "rouge2", "rougeL", "pearson", "mse")
"""Scores that are shown beside those of baselines, where a task has them."""


def gain_sentence(gain: Mapping[str, Any]) -> str:
    """Whether the model was worth its training."""
    verdicts = {"better": "better than", "worse": "worse than", "not distinguishable": "not distinguishable from"}
    interval = f"[{gain['low']:+.3f}, {gain['high']:+.3f}]"
    test = f" ({TESTS[gain['test']]})" if "test" in gain else ""  # older runs do not tell
    by = f"{gain['metric']} {gain['value']:+.4f} {interval}, p = {gain['p']:.2g}{test}, n = {gain['n']}"
    return f"the model is {verdicts[gain['verdict']]} {gain['baseline']}, the best baseline: {by}"


TESTS = {"mcnemar": "McNemar's exact test", "randomization": "answers swapped at random"}
"""What `p` is of, and the verdict with it."""


def calibration_note(calibration: Mapping[str, Mapping[str, Any]]) -> str:
    """The temperature, and the error of each split's probabilities before and after; empty where none was fitted."""
    if not calibration:
        return ""
    parts = [f"{split} {c['ece_before']:.3f} -> {c['ece_after']:.3f}" for split, c in calibration.items()]
    one = next(iter(calibration.values()))
    lines = [f"calibration error (ECE) {', '.join(parts)}, with the temperature {one['temperature']:.3f}"]
    if one["ece_after"] > one["ece_before"]:
        lines[0] += ": the likeliest one for the validation rows, by which this error is no smaller"
    if one["threshold"]:
        parts = [f"{split} {c['coverage']:.3f} ({c['precision']:.3f} right)" for split, c in calibration.items()]
        lines.append(f"answers given, at a probability of {one['threshold']:.3f} or more: {', '.join(parts)}")
    return "\n".join(lines)


def breakdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Precision, recall and F1 of each label."""
    cells = [[row["label"], *(f"{row[n]:.4f}" for n in ("precision", "recall")), _f1(row), row["n"]] for row in rows]
    return table(["label", "precision", "recall", "f1", "n"], cells)


def _f1(row: Mapping[str, Any]) -> str:
    return _cell({**row, "value": row["f1"]})
