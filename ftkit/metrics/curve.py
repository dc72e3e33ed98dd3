"""How a score grows with the number of training rows, and what more of them would buy.

Errors of models fall with the number of rows as a power does, towards a floor (Hestness et al. 2017; Viering and Loog
2023): error(n) = floor + scale * n ** -power. Fitted in relative terms, as small and large errors are about equally
sure in these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftkit.metrics.tally import Floats

_POWERS = np.geomspace(0.05, 2.0, 60)
"""Exponents that are tried; a curve that falls slower than the first can't be told from a flat one."""
FEWEST = 4
"""Sizes that a curve of three parameters needs."""


class Gain(NamedTuple):
    """What some more rows are expected to add to a score."""

    rows: int
    value: float
    low: float
    high: float


class Curve(NamedTuple):
    """error(n) = floor + scale * n ** -power; each a number, or an array with one for each of several draws."""

    floor: Floats
    scale: Floats
    power: Floats

    def error(self, rows: float) -> Floats:
        """At a number of training rows."""
        return self.floor + self.scale * float(rows) ** -self.power


def fit(sizes: Sequence[int], errors: Floats) -> Curve:
    """The curve of least squared relative residuals through errors (draws, sizes), or (sizes).

    Neither floor nor scale is below 0: more rows never cost anything.
    """
    errors = np.maximum(np.asarray(errors, dtype=float), 1e-6)
    flat = np.atleast_2d(errors)
    found = [_at(power, np.asarray(sizes, dtype=float), flat) for power in _POWERS]
    residuals = np.stack([residual for _, _, residual in found])
    best = residuals.argmin(0)
    floor, scale = (np.stack(part)[best, np.arange(len(flat))] for part in list(zip(*found, strict=True))[:2])
    curve = Curve(floor, scale, _POWERS[best])
    return curve if errors.ndim == 2 else Curve(*(part[0] for part in curve))


def _at(power: float, sizes: Floats, errors: Floats) -> tuple[Floats, Floats, Floats]:
    """(floor, scale, sum of squared relative residuals) of each row of errors, for one power.

    Both are of relative least squares with neither below 0: of two unknowns, that is the free solution where it is
    allowed, else the better of the two with one of them 0.
    """
    x, y = 1 / errors, sizes**-power / errors
    xx, yy, xy = (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)
    determinant = xx * yy - xy**2
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = (x.sum(1) * yy - y.sum(1) * xy) / determinant
        scale = (y.sum(1) * xx - x.sum(1) * xy) / determinant
    only_floor, only_scale, nothing = x.sum(1) / xx, y.sum(1) / yy, np.zeros(len(errors))
    tried = [(floor, scale), (only_floor, nothing), (nothing, only_scale)]
    residuals = np.stack([((a[:, None] * x + b[:, None] * y - 1) ** 2).sum(1) for a, b in tried])
    residuals[0][~((floor >= 0) & (scale >= 0))] = np.inf
    best, rows = residuals.argmin(0), np.arange(len(errors))
    floors, scales = (np.stack([pair[i] for pair in tried])[best, rows] for i in (0, 1))
    return floors, scales, residuals[best, rows]


def drawn_errors(sizes: Sequence[int], errors: Floats, draws: Floats, seed: int) -> tuple[list[int], Floats, Floats]:
    """Mean errors by size: (sizes, their means, and the means of each draw), for trainings of the given sizes.

    errors: (trainings), over all test rows. draws: (trainings, draws), over test rows that were drawn again, the same
    ones for all trainings. What trainings of one size differ by is added at random: its relative spread is pooled over
    the sizes, and has the t distribution of so few trainings.
    """
    order = sorted(set(sizes))
    members = [np.flatnonzero(np.asarray(sizes) == size) for size in order]
    means = np.array([errors[places].mean() for places in members])
    spread, freedom = _spread(errors, members, means)
    noise = _noise(spread, freedom, draws.shape[1], [len(places) for places in members], seed)
    drawn = np.stack([draws[places].mean(0) for places in members], axis=1)
    return order, means, drawn * (1 + noise)


def _spread(errors: Floats, members: Sequence[NDArray[np.intp]], means: Floats) -> tuple[float, int]:
    """The relative standard deviation of trainings of one size, and its degrees of freedom."""
    freedom = sum(len(places) - 1 for places in members)
    squares = sum(
        float((((errors[places] - mean) / max(mean, 1e-6)) ** 2).sum())
        for places, mean in zip(members, means, strict=True)
    )
    return (squares / freedom) ** 0.5 if freedom else 0.0, freedom


def _noise(spread: float, freedom: int, draws: int, counts: Sequence[int], seed: int) -> Floats:
    if not freedom:
        return np.zeros((draws, len(counts)))
    random = np.random.default_rng(seed).standard_t(freedom, (draws, len(counts)))
    return spread * random / np.sqrt(counts)


def gains(curve: Curve, drawn: Curve, rows: int, more: Sequence[int], level: float) -> list[Gain]:
    """What each number of `more` rows adds to `rows`: by the curve, with an interval over the drawn curves."""
    found = []
    for count in more:
        falls = drawn.error(rows) - drawn.error(rows + count)
        low, high = np.quantile(falls, ((1 - level) / 2, (1 + level) / 2))
        value = float(curve.error(rows) - curve.error(rows + count))
        found.append(Gain(count, value, min(float(low), value), max(float(high), value)))
    return found
