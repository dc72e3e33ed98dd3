"""A recipe is the whole experiment: one YAML file, strict and typed, with every default filled in."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftkit import trust, yaml12
from ftkit.augmenters._base import Augmenter
from ftkit.checkpoints import STARTERS
from ftkit.config import Section
from ftkit.data.read import looks_like_file
from ftkit.errors import RecipeError, problems
from ftkit.methods._base import Method
from ftkit.objectives._base import Objective
from ftkit.plugins import Choice, explain_errors, faults, resolve
from ftkit.settings import MOST_SEED, AugmentSpec, DataSpec, EvaluateSpec, ModelSpec, TrainSpec
from ftkit.shelf import find_recipe
from ftkit.tasks._base import LABELLED_KINDS, Task

PLUGIN_BASES: dict[str, type] = {"task": Task, "method": Method, "objective": Objective}
"""The base class of each kind of plug-in of which a recipe chooses one."""


class Recipe(Section):
    """A complete experiment."""

    task: Choice
    """What is learned: a shipped task, or a path to one's own."""
    model: ModelSpec
    data: DataSpec = DataSpec()
    augment: AugmentSpec = AugmentSpec()
    method: Choice = Choice(name="full")
    """How much of the checkpoint learns: a shipped method, or a path to one's own."""
    objective: Choice = Choice(name="labels")
    """What it learns from: the labels alone, a teacher's answers beside them, or a path to one's own."""
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()

    @property
    def is_balanced(self) -> bool:
        """Whether labels that are not as frequent are made to count alike."""
        return self.data.balance is not None or self.train.class_weights is not None

    def filled(self) -> dict[str, Any]:
        """The recipe as plain data, every default written out."""
        data = self.model_dump(mode="json")
        for setting, base in PLUGIN_BASES.items():
            data[setting] = _filled(setting, getattr(self, setting), base)
        data["augment"]["by"] = [_filled("augmenter", choice, Augmenter) for choice in self.augment.by]
        return data

    def usual_options(self) -> dict[str, Any]:
        """What the options of the plug-ins are that the recipe chooses, where nobody sets them."""
        found: dict[str, Any] = {}
        for setting, base in PLUGIN_BASES.items():
            options: Any = resolve(setting, getattr(self, setting), base).options
            fields = type(options).model_fields
            found[setting] = {
                name: field.get_default(call_default_factory=True)
                for name, field in fields.items()
                if not field.is_required()
            }
        return found

    def dump(self) -> str:
        """The recipe as YAML, every default written out."""
        return yaml12.dump(self.filled())


def load_recipe(source: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe (a path or a shelf name) with `settings` such as `train.epochs=1` laid over it.

    Paths in the file count from the file's folder, paths in `settings` from the current one.
    Raises RecipeError with every problem at once.
    """
    path = find_recipe(source)
    raw = _absolute(read_raw(path), path.resolve().parent)
    if path.with_name(f"{path.name}.sha256").is_file() or Path(source).is_dir():  # a run, perhaps from elsewhere
        trust.refuse_foreign(path.parent, raw)
        trust.refuse_outside(path.parent, raw)
    return parse_recipe(_absolute(override(raw, settings), Path.cwd(), before=raw), str(source))


def changed(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with `settings` such as `train.epochs=1` laid over it; its paths count from the current folder.

    A recipe that was made in Python is checked as one that was read. Raises RecipeError with every problem at once.
    """
    return parse_recipe(_absolute(override(recipe.model_dump(), settings), Path.cwd()), "with its settings")


def parse_recipe(raw: dict[str, Any], source: str) -> Recipe:
    """A checked recipe from plain data; `source` names it in errors. Raises RecipeError with every problem."""
    try:
        recipe = Recipe(**raw)
    except ValidationError as error:
        found = explain_errors(error, Recipe)
        raise problems(RecipeError, f"recipe {source}", found + list(_option_problems(raw)), SETTINGS_HINT) from None
    found = list(_option_problems(raw)) + list(_contradictions(recipe))
    if found:
        raise problems(RecipeError, f"recipe {source}", found, SETTINGS_HINT)
    return recipe


def parse_data(raw: Any) -> DataSpec:
    """A checked `data` section from plain data. Raises RecipeError with every problem."""
    try:
        return DataSpec.model_validate(raw)
    except ValidationError as error:
        raise problems(RecipeError, "", explain_errors(error, DataSpec, "data"), SETTINGS_HINT) from None


SETTINGS_HINT = "`ftkit recipes explain` lists the settings"


def override(raw: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`raw` with each `a.b=value` laid over it; values are read as YAML. Raises RecipeError for a bad one."""
    result = dict(raw)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise RecipeError(f"--set {setting}: a setting is written name=value", "for example --set train.epochs=1")
        _put(result, name.strip().split("."), _read_value(name, text), setting)
    return result


def _read_value(name: str, text: str) -> Any:
    """The value of a setting, read as YAML; `*.csv` is a pattern of files, and no YAML alias."""
    return text if text.startswith("*") else yaml12.load(text, f"--set {name}={text}", "quote the whole setting")


def _filled(setting: str, choice: Choice, base: type) -> dict[str, Any]:
    options: Any = resolve(setting, choice, base).options
    return {"name": choice.name, **options.model_dump(mode="json")}


def read_raw(path: Path) -> dict[str, Any]:
    """A recipe file as plain data. Raises RecipeError where it is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not a text file", "a recipe is YAML, saved as UTF-8") from error
    except OSError as error:
        raise RecipeError(f"{path} can't be read: {error.strerror}") from error
    raw = yaml12.load(text, str(path))
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} holds no settings", _whence(path))
    return {str(name): value for name, value in raw.items()}


def _whence(path: Path) -> str:
    """Where a recipe comes from, for somebody who named something else."""
    if looks_like_file(path.name):
        return f"`ftkit init {path}` writes a recipe that reads it"
    return "`ftkit recipes show sentiment/full` shows what a recipe looks like"


def _put(raw: dict[str, Any], path: list[str], value: Any, setting: str) -> None:
    for part in path[:-1]:
        inner = raw.get(part)
        if isinstance(inner, str):
            inner = {"name": inner}
        if inner is not None and not isinstance(inner, dict):
            raise RecipeError(f"--set {setting}: {part} is {inner!r} and has nothing inside it", SETTINGS_HINT)
        raw[part] = dict(inner or {})
        raw = raw[part]
    raw[path[-1]] = value


def _absolute(raw: dict[str, Any], base: Path, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`raw` with each path made absolute that counts from `base`; names and Hub ids are left as they are.

    What stands in `before` at the same place is left, too: it counts from elsewhere.
    """
    raw = {name: dict(value) if isinstance(value, dict) else value for name, value in raw.items()}
    was = before or {}
    for section, name in trust.PATHS:
        named = _inner(raw, section, name)
        if named == _inner(was, section, name):
            continue
        if isinstance(named, str):
            raw[section][name] = (_absolute_model if name == "checkpoint" else _absolute_path)(named, base)
        elif isinstance(named, (list, tuple)):
            raw[section][name] = [_absolute_path(one, base) if isinstance(one, str) else one for one in named]
    for setting in PLUGIN_BASES:
        if setting in raw:
            raw[setting] = _absolute_choice(raw[setting], base, was.get(setting))
    if isinstance(raw.get("augment"), dict):
        known = _several(_inner(was, "augment", "by"))
        by = _several(raw["augment"].get("by"))
        raw["augment"]["by"] = [one if one in known else _absolute_choice(one, base) for one in by]
    metrics, known = _inner(raw, "evaluate", "metrics"), _several(_inner(was, "evaluate", "metrics"))
    if isinstance(metrics, (list, tuple)):
        found = [metric if metric in known else _absolute_path(str(metric), base) for metric in metrics]
        raw["evaluate"]["metrics"] = found
    return raw


def _inner(raw: Mapping[str, Any], section: str, name: str) -> Any:
    return raw[section].get(name) if isinstance(raw.get(section), Mapping) else None


def _several(by: Any) -> list[Any]:
    """The augmenters of a recipe as it was written: one alone needs no list."""
    return list(by) if isinstance(by, (list, tuple)) else [] if by is None else [by]


def _absolute_choice(choice: Any, base: Path, before: Any = None) -> Any:
    """A plug-in whose file, and whatever is a path among its options, are absolute; `before` as for `_absolute`."""
    if choice == before:
        return choice
    if not isinstance(choice, dict):
        return _absolute_path(choice, base) if str(choice).endswith(".py") else choice
    was = before if isinstance(before, dict) else {"name": before}
    new = {name: value for name, value in choice.items() if isinstance(value, str) and value != was.get(name)}
    found = {name: _absolute_option(name, value, base) for name, value in new.items() if name != "name"}
    return {**choice, **found, **({"name": _absolute_choice(choice["name"], base)} if "name" in new else {})}


def _absolute_option(name: str, value: str, base: Path) -> str:
    """An option that names a model, or begins as a relative path does; any other is a text, and stays as it is."""
    if name in trust.MODELS:
        return _absolute_model(value, base)
    return _absolute_path(value, base) if value.startswith(("./", "../", "~/")) or value in (".", "..") else value


def _absolute_model(value: str, base: Path) -> str:
    """The folder of a checkpoint or a run that `value` means, or `value` itself where it is a name.

    A starter's name means the starter, unless a plain checkpoint stands there: a run of that name is `./minilm`.
    """
    path = base / os.path.expanduser(value)  # unlike Path's own, it leaves an unknown ~user as it is
    marks = ("config.json",) if value in STARTERS else ("config.json", "recipe.yaml", "ftkit.json")
    is_one = value.startswith((".", "~", "/")) or any(os.path.isfile(path / name) for name in marks)
    return str(path.resolve()) if value and is_one else value


def _absolute_path(value: str, base: Path) -> str:
    """The path that `value` means, or `value` itself where it is a name, a Hub id or already absolute."""
    path = base / os.path.expanduser(value)
    if value.startswith((".", "~", "/")):
        return str(path.resolve())
    is_path = os.path.exists(path) or value.endswith(".py") or looks_like_file(value) or glob.has_magic(value)
    return str(path.resolve()) if value and is_path and ":" not in value else value


def _option_problems(raw: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the options of the task, the method and the augmenters."""
    chosen = [(setting, base, raw.get(setting)) for setting, base in PLUGIN_BASES.items()]
    section = raw.get("augment")
    by = _several(section.get("by")) if isinstance(section, dict) else []
    for setting, base, choice in [*chosen, *(("augmenter", Augmenter, choice) for choice in by)]:
        if not isinstance(choice, (str, dict)) or (isinstance(choice, dict) and "name" not in choice):
            continue
        if isinstance(choice, dict) and not isinstance(choice["name"], str):
            continue  # the recipe's own check says so
        yield from (_as_set(fault, choice) for fault in faults(setting, Choice.model_validate(choice), base))


def _as_set(problem: str, choice: str | dict[str, Any]) -> str:
    """A problem under the name of the setting: an augmenter's stands in `augment.by`, by the augmenter's name."""
    name = choice if isinstance(choice, str) else choice["name"]
    problem = problem.replace("augmenter.", f"augment.by: {name}.") if problem.startswith("augmenter.") else problem
    return f"augment.by:{problem.removeprefix('augmenter:')}" if problem.startswith("augmenter:") else problem


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """Settings that are well-formed one by one and can't go together."""
    train = recipe.train
    if recipe.data.balance and train.class_weights is not None:
        yield "data.balance and train.class_weights: both say how much labels count; set one of them"
    if train.layer_decay != 1 and train.bottom_rate is not None:
        yield "train.layer_decay and train.bottom_rate: both say how rates fall with depth; set one of them"
    if train.seed + (train.seeds or 1) - 1 > MOST_SEED:
        yield f"train.seeds: {train.seeds} seeds from train.seed={train.seed} on go beyond {MOST_SEED}"
    if train.seeds and train.folds:
        yield "train.seeds and train.folds: each asks for several trainings; set one of them"
    if train.folds and recipe.augment.teacher:
        yield "augment.teacher and train.folds: the teacher would learn from rows that folds hold out; set one of them"
    if recipe.data.unlabeled and (several := [name for name in ("seeds", "folds") if getattr(train, name)]):
        yield f"data.unlabeled and train.{several[0]}: each asks for several trainings; set one of them"
    if train.batch % train.accumulate:
        yield f"train.accumulate: {train.batch} examples a step can't be split into {train.accumulate} equal parts"
    if train.sharding.name and train.optimizer in ("lamb", "adafactor"):
        yield f"train.sharding and train.optimizer: {train.optimizer} looks at whole weights; take adamw or sgd"
    if train.sharding.name == "fsdp" and train.sharding.stage == 1:
        yield "train.sharding.stage: fsdp splits gradients too; take 2 or 3"
    wished = [name for name in ("wished_precision", "wished_coverage") if getattr(recipe.evaluate, name) is not None]
    if len(wished) > 1:
        yield "evaluate.wished_precision and evaluate.wished_coverage: both say what to withhold; set one of them"
    if wished and not recipe.evaluate.calibrate:
        yield f"evaluate.{wished[0]}: its threshold is found by calibration, and evaluate.calibrate is false"
    if train.steps and train.epochs != "auto":
        yield "train.steps and train.epochs: both say how long it takes; set one of them"
    yield from _against_streaming(recipe) if recipe.data.stream else _for_streams_alone(recipe)
    for name in ("validation", "test"):
        share = getattr(recipe.data, name)
        if isinstance(share, float) and not 0 <= share < 1:
            yield f"data.{name}: a share must lie between 0 and 1, and it is {share}"


def _against_streaming(recipe: Recipe) -> Iterator[str]:
    """All that stands against a stream; where it lacks labels alone, its first rows tell which it may list."""
    if found := list(_of_all_rows(recipe)):
        yield from found
        if not recipe.data.labels and _has_labels(recipe):
            yield "data.labels: must list all labels of a stream, as its first rows need not have each"


def _has_labels(recipe: Recipe) -> bool:
    """Whether the rows of the recipe's task have labels, or types of entities, however they are stored."""
    task = resolve("task", recipe.task, Task)
    return all(any(column.kind in LABELLED_KINDS for column in shape) for shape in task.shapes())


def _of_all_rows(recipe: Recipe) -> Iterator[str]:
    """What a stream lacks, and what takes all rows, which it never has."""
    data, train = recipe.data, recipe.train
    if not train.steps:
        yield "data.stream: nobody knows how many rows a stream has; say with train.steps how many steps to take"
    for name in ("validation", "test"):
        if isinstance(share := getattr(data, name), float) and share:
            yield f"data.{name}: no share of a stream can be set aside; name a file with its rows, or 0 for none"
    asked = {
        "train.folds": (train.folds, "folds are parts of all rows"),
        "data.limit": (data.limit, "it draws from all rows; train.steps says how many are learned from"),
        "data.balance": (data.balance, "it counts the labels of all rows; train.class_weights names weights"),
        "data.unlabeled": (data.unlabeled, "self-training goes over all rows again"),
        "model.prune.heads": (recipe.model.prune.heads, "their importance is taken of some of all rows"),
        "augment.by": (recipe.augment.by, "`ftkit augment --to FILE` writes variants, which can be streamed"),
        "train.class_weights": (train.class_weights == "balanced", "it counts the labels of all rows; name weights"),
        "train.evaluate_every": (train.evaluate_every == "epoch", "a stream may have no end; set a number of steps"),
    }
    for name, (is_set, why) in asked.items():
        if is_set:
            yield f"{name}: not with data.stream: {why}"


def _for_streams_alone(recipe: Recipe) -> Iterator[str]:
    if recipe.data.bad_rows == "skip":
        yield "data.bad_rows: only rows of a stream are skipped; `ftkit data check --fix` leaves bad rows out"


def refuse_stream(recipe: Recipe, what: str) -> None:
    """Raises RecipeError for a stream where `what` goes over all rows."""
    if recipe.data.stream:
        raise RecipeError(f"{what} goes over all rows, and data.stream is set", "--set data.stream=false reads them")


def unused_without_validation(recipe: Recipe, is_tested: bool) -> list[str]:
    """Settings off their defaults that do nothing where no validation rows are scored, but test rows `is_tested`."""
    defaults = TrainSpec()
    names = ("evaluate_every", "patience") if is_tested else ("metric", "evaluate_every", "patience")
    return [f"train.{name}" for name in names if getattr(recipe.train, name) != getattr(defaults, name)]
