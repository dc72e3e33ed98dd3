"""Metrics of the `evaluate` library: ftkit's own offered as such, and others by name or from a script."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from ftkit import plugins
from ftkit.errors import FTKitError, MachineError, RecipeError, one_line
from ftkit.files import expanded
from ftkit.hub import BRIEF_SECONDS, unreachable
from ftkit.metrics import Scores, answers, classification, require_pairs, spans, text

_SETTING = "evaluate.metrics"


class _Family(NamedTuple):
    """Scores that one function gives at once, and what its rows look like."""

    row: str
    reference: str
    measure: Callable[[list[Any], list[Any]], Scores]
    scores: tuple[str, ...]


_AVERAGED = tuple(f"{kind}{name}" for kind in ("", "micro_", "weighted_") for name in ("precision", "recall", "f1"))


def _single_label(predictions: list[Any], references: list[Any]) -> Scores:
    truth, said = [str(label) for label in references], [str(label) for label in predictions]
    return classification.single_label(truth, said, sorted({*truth, *said}))


def _multi_label(predictions: list[Any], references: list[Any]) -> Scores:
    labels = sorted({label for row in (*references, *predictions) for label in row})
    return classification.multi_label(references, predictions, labels)


def _regression(predictions: list[Any], references: list[Any]) -> Scores:
    return classification.regression(references, predictions)


def _entities(predictions: list[Any], references: list[Any]) -> Scores:
    for row, (said, true) in enumerate(zip(predictions, references, strict=True)):
        if len(said) != len(true):
            raise ValueError(f"sentence {row} has {len(true)} tags, but {len(said)} were predicted")
    return spans.entity_scores(
        [spans.entities(row) for row in references], [spans.entities(row) for row in predictions]
    )


_FAMILIES = {
    "classification": _Family("label", "label", _single_label, ("accuracy", *_AVERAGED, "mcc")),
    "multi_label": _Family("texts", "texts", _multi_label, ("hamming_accuracy",)),
    "regression": _Family("number", "number", _regression, ("pearson", "spearman", "mse", "mae", "r2")),
    "ner": _Family("texts", "texts", _entities, ()),
    "squad": _Family("text", "texts", answers.answer_scores, ("exact_match",)),
    "rouge": _Family("text", "texts", text.rouge, ("rouge1", "rouge2", "rougeL")),
}


def as_evaluate(name: str) -> Any:
    """One of ftkit's own metrics as an `evaluate.Metric`, with `add_batch` and `compute` as any other.

    `name` is one score (`accuracy`, `f1`, `rougeL`, ...), or a family whose scores are all computed. The rows
    of `classification` are label names or whole numbers, of `multi_label` lists of names, of `regression`
    numbers, of `ner` lists of tags; `squad` and `rouge` take a text and a list of texts as reference.
    Raises RecipeError for an unknown name.
    """
    import evaluate

    family, wanted = _family(name)

    class OwnMetric(evaluate.Metric):  # type: ignore[misc]
        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=f"ftkit's {name}", citation="", inputs_description="", features=_features(family)
            )

        def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
            scores = family.measure(predictions, references)
            return {key: scores[key]["value"] for key in wanted or scores}

    OwnMetric.__name__ = f"ftkit_{name}"
    return OwnMetric(config_name=name, keep_in_memory=True)


def load(name: str, labels: Sequence[str] = ()) -> Callable[[list[Any], list[Any]], dict[str, float]]:
    """The metric that a recipe names, as a function of (predictions, references) to its numbers by name.

    `name` is `ftkit/<one of its own>`, a path to a script that defines one `evaluate.Metric` (or to a folder
    with a script of its name), or what `evaluate.load` finds on the Hub or in its cache. Where a metric wants
    class numbers and the rows hold names out of `labels`, their places there are passed. Numbers in a nested
    result are called `outer.inner`; what is not a finite number is left out. A script, or a metric from the Hub, is
    code that runs here.

    Raises RecipeError for a metric that does not exist, can't be loaded, or (on the call) can't take the
    rows; MachineError where the Hub or a package that the metric needs is missing.
    """
    metric = _find(name)
    numbers = {label: index for index, label in enumerate(labels)} if _wants_class_numbers(metric) else {}

    def compute(predictions: list[Any], references: list[Any]) -> dict[str, float]:
        require_pairs(references, predictions)
        rows = {"predictions": _numbered(predictions, numbers), "references": _numbered(references, numbers)}
        try:
            result = metric.compute(**rows)
        except FTKitError:
            raise
        except (Exception, SystemExit) as error:
            raise RecipeError(
                f"{_SETTING}: {name} could not score the predictions: {_said(error)}",
                "it may be made for another task; name another metric, or wrap it in a script of your own",
            ) from error
        found = dict(_flat(result)) if isinstance(result, Mapping) else {}
        if not found:
            raise RecipeError(f"{_SETTING}: {name} gave {result!r}, not a dict of finite numbers by name")
        return found

    return compute


def _find(name: str) -> Any:
    if name.startswith("ftkit/"):
        return as_evaluate(name.removeprefix("ftkit/"))
    if name.startswith((".", "~", "/")) or name.endswith(".py") or Path(name).is_absolute():
        return _from_script(expanded(name, RecipeError).resolve())
    return _from_hub(name)


def _from_script(path: Path) -> Any:
    import evaluate

    script = path / f"{path.name}.py" if path.suffix != ".py" else path
    found = plugins.find(_SETTING, str(script), evaluate.Metric)
    try:
        return found(keep_in_memory=True)
    except Exception as error:
        raise RecipeError(f"{_SETTING}: {found.__name__} of {script} can't be built: {_said(error)}") from error


def _from_hub(name: str) -> Any:
    import evaluate

    reason = (
        "HF_EVALUATE_OFFLINE forbids asking it" if evaluate.config.HF_EVALUATE_OFFLINE else unreachable(BRIEF_SECONDS)
    )
    try:
        with _offline(bool(reason)):
            return evaluate.load(name, module_type="metric", keep_in_memory=True)
    except (FileNotFoundError, ConnectionError) as error:
        own = "ftkit's own are " + ", ".join(f"ftkit/{known}" for known in _FAMILIES)
        if not reason:
            raise RecipeError(f"{_SETTING}: the Hub has no metric called {name!r}", own) from error
        raise MachineError(
            f"{_SETTING}: {name} is not in the cache, and {evaluate.config.HF_ENDPOINT} can't be reached: {reason}",
            f"{own}; a script of your own (./my_metric.py) needs no network either",
        ) from error
    except ImportError as error:
        raise MachineError(f"{_SETTING}: {name} can't be loaded: {_said(error)}") from error
    except Exception as error:
        raise RecipeError(f"{_SETTING}: {name} can't be loaded: {_said(error)}") from error


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """`evaluate` in its offline mode, where it goes straight to its cache."""
    from evaluate import config

    before = config.HF_EVALUATE_OFFLINE
    config.HF_EVALUATE_OFFLINE = before or wanted
    try:
        yield
    finally:
        config.HF_EVALUATE_OFFLINE = before


def _family(name: str) -> tuple[_Family, tuple[str, ...]]:
    """The family that `name` is or belongs to, and the scores wanted of it (none named: all)."""
    if name in _FAMILIES:
        return _FAMILIES[name], ()
    for family in _FAMILIES.values():
        if name in family.scores:
            return family, (name,)
    known = [*_FAMILIES, *(single for family in _FAMILIES.values() for single in family.scores)]
    raise RecipeError(f"{_SETTING}: ftkit has no metric called {name!r}", "there are: " + ", ".join(known))


def _features(family: _Family) -> Any:
    """The feature types of a family's rows; labels may be names or numbers."""
    from datasets import Features, List, Value

    string = Value("string")
    types = {"label": string, "text": string, "texts": List(string), "number": Value("float64")}
    named = Features({"predictions": types[family.row], "references": types[family.reference]})
    if family.row != "label":
        return named
    return [named, Features({"predictions": Value("int64"), "references": Value("int64")})]


def _wants_class_numbers(metric: Any) -> bool:
    options = metric.features if isinstance(metric.features, list) else [metric.features]
    types = [getattr(option.get("predictions"), "dtype", "") for option in options]
    return "string" not in types and any(str(kind).startswith("int") for kind in types)


def _numbered(values: list[Any], numbers: Mapping[str, int]) -> list[Any]:
    return [numbers.get(value, value) if isinstance(value, str) else value for value in values]


def _flat(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Real) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)


def _said(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")
