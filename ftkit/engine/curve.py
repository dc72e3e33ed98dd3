"""`data curve`: trains on growing parts of the training rows, and says what more rows would buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftkit.data.split import draw
from ftkit.engine import learned
from ftkit.engine.preflight import cleared
from ftkit.engine.prepare import Prepared
from ftkit.engine.study import Outcome, Study
from ftkit.errors import RecipeError
from ftkit.metrics import curve, intervals
from ftkit.metrics.evidence import Evidence
from ftkit.recipe import Recipe
from ftkit.run import CURVE
from ftkit.terminal import Progress, Say, silence

_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
_LEAST = 16
"""Training rows of the smallest part."""


@dataclass(frozen=True)
class Point:
    """The trainings on one number of rows."""

    rows: int
    each: tuple[float, ...]
    """Each one's score."""

    @property
    def value(self) -> float:
        """Their mean."""
        return float(np.mean(self.each))


@dataclass(frozen=True)
class Check:
    """What the curve of all smaller parts says of the largest one, which it was not shown."""

    rows: int
    expected: float
    low: float
    high: float
    found: float


@dataclass(frozen=True)
class Found(Outcome):
    """A learning curve and what it says."""

    points: tuple[Point, ...]
    gains: tuple[curve.Gain, ...]
    """Of the score, signed: below 0 for an error that falls."""
    check: Check
    expected: tuple[tuple[int, float], ...]
    """The fitted score at some numbers of rows, to draw a line through."""

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            **super().as_json(),
            "points": [{"rows": point.rows, "value": point.value, "each": list(point.each)} for point in self.points],
            "gains": [gain._asdict() for gain in self.gains],
            "check": asdict(self.check),
            "expected": [{"rows": rows, "value": value} for rows, value in self.expected],
        }


def learning_curve(
    recipe: Recipe,
    path: Path,
    more: Sequence[int] = (),
    seeds: int = 3,
    say: Say = silence,
    progress: Progress | None = None,
) -> Found:
    """Train `seeds` times on each of some growing parts of the training rows, scored on the test rows.

    Parts of one seed lie in one another, and labels keep their shares in each. `more`: numbers of rows whose worth is
    told; as many again, and four times as many, when not given. The study at `path` is gone on with where there is
    one. Raises FTKitError as `train` would, and where the rows are too few for a curve.
    """
    prepared = cleared(recipe)
    if recipe.augment.teacher:
        raise RecipeError("augment.teacher: each part of the rows would need a teacher of its own", "leave it out here")
    sizes = part_sizes(len(prepared.splits["train"]))
    each = range(recipe.train.seed, recipe.train.seed + seeds)
    with Study.open(path, recipe, prepared, say, progress or Progress(show=False)) as study:
        for warning in learned.of_parts(prepared):
            say(f"warning: {warning}")
        trained = {(size, seed): _train(study, prepared, size, seed) for size in sizes for seed in each}
        total = sizes[-1]
        found = _found(study, prepared, trained, list(more) or [total, 4 * total])
        study.run.write_json(CURVE, found.as_json())
    return found


def part_sizes(rows: int) -> list[int]:
    """Rows of each part, growing; the last is all. Raises RecipeError where there are too few for a curve."""
    sizes = sorted({max(_LEAST, round(share * rows)) for share in _SHARES} & set(range(rows + 1)))
    if len(sizes) < curve.FEWEST:
        raise RecipeError(
            f"{rows} training rows are too few to draw a curve through parts of them",
            "it takes 64, those held out for validation and test not counted",
        )
    return sizes


def _train(study: Study, prepared: Prepared, size: int, seed: int) -> Evidence:
    rows, label = prepared.splits["train"], prepared.task.stratify()
    places = draw(len(rows), size, seed=seed, labels=rows[label] if label else None)
    return study.train(f"rows-{size}", seed, lambda part: prepared.training(places)).evidence


def _found(study: Study, prepared: Prepared, trained: dict[tuple[int, int], Evidence], more: Sequence[int]) -> Found:
    metric, sign, level = prepared.metric, prepared.task.sign(prepared.metric), prepared.recipe.evaluate.level
    sizes = [size for size, _ in trained]
    values, draws = intervals.draws([e.tally for e in trained.values()], metric, study.groups)
    errors, drawn_errors = (1 - values, 1 - draws) if sign > 0 else (values, draws)
    order, means, drawn = curve.drawn_errors(sizes, errors, drawn_errors, prepared.recipe.data.seed)
    whole, curves = curve.fit(order, means), curve.fit(order, drawn)
    back = (lambda error: 1 - float(error)) if sign > 0 else float
    gains = [
        gain if sign > 0 else curve.Gain(gain.rows, -gain.value, -gain.high, -gain.low)
        for gain in curve.gains(whole, curves, order[-1], more, level)
    ]
    ends = np.geomspace(order[0], order[-1] + max(more), 40)
    return Found(
        **study.about,
        points=tuple(Point(size, tuple(values[i] for i, own in enumerate(sizes) if own == size)) for size in order),
        gains=tuple(gains),
        check=_check(order, means, drawn, level, back),
        expected=tuple((round(rows), back(whole.error(rows))) for rows in ends),
    )


def _check(order: list[int], means: Any, drawn: Any, level: float, back: Any) -> Check:
    """How near the curve of all parts but the largest comes to the largest."""
    before, draws = curve.fit(order[:-1], means[:-1]), curve.fit(order[:-1], drawn[:, :-1])
    ends = [back(end) for end in np.quantile(draws.error(order[-1]), ((1 - level) / 2, (1 + level) / 2))]
    return Check(order[-1], back(before.error(order[-1])), min(ends), max(ends), back(means[-1]))
