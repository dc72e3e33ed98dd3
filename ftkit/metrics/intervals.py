"""How far a score, or the difference of two, can be trusted: intervals over rows that might as well have been drawn.

Rows (or documents, where rows belong to some) are drawn with replacement, and the scores taken of the drawn rows' sums
(Efron 1979); the interval is bias-corrected and accelerated (BCa, Efron 1987), and wider where little is drawn
(Hesterberg 2015). Shares of single rows have Wilson's interval (1927), which holds near 0 and 1 where drawing again
cannot. Labels are left to chance like everything else in a row: draws that keep each label's number of rows know more
than the test set does, and their intervals are too narrow where labels are rare.

Whether two models differ is not read off an interval, which calls too many differences where documents are few: their
answers are swapped at random (Noreen 1989; Yeh 2000), which holds at any size, or McNemar's exact test (1947) is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics import ClassScores, Scores
from ftkit.metrics.tally import Floats, LabelTally, MeanTally, MomentTally, Tally

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LEVEL = 0.95
RESAMPLES = 2000
SEED = 13
PARTS = 20
"""Parts that `by_parts` leaves out in turn."""
FEWEST = 5
"""Rows or documents below which drawing them again tells nothing."""
_AT_ONCE = 4_000_000
"""Weights that are held at once."""


class Resampling(NamedTuple):
    """How scores are resampled."""

    level: float = LEVEL
    """Share of intervals that should hold the true value."""
    resamples: int = RESAMPLES
    seed: int = SEED


USUAL = Resampling()


def of_differences(level: float, resamples: int) -> Resampling:
    """How models are told apart, which takes draws also where scores are to have no intervals (no `resamples`)."""
    return Resampling(level, resamples or RESAMPLES)


@dataclass(frozen=True)
class Units:
    """What is drawn: different rows (or documents), and how many there are of each."""

    rows: csr_array
    times: NDArray[np.int64]

    def __len__(self) -> int:
        """How many are drawn."""
        return int(self.times.sum())


def units(rows: csr_array, groups: Sequence[int] | None = None) -> Units:
    """Rows of one group (0, 1, ...) added up, and equal ones counted."""
    if groups is not None:
        rows = _grouped(rows, groups)
    rows.sum_duplicates()
    ends, counts = rows.indptr, Counter[bytes]()
    first: dict[bytes, int] = {}
    for i in range(rows.shape[0]):
        part = slice(ends[i], ends[i + 1])
        key = rows.indices[part].tobytes() + rows.data[part].tobytes()
        counts[key] += 1
        first.setdefault(key, i)
    if len(first) > rows.shape[0] // 4:  # hardly any are equal
        return Units(rows, np.ones(rows.shape[0], dtype=np.int64))
    return Units(rows[list(first.values())], np.array(list(counts.values())))


def _grouped(rows: csr_array, groups: Sequence[int]) -> csr_array:
    from scipy.sparse import coo_array

    gather = coo_array((np.ones(len(groups)), (groups, range(len(groups)))), shape=(max(groups) + 1, len(groups)))
    return (gather.tocsr() @ rows).tocsr()


def drawn(units: Units, resampling: Resampling) -> Floats:
    """The sums of each draw, (resamples, columns)."""
    return _sums(units, resampling, lambda random, count: _draws(random, units.times, count))


def _sums(
    units: Units, resampling: Resampling, weigh: Callable[[np.random.Generator, int], NDArray[np.int64]]
) -> Floats:
    """Sums of units that `weigh` weighs anew each time, (resamples, columns), some at a time."""
    random = np.random.default_rng(resampling.seed)
    step = max(1, _AT_ONCE // units.rows.shape[0])
    counts = [min(step, resampling.resamples - start) for start in range(0, resampling.resamples, step)]
    return np.concatenate([(units.rows.T @ weigh(random, count).T.astype(float)).T for count in counts])


def _draws(random: np.random.Generator, times: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count, units): as many drawn as there are, each one as likely as it is frequent."""
    total, size = int(times.sum()), len(times)
    if size < total:
        return random.multinomial(total, times / total, size=count)
    places = random.integers(0, size, (count, size)) + np.arange(count)[:, None] * size
    return np.bincount(places.ravel(), minlength=count * size).reshape(count, size)


def scores(
    tally: Tally, groups: Sequence[int] | None = None, resampling: Resampling = USUAL
) -> tuple[Scores, list[ClassScores]]:
    """The tally's scores and its rows of labels, each with `low` and `high` (of a label: of its F1).

    There is none where no draws are wanted, where there are fewer than `FEWEST` rows or documents to draw (but for
    shares of rows), and where every draw gives the same: it would look like certainty.
    """
    found, of_labels = tally.scores(), tally.by_label()
    if not resampling.resamples:
        return found, of_labels
    resampled = units(tally.rows, groups)
    sums, left = drawn(resampled, resampling), _left_out(resampled, tally.total)
    values, out = tally.measure(sums), tally.measure(left)
    for name, entry in found.items():
        if name in _shares(tally) and groups is None:
            low, high = _wilson(entry["value"], entry["n"], resampling.level)
            found[name] = {**entry, "low": low, "high": high, "method": "wilson"}
            continue
        if len(resampled) < FEWEST:
            continue
        bounded = name != "mcc" and not isinstance(tally, MomentTally)
        low, high = bca(entry["value"], values[name], out[name], resampled.times, resampling.level, bounded)
        if low < high:
            found[name] = {**entry, "low": low, "high": high, "method": "bca"}
    if isinstance(tally, LabelTally):
        drawn_f1, left_f1 = tally.label_f1(sums), tally.label_f1(left)
        for i, row in enumerate(of_labels):
            if not row["n"] or len(resampled) < FEWEST:
                continue
            low, high = bca(row["f1"], drawn_f1[:, i], left_f1[:, i], resampled.times, resampling.level)
            if low < high:
                of_labels[i] = {**row, "low": low, "high": high}
    return found, of_labels


def _shares(tally: Tally) -> tuple[str, ...]:
    """Metrics to which each row adds one or nothing."""
    if not isinstance(tally, MeanTally):
        return tally.shares
    return tuple(name for name in tally.names if np.isin(tally.of(name)[0], (0.0, 1.0)).all())


def _left_out(units: Units, total: Floats) -> Floats:
    """The sums without one of each unit, (units, columns)."""
    return cast(Floats, total - units.rows.toarray())


def bca(
    value: float, drawn: Floats, left_out: Floats, times: NDArray[np.int64], level: float, bounded: bool = True
) -> tuple[float, float]:
    """The bias-corrected and accelerated interval of `value` (Efron 1987), its quantiles Student's (Hesterberg 2015).

    drawn: the value in each draw; left_out: the value without one of each unit, of which there are `times`. NaN says
    that it has none. Where every draw is alike, and the score, which lies between 0 and 1 (`bounded`), is at one of
    these, the interval's other end is where so many units in a row would be right (or wrong) with probability
    (1 - level) / 2.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    drawn, n = drawn[~np.isnan(drawn)], int(times.sum())
    if n < 2 or not len(drawn) or np.ptp(drawn) == 0:
        reach = 1 - ((1 - level) / 2) ** (1 / n)
        if bounded and value >= 1:
            return 1 - reach, 1.0
        return (0.0, reach) if bounded and value == 0 else (value, value)
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    bias = ndtri(np.clip(below, 1 / (len(drawn) + 1), len(drawn) / (len(drawn) + 1)))
    known = ~np.isnan(left_out)
    away = np.average(left_out[known], weights=times[known]) - left_out[known]
    second, third = (times[known] * away**2).sum(), (times[known] * away**3).sum()
    bend = third / (6 * second**1.5) if second > 0 else 0.0
    ends = bias + np.sqrt(n / (n - 1)) * stdtrit(n - 1, np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(drawn, ndtr(bias + ends / (1 - bend * ends)))
    return float(min(low, value)), float(max(high, value))


def _wilson(share: float, n: int, level: float) -> tuple[float, float]:
    from scipy.stats import binomtest

    found = binomtest(round(share * n), n).proportion_ci(level, "wilson")
    return float(found.low), float(found.high)


def by_parts(
    measure: Callable[[Sequence[int]], Mapping[str, float]],
    whole: Mapping[str, float],
    n: int,
    resampling: Resampling = USUAL,
    groups: Sequence[int] | None = None,
) -> dict[str, tuple[float, float]]:
    """Intervals of scores that are no function of sums: the jackknife over `PARTS` parts of the rows (Tukey 1958).

    `measure` gives the scores of the rows at some of `n` places, `whole` is those of all. Rows of one of the `groups`
    are left out together. Empty where there is one row, fewer than `FEWEST` groups, or no draws are wanted.
    """
    from scipy.stats import t

    unit = np.arange(n) if groups is None else np.asarray(groups)
    order = np.random.default_rng(resampling.seed).permutation(np.unique(unit))
    count = min(PARTS, len(order))
    if count < (2 if groups is None else FEWEST) or not resampling.resamples:
        return {}
    without = [measure(np.flatnonzero(~np.isin(unit, order[i::count])).tolist()) for i in range(count)]
    found = {}
    for name, value in whole.items():
        values = np.array([part[name] for part in without if name in part])
        if len(values) < 2:
            continue
        error = np.sqrt((len(values) - 1) * np.mean((values - values.mean()) ** 2))
        reach = t.ppf((1 + resampling.level) / 2, len(values) - 1) * error
        found[name] = float(value - reach), float(value + reach)
    return found


Verdict = Literal["better", "worse", "not distinguishable"]


class Difference(NamedTuple):
    """How much more one has of a score than the other, over the same rows."""

    value: float
    low: float
    high: float
    p: float
    """Probability of a difference at least as large if the two were alike."""
    test: Literal["mcnemar", "randomization"]
    """What `p` is of."""
    least: float | None
    """The smallest difference that the test would call one, as many answers differing; None where there is none."""
    apart: int | None = None
    """Rows that just one of the two has right, where McNemar's test counts them."""

    def verdict(self, level: float, lower_is_better: bool = False) -> Verdict:
        """What it says of the one that it is more of: a difference is one from a `p` of 1 - level."""
        if self.p > 1 - level:
            return "not distinguishable"
        return "worse" if (self.value > 0) == lower_is_better else "better"


def differences(
    one: Tally | Sequence[Tally],
    other: Tally | Sequence[Tally],
    groups: Sequence[int] | None = None,
    resampling: Resampling = USUAL,
) -> dict[str, Difference]:
    """`one` minus `other` in each score that both have, drawn together: a draw takes the same rows of both.

    Of several tallies a side (seeds) the scores are averaged, in each draw anew; the seeds themselves are not drawn.
    Of fewer than FEWEST groups the rows are drawn for the interval, as groups would show certainty; `p` is of groups.
    Raises ValueError where the tallies have different numbers of rows or are of different kinds.
    """
    ones, others = ([side] if isinstance(side, Tally) else list(side) for side in (one, other))
    both = set.intersection(*(set(tally.scores()) for tally in (*ones, *others)))
    ones, others = _alike(ones, others)
    together, total = _joined([*ones, *others], groups)
    resampled = together if len(together) >= FEWEST else _joined([*ones, *others], None)[0]
    sums, left = drawn(resampled, resampling), _left_out(resampled, total)
    whole, draws, out = (_less(ones, others, found) for found in (total, sums, left))
    swapped = _swapped(ones, others, together, total, resampling)
    found = {}
    for name, value in whole.items():
        if name not in both:
            continue
        low, high = bca(float(value), draws[name], out[name], resampled.times, resampling.level, bounded=False)
        p, test = _p(float(value), swapped[name]), "randomization"
        least, apart = _least(swapped[name], resampling.level), None
        mine, yours = ones[0], others[0]
        alone = groups is None and len(ones) == len(others) == 1
        if alone and name in mine.shares and isinstance(mine, LabelTally) and isinstance(yours, LabelTally):
            p, test = mcnemar(mine, yours), "mcnemar"
            least, apart = _least_discordant(mine, yours, resampling.level), _discordant(mine, yours)
        found[name] = Difference(float(value), low, high, p, cast(Any, test), least, apart)
    return found


def draws(
    tallies: Sequence[Tally], metric: str, groups: Sequence[int] | None = None, resampling: Resampling = USUAL
) -> tuple[Floats, Floats]:
    """A metric of several tallies over the same rows: (tallies), and in each draw of rows, (tallies, draws)."""
    alike, _ = _alike(list(tallies), [])
    together, total = _joined(alike, groups)
    ends = np.cumsum([tally.rows.shape[1] for tally in alike])[:-1]
    parts = zip(np.split(total, ends), np.split(drawn(together, resampling), ends, axis=1), strict=True)
    found = [
        (tally.measure(own)[metric], tally.measure(d)[metric]) for tally, (own, d) in zip(alike, parts, strict=True)
    ]
    return np.array([float(value) for value, _ in found]), np.stack([values for _, values in found])


def _alike(ones: list[Tally], others: list[Tally]) -> tuple[list[Tally], list[Tally]]:
    """The tallies with the same columns."""
    every = [*ones, *others]
    if len(sizes := dict.fromkeys(map(len, every))) > 1:
        raise ValueError(f"{' and '.join(f'{n} rows' for n in sizes)} can't be compared row by row")
    if len({(type(tally), getattr(tally, "kind", None)) for tally in every}) > 1:
        raise ValueError("tallies of different kinds can't be compared")
    names = tuple(dict.fromkeys(name for tally in every for name in tally.names))
    return [tally.under(names) for tally in ones], [tally.under(names) for tally in others]


def _joined(tallies: Sequence[Tally], groups: Sequence[int] | None) -> tuple[Units, Floats]:
    """Units of all the tallies' columns side by side, and their sums."""
    from scipy.sparse import hstack

    together = hstack([tally.rows for tally in tallies], format="csr")
    return units(together, groups), np.concatenate([tally.total for tally in tallies])


def _less(ones: Sequence[Tally], others: Sequence[Tally], sums: Floats) -> dict[str, Floats]:
    """Score -> the mean of `ones` minus the mean of `others`, of sums that stand side by side."""
    parts = np.split(sums, len(ones) + len(others), axis=-1)
    scores = [tally.measure(part) for tally, part in zip([*ones, *others], parts, strict=True)]
    mine, yours = scores[: len(ones)], scores[len(ones) :]
    return {
        name: np.mean([score[name] for score in mine], axis=0) - np.mean([score[name] for score in yours], axis=0)
        for name in scores[0]
    }


def _swapped(
    ones: Sequence[Tally], others: Sequence[Tally], together: Units, total: Floats, resampling: Resampling
) -> dict[str, Floats]:
    """The differences where about half of all units have changed sides, (resamples) each.

    Each of `ones` changes with each of `others`, and the mean is taken: at no change it is the difference itself.
    """
    moved = _sums(
        together, resampling, lambda random, count: random.binomial(together.times, 0.5, (count, len(together.times)))
    )
    parts = list(zip(*(np.split(sums, len(ones) + len(others), axis=-1) for sums in (total, moved)), strict=True))
    found: dict[str, list[Floats]] = {}
    for i, j in product(range(len(ones)), range(len(ones), len(parts))):
        (a, a_moved), (b, b_moved) = parts[i], parts[j]
        sides = np.concatenate([a - a_moved + b_moved, b - b_moved + a_moved], axis=-1)
        for name, values in _less([ones[i]], [others[j - len(ones)]], sides).items():
            found.setdefault(name, []).append(values)
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def _p(value: float, swapped: Floats) -> float:
    """The share of differences as large as `value`, itself among them."""
    as_large = np.abs(swapped) >= abs(value) * (1 - 1e-9)
    return float((as_large.sum() + 1) / (len(swapped) + 1))


def _least(swapped: Floats, level: float) -> float | None:
    """The smallest of the swapped differences whose p would be 1 - level or less."""
    sizes = np.sort(np.abs(swapped))
    as_large = len(sizes) - np.searchsorted(sizes, sizes * (1 - 1e-9))
    called = sizes[(as_large + 1) / (len(sizes) + 1) <= 1 - level]
    return float(called[0]) if len(called) and called[0] > 0 else None


def _discordant(one: LabelTally, other: LabelTally) -> int:
    """Rows that just one of the two has right."""
    return int((one.right != other.right).sum())


def _least_discordant(one: LabelTally, other: LabelTally, level: float) -> float | None:
    """The smallest difference in the share of right rows that McNemar's test calls one, as many being discordant."""
    from scipy.stats import binomtest

    discordant = _discordant(one, other)
    for won in range(discordant // 2 + 1, discordant + 1):
        if binomtest(won, discordant).pvalue <= 1 - level:
            return (2 * won - discordant) / len(one)
    return None


def mcnemar(one: LabelTally, other: LabelTally) -> float:
    """The exact p of McNemar's test (1947) on the rows that only one of the two has right as a whole."""
    from scipy.stats import binomtest

    only_one, only_other = int((one.right > other.right).sum()), int((one.right < other.right).sum())
    return float(binomtest(only_one, only_one + only_other).pvalue) if only_one + only_other else 1.0
