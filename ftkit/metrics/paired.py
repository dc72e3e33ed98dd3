"""Whether a change helps: the same trainings with and without it, over several seeds and the same test rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ftkit.metrics.intervals import USUAL, Resampling, draws
from ftkit.metrics.tally import Floats, Tally


class Paired(NamedTuple):
    """How much more of a score trainings with a change have than those without."""

    without: float
    """Mean score of the trainings without the change."""
    value: float
    """Mean difference."""
    low: float
    high: float
    each: tuple[float, ...]
    """The difference of each pair."""


def paired(
    without: Sequence[Tally],
    with_it: Sequence[Tally],
    metric: str,
    groups: Sequence[int] | None = None,
    resampling: Resampling = USUAL,
) -> Paired:
    """The mean difference of pairs of trainings, and an interval over both trainings and test rows.

    Its variance is that of the mean over test rows that are drawn again, and that of the pairs; the t distribution's
    degrees of freedom are Welch and Satterthwaite's (1946), for few pairs say little of how much pairs differ. Pairs
    differ by test rows too, which is counted twice: the interval is rather too wide than too narrow. Rows of one of the
    `groups` are drawn together. Raises ValueError where there are fewer than two pairs.
    """
    from scipy.stats import t

    count = len(without)
    if count < 2 or len(with_it) != count:
        raise ValueError(f"{count} trainings without and {len(with_it)} with the change are no pairs")
    values, drawn = draws([*without, *with_it], metric, groups, resampling)
    each: Floats = values[count:] - values[:count]
    of_rows = (drawn[count:] - drawn[:count]).mean(0).var(ddof=1) if drawn.shape[1] > 1 else 0.0
    of_pairs = each.var(ddof=1) / count
    variance = of_rows + of_pairs
    units = len(without[0]) if groups is None else len(set(groups))
    lost = of_pairs**2 / (count - 1) + of_rows**2 / max(1, units - 1)
    freedom = variance**2 / lost if lost else 1.0
    reach = t.ppf((1 + resampling.level) / 2, freedom) * np.sqrt(variance)
    value = float(each.mean())
    return Paired(
        float(values[:count].mean()), value, value - float(reach), value + float(reach), tuple(map(float, each))
    )
