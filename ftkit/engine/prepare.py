"""From a recipe to everything training needs but the weights: data, labels, task, tokenizer, encoded rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from datasets import Dataset

from ftkit import checks
from ftkit.checkpoints import Located
from ftkit.checks._base import Data
from ftkit.data import balance
from ftkit.data.identity import file_hashes, hub_hashes
from ftkit.data.load import Splits, load, unified
from ftkit.data.stream import Stream, naming_skip
from ftkit.data.typed import AT_ONCE, batches, column, in_parts
from ftkit.engine import baselines, pretrained, prune
from ftkit.engine import contract as contracts
from ftkit.engine import model as models
from ftkit.engine.variants import Augmented, augment, stored_variants, summary
from ftkit.errors import CheckpointError, DataError, RecipeError, every, some
from ftkit.findings import Finding, located, merged, unusable
from ftkit.methods._base import Method
from ftkit.metrics import library
from ftkit.objectives._base import Objective
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, unused_without_validation
from ftkit.shelf import names as shelf_names
from ftkit.tasks._base import Labels, Task, Weighting
from ftkit.tasks.classification import Classification


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
    warnings: tuple[Finding, ...]
    files: dict[str, str]
    """SHA-256 of each file as it was when it was read, and of the rows of each split that comes from the Hub."""
    stored: Dataset
    """The training rows as they were read, before the task's `unify`."""
    augmented: Augmented | None = None
    """Variants of the training rows, where the recipe asks for some."""
    teacher: str = ""
    """SHA-256 of the model whose answers are learned from, where there is one."""
    stream: Stream | None = None
    """All training rows, where they are streamed: those of the split are the first of them, which were looked at."""

    @property
    def counted(self) -> dict[str, Dataset]:
        """The splits of which all rows are known."""
        return {name: rows for name, rows in self.splits.items() if not (self.stream and name == "train")}

    def training(self, places: Sequence[int] | None = None) -> Dataset:
        """What is learned from: the training rows (those at `places` where given) and, behind them, their variants."""
        train = self.splits["train"]
        if self.augmented:
            return self.augmented.beside(train, places)
        return train if places is None else train.select(places)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes and warnings, as they are told before the first step."""
        return (*(f"note: {note}" for note in self.notes), *(f"warning: {finding}" for finding in self.warnings))

    @property
    def metric(self) -> str:
        """The score that decides which model is kept: the recipe's, or the task's own."""
        return self.recipe.train.metric or self.task.decider()

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return resolve("objective", self.recipe.objective, Objective)

    @property
    def contract(self) -> contracts.Contract:
        """What the trained folder will promise."""
        spec = self.recipe.model
        return contracts.of_training(
            self.task,
            self.recipe.task.name,
            self.labels,
            self.method,
            self.recipe.method.name,
            {
                "checkpoint": spec.checkpoint,
                "revision": self.base.revision or spec.revision,
                "sha256": self.base.sha256,
                **({} if spec.layers is None else {"layers": spec.layers}),
            },
            self.recipe.data.model_dump(mode="json", include={"columns", "labels", "delimiter", "clean"}),
            "bf16" if self.recipe.evaluate.precision == "bf16" else "fp32",
        )


def prepare(recipe: Recipe, look: bool = True) -> Prepared:
    """Load, check and label the data and find the checkpoint. Raises FTKitError with all that is wrong.

    look: whether the rows are also looked through for what a person should be warned of.
    """
    task = resolve("task", recipe.task, Task)
    method = resolve("method", recipe.method, Method)
    if recipe.data.train is None:
        raise RecipeError("data.train must be set: a file with the rows to learn from", "--set data.train=FILE")
    read: list[Any] = every([partial(_loaded, recipe, task), partial(_base_and_teacher, recipe)])
    (files, loaded), (base, teacher) = read
    _require_labels(recipe, loaded)
    config = pretrained.read_config(base.path)
    task, splits, labels, found = checks.checked(task, _used(recipe, loaded), recipe.data, config)
    if recipe.data.bad_rows == "skip":
        splits, found = _skipped(splits, found)
    with naming_skip(recipe.data):
        warnings = checks.usable(found, loaded.numbering, {name: _where(recipe, name) for name in splits})
    labels = in_order_of(labels, pretrained.label_names(config))
    _check_loss(recipe, task, labels)
    for name in recipe.evaluate.metrics:
        library.load(name, labels)  # found now, not after the training
    tokenizer = pretrained.read_tokenizer(base.path, task)
    fitting = pretrained.within_positions(task, config, tokenizer)
    notes = [*loaded.notes, *_notes(recipe, task, fitting, config, labels, loaded, splits)]
    if look:
        data = checks.as_data(loaded, labels, fitting.limits(), tokenizer, balanced=recipe.is_balanced)
        warnings = merged([*warnings, *located(checks.found_in(data), loaded.numbering)])
        notes += data.notes
    prepared = augmented(
        Prepared(
            recipe=recipe,
            task=fitting,
            method=method,
            base=base,
            tokenizer=tokenizer,
            labels=labels,
            splits=splits,
            notes=(),
            warnings=tuple(warnings),
            files={**files, **hub_hashes(recipe.data, loaded)},
            stored=loaded.train,
            teacher=teacher,
            stream=loaded.stream,
        )
    )
    return replace(prepared, notes=(*notes, *_balance_notes(prepared), *prune.notes(recipe.model.prune)))


def _notes(
    recipe: Recipe,
    task: Task,
    fitting: Task,
    config: Any,
    labels: Labels,
    loaded: Splits,
    splits: Mapping[str, Dataset],
) -> Iterator[str]:
    """How the recipe meets its checkpoint and its rows; `fitting` is the task as it can be here."""
    known = pretrained.label_names(config)
    has_names = not all(_NUMBERED.fullmatch(name) for name in known)
    if labels and {*known} != {*labels} and has_names and not pretrained.gives_a_number(task, config):
        yield f"the checkpoint's head is of other labels ({some(list(known), 5)}): a new one is trained"
    if baselines.of(task) and loaded.stream:
        yield "no baselines are scored beside a stream: they learn from all rows at once"
    if "validation" not in splits and (unused := unused_without_validation(recipe, "test" in splits)):
        yield f"there are no validation rows, so {', '.join(unused)} does nothing"
    if fitting is not task:
        changed = f"task.max_length is {fitting.options.max_length}, not {task.options.max_length}"
        yield f"{changed}: the checkpoint reads no more"


def _base_and_teacher(recipe: Recipe) -> tuple[Located, str]:
    """The checkpoint, and the SHA-256 of the teacher, if there is one. Raises CheckpointError, or RecipeError."""
    spec, teacher = recipe.model, resolve("objective", recipe.objective, Objective).teacher
    locate = partial(models.locate_base, spec.checkpoint, spec.revision)
    if teacher is None:
        return locate(), ""
    if teacher == spec.checkpoint:
        both = "model.checkpoint and objective.teacher"
        return _taught(recipe, teacher, both, locate), _taught(recipe, teacher, both, models.fingerprint, teacher)
    base, known = every([locate, partial(_taught, recipe, teacher, "objective.teacher", models.fingerprint, teacher)])
    return base, known


def _taught(recipe: Recipe, teacher: str, settings: str, find: Callable[..., Any], *arguments: Any) -> Any:
    """What `find` finds of a teacher, which is trained before its student."""
    try:
        return find(*arguments)
    except CheckpointError as error:
        shelf = f"{recipe.task.name}/full"
        first = f"`ftkit train {shelf} --run {teacher}`" if shelf in shelf_names() else "`ftkit train`"
        names = " ".join(f"--set {name}=RUN" for name in settings.split(" and "))
        hint = f"name a run or an export with {names}, or train it first, as by {first}"
        raise RecipeError(f"{settings}: {error.message}", hint) from error


def _require_labels(recipe: Recipe, loaded: Splits) -> None:
    """Raises RecipeError where only the first rows of a stream would tell which labels there are."""
    if loaded.stream is None or recipe.data.labels:
        return
    assert loaded.train is not None
    seen = Data(loaded.shape, {"train": loaded.train.to_dict()})
    if seen.has_names:
        raise RecipeError(
            "data.labels must list all labels of a stream: its first rows need not have each",
            f"--set 'data.labels=[{', '.join(sorted(seen.counts('train')))}]' lists those that they have",
        )


_NUMBERED = re.compile(r"LABEL_\d+")
"""What transformers calls the labels of a head that was given none."""


def _skipped(splits: dict[str, Dataset], found: list[Finding]) -> tuple[dict[str, Dataset], list[Finding]]:
    """The splits and findings without the training rows that errors name."""
    own = [finding for finding in found if finding.level == "error" and "train" in finding.splits]
    bad, train = unusable(own) or (), splits["train"]
    kept = [i for i, row in enumerate(column(train, "row")) if row not in bad]
    return {**splits, "train": train.select(kept)}, [finding for finding in found if finding not in own]


def _loaded(recipe: Recipe, task: Task) -> tuple[dict[str, str], Splits]:
    """The SHA-256s of the recipe's files, then their rows: of a file that changes meanwhile, it is found out later."""
    rows = partial(load, recipe.data, task.shapes(), stratify=task.stratify(), groups=task.groups)
    try:
        files = file_hashes(recipe.data)
    except DataError:
        rows()  # says all that is wrong with them
        raise
    return files, rows()


def _balance_notes(prepared: Prepared) -> Iterator[str]:
    """What `data.balance` makes of all training rows, where it takes other ones."""
    data = prepared.recipe.data
    if data.balance in ("oversample", "undersample"):
        each = "; each fold's own training rows alike" if prepared.recipe.train.folds else ""
        yield balance.told(list(column(prepared.training(), "label")), data.balance, data.seed) + each


def read_splits(recipe: Recipe, task: Task) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """The recipe's splits in the form that the task reads, and what was guessed on the way."""
    _, splits, notes = read_rows(recipe, task)
    return splits, notes


def read_rows(recipe: Recipe, task: Task) -> tuple[Dataset, dict[str, Dataset], tuple[str, ...]]:
    """The training rows as they are stored, and what `read_splits` gives."""
    loaded: Splits = load(recipe.data, task.shapes(), stratify=task.stratify(), groups=task.groups)
    assert loaded.train is not None
    splits = {name: unified(task, split) for name, split in _used(recipe, loaded).items()}
    return loaded.train, splits, loaded.notes


def _used(recipe: Recipe, loaded: Splits) -> dict[str, Dataset]:
    splits = dict(loaded.items())
    most = recipe.evaluate.validation_rows
    if most and "validation" in splits:
        splits["validation"] = splits["validation"].select(range(min(most, len(splits["validation"]))))
    return splits


def augmented(prepared: Prepared) -> Prepared:
    """The same with the variants of the training rows that the recipe asks for; itself where it asks for none."""
    if not prepared.recipe.augment.by:
        return prepared
    stored, train = prepared.stored, prepared.splits["train"]
    made = augment(stored, prepared.task, prepared.recipe.augment, prepared.labels)
    rows = unified(prepared.task, stored_variants(made, stored)) if made.variants else train.select([])
    return replace(prepared, augmented=Augmented(made, rows.cast(train.features)))


def in_order_of(labels: Labels, trained: Labels) -> Labels:
    """The labels in the order of the checkpoint's head where it was trained on the same ones, else as they are."""
    return trained if set(labels) == set(trained) else labels


def check(task: Task, splits: Mapping[str, Dataset], labels: Labels) -> list[Finding]:
    """The task's warnings about all splits. Raises DataError with every error at once."""
    return checks.usable(checks.of_task(task, splits, labels))


def _where(recipe: Recipe, split: str) -> str:
    """The file that a split was read from, or the split's name."""
    sources = recipe.data.sources(split)
    return Path(sources[0]).name if len(sources) == 1 else f"the {split} rows,"


def _check_loss(recipe: Recipe, task: Task, labels: Labels) -> None:
    """Raises RecipeError for settings of the loss that the task has no use for, and for weights of unknown labels."""
    weights = recipe.train.class_weights
    regression = isinstance(task, Classification) and task.options.kind == "regression"
    if recipe.train.label_smoothing and regression:
        raise RecipeError("train.label_smoothing: there are no labels to smooth in a regression", "leave it out")
    if recipe.data.balance and (not isinstance(task, Classification) or regression):
        raise RecipeError("data.balance: only labels of whole texts are balanced", "leave it out")
    if weights is None:
        return
    if not isinstance(task, Classification) or regression:
        raise RecipeError("train.class_weights: only labels of texts are weighed", "leave it out")
    if isinstance(weights, dict) and (unknown := sorted(set(weights) - set(labels))):
        raise RecipeError(
            f"train.class_weights: {', '.join(map(repr, unknown))} is no label of the data",
            f"there are: {', '.join(labels)}",
        )
    if isinstance(weights, dict) and not any(weights.get(label, 1.0) for label in labels):
        raise RecipeError(
            "train.class_weights: every label weighs 0, so there is nothing to learn", "give one more than 0"
        )


def sampled(prepared: Prepared, split: Dataset) -> Sequence[int]:
    """Places of the rows of a training split, or of a part of it, that an epoch goes over: see `data.balance`."""
    data = prepared.recipe.data
    if data.balance not in ("oversample", "undersample"):
        return range(len(split))
    return balance.resampled(list(column(split, "label")), data.balance, data.seed)


def encode_training(prepared: Prepared, split: Dataset, places: Sequence[int] | None = None) -> tuple[Dataset, int]:
    """The encoded rows of a training split with their lengths, and how many of its rows were cut.

    `places` are those of its rows that are taken, some perhaps several times; all of them where there are none.
    Where a task keeps the rows of an example together, `example` numbers them.
    """
    task, tokenizer, labels = prepared.task, prepared.tokenizer, prepared.labels
    keep = {*tokenizer.model_input_names, *task.targets}
    cut: set[int] = set()

    def encode(batch: dict[str, list[Any]], numbers: Sequence[int]) -> dict[str, list[Any]]:
        encoded = dict(task.encode(batch, tokenizer, labels))
        places = list(encoded.get("example", range(len(encoded["input_ids"]))))
        example = [numbers[i] for i in places]
        cut.update(i for i, was_cut in zip(example, encoded.get("truncated", ()), strict=False) if was_cut)
        rows = {name: values for name, values in encoded.items() if name in keep}
        if task.keeps_together:
            rows["example"] = example
        if "row" in batch:
            rows["row"] = [batch["row"][i] for i in places]
        return {**rows, "length": [len(ids) for ids in rows["input_ids"]]}

    places = range(len(split)) if places is None else places
    rows = split if len(places) == len(split) and places == range(len(split)) else split.select(places)
    parts = (range(len(rows))[start : start + AT_ONCE] for start in count(step=AT_ONCE))
    encoded = in_parts(encode(batch, numbers) for batch, numbers in zip(batches(rows), parts, strict=False))
    return encoded, len({places[i] for i in cut})


def weighting(prepared: Prepared, split: Dataset) -> Weighting:
    """How much each target counts in the loss."""
    settings, labels = prepared.recipe.train, prepared.labels
    weights = settings.class_weights
    if weights == "balanced" or prepared.recipe.data.balance == "weights":
        return Weighting(settings.label_smoothing, balance.balanced_weights(list(column(split, "label")), labels))
    if weights is None:
        return Weighting(settings.label_smoothing)
    return Weighting(settings.label_smoothing, tuple(weights.get(label, 1.0) for label in labels))


def describe(prepared: Prepared, cut: int) -> dict[str, Any]:
    """What the run records of its data: rows, label counts, checksums, what was cut, guessed and warned of."""
    labelled = prepared.task.stratify()
    return {
        "rows": {name: len(split) for name, split in prepared.counted.items()},
        "labels": {
            name: dict(Counter(column(split, labelled))) for name, split in prepared.counted.items() if labelled
        },
        "sha256": prepared.files,
        "truncated_training_rows": cut,
        "notes": list(prepared.notes),
        "warnings": [finding.as_json(rows=False) for finding in prepared.warnings],
        **_describe_variants(prepared),
    }


def _describe_variants(prepared: Prepared) -> dict[str, Any]:
    augmented, rows = prepared.augmented, len(prepared.splits["train"])
    return {"augmented": summary(augmented.made, rows)} if augmented else {}
