"""From a recipe to everything training needs but the weights: data, labels, task, tokenizer, encoded rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from ftkit.checkpoints import Located
from ftkit.data.clean import GIVEN, with_reading
from ftkit.data.load import Splits, load
from ftkit.engine import baselines
from ftkit.engine import model as models
from ftkit.errors import DataError, RecipeError, every, problems
from ftkit.files import sha256
from ftkit.methods._base import Method
from ftkit.metrics import hub
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, unused_without_validation
from ftkit.tasks._base import Issue, Labels, Task, Weighting
from ftkit.tasks.classification import Classification, balanced_weights


@dataclass(frozen=True)
class Prepared:
    """A recipe made concrete."""

    recipe: Recipe
    task: Task
    method: Method
    base: Located
    tokenizer: Any
    labels: Labels
    splits: dict[str, Dataset]
    notes: tuple[str, ...]
    warnings: tuple[Issue, ...]
    files: dict[str, str]
    """SHA-256 of each file, as it was when it was read."""

    @property
    def metric(self) -> str:
        """The score that decides which model is kept: the recipe's, or the task's own."""
        return self.recipe.train.metric or self.task.decider()

    @property
    def contract(self) -> models.Contract:
        """What the trained folder will promise."""
        spec = self.recipe.model
        return models.contract(
            self.task,
            self.recipe.task.name,
            self.labels,
            self.method,
            self.recipe.method.name,
            {
                "checkpoint": spec.checkpoint,
                "revision": self.base.revision or spec.revision,
                "sha256": self.base.sha256,
            },
            self.recipe.data.model_dump(mode="json", include={"columns", "labels", "delimiter", "clean"}),
            "bf16" if self.recipe.evaluate.precision == "bf16" else "fp32",
        )


def prepare(recipe: Recipe) -> Prepared:
    """Load, check and label the data and find the checkpoint. Raises FTKitError with all that is wrong."""
    task = resolve("task", recipe.task, Task)
    method = resolve("method", recipe.method, Method)
    if recipe.data.train is None:
        raise RecipeError("data.train must be set: a file with the rows to learn from", "--set data.train=FILE")
    found: list[Any] = every(
        [
            lambda: read_splits(recipe, task),
            lambda: models.locate_base(recipe.model.checkpoint, recipe.model.revision),
        ]
    )
    (splits, notes), base = found
    files = file_hashes(recipe)
    config = models.read_config(base.path)
    task = task.settle(splits["train"], config)
    labels = in_order_of(task.labels(splits["train"], wanted_labels(recipe)), models.label_names(config))
    warnings = check(task, [(_where(recipe, name), split) for name, split in splits.items()], labels)
    _check_loss(recipe, task, labels)
    for name in recipe.evaluate.metrics:
        hub.load(name, labels)  # found now, not after the training
    baselines.of(task)
    tokenizer = models.read_tokenizer(base.path, task)
    if "validation" not in splits and (unused := unused_without_validation(recipe)):
        notes = (*notes, f"there are no validation rows, so {', '.join(unused)} does nothing")
    fitting = models.within_positions(task, config, tokenizer)
    if fitting is not task:
        changed = f"task.max_length is {fitting.options.max_length}, not {task.options.max_length}"
        notes = (*notes, f"{changed}: the checkpoint reads no more")
    return Prepared(recipe, fitting, method, base, tokenizer, labels, splits, notes, warnings, files)


def read_splits(recipe: Recipe, task: Task) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The recipe's splits in the form that the task reads, and what was guessed on the way."""
    loaded: Splits = load(recipe.data, task.shapes(), stratify=task.stratify(), groups=task.groups)
    splits = {name: unified(task, split) for name, split in loaded.items()}
    most = recipe.evaluate.validation_rows
    if most and "validation" in splits:
        splits["validation"] = splits["validation"].select(range(min(most, len(splits["validation"]))))
    return splits, loaded.notes


def unified(task: Task, split: Dataset) -> Dataset:
    """The split with the columns that the task's methods read.

    Raises RecipeError where the task's `unify` loses what errors name rows by, or what keeps rows together.
    """
    batch = split.to_dict()
    given = batch.pop(GIVEN, None)
    columns = task.unify(batch)
    if lost := [name for name in ("row", "group") if name in split.column_names and name not in columns]:
        raise RecipeError(
            f"task: `unify` of {type(task).__name__} drops the column {', '.join(map(repr, lost))}",
            "return the columns that it does not change, too: `return {**batch, ...}`",
        )
    kept = {} if given is None else {GIVEN: [row and with_reading(row, task.unify) for row in given]}
    return Dataset.from_dict({**columns, **kept})


def wanted_labels(recipe: Recipe) -> Sequence[str] | None:
    """The labels that the recipe lists."""
    wanted = recipe.data.labels
    return list(dict.fromkeys(wanted.values())) if isinstance(wanted, dict) else wanted


def in_order_of(labels: Labels, trained: Labels) -> Labels:
    """The labels in the order of the checkpoint's head where it was trained on the same ones, else as they are."""
    return trained if set(labels) == set(trained) else labels


def check(task: Task, splits: Sequence[tuple[str, Dataset]], labels: Labels) -> tuple[Issue, ...]:
    """The warnings about all splits. Raises DataError with every error at once."""
    found = [
        issue._replace(where=f"{name}, {issue.where}") for name, split in splits for issue in task.check(split, labels)
    ]
    errors = [str(issue) for issue in found if issue.level == "error"]
    if errors:
        raise problems(DataError, "the data can't be used", errors)
    return tuple(issue for issue in found if issue.level == "warning")


def _where(recipe: Recipe, split: str) -> str:
    """The file that a split was read from, or the split's name."""
    source = getattr(recipe.data, split)
    return Path(source).name if isinstance(source, str) else f"the {split} rows"


def _check_loss(recipe: Recipe, task: Task, labels: Labels) -> None:
    """Raises RecipeError for settings of the loss that the task has no use for, and for weights of unknown labels."""
    weights = recipe.train.class_weights
    regression = isinstance(task, Classification) and task.options.kind == "regression"
    if recipe.train.label_smoothing and regression:
        raise RecipeError("train.label_smoothing: there are no labels to smooth in a regression", "leave it out")
    if weights is None:
        return
    if not isinstance(task, Classification) or regression:
        raise RecipeError("train.class_weights: only labels of texts are weighed", "leave it out")
    if isinstance(weights, dict) and (unknown := sorted(set(weights) - set(labels))):
        raise RecipeError(
            f"train.class_weights: {', '.join(map(repr, unknown))} is no label of the data",
            f"there are: {', '.join(labels)}",
        )


def encode_training(prepared: Prepared, split: Dataset) -> tuple[Dataset, int]:
    """The encoded rows of a training split with their lengths, and how many of its rows were cut.

    Where a task keeps the rows of an example together, `example` numbers them.
    """
    task, tokenizer, labels = prepared.task, prepared.tokenizer, prepared.labels
    keep = {*tokenizer.model_input_names, *task.targets}
    cut: set[int] = set()

    def encode(batch: dict[str, list[Any]], numbers: list[int]) -> dict[str, list[Any]]:
        encoded = dict(task.encode(batch, tokenizer, labels))
        example = [numbers[i] for i in encoded.get("example", range(len(numbers)))]
        cut.update(i for i, was_cut in zip(example, encoded.get("truncated", ()), strict=False) if was_cut)
        rows = {name: values for name, values in encoded.items() if name in keep}
        if task.keeps_together:
            rows["example"] = example
        return {**rows, "length": [len(ids) for ids in rows["input_ids"]]}

    encoded = split.map(
        encode,
        batched=True,
        with_indices=True,
        remove_columns=split.column_names,
        keep_in_memory=True,
        new_fingerprint="encoded",
    )
    return encoded, len(cut)


def weighting(prepared: Prepared, split: Dataset) -> Weighting:
    """How much each target counts in the loss."""
    settings, labels = prepared.recipe.train, prepared.labels
    weights = settings.class_weights
    if weights is None:
        return Weighting(settings.label_smoothing)
    if weights == "balanced":
        return Weighting(settings.label_smoothing, balanced_weights(split["label"], labels))
    return Weighting(settings.label_smoothing, tuple(weights.get(label, 1.0) for label in labels))


def describe(prepared: Prepared, cut: int) -> dict[str, Any]:
    """What the run records of its data: rows, label counts, checksums, what was cut, guessed and warned of."""
    labelled = prepared.task.stratify()
    return {
        "rows": {name: len(split) for name, split in prepared.splits.items()},
        "labels": {name: dict(Counter(split[labelled])) for name, split in prepared.splits.items() if labelled},
        "sha256": prepared.files,
        "truncated_training_rows": cut,
        "notes": list(prepared.notes),
        "warnings": [issue._asdict() for issue in prepared.warnings],
    }


def file_hashes(recipe: Recipe) -> dict[str, str]:
    """The SHA-256 of each file that the recipe's data are in."""
    named = {name: getattr(recipe.data, name) for name in ("train", "validation", "test")}
    return {name: sha256(Path(f)) for name, f in named.items() if isinstance(f, str) and Path(f).is_file()}
