"""What happens beside the training loop: the run's log, the best model, early stopping, the progress line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from ftkit.errors import FTKitError
from ftkit.run import RunDirectory
from ftkit.terminal import Progress


class Record(TrainerCallback):
    """Publishes the run with the first step; logs each step's loss, norm and rate, and each validation's scores."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.run.publish()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        if "loss" in logs and not math.isfinite(logs["loss"]):
            raise FTKitError(
                f"the loss is {logs['loss']} at step {state.global_step}; the weights are of no use any more",
                "lower train.learning_rate, or set train.precision to fp32",
            )
        entry = {name.removeprefix("eval_"): value for name, value in logs.items() if name != "epoch"}
        kind = "train" if "loss" in logs else "validation"
        self.run.log({"step": state.global_step, "epoch": round(state.epoch or 0, 4), "kind": kind, **entry})


class Best(TrainerCallback):
    """Keeps the model with the best validation score in the run, and stops when it has not improved for long.

    Every process calls `save`: where weights are split, each has some of them.
    """

    def __init__(self, save: Callable[[], None], metric: str, lower_is_better: bool, patience: int | None) -> None:
        self.save, self.metric, self.sign = save, metric, -1 if lower_is_better else 1
        self.patience, self.best, self.worse = patience, -math.inf, 0

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> Any:
        value = self.sign * metrics[f"eval_{self.metric}"]
        if value > self.best:
            self.best, self.worse = value, 0
            self.save()
        else:
            self.worse += 1
            control.should_training_stop |= self.patience is not None and self.worse >= self.patience
        return control


class Sharing(TrainerCallback):
    """After each epoch, gives other processes the outputs of frozen layers that this one computed, and takes theirs."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self.flush = flush

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.flush()


class Clock(TrainerCallback):
    """Measures the training loop alone, validation and saving left out, and keeps the progress line going."""

    def __init__(self, progress: Progress, batch: int) -> None:
        self.progress, self.batch = progress, batch
        self.times: list[float] = []
        """Seconds of each step."""
        self.seconds = 0.0
        self._began = 0.0

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
            left = (state.max_steps - state.global_step) * self.seconds / max(1, len(self.times))
            speed = self.batch * len(self.times) / max(self.seconds, 1e-9)
            self.progress.step(state.global_step, logs["loss"], logs["learning_rate"], speed, left)
        elif any(name.startswith("eval_") for name in logs):
            self.progress.note({name.removeprefix("eval_"): value for name, value in logs.items() if name != "epoch"})
