"""One training: the weights of one run, or of one fold of it, moved and kept. Every process of a run comes here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from datasets import Dataset
from transformers import set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ftkit import checkpoints
from ftkit.engine import distill, dropout, frozen, generate, infer, interrupt, machine, pretrained, prune, sharding
from ftkit.engine import model as models
from ftkit.engine.arguments import arguments, checkpoint_steps
from ftkit.engine.begun import code_hashes
from ftkit.engine.callbacks import Best, Clock, Keeping, Record, Sharing, Tidy
from ftkit.engine.causal import plain_attention
from ftkit.engine.checkpoint import Checkpoints
from ftkit.engine.lowered import lowered
from ftkit.engine.memory import Limit
from ftkit.engine.prepare import Prepared, describe, encode_training, sampled, weighting
from ftkit.engine.scoring import tallied
from ftkit.engine.steps import AtHand
from ftkit.engine.streamed import Streamed
from ftkit.engine.trainer import FTTrainer
from ftkit.engine.unpad import is_encoder, unpadded
from ftkit.errors import FTKitError, RecipeError
from ftkit.methods._layers import trainable
from ftkit.run import DATA, ENVIRONMENT, FITTED, MEMORY, RunDirectory
from ftkit.settings import TrainSpec
from ftkit.tasks._base import Prediction, Task
from ftkit.terminal import Progress, Say, silence

_FEW = 8


@dataclass(frozen=True)
class Fitted:
    """What a training tells besides its weights."""

    steps: int
    seconds: float
    examples: int
    """Rows that were learned from, copies not counted."""
    truncated: int
    """Of the examples, those that were cut."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the model was computed."""
    kept: str = ""
    """Which step's model was kept, for a person; empty where it is the last one."""


class Validation:
    """Scores a model on the validation rows, each process a share of them, as `eval` would."""

    def __init__(self, prepared: Prepared, rows: Dataset | None) -> None:
        self.prepared = prepared
        self.rows = rows

    def __call__(self, model: Any, rank: int, world: int) -> dict[str, float]:
        assert self.rows is not None
        p, numbers = self.prepared, range(rank, len(self.rows), world)
        examples = (self.rows[i] for i in numbers)
        found = infer.predict(model, p.task, p.tokenizer, p.labels, examples, p.recipe.evaluate)
        answers: dict[int, Prediction] = dict(gather_object(list(zip(numbers, found, strict=True))))
        said = [answers[i] for i in range(len(self.rows))]
        tally = None if type(p.task).score is not Task.score else tallied(p.task, said, self.rows, p.labels)
        scores = p.task.score(said, self.rows) if tally is None else tally.scores()
        return {name: score["value"] for name, score in scores.items()}


def fit(
    run: RunDirectory,
    prepared: Prepared,
    train: Dataset,
    progress: Progress,
    processes: int = 1,
    trial: Clock | None = None,
    say: Say = silence,
) -> Fitted:
    """Fine-tune on the rows of `train`, balanced as the recipe says, and leave the best model in the run.

    The best is the one with the best validation score; without validation rows, the last. Goes on from the run's newest
    checkpoint, if it has one; what is finished already is not trained again. Raises Interrupted where it is told to
    stop, once that is saved.
    A `trial` is timed by the clock given, saves no model, and keeps nothing outside of the run.
    """
    if (before := finished(run)) is not None:
        Checkpoints(run.checkpoints).clear()
        return before
    settings = prepared.recipe.train
    set_seed(settings.seed)
    model = _model(prepared)
    rows = _rows(prepared, train, trial is not None)
    if isinstance(rows, AtHand):
        pretrained.refuse_unknown_tokens(model, rows.dataset, prepared.tokenizer)
    validation = None if trial else prepared.splits.get("validation")
    args = arguments(settings, rows.size, run.path, validation is not None, model)
    pruned = prune.prune(model, prepared, rows.dataset)
    if isinstance(rows, AtHand):
        rows.dataset = distill.with_answers(
            prepared, train, rows.places, rows.dataset, args.process_index, args.world_size, say
        )
    clock = trial or Clock(progress, settings.batch, prepared.metric)
    whole = copy.deepcopy(model) if settings.sharding.name and args.process_index == 0 else model

    def save() -> None:
        _save(run, prepared, trainer, whole)

    best = _best(prepared, save) if validation else []
    kept = [clock, *best, *([rows] if isinstance(rows, Streamed) else [])]
    keeping = None if trial or settings.sharding.name else Keeping(run, checkpoint_steps(settings), kept, say)
    if keeping:
        keeping.resume(model, lambda: _lost(run))
    trainer = FTTrainer(
        model=model,
        args=args,
        task=prepared.task,
        settings=settings,
        weighting=weighting(prepared, train),
        tokenizer=prepared.tokenizer,
        objective=prepared.objective,
        rows=rows,
        validate=Validation(prepared, validation),
        callbacks=[Record(run), clock, Tidy(), *best],
        keeping=keeping,
        limit=_limit(run, settings, args.world_size, say),
        say=say,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    environment = _environment(args, model, processes, None if prepared.stream else args.num_train_epochs)
    if trainer.is_world_process_zero():
        _describe(run, prepared, rows, environment)
    notes = keeping.noted if keeping else ()
    trains = args.num_train_epochs > 0 and not (keeping and keeping.over)
    if trains:
        _check_metric(trainer, prepared)
        try:
            notes = _train(trainer, prepared, (run.path if trial else checkpoints.cache()) / "frozen", keeping, pruned)
        finally:
            progress.stop()
    steps = keeping.step if keeping else trainer.state.global_step
    kept_model = "".join(one.told(steps) for one in best)
    fitted = Fitted(steps, clock.seconds, rows.learned, rows.cut, (*notes, *rows.notes()), kept_model)
    if trial:
        return fitted
    leads = trainer.is_world_process_zero()
    if leads:
        _describe(run, prepared, rows, {**environment, "notes": notes})  # what went by of a stream is known now
        run.publish()
    if not args.num_train_epochs or not validation:
        save()  # by every process, where weights are split; a run without FITTED trains again, so that comes after it
    if leads:
        run.write_json(FITTED, vars(fitted))
        Checkpoints(run.checkpoints).clear()
    if keeping and trains:  # else what was asked for is an earlier training's
        interrupt.stop_if_asked("the training, which is saved")
    return fitted


def _describe(run: RunDirectory, prepared: Prepared, rows: Streamed | AtHand, environment: dict[str, Any]) -> None:
    """What is learned from, and what it is computed with."""
    run.write_json(ENVIRONMENT, environment)
    run.write_json(DATA, {**describe(prepared, rows.cut), **rows.told()})


def _model(prepared: Prepared) -> Any:
    """The checkpoint with the task's head, of which what the method says learns."""
    settings, spec = prepared.recipe.train, prepared.recipe.model
    model = pretrained.build(prepared.base.path, prepared.task, prepared.labels, spec.dropout, layers=spec.layers)
    if settings.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise RecipeError(
            f"train.activation_checkpointing: {type(model).__name__} can't compute its layers again",
            "set it to false, and lower train.batch_tokens where memory is short",
        )
    if writes := prepared.task.generation(model.config, prepared.tokenizer):
        generate.check(model, writes)
    model = prepared.method.apply(model, prepared.task.peft_name())
    dropout.install(model)
    return model


def _rows(prepared: Prepared, train: Dataset, is_trial: bool) -> Streamed | AtHand:
    """What is learned from, step by step; a trial takes the rows that it is given."""
    if prepared.stream and not is_trial:
        return Streamed(prepared)
    places = sampled(prepared, train)
    encoded, cut = encode_training(prepared, train, places)
    settings = prepared.recipe.train
    return AtHand(encoded, settings.batch, settings.seed, places, cut)


def _lost(run: RunDirectory) -> str:
    """What is wrong with the best model of a run; empty where it is whole."""
    try:
        models.refuse_damaged(run.model)
    except FTKitError as error:
        return error.message
    return ""


def finished(run: RunDirectory) -> Fitted | None:
    """What a training told that this run has behind it; None where it has none, or is in the midst of it."""
    if not run.has(FITTED):
        return None
    told = run.read_json(FITTED, needs=[one.name for one in fields(Fitted) if one.name != "kept"])
    return Fitted(**{**told, "notes": tuple(told["notes"])})


def _limit(run: RunDirectory, settings: TrainSpec, processes: int, say: Say) -> Limit:
    """The tokens that are computed at once: those of the recipe, or fewer where memory ran out before."""

    def found(tokens: int) -> None:
        run.follow()
        run.write_json(MEMORY, {"batch_tokens": min(tokens, _known(run, tokens))})
        say(
            f"note: memory ran out: from here on {tokens} tokens are computed at once (train.batch_tokens), a step in"
            " more parts with the same result"
        )

    return Limit(_known(run, settings.batch_tokens), found, alone=processes == 1)


def _known(run: RunDirectory, tokens: int) -> int:
    """What was found to fit before, if that is less than `tokens`."""
    return min(tokens, run.read_json(MEMORY)["batch_tokens"]) if run.has(MEMORY) else tokens


def _check_metric(trainer: FTTrainer, prepared: Prepared) -> None:
    """Raises RecipeError where the held-out rows' scores, here of the untrained model, lack the metric that decides."""
    metric = prepared.recipe.train.metric
    rows = prepared.splits.get("validation", prepared.splits.get("test"))
    if metric is None or rows is None:
        return
    known: dict[str, float] = {}
    for number in (min(_FEW, len(rows)), len(rows)):  # a few rows show most scores; some need a rare kind of row
        validation = Validation(prepared, rows.select(range(number)))
        known = validation(trainer.model, trainer.args.process_index, trainer.args.world_size)
        if metric in known:
            return
    raise RecipeError(f"train.metric: {metric!r} is no score of this task", f"there are: {', '.join(known)}")


def _train(
    trainer: FTTrainer, prepared: Prepared, store: Path, keeping: Keeping | None, pruned: str
) -> tuple[str, ...]:
    """Train; what a person should know of how. `store` is where the outputs of frozen layers are kept.

    `pruned` tells which weights were made zero.
    """
    model: Any = trainer.model
    if trainer.is_sharded:  # it keeps no checkpoints, and a signal ends it at once
        trainer.train()
        return (sharding.NOTE,)
    most = 0 if prepared.stream else int(prepared.recipe.train.frozen_cache * 2**30)
    code = sorted(code_hashes(prepared.recipe).items())  # one's own method may change what is frozen
    origin = f"{prepared.base.sha256} {prepared.contract.method} {prepared.recipe.model.layers} {pruned} {code}"
    with (
        interrupt.heeded() if keeping else nullcontext(),
        machine.memory_kept(),
        unpadded(model, prepared.task.reads_otherwise) as without_padding,
        plain_attention(model),
        frozen.computed_once(model, origin, store, most, prepared.task.reads_otherwise) as layers,
        lowered(model) as trainer.low,
    ):
        if layers:
            trainer.add_callback(Sharing(layers.exchange))

        def notes() -> tuple[str, ...]:
            padded = () if without_padding or not is_encoder(model) else (_PADDED,)
            return (*padded, *(layers.notes() if layers else ()))

        if keeping:
            keeping.publish, keeping.notes = layers.publish if layers else keeping.publish, notes
        trainer.train(resume_from_checkpoint=str(keeping.from_) if keeping and keeping.from_ else None)
        return notes()


_PADDED = "padding is computed too: this architecture's layers are not known to do without"


def _save(run: RunDirectory, prepared: Prepared, trainer: FTTrainer, whole: Any) -> None:
    """Keep the model in the run; every process has to call it, as each may have some of the weights."""
    weights = sharding.whole_weights(trainer.accelerator, trainer.model_wrapped) if trainer.is_sharded else None
    if not trainer.is_world_process_zero():
        return
    if weights:
        whole.load_state_dict(weights)
    run.write_model(lambda folder: models.save(folder, whole, prepared.tokenizer, prepared.method, prepared.contract))


def _best(prepared: Prepared, save: Callable[[], None]) -> list[Best]:
    """The callback that keeps the best model."""
    lower_is_better = prepared.metric in prepared.task.lower_is_better
    return [Best(save, prepared.metric, lower_is_better, prepared.recipe.train.patience)]


def _environment(args: Any, model: Any, processes: int, epochs: float | None) -> dict[str, Any]:
    learning, all_weights = trainable(model)
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    return {
        **machine.environment(),
        "precision": precision,
        "processes": processes,
        "epochs": epochs,
        "trainable_parameters": learning,
        "parameters": all_weights,
    }
