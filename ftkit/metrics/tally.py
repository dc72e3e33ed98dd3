"""What each row adds to a split's scores.

The sums over all rows give the scores; sums over rows that are drawn again give their intervals (`intervals`). So a
score is defined once, as a function of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics import ClassScores, Scores, require_pairs, score

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """Rows of numbers that add up, (rows, columns), and what they are called."""

    names: tuple[str, ...]
    """Labels or metrics that the columns are of."""
    rows: csr_array

    shares: ClassVar[tuple[str, ...]] = ()
    """Metrics to which a row adds one or nothing."""
    leading: ClassVar[int] = 0
    """Columns that stand before those of `names`."""
    blocks: ClassVar[int] = 0
    """Columns that each of `names` has; the first of every name stand together, then the second, and so on."""

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def total(self) -> Floats:
        """The sums over all rows, (columns)."""
        return np.asarray(self.rows.sum(axis=0), dtype=float)

    def under(self, names: tuple[str, ...]) -> Self:
        """This tally with the columns of `names`, among which its own are: so that rows of several can be mixed."""
        from scipy.sparse import coo_array

        if names == self.names or not self.blocks:
            return self
        number = {name: i for i, name in enumerate(names)}
        own = [self.leading + block * len(names) + number[n] for block in range(self.blocks) for n in self.names]
        place = np.array([*range(self.leading), *own], dtype=np.int64)
        rows = self.rows.tocoo()
        shape = len(self), self.leading + self.blocks * len(names)
        wider = coo_array((rows.data, (rows.row, place[rows.col])), shape=shape).tocsr()
        return replace(self, names=names, rows=wider)

    def scores(self) -> Scores:
        """The metrics over all rows."""
        total = self.total
        sizes = self.sizes(total)
        return {name: score(value, sizes[name]) for name, value in self.measure(total).items()}

    def by_label(self) -> list[ClassScores]:
        """A row of scores for each label; none where there are no labels."""
        return []

    def measure(self, sums: Floats) -> dict[str, Floats]:
        """Metric -> its value for each row of sums: (..., columns) to (...)."""
        raise NotImplementedError

    def sizes(self, total: Floats) -> Mapping[str, int]:
        """Metric -> the number of cases that it is taken over."""
        raise NotImplementedError


@dataclass(frozen=True)
class LabelTally(Tally):
    """How often each label was predicted rightly, was predicted and is true: precision, recall and F1 come of it.

    Columns: one for each row; one for rows that are right as a whole; then for each of `names` right, predicted, true.
    """

    kind: Literal["single", "multi", "entities"] = "single"

    shares: ClassVar[tuple[str, ...]] = ("accuracy",)
    leading: ClassVar[int] = 2
    blocks: ClassVar[int] = 3

    @property
    def right(self) -> Floats:
        """1 for each row that is right as a whole, (rows)."""
        return _column(self.rows, 1)

    @property
    def truth(self) -> list[str]:
        """The true label of each row, which has one."""
        return [self.names[place] for place in self.rows[:, -len(self.names) :].argmax(axis=1).ravel().tolist()]

    def counts(self, sums: Floats) -> tuple[Floats, Floats, Floats]:
        """(right, predicted, true), each (..., labels)."""
        right, said, true = np.split(sums[..., 2:], 3, axis=-1)
        return right, said, true

    def measure(self, sums: Floats) -> dict[str, Floats]:
        """Accuracy where a row can be right as a whole, averages of precision, recall and F1, and what goes with them.

        Macro averages take the labels that occur in the truth or in the predictions, as scikit-learn does when it
        is given no labels: one that a small test set happens to lack does not pull the mean down.
        """
        right, said, true = self.counts(sums)
        averages = _averages(right, said, true)
        if self.kind == "entities":
            values = {name: averages[f"micro_{name}"] for name in ("precision", "recall", "f1")}
            return {**values, "macro_f1": averages["f1"], "weighted_f1": averages["weighted_f1"]}
        n = sums[..., 0]
        accuracy = _ratio(sums[..., 1], n)
        if self.kind == "single":
            return {"accuracy": accuracy, **averages, "mcc": _matthews(right, said, true, n)}
        wrong = said.sum(-1) + true.sum(-1) - 2 * right.sum(-1)
        return {"accuracy": accuracy, "hamming_accuracy": 1 - _ratio(wrong, n * len(self.names)), **averages}

    def sizes(self, total: Floats) -> Mapping[str, int]:
        """Rows; for entities the true ones."""
        cases = int(self.counts(total)[2].sum()) if self.kind == "entities" else len(self)
        return dict.fromkeys(self.measure(total), cases)

    def by_label(self) -> list[ClassScores]:
        """Precision, recall and F1 of each label, in the order of `names`."""
        counts = self.counts(self.total)
        columns = zip(self.names, *_ratios(*counts), counts[2], strict=True)
        return [
            {"label": name, "precision": float(p), "recall": float(r), "f1": float(f1), "n": int(n)}
            for name, p, r, f1, n in columns
        ]

    def label_f1(self, sums: Floats) -> Floats:
        """F1 of each label, (..., labels); NaN where it neither occurs nor was predicted."""
        right, said, true = self.counts(sums)
        return np.where(said + true > 0, _ratios(right, said, true)[2], np.nan)


@dataclass(frozen=True)
class MeanTally(Tally):
    """Means over rows. Columns: for each of `names` its value, then for each of them 1 where it is asked of the row."""

    blocks: ClassVar[int] = 2

    def of(self, name: str) -> tuple[Floats, NDArray[np.bool_]]:
        """A metric's value for each row, and whether it is asked of the row; (rows) each."""
        place = self.names.index(name)
        return _column(self.rows, place), _column(self.rows, len(self.names) + place) > 0

    def measure(self, sums: Floats) -> dict[str, Floats]:
        """The mean of each."""
        values, weights = np.split(sums, 2, axis=-1)
        return dict(zip(self.names, np.moveaxis(_ratio(values, weights), -1, 0), strict=True))

    def sizes(self, total: Floats) -> Mapping[str, int]:
        """The rows that each is asked of."""
        return {name: int(n) for name, n in zip(self.names, total[len(self.names) :], strict=True)}


@dataclass(frozen=True)
class MomentTally(Tally):
    """Sums that correlations and the errors of numbers come of; truth and predictions stand centred and scaled."""

    @property
    def errors(self) -> Floats:
        """How far each row's prediction is from its truth, (rows)."""
        return _column(self.rows, _MOMENTS.index("absolute"))

    def measure(self, sums: Floats) -> dict[str, Floats]:
        """Pearson's and Spearman's correlation, mean squared and mean absolute error, and R squared.

        Spearman's takes the ranks among all rows, drawn again or not. What is undefined is 0.
        """
        s = dict(zip(_MOMENTS, np.moveaxis(sums, -1, 0), strict=True))
        squared, absolute = _ratio(s["squared"], s["n"]), _ratio(s["absolute"], s["n"])
        spread = s["tt"] - _ratio(s["t"] ** 2, s["n"])
        return {
            "pearson": _correlation(s["n"], s["t"], s["p"], s["tt"], s["pp"], s["tp"]),
            "spearman": _correlation(s["n"], s["rt"], s["rp"], s["rtt"], s["rpp"], s["rtp"]),
            "mse": squared,
            "mae": absolute,
            "r2": np.where(spread > _TINY, 1 - _ratio(s["scaled"], spread), np.where(s["scaled"] > 0, 0.0, 1.0))
            * (s["n"] > 1),
        }

    def sizes(self, total: Floats) -> Mapping[str, int]:
        """Rows."""
        return dict.fromkeys(("pearson", "spearman", "mse", "mae", "r2"), len(self))


_MOMENTS = ("n", "squared", "absolute", "scaled", "t", "p", "tt", "pp", "tp", "rt", "rp", "rtt", "rpp", "rtp")
_TINY = 1e-12


def labels(
    truth: Sequence[Collection[Hashable]],
    predicted: Sequence[Collection[Hashable]],
    names: Collection[str],
    kind: Literal["single", "multi", "entities"],
    label: Callable[[Any], str] = str,
) -> LabelTally:
    """A tally of rows that each hold a set of items; `label` says under which of `names` an item is counted.

    Raises ValueError for an item under a name that `names` lacks.
    """
    require_pairs(truth, predicted)
    column = {name: i for i, name in enumerate(dict.fromkeys(names))}
    unknown = sorted({label(item) for row in (*truth, *predicted) for item in row} - set(column))
    if unknown:
        raise ValueError(f"labels {unknown} are not among {list(names)}")
    places: list[tuple[int, int]] = []
    for i, (expected, found) in enumerate(zip(truth, predicted, strict=True)):
        true, said = set(expected), set(found)
        places.append((i, 0))
        if true == said:
            places.append((i, 1))
        for part, items in enumerate((true & said, said, true)):
            places += [(i, 2 + part * len(column) + column[label(item)]) for item in items]
    shape = len(truth), 2 + 3 * len(column)
    return LabelTally(tuple(column), _sparse(places, np.ones(len(places)), shape), kind)


def means(values: Mapping[str, Sequence[float | None]]) -> MeanTally:
    """A tally of means; None where a metric is not asked of a row. A metric that no row is asked is left out."""
    kept = {name: column for name, column in values.items() if any(value is not None for value in column)}
    filled = [[0.0 if value is None else value for value in column] for column in kept.values()]
    asked = [[float(value is not None) for value in column] for column in kept.values()]
    return MeanTally(tuple(kept), _dense(np.array([*filled, *asked]).T))


def moments(truth: Floats, predicted: Floats) -> MomentTally:
    """A tally of numbers and their predictions."""
    from scipy.stats import rankdata

    true, said = _standard(truth), _standard(predicted)
    rank_true, rank_said = _standard(rankdata(truth)), _standard(rankdata(predicted))
    wrong = truth - predicted
    scale = np.ptp(truth) or 1.0
    columns = [np.ones_like(truth), wrong**2, np.abs(wrong), (wrong / scale) ** 2]
    for a, b in ((true, said), (rank_true, rank_said)):
        columns += [a, b, a * a, b * b, a * b]
    return MomentTally((), _dense(np.stack(columns, axis=1)))


def _standard(values: Floats) -> Floats:
    """Centred, and divided by their range; zeros where all are equal."""
    # The range tells, not the variance: the mean of equal floats can differ from them in the last bit.
    width = np.ptp(values)
    return (values - values.mean()) / width if width else np.zeros_like(values)


def _correlation(n: Floats, a: Floats, b: Floats, aa: Floats, bb: Floats, ab: Floats) -> Floats:
    together = ab - _ratio(a * b, n)
    spread = np.clip(aa - _ratio(a * a, n), 0, None) * np.clip(bb - _ratio(b * b, n), 0, None)
    return np.where(spread > _TINY**2, np.clip(_ratio(together, np.sqrt(spread)), -1, 1), 0.0)


def _averages(right: Floats, said: Floats, true: Floats) -> dict[str, Floats]:
    """`precision`, `recall` and `f1` as macro averages, then `micro_` and `weighted_` ones."""
    occurs = (said + true) > 0
    of_labels = _ratios(right, said, true)
    pooled = _ratios(right.sum(-1), said.sum(-1), true.sum(-1))
    values = {}
    for name, each, micro in zip(("precision", "recall", "f1"), of_labels, pooled, strict=True):
        values[name] = _ratio((each * occurs).sum(-1), occurs.sum(-1))
        values[f"micro_{name}"] = micro
        values[f"weighted_{name}"] = _ratio((each * true).sum(-1), true.sum(-1))
    return values


def _ratios(right: Floats, said: Floats, true: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1."""
    return _ratio(right, said), _ratio(right, true), _ratio(2 * right, said + true)


def _matthews(right: Floats, said: Floats, true: Floats, n: Floats) -> Floats:
    """0 where either side has one label only, as scikit-learn has it."""
    chance = (said * true).sum(-1)
    spread = (n * n - (said * said).sum(-1)) * (n * n - (true * true).sum(-1))
    return _ratio(right.sum(-1) * n - chance, np.sqrt(np.clip(spread, 0, None)))


def _ratio(part: Any, whole: Any) -> Floats:
    """What has nothing to divide by is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    found: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
    return found


def _column(rows: csr_array, place: int) -> Floats:
    return np.asarray(rows[:, [place]].toarray(), dtype=float).ravel()


def _sparse(places: Iterable[tuple[int, int]], values: Floats, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import coo_array

    rows, columns = np.array(list(places), dtype=np.int64).reshape(-1, 2).T
    return coo_array((values, (rows, columns)), shape=shape).tocsr()


def _dense(rows: Floats) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array(rows)
