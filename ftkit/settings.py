"""The sections of a recipe: every setting with its type, its default and its sentence."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ftkit.config import Section
from ftkit.plugins import Choice

Precision = Literal["auto", "fp32", "bf16"]
"""Those that a model answers in."""
CleanStep = Literal["nfc", "nfkc", "whitespace", "html", "lowercase"]
"""What `ftkit/data/clean.py` does to texts."""
MOST_SEED = 2**32 - 1
"""NumPy takes no larger one."""


class PruneSpec(Section):
    """Weights that are zero from the first step on, and stay so. It makes nothing faster: see `model.layers`."""

    weights: float | None = Field(None, gt=0, lt=1)
    """Share of each matrix of the layers, its smallest weights, that becomes zero (Han et al. 2015)."""
    heads: float | None = Field(None, gt=0, lt=1)
    """Share of the attention heads, the least important on training rows, that give nothing (Michel et al. 2019)."""


class ModelSpec(Section):
    """Where training starts."""

    checkpoint: str
    """A starter checkpoint (`minilm`, `smollm2`), a Hub id, a local folder, or a run to go on from."""
    revision: str | None = None
    """Branch, tag or commit of a Hub checkpoint."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Every dropout rate of the model; as the checkpoint has them when not set."""
    layers: int | None = Field(None, ge=1)
    """Layers of the checkpoint that are kept, evenly spaced, the first and the last among them; all when not set."""
    prune: PruneSpec = PruneSpec()
    """What of it becomes zero before training, and stays so."""

    @model_validator(mode="before")
    @classmethod
    def _not_a_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise PydanticCustomError("name", f"must have settings inside it: write `model: {{checkpoint: {value}}}`")
        return value


class DataSpec(Section):
    """The labelled text, and which of its columns mean what."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    train: str | tuple[str, ...] | None = None
    """A file, several (`[a.csv, b.csv]`, `parts/*.csv`), a folder, a `sample:NAME`, or a Hub data set (`org/name`)."""
    validation: str | float | tuple[str, ...] | None = 0.1
    """A file or several, or the share of the training rows, test rows aside, to choose the best epoch by."""
    test: str | float | tuple[str, ...] | None = None
    """A file or several, or the share of the rows that is held out and scored once, at the end."""
    unlabeled: str | tuple[str, ...] | None = None
    """Texts without labels, a file or several: those that a first model is sure of are learned from too."""
    unlabeled_confidence: float = Field(0.7, gt=0, lt=1)
    """The probability from which the label that the model gives such a text is taken for true."""
    unlabeled_rounds: int = Field(1, ge=1, le=10)
    """Times that such texts are labelled, each time by the model of the round before."""
    stream: bool = False
    """Learn from the first rows while the others are still unread: for files and Hub data sets of any size."""
    shuffle_buffer: int = Field(10_000, gt=0)
    """Rows of a stream that are held, of which the next is drawn; more of them are better mixed."""
    bad_rows: Literal["stop", "skip"] = "stop"
    """What a row of a stream does that can't be read or labelled: stop the training, or be left out and counted."""
    columns: dict[str, str | int] = {}
    """The task's column -> the file's column: a name, or a number from 0 where the file has no header."""
    labels: tuple[str, ...] | dict[str, str] | None = None
    """The labels, in order; or a mapping that renames them (`{0: negative, 1: positive}`)."""
    limit: int | None = Field(None, gt=0)
    """Training rows used: a random sample of this size, drawn with `data.seed`."""
    split: str = "split"
    """The column that tells the training, validation and test rows of one file apart, where it has one."""
    group: str | None = None
    """Rows with the same value in this column never fall on both sides of a split."""
    balance: Literal["weights", "oversample", "undersample"] | None = None
    """Make rare labels of the training rows count: by weights in the loss, rows again, or leaving out frequent ones."""
    delimiter: str = Field(",", min_length=1)
    """What stands between the labels of one row, where a row may have several."""
    clean: tuple[CleanStep, ...] = ()
    """Done to each text before it is read, in this order: nfc, nfkc, whitespace, html, lowercase; it travels along."""
    encoding: str = "auto"
    """Of text files: a name as `cp1252`, or `auto`: UTF-8, UTF-16 by its mark, or another one that is plain."""
    seed: int = Field(13, ge=0, le=MOST_SEED)
    """Decides which rows a share or a limit takes."""

    @field_validator("clean", mode="before")
    @classmethod
    def _one_step_alone(cls, steps: Any) -> Any:
        return [steps] if isinstance(steps, str) else steps

    def sources(self, split: str) -> tuple[str, ...]:
        """What the rows of a split are read from; nothing where it is a share of other rows, or not set."""
        given = getattr(self, split)
        return given if isinstance(given, tuple) else (given,) if isinstance(given, str) else ()

    @property
    def renames(self) -> dict[str, str]:
        """Labels that the data writes otherwise: as written -> their names."""
        return dict(self.labels) if isinstance(self.labels, dict) else {}

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The labels that `labels` lists, under the names that they are given."""
        return tuple(dict.fromkeys(self.labels.values())) if isinstance(self.labels, dict) else self.labels

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            if name != "auto":
                "".encode(name)
        except LookupError:
            raise PydanticCustomError(
                "encoding", "must be `auto`, or an encoding that Python knows, as cp1252"
            ) from None
        return name

    @field_validator("train", "validation", "test")
    @classmethod
    def _some_file(cls, given: Any) -> Any:
        if given == ():
            raise PydanticCustomError("none", "must name at least one file")
        return given

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: Any) -> Any:
        twice = (
            [repr(name) for name, count in Counter(labels).items() if count > 1] if isinstance(labels, tuple) else []
        )
        if twice:
            raise PydanticCustomError("twice", f"must have each label once, not {', '.join(twice)} twice")
        return labels


class AugmentSpec(Section):
    """Variants of the training rows, to learn from beside them. Held-out rows are left as they are."""

    by: tuple[Choice, ...] = ()
    """Augmenters, each by its name or as `{name: ..., options}`, or a path to one's own; none makes no variants."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of the training rows that each augmenter varies; each draws its own."""
    copies: int = Field(1, ge=1, le=100)
    """Variants that each augmenter makes of a row."""
    strength: float = Field(0.1, gt=0, le=1)
    """Share of a text's words that change in a variant, one at least."""
    teacher: bool = False
    """Keep a variant of a labelled text only where a model trained without variants still gives it its label."""
    seed: int = Field(13, ge=0, le=MOST_SEED)
    """Decides which rows are varied, and how; the same seed gives the same text on every machine."""

    @field_validator("by", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, dict)) else value or ()


class ShardingSpec(Section):
    """What a training holds, split over the GPUs that train, where one can't hold it."""

    name: Literal["fsdp", "zero"] | None = None
    """`fsdp` (PyTorch's FSDP2) or `zero` (DeepSpeed's ZeRO, which has to be installed); none splits nothing."""
    stage: Literal[1, 2, 3] = 3
    """What is split: 1 the optimizer's states (`zero` alone), 2 gradients too, 3 weights too."""
    offload: bool = False
    """Keep what is split in the main memory, and bring it to the GPU when it is used: less of its memory, slower."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if value is None or isinstance(value, str) else value


class TrainSpec(Section):
    """How the weights are moved."""

    epochs: float | Literal["auto"] = Field("auto", union_mode="left_to_right")
    """Times the training rows are gone over; `auto` is 3, and more on small data, until 200 steps (20 at most)."""
    steps: int | None = Field(None, gt=0, le=10**9)
    """Steps in all, in place of `epochs`: as many passes over the training rows as they take."""
    batch: int = Field(16, gt=0)
    """Examples a step, over all processes and micro-batches."""
    accumulate: int = Field(1, gt=0)
    """Micro-batches that a process splits its share of a step into: less memory, the same gradient."""
    learning_rate: float = Field(5e-5, gt=0)
    """The highest rate of the schedule."""
    optimizer: Literal["adamw", "lamb", "sgd", "adafactor"] = "adamw"
    """AdamW (Loshchilov and Hutter 2019), LAMB for large batches (You et al. 2020), SGD or Adafactor."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay; biases and norms have none."""
    schedule: Literal["linear", "cosine", "constant", "polynomial", "inverse_sqrt"] = "linear"
    """How the rate falls after the warm-up."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises from 0."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each layer learns at this multiple of the rate of the layer above it."""
    bottom_rate: float | None = Field(None, gt=0)
    """The rate of the embeddings; layers between them and the top are spaced evenly up to `learning_rate`."""
    head_multiplier: float = Field(1.0, gt=0)
    """The head learns at this multiple of `learning_rate`."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Gradients longer than this are cut to it; 0 leaves them."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label's probability that is spread over all labels."""
    class_weights: Literal["balanced"] | dict[str, float] | None = None
    """Weight of each label in the loss; `balanced` is `data.balance: weights`, by the inverse of its frequency."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the computation in training; `auto` is bf16 where the device computes in it."""
    batch_tokens: int = Field(8192, gt=0)
    """Tokens, padding included, that are computed at once: a longer step is split; only memory and time change."""
    activation_checkpointing: bool = False
    """Compute each layer again on the way back instead of keeping its outputs: less memory, a third more time."""
    sharding: ShardingSpec = ShardingSpec()
    """What is split over GPUs of which one alone can't hold it: `fsdp`, `zero`, or a section."""
    frozen_cache: float = Field(10.0, ge=0, le=2**20)
    """GiB of disk for the outputs of layers that do not learn, computed once and without dropout; 0 keeps none."""
    seed: int = Field(13, ge=0, le=MOST_SEED)
    """Of initialisation, order and dropout."""
    seeds: int | None = Field(None, ge=2, le=100)
    """Trainings with `seed` and the seeds after it: their mean and spread are told, the best by validation is kept."""
    folds: int | None = Field(None, ge=2)
    """Cross-validation: this many models, each scored on the rows it did not see, before the final one."""
    metric: str | None = None
    """Decides which epoch is kept; the task's own when not set."""
    evaluate_every: Literal["auto", "epoch"] | int = "auto"
    """When validation is scored: each epoch, or every so many steps; `auto`: each epoch, or 5 times in all."""
    checkpoint_every: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Steps between checkpoints to resume from; `auto`: 1 % of the time, a minute apart at least; 0: when stopped."""
    patience: int | None = Field(None, gt=0)
    """Evaluations without a better score after which training stops."""

    @field_validator("epochs")
    @classmethod
    def _never_backwards(cls, epochs: Any) -> Any:
        if epochs != "auto" and epochs < 0:
            raise PydanticCustomError("epochs", "must be 0 or more")
        return epochs

    @field_validator("evaluate_every")
    @classmethod
    def _some_steps(cls, every: Any) -> Any:
        if isinstance(every, int) and every < 1:
            raise PydanticCustomError("evaluate_every", "must be `auto`, `epoch`, or 1 or more steps")
        return every

    @field_validator("class_weights")
    @classmethod
    def _weigh_in_reason(cls, weights: Any) -> Any:
        if isinstance(weights, dict) and not all(w == 0 or 1e-6 <= w <= 1e6 for w in weights.values()):
            raise PydanticCustomError("weights", "must be 0, or lie between 1e-6 and 1e6")
        return weights


class EvaluateSpec(Section):
    """How held-out rows are scored."""

    metrics: tuple[str, ...] = ()
    """More metrics: a name that `evaluate` finds, or a path to one's own metric script."""
    validation_rows: int | None = Field(None, gt=0)
    """Validation rows that are used, the first ones; all when not set. For tasks that write text, which is slow."""
    batch_tokens: int = Field(8192, gt=0)
    """Tokens, padding included, that go through the model at once."""
    stopwords: Literal["english"] | tuple[str, ...] = Field((), union_mode="left_to_right")
    """Words that the baselines do not count: scikit-learn's `english`, or a list; the models read all."""
    level: float = Field(0.95, gt=0.5, lt=1)
    """Share of score intervals that should hold the true score."""
    resamples: int = Field(2000, ge=0, le=100_000)
    """Times that the rows are drawn again for the intervals, 100 or more; 0 gives none."""
    calibrate: bool = True
    """Fit a temperature to the validation rows, so that probabilities mean what they say; labels stay as they are."""
    wished_precision: float | None = Field(None, gt=0, le=1)
    """Withhold unsure answers, so that this share of those given is right on the validation rows."""
    wished_coverage: float | None = Field(None, gt=0, le=1)
    """Withhold the least sure answers, so that this share of them is given on the validation rows."""
    # What `auto` takes for finding out: see SAME, NEAR and ENOUGH in engine/calibrate.py.
    precision: Precision = "auto"
    """Of the answers: fp32 gives plain transformers'; bf16 is faster; `auto` is bf16 where training found it alike."""

    @field_validator("resamples")
    @classmethod
    def _none_or_enough(cls, resamples: int) -> int:
        if 0 < resamples < 100:  # so few have no ends of 95 % to speak of
            raise PydanticCustomError("resamples", "must be 0, or 100 or more")
        return resamples
