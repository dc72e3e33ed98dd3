"""What happens beside the training loop.

The run's log, the best model and early stopping, checkpoints, what processes share of frozen layers, the time and the
progress line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from ftkit.engine import interrupt, machine
from ftkit.engine.adamw import RowAdamW
from ftkit.engine.checkpoint import STATE, Checkpoints, put_weights, read, snapshot
from ftkit.errors import Interrupted, RecipeError
from ftkit.run import RunDirectory
from ftkit.terminal import Progress, Say


class Record(TrainerCallback):
    """Publishes the run with the first step; logs each step's loss, norm and rate, and each validation's scores."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.run.rewind_log(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.run.publish()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        entry = {name.removeprefix("eval_"): value for name, value in logs.items() if name != "epoch"}
        kind = "train" if "loss" in logs else "validation"
        self.run.log({"step": state.global_step, "epoch": round(state.epoch or 0, 4), "kind": kind, **entry})


class Tidy(TrainerCallback):
    """Gives back, now and then, what steps have freed: of steps of ever other sizes, pieces are left that grow."""

    every = 200
    """Steps; to take it anew costs a step's time or two."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            machine.give_back()


class Best(TrainerCallback):
    """Keeps the model with the best validation score in the run, and stops when it has not improved for long.

    Every process calls `save`: where weights are split, each has some of them.
    """

    def __init__(self, save: Callable[[], None], metric: str, lower_is_better: bool, patience: int | None) -> None:
        self.save, self.metric, self.sign = save, metric, -1 if lower_is_better else 1
        self.patience, self.best, self.worse = patience, -math.inf, 0
        self.step = 0
        """The one that the best model is of; 0 where none is known."""

    def told(self, steps: int) -> str:
        """Which of a training's models was kept, for a person; empty where it is not known."""
        score = f"the best validation {self.metric}, {self.sign * self.best:.4f}"
        return f"kept: the model of step {self.step:,} of {steps:,}, {score}" if self.step else ""

    def state(self) -> dict[str, Any]:
        """What is known so far."""
        return {"best": self.best, "worse": self.worse, "step": self.step}

    def put_state(self, state: dict[str, Any]) -> None:
        """Know what was known then."""
        self.best, self.worse = state["best"], state["worse"]
        self.step = state.get("step", 0)  # older checkpoints do not tell

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> Any:
        value = self.sign * metrics[f"eval_{self.metric}"]
        if math.isnan(value):
            raise RecipeError(f"train.metric: {self.metric} of the validation rows is no number", "name another score")
        if value > self.best:
            self.best, self.worse, self.step = value, 0, state.global_step
            self.save()
        else:
            self.worse += 1
            control.should_training_stop |= self.patience is not None and self.worse >= self.patience
        return control


class Keeping(TrainerCallback):
    """Writes checkpoints, as often as is asked for and where the training is told to stop; goes on from one.

    `every` counts steps: None is as often as costs a hundredth of the time, 0 only where the training is stopped.
    `kept` are callbacks with a state of their own (`state`, `put_state`). Beside the end of an epoch a checkpoint
    waits for its validation, which belongs to the epoch.
    """

    def __init__(self, run: RunDirectory, every: int | None, kept: Sequence[Any], say: Say) -> None:
        self.run, self.every, self.kept, self.say = run, every, kept, say
        self.from_ = Checkpoints(run.checkpoints).newest(say)
        """The checkpoint that the training goes on from."""
        self.over = False
        """Whether nothing was left to learn after it."""
        self.publish: Callable[[], None] = lambda: None
        """Sees to the disk what is kept outside of checkpoints and they count on; called before each."""
        self.notes: Callable[[], tuple[str, ...]] = lambda: ()
        """What a person should know of how the model is computed."""
        self.noted: tuple[str, ...] = ()
        """What that was when the checkpoint was written."""
        self._save = self._stop = False
        self.step = 0
        """Steps behind it."""
        self._last, self._cost = time.monotonic(), 0.0

    # ------------------------------------------------------------------ going on

    def resume(self, model: Any, best_lost: Callable[[], str]) -> None:
        """Give the model, and the callbacks, what the newest checkpoint has for them.

        Raises RunError where it tells of a best model that is not there any more, as `best_lost` says: no later one
        may be better.
        """
        if self.from_ is None:
            return
        state = read(self.from_, STATE)
        if any(its.get("best", -math.inf) > -math.inf for its in state["callbacks"]) and (lost := best_lost()):
            raise Checkpoints(self.run.checkpoints).lost(f"{lost}: no later epoch may be as good")
        put_weights(model, self.from_)
        self.step, self.over, self.noted = state["step"], state["over"], tuple(state["notes"])
        for callback, its in zip(self.kept, state["callbacks"], strict=True):
            callback.put_state(its)
        self.say(f"going on after step {self.step}")

    # ------------------------------------------------------------------ when

    def wishes(self) -> tuple[float, float]:
        """1 where this process wants a checkpoint after the step at hand, and where it wants the training to end."""
        due = (
            time.monotonic() - self._last > max(_PAUSE, _SHARE * self._cost)
            if self.every is None
            else self.every > 0 and (self.step + 1) % self.every == 0
        )
        return float(due), float(interrupt.asked())

    def agreed(self, save: bool, stop: bool) -> None:
        """What some process wants, all do."""
        self._save, self._stop = self._save or save or stop, stop

    def on_step_end(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        self.step = state.global_step
        ends = control.should_training_stop or self.step % len(train_dataloader) == 0
        control.should_save |= self._save and not ends

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save |= self._save

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._save = False
        if self._stop:
            raise Interrupted(f"interrupted after step {self.step}, which is saved")

    # ------------------------------------------------------------------ what

    def write(self, trainer: Any) -> None:
        """A checkpoint of the training as it stands."""
        began = time.monotonic()
        self.publish()
        over = trainer.control.should_training_stop
        if over and isinstance(trainer.plain_optimizer, RowAdamW):
            trainer.plain_optimizer.catch_up_all()  # no optimizer will do it later
        told = {
            "step": self.step,
            "over": over,
            "notes": self.notes(),
            "callbacks": [callback.state() for callback in self.kept],
        }
        files = snapshot(trainer, told)
        if trainer.is_world_process_zero():
            Checkpoints(self.run.checkpoints).write(self.step, files)
        trainer.accelerator.wait_for_everyone()  # who ends now would have the others ended in the midst of it
        self._last = time.monotonic()
        self._cost = self._last - began


_PAUSE, _SHARE = 60.0, 100.0
"""Seconds between two checkpoints at least, and how many times as long as one takes."""


class Sharing(TrainerCallback):
    """After each epoch, gives other processes the outputs of frozen layers that this one computed, and takes theirs."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self.flush = flush

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.flush()


class Clock(TrainerCallback):
    """Measures the training loop alone, validation and saving left out, and keeps the progress line going."""

    def __init__(self, progress: Progress, batch: int, metric: str = "") -> None:
        self.progress, self.batch, self.metric = progress, batch, metric
        self.times: list[float] = []
        """Seconds of each step of this process."""
        self.before = 0
        """Steps that others have done."""
        self.seconds = 0.0
        self._began = 0.0

    def state(self) -> dict[str, Any]:
        """The time that was taken so far."""
        return {"seconds": self.seconds, "steps": self.before + len(self.times)}

    def put_state(self, state: dict[str, Any]) -> None:
        """Count on from there."""
        self.seconds, self.before = state["seconds"], state["steps"]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter() - self._began)
        self.seconds += self.times[-1]

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.start(state.max_steps)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress.stop()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            done = max(1, self.before + len(self.times))
            left = (state.max_steps - state.global_step) * self.seconds / done
            speed = self.batch * done / max(self.seconds, 1e-9)
            self.progress.step(state.global_step, logs["loss"], logs["learning_rate"], speed, left)
        elif any(name.startswith("eval_") for name in logs):
            scores = {name.removeprefix("eval_"): value for name, value in logs.items() if name != "epoch"}
            name = self.metric if self.metric in scores else next(iter(scores))
            self.progress.note(name, scores[name])
