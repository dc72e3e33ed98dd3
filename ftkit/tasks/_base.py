"""What a task is: its columns, how they become tensors, and how outputs become answers.

A task is one file with one class that inherits `Task`, in `ftkit/tasks/` or beside a recipe. Nothing heavy is
imported at module level: torch and transformers come in inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from ftkit.config import Section
from ftkit.edits import Edited
from ftkit.edits import Place as Part
from ftkit.findings import Finding

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from ftkit.metrics import ClassScores, Scores
    from ftkit.metrics.calibration import Decisions
    from ftkit.metrics.tally import Tally
    from ftkit.tasks._tensors import Choices

Kind = Literal["text", "tokens", "label", "labels", "number", "tags", "entities", "answers", "references"]
INPUT_KINDS = frozenset({"text", "tokens"})
"""Kinds of column that a model reads; all others are what it should answer."""

LABELLED_KINDS = frozenset({"label", "labels", "tags", "entities"})
"""Kinds of column whose values are names of labels, or of types of entities."""

Labels = tuple[str, ...]
"""Label names in the order of the model's outputs; empty for a task without labels."""
Batch = dict[str, list[Any]]
"""Column name -> a value for each row."""
Example = Mapping[str, Any]
"""One row under canonical column names."""
Prediction = dict[str, Any]
"""One answer as `predict` writes it: plain values that JSON can hold."""
Output = Mapping[str, Any]
"""What the model gave for one encoded row: name -> array without padding; `candidates` is a list of them."""
Span = tuple[str, int, int]
"""A part of a text: its label (empty where it has none), its first character and the one after its last."""
TokenPlace = tuple[str, int, int, int] | None
"""Of a token: the column of its text, the number of its word there, and where it begins and ends; None for no text."""
Contrast = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of two numbers in a row's logits: what was answered, and what is true instead."""


class Column(NamedTuple):
    """A column of a task under its canonical name.

    Values by kind, after loading: `text` str; `tokens` list[str]; `label` str; `labels` list[str];
    `number` float; `tags` list[str]; `entities` list of {"start": int, "end": int, "type": str};
    `answers` {"text": list[str], "answer_start": list[int]}; `references` list[str].
    """

    name: str
    kind: Kind
    required: bool = True
    in_parts: bool = False
    """Whether a list of texts, as the turns of a dialogue, is one text."""

    @property
    def is_input(self) -> bool:
        """Whether the model reads this column (the others are what it should answer)."""
        return self.kind in INPUT_KINDS


class Marks(NamedTuple):
    """Parts of one text: those that should have been answered, and those that were."""

    column: str
    true: list[Span]
    said: list[Span]


class Limit(NamedTuple):
    """How long some columns may be together before something of them is cut."""

    columns: tuple[str, ...]
    tokens: int
    setting: str
    special: bool = True
    """Whether the tokens that a tokenizer puts around a text are counted."""


class Weighting(NamedTuple):
    """How much each target counts in the loss."""

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None


class Task:
    """One kind of problem. Holds its options and nothing else; what depends on data travels as arguments.

    A new task names its columns and answers `encode`, `decode` and `tally` (or `score`); the rest has a usual answer.
    """

    summary: ClassVar[str]
    """What it does, in a line."""
    columns: ClassVar[tuple[Column, ...]]
    """What a row holds."""
    alternatives: ClassVar[tuple[tuple[Column, ...], ...]] = ()
    """Other shapes that people store the same rows in; `unify` turns them into `columns`."""
    auto_class: ClassVar[str]
    """The transformers class that builds the model, as `AutoModelForTokenClassification`."""
    peft_type: ClassVar[str]
    """PEFT's name of the task, as `TOKEN_CLS`."""
    best_metric: ClassVar[str]
    """The metric that decides which epoch is kept, usually; see `decider`."""
    lower_is_better: ClassVar[tuple[str, ...]] = ("loss", "mse", "mae")
    """Metrics of which less is better."""
    splits_words: ClassVar[bool] = False
    """Whether the tokenizer is given words that are split already."""
    per_token: ClassVar[bool] = False
    """Whether the model's outputs have a value for each token."""
    groups: ClassVar[tuple[str, ...]] = ()
    """Columns, of which the first that the data has keeps its rows on one side of a split."""
    places_in: ClassVar[str | None] = None
    """The column in whose text predictions name places; `placed` exchanges them."""
    baselines: ClassVar[tuple[str, ...]] = ()
    """Simple models (`ftkit/baselines/`) scored beside the trained one; a class that inherits names its own."""
    augments: ClassVar[tuple[str, ...]] = ()
    """Columns (text or tokens) whose words may change and the answer stays true, outside of `kept_parts`."""

    class Options(Section):
        max_length: int = Field(256, gt=0)
        """Longest input in tokens."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def is_like(self, other: Task) -> bool:
        """Whether one's shipped class is or inherits the other's: a person's own may stand in several files."""
        first, second = (
            next(cls for cls in type(task).__mro__ if cls.__module__.startswith("ftkit.tasks."))
            for task in (self, other)
        )
        return issubclass(first, second) or issubclass(second, first)

    @property
    def targets(self) -> tuple[str, ...]:
        """Encoded columns that the loss reads and the model does not."""
        return ("labels",)

    @property
    def keeps_together(self) -> bool:
        """Whether a step holds all encoded rows of an example, which the loss weighs as one; else each on its own."""
        return False

    # ------------------------------------------------------------------ what the data is

    def shapes(self) -> tuple[tuple[Column, ...], ...]:
        """The shapes of row that are understood, the usual one first."""
        return (self.columns, *self.alternatives)

    def input_shapes(self) -> list[list[Column]]:
        """The columns of each shape that a model may read: what a person has who wants an answer."""
        return [[column for column in shape if column.is_input] for shape in self.shapes()]

    def unify(self, batch: Batch) -> Batch:
        """`batch` in the form that the other methods read, whichever shape it was stored in.

        The columns `row` and `group`, where it has them, must stay.
        """
        return batch

    def stratify(self) -> str | None:
        """The column whose shares a random split keeps; None for no such column."""
        return next((column.name for column in self.shapes()[0] if column.kind == "label"), None)

    def labels(self, train: Dataset, wanted: Sequence[str] | None = None) -> Labels:
        """The label names in order: `wanted` when given, else as found in the training rows."""
        return ()

    def settle(self, train: Dataset | None, config: Any) -> Task:
        """This task with each option that says `auto` decided by the training rows and the checkpoint's config.

        Either may be None: what it would decide stays `auto`. `data check` has no config of a checkpoint not at hand.
        """
        return self

    def shortened(self, positions: int, tokenizer: Any) -> Task:
        """This task with inputs that fit into the `positions` that the checkpoint has; itself where they do."""
        if self.options.max_length <= positions:
            return self
        return type(self)(self.options.model_copy(update={"max_length": positions}))

    def refused(self, batch: Batch) -> Iterator[Finding]:
        """Errors of rows that `unify` can't read, which stop a training; places are row numbers."""
        return iter(())

    def check(self, split: Dataset, labels: Labels) -> Iterator[Finding]:
        """What is wrong with the rows of one split, all of it; places are row numbers."""
        return iter(())

    def limits(self) -> tuple[Limit, ...]:
        """The texts that are cut where they have too many tokens; none for tasks that read all in windows."""
        return ()

    # ------------------------------------------------------------------ how rows are varied

    def kept_parts(self, example: Example) -> dict[str, list[Part]]:
        """The parts of a row's texts that must stay for its answer to stay true, by column; `tokens` are one text.

        Here and in `edited` a row is as it was stored, before `unify`.
        """
        return {}

    def edited(self, example: Example, texts: Mapping[str, Edited]) -> dict[str, Any]:
        """The row with some of its texts edited outside of `kept_parts`; what names places in them has moved along."""
        return {**example, **{name: edited.text for name, edited in texts.items()}}

    def opposites(self, labels: Labels) -> dict[str, str]:
        """Label -> the label of a text that says the opposite; empty where opposites have no labels."""
        return {}

    # ------------------------------------------------------------------ how rows become tensors

    def encode(self, batch: Batch, tokenizer: Any, labels: Labels) -> Any:
        """Model inputs and, where the batch has them, targets: a list for each name.

        One encoded row for each example, unless a column `example` says which example a row belongs to. A column
        `truncated` says of each row whether something of its example was cut.
        """
        raise NotImplementedError

    def collate(self, rows: list[dict[str, Any]], tokenizer: Any) -> dict[str, torch.Tensor]:
        """Encoded rows as tensors, padded to the longest; targets, where present, among them."""
        from ftkit.tasks._tensors import collate

        return collate(rows, tokenizer, self.targets, self.per_token)

    # ------------------------------------------------------------------ the model

    def model_class(self, config: Any) -> str:
        """Name of the transformers class for a checkpoint with this config."""
        return self.auto_class

    def peft_name(self) -> str:
        """PEFT's name of the task for this checkpoint."""
        return self.peft_type

    def model_settings(self, labels: Labels) -> dict[str, Any]:
        """What the model's config must say: for a task with labels, their names and numbers."""
        if not labels:
            return {}
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: index for index, name in enumerate(labels)},
        }

    def forward(self, model: Any, batch: Mapping[str, torch.Tensor]) -> Any:
        """The model's outputs for a batch; targets stay out, the loss is `loss`'s affair."""
        return model(**{name: value for name, value in batch.items() if name not in self.targets})

    @property
    def reads_otherwise(self) -> bool:
        """Whether the task asks the model in a way of its own: then nobody else knows what it reads of it."""
        return type(self).forward is not Task.forward

    def loss(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """The loss summed over the batch's targets, in float32; divided by `loss_size` of the whole step."""
        from ftkit.tasks._tensors import cross_entropy

        return cross_entropy(outputs.logits, batch["labels"], weighting)

    def loss_size(self, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> torch.Tensor:
        """What a batch adds to the number that a step's loss is divided by: targets, weighed."""
        from ftkit.tasks._tensors import target_weight

        return target_weight(batch["labels"], weighting)

    def choices(self, outputs: Any, batch: Mapping[str, torch.Tensor], weighting: Weighting) -> Choices:
        """The logits that `loss` compares with the targets, and how much each target counts."""
        from ftkit.tasks._tensors import choices

        return choices(outputs.logits, batch["labels"], weighting)

    # ------------------------------------------------------------------ how outputs become answers

    def generation(self, config: Any, tokenizer: Any) -> dict[str, Any] | None:
        """Settings for `generate()` of transformers, or None where predictions are read off the logits.

        `max_new_tokens` must be among them; `candidates` and `temperature` ask for several texts a row, drawn.
        """
        return None

    def writes(self, config: Any, tokenizer: Any) -> bool:
        """Whether predictions are texts that the model generates."""
        return self.generation(config, tokenizer) is not None

    def decode(
        self,
        outputs: Sequence[Output],
        encoded: Batch,
        examples: Sequence[Example],
        tokenizer: Any,
        labels: Labels,
    ) -> list[Prediction]:
        """An answer for each example, in order."""
        raise NotImplementedError

    def calibrates(self) -> bool:
        """Whether answers have probabilities that a temperature can mend.

        Then the options have `temperature` and `abstain`, `decode` goes by them, and `decisions` is written.
        """
        return False

    def decisions(
        self, outputs: Sequence[Output], encoded: Batch, examples: Sequence[Example], labels: Labels
    ) -> Decisions:
        """What the model decided for examples whose targets are known, in the order of the answers."""
        raise NotImplementedError

    def tally(self, predictions: Sequence[Prediction], examples: Any) -> Tally | None:
        """What each row adds to the scores, of which they and their intervals come; None where `score` is written."""
        return None

    def score(self, predictions: Sequence[Prediction], examples: Any) -> Scores:
        """Scores of the predictions against the examples' targets."""
        tally = self.tally(predictions, examples)
        if tally is None:
            raise NotImplementedError(f"{type(self).__name__} has neither `tally` nor `score`")
        return tally.scores()

    def decider(self) -> str:
        """The metric that decides which epoch is kept, where the recipe names none."""
        return self.best_metric

    def sign(self, metric: str) -> int:
        """What a metric is multiplied by so that more is better: -1 or 1."""
        return -1 if metric in self.lower_is_better else 1

    def breakdown(self, predictions: Sequence[Prediction], examples: Any) -> list[ClassScores]:
        """A row of scores for each label or type; empty where there are none."""
        tally = self.tally(predictions, examples)
        return tally.by_label() if tally else []

    def answers(self, predictions: Sequence[Prediction], examples: Any) -> tuple[list[Any], list[Any]]:
        """(predictions, references) in the plain form that a metric of the `evaluate` library takes.

        Usually the first thing that a prediction says, and the first column that is no input.
        """
        target = next(column.name for column in self.columns if not column.is_input)
        return [next(iter(prediction.values()), None) for prediction in predictions], list(examples[target])

    def placed(self, prediction: Prediction, place: Callable[[int, int], tuple[str, int, int]]) -> Prediction:
        """The prediction with each place that it names in the text of `places_in` exchanged.

        `place` takes a start and an end, and gives what is to stand for them: text, start and end.
        """
        return prediction

    def render(self, example: Example, prediction: Prediction) -> str:
        """One example with its answer, for a person to read."""
        return str(prediction)

    # ------------------------------------------------------------------ where the model goes wrong

    def texts(self, example: Example) -> dict[str, str]:
        """The texts that the model reads, by column."""
        names = [column.name for column in self.columns if column.kind == "text"]
        return {name: example[name] for name in names if isinstance(example.get(name), str)}

    def traits(self, example: Example) -> dict[str, str]:
        """What an example may share with others: aspect -> value, as `question word` -> `who`.

        Rows that share a value are scored apart. Length, label, group and the like are looked at for every task.
        """
        return {}

    def marks(self, example: Example, prediction: Prediction) -> Marks | None:
        """Where truth and answer stand in a text; None where they are no parts of one."""
        return None

    def confidence(self, prediction: Prediction) -> float | None:
        """The probability of an answer; None where it has none."""
        score = prediction.get("score")
        return score if isinstance(score, float) else None

    def token_places(self, example: Example, encoded: Batch, tokenizer: Any) -> list[list[TokenPlace]] | None:
        """Where each token of an example's encoded rows stands, of those whose logits' mean is explained.

        None where nobody can tell.
        """
        return None

    def contrasts(
        self, example: Example, encoded: Batch, output: Output, labels: Labels, said: str, true: str
    ) -> list[Contrast]:
        """The logits of an encoded row of an example that speak for its answer, with those that speak for the truth.

        said, true: answer and truth by name. Empty where there is nothing to explain.
        """
        return [((labels.index(said),), (labels.index(true),))] if {said, true} <= set(labels) else []

    def rival(
        self, example: Example, outputs: Sequence[Output], encoded: Batch, labels: Labels
    ) -> tuple[Example, str, str] | None:
        """What `contrasts` is asked where nobody knows the truth: the example, its answer, and what stands for a truth.

        outputs, encoded: of this example alone. None where there is nothing to explain.
        """
        return None
