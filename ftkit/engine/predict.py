"""Answers for new text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from ftkit.data.clean import changed, cleaned
from ftkit.data.load import unified_rows
from ftkit.engine import infer
from ftkit.engine import model as models
from ftkit.engine.asking import answer, data_spec, read_rows, recipe_of, spec_of
from ftkit.engine.device_map import read as read_device_map
from ftkit.engine.given import as_given
from ftkit.errors import DataError, some
from ftkit.tasks._base import Column, Example, Prediction, Task
from ftkit.terminal import Progress, Say, silence

if TYPE_CHECKING:
    from datasets import Dataset


class Predictor:
    """A trained model that answers: a run, an export, or a fine-tuned checkpoint (a folder or a Hub id).

    `say` is told what a person should know of the run. `precision` is `fp32`, `bf16` or `auto`; where none is given,
    the recipe's. `device_map` and `max_memory` lay a model over several devices that one can't hold, as `ftkit predict`
    takes them.

    >>> predictor = Predictor("runs/reviews")  # doctest: +SKIP
    >>> list(predictor(["Would buy it again."]))  # doctest: +SKIP
    [{'label': 'positive', 'score': 0.98}]
    """

    def __init__(
        self,
        source: str | Path,
        say: Say = silence,
        precision: str | None = None,
        device_map: str | None = None,
        max_memory: str | None = None,
    ) -> None:
        self.trained = models.load(source, read_device_map(device_map, max_memory))
        self.recipe = recipe_of(source, say)
        self.settings = spec_of(self.trained, self.recipe, precision)
        self.homes = _homes(self.trained.task, data_spec(self.trained, self.recipe, ()).columns)
        """Of the columns that the task reads, the names that they had in the training file."""
        made_ready = ExitStack()
        made_ready.enter_context(infer.ready(self.trained.model, self.trained.task))
        finalize(self, made_ready.close)

    def __call__(self, inputs: Iterable[str | Mapping[str, Any]], say: Say = silence) -> Iterator[Prediction]:
        """An answer for each input, in order: a text, or an object with the task's columns where it has several.

        The columns may have the names of the training file, too. Raises DataError, before the first answer, for inputs
        that the task can't read.
        """
        rows = self.rows(inputs)
        for number, row in enumerate(rows, 1):
            if row.keys() != rows[0].keys():
                raise DataError(f"input {number} has {', '.join(row)}, and input 1 has {', '.join(rows[0])}", _ALIKE)
        return self.answers(self.read(rows, say), say) if rows else iter(())

    def rows(self, inputs: Iterable[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Inputs as rows of the task's columns, which need not be the same. Raises DataError for what is none."""
        rows = [_row(self.trained.task, self.named(value), number) for number, value in enumerate(inputs, 1)]
        for number, row in enumerate(rows, 1):
            _check_unicode(row, number)
        return rows

    def named(self, value: Any) -> Any:
        """An object under the names of the training file as one under the task's; any other value as it is."""
        names = {column.name for shape in self.trained.task.input_shapes() for column in shape}
        foreign = set(self.homes.values()) - names
        if not isinstance(value, Mapping) or not any(home in value for home in foreign):
            return value
        others = {name: cell for name, cell in value.items() if name not in {*self.homes, *self.homes.values()}}
        return {**others, **{name: value[home] for name, home in self.homes.items() if home in value}}

    def each(self, rows: Sequence[dict[str, Any]]) -> list[tuple[Prediction, bool]]:
        """Of each of `rows`, as the method of that name gives them, the answer, and whether something of it was cut.

        Rows of the same columns are answered together. Raises DataError for rows that the task can't read.
        """
        alike: dict[tuple[str, ...], list[int]] = {}
        for place, row in enumerate(rows):
            alike.setdefault(tuple(row), []).append(place)
        found: dict[int, tuple[Prediction, bool]] = {}
        for places in alike.values():
            cut: list[bool] = []
            answers = list(self.answers(self.read([rows[i] for i in places]), truncated=cut))
            found |= dict(zip(places, zip(answers, cut, strict=True), strict=True))
        return [found[i] for i in range(len(rows))]

    def file(
        self, path: str, settings: Iterable[str] = (), say: Say = silence, progress: Progress | None = None
    ) -> Iterator[Prediction]:
        """An answer for each row of a file, in order; `settings` as for `evaluate`.

        Raises DataError for a file that can't be read.
        """
        spec = data_spec(self.trained, self.recipe, settings)
        rows = read_rows(self.trained, path, spec, targets=False, say=say)
        return self.answers(rows, say, progress)

    def read(self, rows: Sequence[dict[str, Any]], say: Say = silence) -> Sequence[Example]:
        """Rows of the same columns in the form that the task's methods read, cleaned as the training rows were."""
        steps, inputs = data_spec(self.trained, self.recipe, ()).clean, list(rows[0])
        rows = [{**row, "row": number} for number, row in enumerate(rows, 1)]
        if steps:
            rows = list(cleaned(rows, inputs, steps, "input"))
            say(f"note: {changed(rows, steps)}")
        return unified_rows(self.trained.task, {name: [row[name] for row in rows] for name in rows[0]})

    def answers(
        self,
        rows: Dataset | Sequence[Example],
        say: Say = silence,
        progress: Progress | None = None,
        truncated: list[bool] | None = None,
    ) -> Iterator[Prediction]:
        """An answer for each of the rows that `read` or `read_rows` gave; `truncated` is filled as by `evaluate`'s."""
        found = answer(self.trained, rows, self.settings, say, progress, truncated)
        return as_given(self.trained.task, rows, found)

    def render(self, inputs: Iterable[str | Mapping[str, Any]], predictions: Iterable[Prediction]) -> Iterator[str]:
        """Each input with its answer, for a person to read."""
        task = self.trained.task
        for number, (value, prediction) in enumerate(zip(inputs, predictions, strict=True), 1):
            row = task.unify({name: [cell] for name, cell in _row(task, self.named(value), number).items()})
            yield task.render({name: cells[0] for name, cells in row.items()}, prediction)


_ALIKE = "give all inputs the same columns, or ask for each kind on its own"


def _row(task: Task, value: str | Mapping[str, Any], number: int) -> dict[str, Any]:
    """One input as a row of the task. Raises DataError where it is none."""
    shapes = task.input_shapes()
    if isinstance(value, str):
        texts = [_required(shape) for shape in shapes if [c.kind for c in _required(shape)] == ["text"]]
        if not texts:
            names = ", ".join(f'"{column.name}": ...' for column in _required(shapes[0]))
            raise DataError(f"input {number} is a plain text, and the task reads more than one", f"write {{{names}}}")
        return {texts[0][0].name: value}
    for shape in shapes:
        if all(_fits(value.get(column.name), column) for column in _required(shape)):
            return {column.name: value[column.name] for column in shape if _fits(value.get(column.name), column)}
    wanted = " or ".join(", ".join(f"{c.name} ({_KINDS[c.kind]})" for c in _required(shape)) for shape in shapes)
    raise DataError(f"input {number} has {some(list(map(str, value))) or 'nothing'}; the task reads {wanted}")


_KINDS = {"text": "a text", "tokens": "a list of texts"}


def _homes(task: Task, columns: Mapping[str, str | int]) -> dict[str, str]:
    """The task's columns that a model reads, and what they are called in the file where that has names."""
    names = {column.name for shape in task.input_shapes() for column in shape}
    return {name: home for name, home in columns.items() if name in names and isinstance(home, str)}


def _check_unicode(row: dict[str, Any], number: int) -> None:
    """Raises DataError for half of a surrogate pair, which is how Python holds bytes that are not UTF-8."""
    for value in row.values():
        for text in [value] if isinstance(value, str) else value:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise DataError(f"input {number} is not valid Unicode", "give it as UTF-8") from error


def _required(shape: list[Column]) -> list[Column]:
    return [column for column in shape if column.required]


def _fits(value: Any, column: Column) -> bool:
    if column.kind == "text":
        return isinstance(value, str)
    return isinstance(value, list) and all(isinstance(token, str) for token in value)
