"""A recipe made concrete and asked all that its trainings could fail of: for `train`, and for each study."""

from __future__ import annotations

from dataclasses import replace

from ftkit.engine import calibrate, distill, judge, learned, machine, pretrained, prune, sharding
from ftkit.engine.arguments import micro_batch
from ftkit.engine.nonfinite import refuse_overflow
from ftkit.engine.prepare import Prepared, prepare
from ftkit.engine.seeds import require_validation
from ftkit.recipe import Recipe


def cleared(recipe: Recipe, processes: int = 1) -> Prepared:
    """The recipe made concrete. Raises FTKitError for whatever stands against training it in so many processes."""
    machine.precision(recipe.train.precision)
    micro_batch(recipe.train, processes)
    sharding.check(recipe.train.sharding, processes)
    prepared = prepare(recipe)
    refuse_overflow(pretrained.read_config(prepared.base.path).model_type, recipe.train.precision)
    calibrate.check(prepared)
    require_validation(prepared)
    judge.check(prepared)
    distill.check(prepared)
    prune.check(prepared)
    warnings, notes = learned.told(prepared), learned.untold(prepared)
    return replace(prepared, warnings=(*prepared.warnings, *warnings), notes=(*prepared.notes, *notes))
