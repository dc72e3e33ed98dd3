"""The HF Trainer with its seams filled: order, micro-batches, loss, optimizer and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from ftkit.engine import nonfinite, sharding
from ftkit.engine.adamw import RowAdamW, sparsify
from ftkit.engine.callbacks import Keeping
from ftkit.engine.checkpoint import put_optimizer_and_schedule, put_random
from ftkit.engine.lowered import LowWeights
from ftkit.engine.memory import Limit
from ftkit.engine.pretrained import refuse_token
from ftkit.engine.rates import param_groups
from ftkit.engine.steps import AtHand, Row, Rows
from ftkit.errors import FTKitError
from ftkit.objectives._base import Objective
from ftkit.settings import TrainSpec
from ftkit.tasks._base import Task, Weighting
from ftkit.terminal import Say, silence

Tensors = dict[str, torch.Tensor]


_CLIPS = all(hasattr(Trainer, name) for name in ("_clip_grad_norm", "_get_grad_norm"))
"""Whether the Trainer clips where `FTTrainer` lets `RowAdamW` do it."""


def _split(lengths: Sequence[int], size: int, tokens: int) -> list[list[int]]:
    """Row numbers in runs of at most `size` rows, and of at most `tokens` with padding unless a row alone has more."""
    parts: list[list[int]] = []
    longest = 0
    for i, length in enumerate(lengths):
        longest = max(longest, length) if parts else length
        if not parts or len(parts[-1]) == size or (len(parts[-1]) + 1) * longest > tokens:
            parts.append([])
            longest = length
        parts[-1].append(i)
    return parts


class FTTrainer(Trainer):
    """Trains a task's model as a recipe's `train` section says.

    A step is `train.batch` rows, whatever the number of processes and micro-batches. Its loss is the sum over all
    targets of the step divided by their number, so that 8x1, 4x2 and two processes with 4 give the same gradient.
    (The stock Trainer adds up the means of micro-batches and processes for heads that ignore `num_items_in_batch`.)
    """

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        args: TrainingArguments,
        task: Task,
        settings: TrainSpec,
        weighting: Weighting,
        tokenizer: Any,
        rows: Rows,
        objective: Objective | None = None,
        validate: Callable[[Any, int, int], dict[str, float]],
        callbacks: list[Any],
        keeping: Keeping | None = None,
        limit: Limit | None = None,
        say: Say = silence,
    ) -> None:
        self.task, self.settings, self.weighting, self.tokenizer = task, settings, weighting, tokenizer
        self.objective: Objective = objective or Objective(Objective.Options())
        self.validate, self.rows = validate, rows
        self.keeping, self.say = keeping, say
        self.limit = limit or Limit(settings.batch_tokens)
        self.watch = nonfinite.Watch()
        callbacks = [*callbacks, keeping] if keeping else callbacks
        self.in_training = False
        """Whether all modules are known to be in training mode."""
        self.low: LowWeights | None = None
        """Copies of the weights in bfloat16, where the caller keeps some."""
        super().__init__(
            model=model, args=args, train_dataset=rows.dataset, eval_dataset=rows.dataset, callbacks=callbacks
        )
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = True

    @property
    def is_sharded(self) -> bool:
        """Whether the weights are split over the processes, which then go through the model together."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    # ------------------------------------------------------------------ which rows

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Steps of rows, in the same order in every process."""
        return self.rows.loader()

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], None]:
        """The rows of the next step; their targets are counted in `training_step`."""
        try:
            return [next(epoch_iterator)], None
        except FTKitError:  # of rows that are read now: what was learned of those before is kept
            if self.keeping and self.state.global_step and self.args.world_size == 1:  # others may have read on
                self.keeping.write(self)
            raise

    def micro_batches(self, rows: list[Row]) -> list[Tensors]:
        """This process's share of a step as micro-batches; empty where the step has fewer rows than processes."""
        share = rows[self.args.process_index :: self.args.world_size]
        return [self.collated([share[i] for i in part]) for part in self._parts(share)]

    def collated(self, rows: list[Row]) -> Tensors:
        """Encoded rows as tensors, with what the objective reads."""
        batch = self.objective.collate(self.task, rows, self.tokenizer)
        if not isinstance(self.rows, AtHand):  # nobody has looked at them before
            refuse_token(self.model, int(batch["input_ids"].max()), self.tokenizer)
        return batch

    def _parts(self, share: list[Row]) -> list[list[int]]:
        size = self.args.per_device_train_batch_size
        return _split([row["length"] for row in share], size, self.limit.tokens)

    def _forwards(self, rows: list[Row]) -> int:
        """Times that this process goes through the model in a step: one at least, to take part in the exchange."""
        world = self.args.world_size
        shares = range(world) if self.is_sharded else [self.args.process_index]
        return max(1, *(len(self._parts(rows[rank::world])) for rank in shares))

    # ------------------------------------------------------------------ what is minimised

    def training_step(  # type: ignore[override]  # a step's rows, not one batch
        self, model: Any, inputs: list[Row], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward over a step's micro-batches; smaller ones where memory does not hold them."""
        if not self.in_training:  # telling each module at each step takes a tenth of a small head's time
            model.train()
            self.in_training = True
        self.watch.rows = inputs
        while True:
            try:
                return self._step(model, inputs)
            except RuntimeError as error:
                self.limit.lower(error, [self._padded(batch) for batch in self.micro_batches(inputs)])
            model.zero_grad()

    def _step(self, model: Any, inputs: list[Row]) -> torch.Tensor:
        """Forward and backward over a step's micro-batches; gradients are exchanged at the last one."""
        own = self.micro_batches(inputs)
        blank = self._forwards(inputs) - len(own)
        batches = [self.collated(inputs[:1]) for _ in range(blank)] + own
        size = self._step_size(batches, blank)
        total = torch.zeros((), device=self.args.device)
        for i, batch in enumerate(batches):
            last = i == len(batches) - 1
            with sharding.held(self.accelerator, model, last), self.compute_loss_context_manager():
                loss = self.compute_loss(model, self._prepare_inputs(batch)) * (0 if i < blank else 1)
                loss = loss * self.args.world_size / size
                self.accelerator.backward(loss)
            if self.low and not last:
                self.low.widen()
            total += loss.detach()
        return total

    @staticmethod
    def _padded(batch: Tensors) -> tuple[int, int]:
        """Rows of a micro-batch, and their tokens, padding included."""
        rows, width = batch["input_ids"].shape
        return int(rows), int(rows * width)

    def compute_loss(
        self, model: Any, inputs: Tensors, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The objective's loss, summed over the targets of one micro-batch."""
        loss, outputs = self.objective.loss(self.task, model, inputs, self.weighting)
        return (loss, outputs) if return_outputs else loss

    def _step_size(self, batches: list[Tensors], blank: int) -> torch.Tensor:
        """The targets of a step, over all its micro-batches and processes, which agree on what to do after it too.

        The first `blank` micro-batches count for nothing.
        """
        sizes = [self.task.loss_size(batch, self.weighting) for batch in batches]
        size = torch.stack(sizes)[blank:].sum().to(self.args.device)
        if self.keeping is None:
            total: torch.Tensor = self.accelerator.reduce(size, "sum")
            return self._counted(total)
        told = torch.stack([size.float(), *torch.tensor(self.keeping.wishes(), device=self.args.device)])
        total, *wishes = self.accelerator.reduce(told, "sum")
        self.keeping.agreed(*(bool(wish > 0) for wish in wishes))
        return self._counted(total)

    @staticmethod
    def _counted(size: torch.Tensor) -> torch.Tensor:
        """What the losses of a step are divided by: of targets that weigh nothing the loss is 0."""
        return torch.where(size > 0, size, torch.inf)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    # ------------------------------------------------------------------ how the weights move

    def get_optimizer_cls_and_kwargs(  # type: ignore[override]  # static there
        self, args: TrainingArguments, model: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """The optimizer, with parameter groups whose rates follow depth."""
        settings = self.settings
        cls: Any
        if settings.optimizer == "lamb":
            from pytorch_optimizer import Lamb

            cls, kwargs = Lamb, {"lr": settings.learning_rate, "betas": (0.9, 0.999), "eps": 1e-6}
        else:
            cls, kwargs = super().get_optimizer_cls_and_kwargs(args, model)
        if settings.optimizer == "adamw" and args.device.type == "cpu" and not self.is_sharded and _CLIPS:
            cls = RowAdamW
            sparsify(model)
        kwargs["params"] = param_groups(
            model,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            layer_decay=settings.layer_decay,
            bottom_rate=settings.bottom_rate,
            head_multiplier=settings.head_multiplier,
        )
        return cls, kwargs

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The optimizer; one that lets rows rest is told when they are read."""
        optimizer = super().create_optimizer(*args, **kwargs)
        if isinstance(optimizer, RowAdamW):
            assert self.model is not None
            optimizer.watch(self.model)
            if self.low and self.args.bf16:
                weights = [weight for group in optimizer.param_groups for weight in group["params"]]
                self.low.adopt(weights, wide=self.args.world_size > 1)
                optimizer.low = self.low
                self.low.meet(self._pass_once)
        return optimizer

    def _pass_once(self) -> None:
        """Compute one row, without dropout."""
        model: Any = self.model
        training = model.training
        model.eval()
        self.task.forward(model, self._prepare_inputs(self.task.collate([self.rows.first()], self.tokenizer)))
        model.train(training)

    @property
    def plain_optimizer(self) -> Any:
        """The optimizer inside whatever accelerate has wrapped around it."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def _clip_grad_norm(self, model: Any) -> Any:
        """The gradients' norm before clipping."""
        optimizer = self.plain_optimizer
        if isinstance(optimizer, RowAdamW):
            norm = optimizer.clip(self.args.max_grad_norm)
        else:
            norm = super()._clip_grad_norm(model)  # type: ignore[no-untyped-call]
        return self._finite(norm)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradients' norm where they are not clipped."""
        if grad_norm is not None:
            return super()._get_grad_norm(model, grad_norm)  # type: ignore[no-untyped-call]
        optimizer = self.plain_optimizer
        if isinstance(optimizer, RowAdamW):
            return self._finite(optimizer.clip())
        return self._finite(super()._get_grad_norm(model))  # type: ignore[no-untyped-call]

    def _finite(self, norm: Any) -> Any:
        """The norm; where it is not finite, the step moves nothing. Raises FTKitError where that has happened often."""
        if self.watch.passes(self, norm):
            return norm
        self.model_wrapped.zero_grad()
        if isinstance(self.plain_optimizer, RowAdamW):
            self.plain_optimizer.grad_scale = None
        return norm

    def _maybe_log_save_evaluate(self, tr_loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        """As the Trainer does it, which subtracts the loss from itself to begin a new sum: nan stays nan."""
        super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)
        if not bool(tr_loss.isfinite()):
            tr_loss.zero_()

    # ------------------------------------------------------------------ how it goes on

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint of ftkit's own: without pickle, whole or not at all."""
        assert self.keeping is not None
        self.keeping.write(self)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Nothing: the weights were put in before copies were made of them."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            put_optimizer_and_schedule(self, Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Nothing: it came with the schedule."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            put_random(Path(checkpoint), self.args.process_index)

    # ------------------------------------------------------------------ how it is judged

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Validation scores through the path that `eval` and `predict` take."""
        if isinstance(self.plain_optimizer, RowAdamW) and self.args.world_size > 1:
            self.plain_optimizer.catch_up_all()  # or each process would do it for the rows that it reads
        share = (0, 1) if self.is_sharded else (self.args.process_index, self.args.world_size)
        self.in_training = False
        found = self.validate(self.model, *share)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
