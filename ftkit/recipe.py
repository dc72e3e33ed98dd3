"""A recipe is the whole experiment: one YAML file, strict and typed, with every default filled in."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ftkit import trust
from ftkit.config import Section
from ftkit.errors import RecipeError, nearest, one_line, problems
from ftkit.plugins import Choice, explain_errors, find, names, resolve
from ftkit.shelf import find_recipe

Precision = Literal["auto", "fp32", "bf16"]
"""Those that a model answers in."""
_LEAST_RESAMPLES = 100
"""Fewer draws have no ends of 95 % to speak of."""
MOST_SEED = 2**32 - 1
"""NumPy takes no larger one."""


class ModelSpec(Section):
    """Where training starts."""

    checkpoint: str
    """A starter checkpoint (`minilm`, `smollm2`), a Hub id, a local folder, or a run to go on from."""
    revision: str | None = None
    """Branch, tag or commit of a Hub checkpoint."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Every dropout rate of the model; as the checkpoint has them when not set."""

    @model_validator(mode="before")
    @classmethod
    def _not_a_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise PydanticCustomError("name", f"must have settings inside it: write `model: {{checkpoint: {value}}}`")
        return value


class DataSpec(Section):
    """The labelled text, and which of its columns mean what."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    train: str | None = None
    """A file, a shipped sample (`sample:sentiment`), or a data set on the Hub (`org/name`, `org/name:config`)."""
    validation: str | float | None = 0.1
    """A file, or the share of the training rows that is set aside to choose the best epoch by."""
    test: str | float | None = None
    """A file, or the share of the rows that is held out and scored once, at the end."""
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
    delimiter: str = Field(",", min_length=1)
    """What stands between the labels of one row, where a row may have several."""
    seed: int = Field(13, ge=0, le=MOST_SEED)
    """Decides which rows a share or a limit takes."""

    @field_validator("labels")
    @classmethod
    def _each_once(cls, labels: Any) -> Any:
        twice = (
            [repr(name) for name, count in Counter(labels).items() if count > 1] if isinstance(labels, tuple) else []
        )
        if twice:
            raise PydanticCustomError("twice", f"must have each label once, not {', '.join(twice)} twice")
        return labels


class TrainSpec(Section):
    """How the weights are moved."""

    epochs: float | Literal["auto"] = Field("auto", union_mode="left_to_right")
    """Times the training rows are gone over; `auto` is 3, and more on small data, until 200 steps (20 at most)."""
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
    """Weight of each label in the loss; `balanced` weighs a label by the inverse of its frequency."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the computation in training; `auto` is bf16 where the device computes in it."""
    batch_tokens: int = Field(8192, gt=0)
    """Tokens, padding included, that are computed at once: a longer step is split; only memory and time change."""
    activation_checkpointing: bool = False
    """Compute each layer again on the way back instead of keeping its outputs: less memory, a third more time."""
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
    """When validation is scored: each epoch, or every so many steps; `auto`: each epoch, 5 times in `epochs: auto`."""
    patience: int | None = Field(None, gt=0)
    """Evaluations without a better score after which training stops."""

    @field_validator("class_weights")
    @classmethod
    def _weigh_something(cls, weights: Any) -> Any:
        if isinstance(weights, dict) and (min(weights.values(), default=0) < 0 or not any(weights.values())):
            raise PydanticCustomError("weights", "must be 0 or more, and more than 0 for at least one label")
        return weights


class EvaluateSpec(Section):
    """How held-out rows are scored."""

    metrics: tuple[str, ...] = ()
    """More metrics: a name that `evaluate` finds, or a path to one's own metric script."""
    validation_rows: int | None = Field(None, gt=0)
    """Validation rows that are used, the first ones; all when not set. For tasks that write text, which is slow."""
    batch_tokens: int = Field(8192, gt=0)
    """Tokens, padding included, that go through the model at once."""
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


class Recipe(Section):
    """A complete experiment."""

    task: Choice
    """What is learned: a shipped task, or a path to one's own."""
    model: ModelSpec
    data: DataSpec = DataSpec()
    method: Choice = Choice(name="full")
    """How much of the checkpoint learns: a shipped method, or a path to one's own."""
    train: TrainSpec = TrainSpec()
    evaluate: EvaluateSpec = EvaluateSpec()

    def filled(self) -> dict[str, Any]:
        """The recipe as plain data, every default written out."""
        data = self.model_dump(mode="json")
        for setting, base in _bases().items():
            data[setting] = _filled(setting, getattr(self, setting), base)
        return data

    def dump(self) -> str:
        """The recipe as YAML, every default written out."""
        return yaml.dump(self.filled(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `5e-5` is a number, `010` is ten, `no`, `12:30` and `1_000` are words."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[str] = []
        """A sentence for each name that a mapping has twice, which a dict would hide."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping as it is written, before merges; its names are compared as values and as texts."""
        mapping = super().compose_mapping_node(anchor)
        first: dict[Any, yaml.Node] = {}
        for node, _ in mapping.value:
            if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(node, deep=True)
            other = first.get(name) or first.get(str(name))
            if other:
                self.twice.append(_same_name(other, node))
            first[name] = first[str(name)] = node
        return mapping


def _same_name(one: yaml.Node, other: yaml.Node) -> str:
    lines = list(dict.fromkeys(str(node.start_mark.line + 1) for node in (one, other)))
    names = list(dict.fromkeys(repr(node.value) for node in (one, other)))
    what = f"{names[0]} is there twice" if len(names) == 1 else f"{' and '.join(names)} are the same name"
    return f"line{'s' * (len(lines) - 1)} {' and '.join(lines)}: {what}"


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.1 or 1.2 would take for something else, so that either reads it as written."""


_CORE = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
}
"""Scalars of YAML 1.2's core schema that 1.1 has otherwise, and the signs they begin with."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _CORE.items():
    for _yaml in (_Loader, _Dumper):
        _yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def load_recipe(source: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe (a path or a shelf name) with `settings` such as `train.epochs=1` laid over it.

    Paths in the file count from the file's folder, paths in `settings` from the current one.
    Raises RecipeError with every problem at once.
    """
    path = find_recipe(source)
    raw = _absolute(read_raw(path), path.resolve().parent)
    if Path(source).is_dir():  # a run, which may have come from elsewhere
        trust.refuse_foreign(source, raw)
    raw = _absolute(override(raw, settings), Path.cwd())
    trust.remember(raw)
    return parse_recipe(raw, str(source))


def changed(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with `settings` such as `train.epochs=1` laid over it; their paths count from the current folder.

    Raises RecipeError with every problem at once.
    """
    settings = list(settings)
    if not settings:
        return recipe
    return parse_recipe(_absolute(override(recipe.model_dump(), settings), Path.cwd()), "with its settings")


def parse_recipe(raw: dict[str, Any], source: str) -> Recipe:
    """A checked recipe from plain data; `source` names it in errors. Raises RecipeError with every problem."""
    try:
        recipe = Recipe(**raw)
    except ValidationError as error:
        found = explain_errors(error, Recipe)
        raise problems(RecipeError, f"recipe {source}", found + list(_option_problems(raw)), _HINT) from None
    found = list(_option_problems(raw)) + list(_contradictions(recipe))
    if found:
        raise problems(RecipeError, f"recipe {source}", found, _HINT)
    return recipe


def parse_data(raw: dict[str, Any]) -> DataSpec:
    """A checked `data` section from plain data. Raises RecipeError with every problem."""
    try:
        return DataSpec(**raw)
    except ValidationError as error:
        raise problems(RecipeError, "", explain_errors(error, DataSpec, "data"), _HINT) from None


_HINT = "`ftkit recipes explain` lists the settings"


def override(raw: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`raw` with each `a.b=value` laid over it; values are read as YAML. Raises RecipeError for a bad one."""
    result = dict(raw)
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise RecipeError(f"--set {setting}: a setting is written name=value", "for example --set train.epochs=1")
        _put(result, name.strip().split("."), _load(text, f"--set {name}={text}", "quote the whole setting"), setting)
    return result


def explain(prefix: str = "") -> list[tuple[str, str, str, str]]:
    """(setting, type, default, sentence) of each setting under `prefix`. Raises RecipeError when there is none."""
    rows = [
        (name, _type_name(field.annotation), _default(field), field.description or "") for name, field in _walk(Recipe)
    ]
    for setting, base in _bases().items():
        for choice in names(setting):
            options = find(setting, choice, base).Options  # type: ignore[attr-defined]
            rows += [
                (
                    f"{setting}.{name}",
                    _type_name(field.annotation),
                    _default(field),
                    f"[{choice}] {field.description or ''}",
                )
                for name, field in options.model_fields.items()
            ]
    chosen = [row for row in rows if not prefix or row[0] == prefix or row[0].startswith(prefix + ".")]
    if not chosen:
        guess = nearest(prefix, [row[0] for row in rows])
        raise RecipeError(f"there is no setting {prefix!r}", f"did you mean {guess}?" if guess else _HINT)
    return chosen


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe file, with the options of every shipped task and method, for editors."""
    result = Recipe.model_json_schema()
    for setting, base in _bases().items():
        choices: list[dict[str, Any]] = [{"type": "string", "description": "a name, or a path to one's own file"}]
        for name in names(setting):
            options = find(setting, name, base).Options.model_json_schema()  # type: ignore[attr-defined]
            result["$defs"].update(options.pop("$defs", {}))
            options["properties"] = {"name": {"const": name}, **options.get("properties", {})}
            choices.append({**options, "required": ["name", *options.get("required", [])]})
        result["properties"][setting] = {"anyOf": choices}
    return result


def _bases() -> dict[str, type]:
    from ftkit.methods._base import Method
    from ftkit.tasks._base import Task

    return {"task": Task, "method": Method}


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
    raw = _load(text, str(path))
    if not isinstance(raw, dict):
        raise RecipeError(
            f"{path} holds no settings", "`ftkit recipes show sentiment/full` shows what a recipe looks like"
        )
    return {str(name): value for name, value in raw.items()}


def _load(text: str, source: str, hint: str = "") -> Any:
    """`text` read as YAML. Raises RecipeError where it is none, or has names twice."""
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{source} is not valid YAML: {one_line(error)}", hint) from error
    if loader.twice:
        raise problems(RecipeError, source, loader.twice, "leave one of the two, or quote what is a text")
    return value


def _put(raw: dict[str, Any], path: list[str], value: Any, setting: str) -> None:
    for part in path[:-1]:
        inner = raw.get(part)
        if isinstance(inner, str):
            inner = {"name": inner}
        if inner is not None and not isinstance(inner, dict):
            raise RecipeError(f"--set {setting}: {part} is {inner!r} and has nothing inside it", _HINT)
        raw[part] = dict(inner or {})
        raw = raw[part]
    raw[path[-1]] = value


_PATHS = (("data", "train"), ("data", "validation"), ("data", "test"), ("model", "checkpoint"))


def _absolute(raw: dict[str, Any], base: Path) -> dict[str, Any]:
    """`raw` with each path made absolute that counts from `base`; names and Hub ids are left as they are."""
    raw = {name: dict(value) if isinstance(value, dict) else value for name, value in raw.items()}
    for section, name in _PATHS:
        if isinstance(raw.get(section), dict) and isinstance(raw[section].get(name), str):
            raw[section][name] = _absolute_path(raw[section][name], base, checkpoint=name == "checkpoint")
    for setting in ("task", "method"):
        choice = raw.get(setting)
        if isinstance(choice, str) and choice.endswith(".py"):
            raw[setting] = _absolute_path(choice, base)
        elif isinstance(choice, dict) and str(choice.get("name", "")).endswith(".py"):
            choice["name"] = _absolute_path(choice["name"], base)
    metrics = raw["evaluate"].get("metrics") if isinstance(raw.get("evaluate"), dict) else None
    if isinstance(metrics, (list, tuple)):
        raw["evaluate"]["metrics"] = [_absolute_path(str(metric), base) for metric in metrics]
    return raw


def _absolute_path(value: str, base: Path, checkpoint: bool = False) -> str:
    """The path that `value` means, or `value` itself where it is a name, a Hub id or already absolute."""
    from ftkit.data.read import looks_like_file

    path = base / os.path.expanduser(value)  # unlike Path's own, it leaves an unknown ~user as it is
    if value.startswith((".", "~", "/")):
        return str(path.resolve())
    if checkpoint:
        return (
            str(path.resolve())
            if any(os.path.isfile(path / name) for name in ("config.json", "recipe.yaml", "ftkit.json"))
            else value
        )
    is_path = os.path.exists(path) or value.endswith(".py") or looks_like_file(value)
    return str(path.resolve()) if value and is_path and ":" not in value else value


def _option_problems(raw: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the options of the task and the method."""
    for setting, base in _bases().items():
        choice = raw.get(setting)
        if not isinstance(choice, (str, dict)) or (isinstance(choice, dict) and "name" not in choice):
            continue
        if isinstance(choice, dict) and not isinstance(choice["name"], str):
            continue  # the recipe's own check says so
        try:
            resolve(setting, Choice.model_validate(choice), base)
        except RecipeError as error:
            lines = error.message.splitlines()
            yield from (
                line.removeprefix("  - ") for line in lines[1:] or [f"{error.message}; {error.hint}".rstrip("; ")]
            )


def _contradictions(recipe: Recipe) -> Iterator[str]:
    """Settings that are well-formed one by one and can't go together."""
    train = recipe.train
    if train.epochs != "auto" and float(train.epochs) < 0:
        yield f"train.epochs: must be 0 or more, and it is {train.epochs}"
    if train.layer_decay != 1 and train.bottom_rate is not None:
        yield "train.layer_decay and train.bottom_rate: both say how rates fall with depth; set one of them"
    if train.seed + (train.seeds or 1) - 1 > MOST_SEED:
        yield f"train.seeds: {train.seeds} seeds from train.seed={train.seed} on go beyond {MOST_SEED}"
    if train.seeds and train.folds:
        yield "train.seeds and train.folds: each asks for several trainings; set one of them"
    if train.batch % train.accumulate:
        yield f"train.accumulate: {train.batch} examples a step can't be split into {train.accumulate} equal parts"
    if isinstance(train.evaluate_every, int) and train.evaluate_every < 1:
        yield f"train.evaluate_every: must be `auto`, `epoch`, or 1 or more steps, and it is {train.evaluate_every}"
    if 0 < recipe.evaluate.resamples < _LEAST_RESAMPLES:
        yield f"evaluate.resamples: must be 0, or {_LEAST_RESAMPLES} or more, and it is {recipe.evaluate.resamples}"
    wished = [name for name in ("wished_precision", "wished_coverage") if getattr(recipe.evaluate, name) is not None]
    if len(wished) > 1:
        yield "evaluate.wished_precision and evaluate.wished_coverage: both say what to withhold; set one of them"
    if wished and not recipe.evaluate.calibrate:
        yield f"evaluate.{wished[0]}: its threshold is found by calibration, and evaluate.calibrate is false"
    for name in ("validation", "test"):
        share = getattr(recipe.data, name)
        if isinstance(share, float) and not 0 <= share < 1:
            yield f"data.{name}: a share must lie between 0 and 1, and it is {share}"


def unused_without_validation(recipe: Recipe) -> list[str]:
    """Settings off their defaults that do nothing where no validation rows are scored in training."""
    defaults = TrainSpec()
    names = ("metric", "evaluate_every", "patience")
    return [f"train.{name}" for name in names if getattr(recipe.train, name) != getattr(defaults, name)]


def _walk(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _type_name(annotation: Any) -> str:
    if annotation is Choice:
        return "name or {name: ..., options}"
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"typing\.|NoneType", lambda match: "" if match[0] == "typing." else "null", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda match: match[1].replace(", ", " | "), text)
    return text.replace("None", "null").replace("'", "")


def _default(field: Any) -> str:
    if field.is_required():
        return "(must be set)"
    value = field.default
    if isinstance(value, Choice):
        return value.name
    if isinstance(value, tuple):
        return str(list(value))
    style = '"' if isinstance(value, str) and "\n" in value else None
    return yaml.safe_dump(value, default_flow_style=True, default_style=style, width=1000).removesuffix("...\n").strip()
