"""What is asked and answered, as JSON: pydantic models, of which OpenAPI is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, create_model

from ftkit.serving.limits import Limits
from ftkit.tasks._base import Column, Task


class Problem(BaseModel):
    """Why a request was not answered, and what to do."""

    error: str
    hint: str = ""


class Answers(BaseModel):
    """The answers in the order of the inputs, and of each whether something of its input was cut."""

    answers: list[dict[str, Any]]
    cut: list[bool]


class Word(BaseModel):
    """What a word adds to the answer, from -1 (against it) to 1 (for it), in the text of `column`."""

    column: str
    start: int
    end: int
    weight: float


class Explanation(BaseModel):
    """Which words an answer came of; null where the task's answers can't be explained, or it would take too long."""

    answer: dict[str, Any]
    cut: bool
    texts: dict[str, str]
    """The texts as the model reads them, in which words are counted."""
    words: list[Word] | None
    instead_of: str | None
    """What the answer is explained against."""


class State(BaseModel):
    """How the server is."""

    status: str


class About(BaseModel):
    """What is served."""

    model: str
    ftkit: str
    task: str
    labels: list[str]
    columns: list[list[str]]
    """The shapes of input that are read: names of columns, those ending in `?` may be left out."""
    limits: dict[str, float]


def input_of(task: Task, limits: Limits, named: Callable[[Any], Any]) -> Any:
    """The type of one input: a text, where the task reads one alone, or an object of columns.

    `named` gives an object the task's names where it has others.
    """
    shapes = task.input_shapes()
    kinds: dict[str, Any] = {f"row{number or ''}": _shape(shape, limits, number) for number, shape in enumerate(shapes)}
    if any(map(is_plain, shapes)):
        kinds["text"] = Annotated[str, Field(max_length=limits.characters)]
    if len(kinds) == 1:
        (row,) = kinds.values()
        return Annotated[row, BeforeValidator(named)]

    def kind_of(value: Any) -> str | None:
        if isinstance(value, str):
            return "text"
        if not isinstance(value, dict):
            return None
        lacks = [sum(column.required and column.name not in value for column in shape) for shape in shapes]
        return f"row{lacks.index(min(lacks)) or ''}"

    which = Discriminator(kind_of, "no_input", "it is neither a text nor an object of columns")
    either = reduce(or_, [Annotated[kind, Tag(name)] for name, kind in kinds.items()])
    return Annotated[Annotated[either, which], BeforeValidator(named)]


def is_plain(shape: Sequence[Column]) -> bool:
    """Whether one text is all that a shape needs."""
    return [column.kind for column in shape if column.required] == ["text"]


def _shape(shape: Sequence[Column], limits: Limits, number: int) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for column in shape:
        kind: Any = Annotated[str, Field(max_length=limits.characters)]
        if column.kind == "tokens":
            kind = Annotated[list[kind], Field(max_length=limits.characters)]
        fields[column.name] = (kind, ...) if column.required else (kind | None, None)
    return create_model(f"Row{number or ''}", __config__=ConfigDict(extra="forbid"), **fields)


def request_of(kind: Any, limits: Limits) -> type[BaseModel]:
    """What `/v1/predict` is asked."""
    inputs: Any = Annotated[list[kind], Field(min_length=1, max_length=limits.rows)]
    return create_model("PredictRequest", __config__=ConfigDict(extra="forbid"), inputs=(inputs, ...))


def question_of(kind: Any) -> type[BaseModel]:
    """What `/v1/explain` is asked."""
    return create_model("ExplainRequest", __config__=ConfigDict(extra="forbid"), input=(kind, ...))


def plain(value: str | BaseModel) -> str | dict[str, Any]:
    """An input as a `Predictor` takes it."""
    return value if isinstance(value, str) else value.model_dump(exclude_none=True)
