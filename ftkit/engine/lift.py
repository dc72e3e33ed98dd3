"""`augment --lift`: trains with and without variants, and says whether they help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from datasets import Dataset

from ftkit.data.split import draw, draw_each
from ftkit.engine import judge
from ftkit.engine.arguments import epochs
from ftkit.engine.preflight import cleared
from ftkit.engine.prepare import Prepared, augmented, sampled
from ftkit.engine.study import Done, Outcome, Study
from ftkit.errors import RecipeError
from ftkit.metrics.intervals import of_differences
from ftkit.metrics.paired import Paired, paired
from ftkit.plugins import Choice
from ftkit.recipe import Recipe
from ftkit.run import LIFT, RunDirectory
from ftkit.settings import AugmentSpec
from ftkit.terminal import Progress, Say, silence


@dataclass(frozen=True)
class Lift:
    """What variants by some augmenters add to a score."""

    by: str
    variants: float
    """Variants of a training, on average."""
    found: Paired
    lower_is_better: bool

    @property
    def verdict(self) -> str:
        """`helps`, `hurts`, or that these trainings can't tell."""
        if self.found.low <= 0 <= self.found.high:
            return "can't be told"
        return "hurts" if (self.found.value > 0) == self.lower_is_better else "helps"


@dataclass(frozen=True)
class Lifted(Outcome):
    """All that was tried, against the same trainings without variants."""

    seeds: int
    training_rows: int
    lifts: tuple[Lift, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            **super().as_json(),
            "seeds": self.seeds,
            "training_rows": self.training_rows,
            "lifts": [
                {"by": lift.by, "variants": lift.variants, "verdict": lift.verdict, **lift.found._asdict()}
                for lift in self.lifts
            ],
        }


def lift(
    recipe: Recipe,
    path: Path,
    *,
    each: bool = False,
    seeds: int = 3,
    per_label: int | None = None,
    rows: int | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Lifted:
    """Train `seeds` times with the recipe's variants and as often without, and compare them on the test rows.

    All take as many steps, those of the most rows: without variants rows are gone over more often, so that what is told
    is what variants do, not what longer training does. For the same reason `train.patience` ends none of them, and
    `train.evaluate_every: epoch` is `auto`.

    each: every augmenter alone instead of all together. per_label, rows: train on so many rows of each label, or so
    many rows; every seed draws its own. The study at `path` is gone on with where there is one. Raises FTKitError as
    `train` would, and where the recipe names no augmenter.
    """
    asked = recipe.augment
    if not asked.by:
        raise RecipeError("augment.by: the recipe names no augmenter", "--set 'augment.by=[swap, keyboard]'")
    prepared = cleared(recipe.model_copy(update={"augment": AugmentSpec()}))
    judge.check(replace(prepared, recipe=recipe))
    if per_label is not None and prepared.task.stratify() is None:
        raise RecipeError("--per-label: rows of this task have no label", "say --rows")
    tried = _each(asked) if each else {_name(asked.by): asked}
    plain: list[Done] = []
    others: dict[str, list[Done]] = {name: [] for name in tried}
    how = {"each": each, "per_label": per_label, "rows": rows}
    with Study.open(path, recipe, prepared, say, progress or Progress(show=False), how) as study:
        for seed in range(recipe.train.seed, recipe.train.seed + seeds):
            some = _drawn(prepared, per_label, rows, seed)
            size = len(some.splits["train"])
            steps = _steps(recipe, len(sampled(some, some.splits["train"])), tried.values())
            plain.append(study.train(f"{size}-without", seed, partial(_plain, some), steps))
            for name, spec in tried.items():
                varied = partial(_varied, some, spec.model_copy(update={"seed": seed}), study)
                others[name].append(study.train(f"{size}-{name}", seed, varied, steps))
        return _lifted(study, plain, others, size)


def _each(asked: AugmentSpec) -> dict[str, AugmentSpec]:
    """Each augmenter alone; of one name, the second and others are numbered."""
    found: dict[str, AugmentSpec] = {}
    for choice in asked.by:
        name = _name([choice])
        count = sum(_name([other]) == name for other in asked.by[: len(found)])
        found[f"{name}-{count + 1}" if count else name] = asked.model_copy(update={"by": (choice,)})
    return found


def _name(by: Sequence[Choice]) -> str:
    """What augmenters are called together; as a folder can be."""
    return "+".join(Path(choice.name).stem for choice in by)


def _drawn(prepared: Prepared, per_label: int | None, rows: int | None, seed: int) -> Prepared:
    """The same with some of the training rows alone."""
    train, label = prepared.splits["train"], prepared.task.stratify()
    if per_label is not None:
        places = draw_each(train[label], per_label, seed=seed)
    else:
        places = draw(len(train), rows or len(train), seed=seed)
    return replace(
        prepared,
        splits={**prepared.splits, "train": train.select(places)},
        stored=prepared.stored.select(places),
    )


def _steps(recipe: Recipe, size: int, tried: Iterable[AugmentSpec]) -> int:
    """The steps that the recipe takes where every augmenter makes all the variants that it is asked for."""
    wished = max(len(spec.by) * spec.copies * spec.share for spec in tried)
    rows = round(size * (1 + wished))
    return max(1, round(epochs(recipe.train, rows) * -(-rows // recipe.train.batch)))


def _plain(some: Prepared, part: RunDirectory) -> Dataset:
    return some.splits["train"]


def _varied(some: Prepared, spec: AugmentSpec, study: Study, part: RunDirectory) -> Dataset:
    """The training rows with their variants behind them."""
    recipe = part.recipe.model_copy(update={"augment": spec})
    prepared = judge.filtered(part, augmented(replace(some, recipe=recipe)), study.progress, study.say)
    return prepared.training()


def _lifted(study: Study, plain: Sequence[Done], others: dict[str, list[Done]], size: int) -> Lifted:
    prepared = study.prepared
    settings, metric = prepared.recipe.evaluate, prepared.metric
    resampling = of_differences(settings.level, settings.resamples)
    groups = study.groups
    lifts = []
    for name, done in others.items():
        found = paired([d.evidence.tally for d in plain], [d.evidence.tally for d in done], metric, groups, resampling)
        variants = fmean(d.given - size for d in done)
        lifts.append(Lift(name, variants, found, prepared.task.sign(metric) < 0))
    result = Lifted(**study.about, seeds=len(plain), training_rows=size, lifts=tuple(lifts))
    study.run.write_json(LIFT, result.as_json())
    return result
