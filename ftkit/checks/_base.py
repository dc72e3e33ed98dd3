"""What a check is: it looks at all rows of all splits, and tells what it finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ftkit.alike import folded
from ftkit.errors import one_line
from ftkit.findings import Finding, Place
from ftkit.metrics.schemes import is_tag
from ftkit.metrics.spans import entities
from ftkit.tasks._base import LABELLED_KINDS, Column, Labels, Limit

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Columns = Mapping[str, list[Any]]
"""Column name -> a value for each row."""


@dataclass(frozen=True)
class Data:
    """Rows under the task's column names, as they were read and before the task unifies them."""

    shape: tuple[Column, ...]
    splits: dict[str, Columns]
    """By name, `train` first; each with `row`, the rows' numbers in the source."""
    labels: Labels = ()
    limits: tuple[Limit, ...] = ()
    tokenizer: Tokenizer | None = None
    """The checkpoint's, which neither cuts nor pads; where there is none, words are counted."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of how it was looked at."""

    mendable: bool = True
    """Whether `data check --fix` writes a repaired copy of such rows."""

    repeats_of: int = 0
    """Rows of which all that repeat others are here, where the rest are some that were drawn; 0 where these are all."""

    balanced: bool = False
    """Whether training makes labels count alike that are not as frequent."""

    counted: dict[str, Counter[str]] = field(default_factory=dict)
    """By split, labels or types of entities with their frequency."""

    @cached_property
    def inputs(self) -> tuple[Column, ...]:
        """The columns that a model reads."""
        return tuple(column for column in self.shape if column.is_input)

    @cached_property
    def targets(self) -> tuple[Column, ...]:
        """The columns to answer."""
        return tuple(column for column in self.shape if not column.is_input)

    def kinds(self, *kinds: str) -> Iterator[Column]:
        """The columns of some kinds."""
        return (column for column in self.shape if column.kind in kinds)

    def size(self, split: str) -> int:
        """How many rows a split has."""
        return len(self.splits[split]["row"])

    @cached_property
    def total(self) -> int:
        """How many rows there are."""
        return sum(map(self.size, self.splits))

    def texts(self, split: str, column: Column) -> list[str]:
        """The column's values as text: tokens with spaces between them, references one below the other."""
        key = split, column.name
        if key not in self._texts:
            self._texts[key] = _as_texts(self.splits[split][column.name], column)
        return self._texts[key]

    @cached_property
    def _texts(self) -> dict[tuple[str, str], list[str]]:
        return {}

    @cached_property
    def measured(self) -> dict[Limit, Any]:
        """What `lengths.measure` has counted, which takes tokenizing."""
        return {}

    @cached_property
    def keys(self) -> dict[str, list[tuple[str, ...]]]:
        """Of each row what it asks, white space aside: rows of one key are the same to a person."""
        found = {}
        for split in self.splits:
            columns = [self.texts(split, column) for column in self.inputs]
            found[split] = [folded(row) for row in zip(*columns, strict=True)]
        return found

    @cached_property
    def answers(self) -> dict[str, list[Any]]:
        """Of each row what should be answered, in a form that can be compared."""
        found = {}
        for split, columns in self.splits.items():
            values = [[comparable(value, column) for value in columns[column.name]] for column in self.targets]
            found[split] = list(zip(*values, strict=True)) if values else [()] * self.size(split)
        return found

    @property
    def has_names(self) -> bool:
        """Whether rows have labels, or types of entities."""
        return any(column.kind in LABELLED_KINDS for column in self.targets)

    def counts(self, split: str) -> Counter[str]:
        """How often each label, or type of entity, stands in a split: in all of it where these are some of its rows."""
        if split not in self.counted:
            self.counted[split] = Counter(self.names_of(self.splits.get(split, {})))
        return self.counted[split]

    def names_of(self, columns: Mapping[str, Iterable[Any]]) -> Iterator[str]:
        """The labels of rows, or the types of their entities, one after the other."""
        for column in self.targets:
            if column.kind in LABELLED_KINDS:
                for value in columns.get(column.name, ()):
                    yield from names_in(value, column)

    def place(self, split: str, index: int, text: str = "", like: tuple[str, int] | None = None) -> Place:
        """The place of a split's row by its index; `like` is the split and index of another."""
        return Place(
            self.splits[split]["row"][index],
            split,
            text,
            (like[0], self.splits[like[0]]["row"][like[1]]) if like else None,
        )

    def shown(self, split: str, index: int) -> str:
        """What the row asks, in a few words."""
        return one_line(" | ".join(self.texts(split, column)[index] for column in self.inputs), 70)

    def search(self, tell: Callable[[str], str], columns: Sequence[Column] | None = None) -> tuple[Place, ...]:
        """The rows with a text of which `tell` tells something, which becomes what is shown of it."""
        places = []
        for split in self.splits:
            for column in self.inputs if columns is None else columns:
                for index, text in enumerate(self.texts(split, column)):
                    if text and (told := tell(text)):
                        places.append(self.place(split, index, told))
        return tuple(places)


def _as_texts(values: Sequence[Any], column: Column) -> list[str]:
    if column.kind == "tokens":
        return [" ".join(tokens) for tokens in values]
    if column.kind == "references":
        return ["\n".join(texts) for texts in values]
    return list(values)


def comparable(value: Any, column: Column) -> Any:
    """A value that can be a key, in which the order of several labels does not count."""
    return frozenset(value) if column.kind == "labels" else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple((name, _plain(inner)) for name, inner in sorted(value.items()))
    if isinstance(value, list):
        return tuple(_plain(inner) for inner in value)
    return value


FIXES = "; `data check --fix` does"
"""What is said of what it repairs."""


def names_in(value: Any, column: Column) -> list[str]:
    """The labels of a value, or the types of its entities."""
    if column.kind == "label":
        return [value]
    if column.kind == "entities":
        return [entity["type"] for entity in value]
    if column.kind == "tags":
        return [kind for kind, _, _ in entities([tag if is_tag(tag) else "O" for tag in value])]
    return list(value) if column.kind == "labels" else []


class Check:
    """One kind of thing that may be wrong with data."""

    summary: ClassVar[str]
    """What it finds, in a line."""

    def find(self, data: Data) -> Iterator[Finding]:
        """What there is of it."""
        raise NotImplementedError
