"""What a person's own file is for: its task, and which of its columns mean what.

Columns are known by their names first, as training knows them, and by what stands in them where nobody knows
their names. What can't be told is refused, not guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from ftkit import plugins
from ftkit.data.columns import ALIASES, find
from ftkit.data.read import Table, may_have_header, read
from ftkit.data.several import expand, read_all
from ftkit.data.values import Refused, Values
from ftkit.errors import DataError, RecipeError, brief
from ftkit.settings import DataSpec
from ftkit.shelf import names as shelf_names
from ftkit.tasks._base import Column, Kind, Task
from ftkit.tasks.sentiment import RANK

MOST_LABELS = 200
"""A column with more different values is taken for labels only where its name says so."""
LONGEST_LABEL = 60
"""In characters, on average."""
SHORTEST_TEXT = 20
"""In characters, on average: a second column of texts that are shorter, as names are, is no text to read."""
DELIMITER = DataSpec().delimiter
_MOST_STARS = 11
_WANTED = {
    "ner": ("tokens", "tags"),
    "qa": ("question", "context", "answers"),
    "summarization": ("document", "summary"),
}
_KNOWN = {*ALIASES, *(name for names in ALIASES.values() for name in names), "id", "idx", "split", "title"}
_ID = re.compile(r"(.*[_ -])?(id|idx|index|uuid|guid|split|fold)|unnamed: 0|", re.IGNORECASE)
_CODE = re.compile(r"https?://\S+|[\w.@:/+-]*\d[\w.@:/+-]*", re.ASCII)
_OPINION = re.compile(r"(?<![a-z])(sentiments?|polarity|opinions?|reviews?|ratings?|stars?|sst|imdb|yelp)(?![a-z])")


class Guess(NamedTuple):
    """What a file was taken for."""

    task: str
    columns: dict[str, str]
    """The task's column -> the file's."""
    kind: str = "single"
    """Of classification, as its option `kind`."""
    delimiter: str = DELIMITER
    """What stands between the labels of one row."""
    remarks: tuple[str, ...] = ()
    """What decided where the columns' names did not."""


# ---------------------------------------------------------------------- columns by what stands in them


@dataclass(frozen=True)
class Profile:
    """What stands in a column; missing and empty values are left out."""

    name: str
    values: list[Any] = field(repr=False)

    @classmethod
    def of(cls, table: Table, column: str) -> Profile:
        """The profile of a table's column."""
        return cls(column, [value for row in table.rows if (value := row.get(column)) not in (None, "")])

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, as text; a list is its parts side by side."""
        return Counter(" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in self.values)

    @cached_property
    def length(self) -> float:
        """Mean length in characters."""
        return sum(len(value) * count for value, count in self.counts.items()) / max(1, len(self.values))

    @cached_property
    def is_list(self) -> bool:
        """Whether every value is a list, or in a cell looks like one in JSON."""
        return bool(self.values) and all(
            isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))
            for value in self.values
        )

    @property
    def is_list_of_one(self) -> bool:
        """Whether every value is a list of one, as exports of annotations are."""
        return all(isinstance(value, list) and len(value) < 2 for value in self.values)

    @cached_property
    def is_number(self) -> bool:
        """Whether every value is a number."""
        return bool(self.values) and all(map(_is_number, self.counts))

    @property
    def is_measure(self) -> bool:
        """Whether the values are numbers, and not all whole."""
        return self.is_number and not all(float(value).is_integer() for value in self.counts)

    @cached_property
    def is_label(self) -> bool:
        """Whether the rows share a few short values."""
        few = 2 <= len(self.counts) <= min(MOST_LABELS, len(self.values) / 2)
        return few and not self.is_list and not self.is_measure and self.length <= LONGEST_LABEL

    @property
    def is_polarity(self) -> bool:
        """Whether the values are words for polarities."""
        return len(self.counts) > 1 and all(value.strip().casefold() in RANK for value in self.counts)

    @property
    def is_text(self) -> bool:
        """Whether the values are words, not lists, numbers, dates, addresses and other codes."""
        codes = sum(count for value, count in self.counts.items() if _CODE.fullmatch(value.strip()))
        words = all(isinstance(value, str) for value in self.values) and not self.is_list
        return words and codes * 2 < len(self.values) and not _ID.fullmatch(self.name)

    @cached_property
    def delimiter(self) -> str | None:
        """What the values are cut by, where they are combinations of a few labels."""
        if self.is_list or self.length > 2 * LONGEST_LABEL:
            return None
        marks = [mark for mark in "|;," if any(mark in value for value in self.counts)]
        return next((mark for mark in marks if self._parts_recur(mark)), None)

    @property
    def is_label_list(self) -> bool:
        """Whether the values are lists of a few labels that rows share."""
        return self.is_list and self._parts_recur(DELIMITER)

    def _parts_recur(self, mark: str) -> bool:
        """Whether most parts stand in several combinations, as those of names and sentences don't."""
        reader = Values(DataSpec(delimiter=mark))
        try:
            rows = [reader.read(Column("label", "labels"), value, {}) for value in self.values]
        except Refused:
            return False
        parts = Counter(part for combination in {tuple(sorted(row)) for row in rows} for part in combination)
        short = all(len(part) <= LONGEST_LABEL for part in parts)
        recurring = sum(count > 1 for count in parts.values())
        return short and 2 <= len(parts) <= min(MOST_LABELS, len(rows) / 2) and recurring * 2 >= len(parts)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _profiles(table: Table, without: Iterable[str | None] = ()) -> list[Profile]:
    return [Profile.of(table, column) for column in table.columns if column not in without]


def _texts(table: Table, without: Iterable[str | None]) -> list[Profile]:
    """The columns of texts, the one with the longest first."""
    texts = [profile for profile in _profiles(table, without) if profile.is_text]
    return sorted(texts, key=lambda profile: -profile.length)


# ---------------------------------------------------------------------- the file


def read_table(names: Sequence[str], task: str | None, encoding: str, past: bool = False) -> tuple[Table, bool]:
    """The rows of files and patterns, and whether their columns have numbers and no names.

    `past` lines that can't be read, where these are told elsewhere. Raises DataError.
    """

    def read_one(name: str, header: bool, on_disk: bool = False) -> Table:
        how: Any = {"tokens": task in (None, "ner"), "encoding": encoding, "unread": [] if past else None}
        return read(name, header=header, on_disk=on_disk, **how)

    first = expand(names)[0][0]
    header = may_have_header(first) and has_header(read_one(first, header=False))
    table = read_all(names, partial(read_one, header=header))
    return table, not header and (may_have_header(first) or table.unit == "sentence")


def has_header(table: Table) -> bool:
    """Whether the first row of a table that was read without a header names its columns.

    Well-known names tell; else columns with few values, which have the first one among the others or not; else
    columns of numbers; else whether everything in the first row may be a name.
    """
    names = [str(value).strip() for value in table.rows[0].values()]
    known = sum(name.casefold() in _KNOWN for name in names)
    if known > 1 or names == list(table.columns):
        return True
    profiles = _profiles(table.take(range(1, len(table.rows))))
    words = [(name, profile) for name, profile in zip(names, profiles, strict=True) if not _is_number(name)]
    strange = [name not in profile.counts for name, profile in words if profile.is_label]
    if strange:
        return all(strange)
    if any(profile.is_number for profile in profiles):
        return len(words) == len(names)
    return known > 0 or all(map(_may_be_a_name, names))


def _may_be_a_name(text: str) -> bool:
    return len(text) <= 40 and text.count(" ") <= 2 and not _is_number(text) and not text.endswith((".", "!"))


# ---------------------------------------------------------------------- the task


def recognise(table: Table, task: str | None, file: Path) -> Guess:
    """What the columns of a table are for, under `task` where it is given.

    Raises RecipeError, with an example of each column, where they don't tell; DataError for labels that
    nothing can be learned from.
    """
    if task in ("classification", "sentiment"):
        guess = _classification(table, task, file)
    elif task == "summarization":
        guess = _summarization_by_length(table)
    elif task is not None:
        guess = _by_names(table, task)
    elif table.unit == "sentence":
        guess = _ner(table)
    else:
        guess = _ner(table) or _qa(table) or _summarization(table) or _classification(table, None, file)
    if guess is None:
        raise _undecided(table, task, file)
    return guess


def _home(table: Table, name: str, kind: Kind = "text") -> str | None:
    """The table's column that the task's column `name` is read from, by its name."""
    try:
        return find(table, [[Column(name, kind)]], {}).homes[name]
    except DataError:
        return None


def _by_names(table: Table, task: str) -> Guess | None:
    """The first shape of the task whose columns the table has by their names."""
    for shape in plugins.find("task", task, Task)(None).shapes():
        homes = {column.name: _home(table, column.name, column.kind) for column in shape}
        found = {name: home for name, home in homes.items() if home is not None}
        if all(column.name in found for column in shape if column.required):
            return Guess(task, found)
    return None


def _ner(table: Table) -> Guess | None:
    guess = _by_names(table, "ner")
    marks = guess.columns.get("tags") or guess.columns["entities"] if guess else ""
    return guess if guess and Profile.of(table, marks).is_list else None


def _qa(table: Table) -> Guess | None:
    """Question answering; `yes`, `no` and other classes are no answers to look for in a passage."""
    guess = _by_names(table, "qa")
    if guess is None:
        return None
    answers = Profile.of(table, guess.columns["answers"])
    placed = any(isinstance(value, dict) for value in answers.values)  # these are none, however often they repeat
    return guess if placed or not answers.is_label else None


def _summarization(table: Table) -> Guess | None:
    """Summarization by the columns' names, where summaries are shorter and no column of labels stands beside."""
    guess = _by_names(table, "summarization")
    if guess is None:
        return None
    document, summary = (Profile.of(table, home) for home in guess.columns.values())
    plain = document.name.casefold() in ("document", "article", "dialogue")
    shorter = summary.length < 0.8 * document.length and not summary.is_label and not summary.is_number
    return guess if shorter and (plain or _home(table, "label", "label") in (None, summary.name)) else None


def _summarization_by_length(table: Table) -> Guess | None:
    """Document and summary by their names, else the longest texts."""
    document, summary = _home(table, "document"), _home(table, "summary", "references")
    texts = [profile.name for profile in _texts(table, (document, summary))]
    document = document or (texts.pop(0) if texts else None)
    summary = summary or (texts.pop(0) if texts else None)
    return Guess("summarization", {"document": document, "summary": summary}) if document and summary else None


# ---------------------------------------------------------------------- classification


def _classification(table: Table, task: str | None, file: Path) -> Guess | None:
    text, pair = _home(table, "text"), _home(table, "text_pair") if task != "sentiment" else None
    label = _named_label(table, (text, pair)) or _label(table, task, (text, pair), file)
    if label is None:
        return None
    remarks: list[str] = []
    if text is None:
        text, pair = _text_and_pair(table, label, task, remarks)
    if text is None:
        return None
    several = label.delimiter or (label.is_list and not label.is_list_of_one)
    kind = "multi" if several else "regression" if label.is_measure else "single"
    if kind == "single":
        _refuse_labels(table, label, task, file)
    if task is None:
        why = _opinion(label, text, file) if kind == "single" and pair is None else ""
        remarks += [why] if why else []
        task = "sentiment" if why else "classification"
    columns = {"text": text, **({"text_pair": pair} if pair else {}), "label": label.name}
    return Guess(task, columns, kind, label.delimiter or DELIMITER, tuple(remarks))


def _named_label(table: Table, inputs: Sequence[str | None]) -> Profile | None:
    kinds: tuple[Kind, ...] = ("label", "labels", "number")
    homes = (_home(table, "label", kind) for kind in kinds)
    return next((Profile.of(table, home) for home in homes if home is not None and home not in inputs), None)


def _label(table: Table, task: str | None, inputs: Sequence[str | None], file: Path) -> Profile | None:
    """The column of labels by its values. Raises RecipeError where several columns may be it."""
    profiles = [profile for profile in _profiles(table, inputs) if not _ID.fullmatch(profile.name)]
    shared = [profile for profile in profiles if profile.is_label or profile.is_label_list or profile.delimiter]
    polar = [profile for profile in shared if profile.is_polarity]
    words = [profile for profile in shared if not profile.is_number]
    measures = [profile for profile in profiles if profile.is_measure]
    choices = [candidates for candidates in (polar, words, shared, measures) if candidates]
    if not choices:
        return None
    if len(choices[0]) > 1:
        listed = " and ".join(repr(profile.name) for profile in choices[0])
        raise _undecided(table, task or "classification", file, f"{listed} may each be the label")
    return choices[0][0]


def _text_and_pair(table: Table, label: Profile, task: str | None, remarks: list[str]) -> tuple[str | None, str | None]:
    """The longest text; or both, where exactly two columns hold texts of their own."""
    texts = _texts(table, (label.name,))
    long = [p.name for p in texts if p.length >= SHORTEST_TEXT and len(p.counts) * 2 > len(p.values)]
    if len(long) == 2 and task != "sentiment" and not label.is_polarity:
        first, second = sorted(long, key=table.columns.index)
        remarks.append(
            f"{first!r} and {second!r} both hold texts and are read as a pair; leave one out of data.columns if not"
        )
        return first, second
    return (texts[0].name if texts else None), None


def _refuse_labels(table: Table, label: Profile, task: str | None, file: Path) -> None:
    """Raises DataError for a column of labels that nothing can be learned from."""
    count = len(label.values)
    hint = f"if the labels are in another column: {_train(task or 'classification', file)}"
    if len(label.counts) == 1:
        value = brief(next(iter(label.counts)))
        raise DataError(f"{table.source}: column {label.name!r} is {value} in all {count} rows: one label", hint)
    if len(label.counts) == count:
        what = f"column {label.name!r} has a different value in each of {count} rows"
        raise DataError(f"{table.source}: {what}; labels are what rows share", hint)


def _opinion(label: Profile, text: str, file: Path) -> str:
    """Why the labels are polarities; '' where nothing says so."""
    column = label.name.casefold()
    if label.is_polarity:
        return "its labels are polarities"
    if column in ("sentiment", "polarity"):
        return f"its labels are in a column called {label.name!r}"
    if not label.is_number or len(label.counts) > _MOST_STARS:
        return ""
    named = {"column": f"{column} {text}", "file": file.name, "folder": file.resolve().parent.name}
    for what, name in named.items():
        found = _OPINION.search(re.sub(r"[_\d]", " ", name.casefold()))
        if found:
            return f"its labels are a few numbers, and its {what}'s name speaks of {found[0]!r}"
    return ""


# ---------------------------------------------------------------------- what can't be told


def shelf_name(task: str, kind: str = "single", pair: bool = False) -> str:
    """The recipe on the shelf that is closest."""
    own = [name for name in shelf_names() if name.startswith(f"{task}/")]
    wanted = (f"{task}/{'multilabel' if kind == 'multi' else 'pair' if pair else 'full'}", f"{task}/full")
    return next((name for name in wanted if name in own), own[0])


def _undecided(table: Table, task: str | None, file: Path, why: str = "") -> RecipeError:
    """The columns with an example of each, and how to say what they are."""
    if len(table.columns) == 1 and ";" in table.columns[0]:
        return RecipeError(f"{table.source} has a single column, {table.columns[0]!r}", "part its values by commas")
    if table.unit == "sentence":
        task, why = "ner", "no column has a tag such as O or B-PER for each token"
    elif task is None and _home(table, "question") and _home(table, "context"):
        task, why = "qa", "there are questions and contexts, and no answers"
    wanted = " and ".join(_WANTED.get(task or "", ("text", "label")))
    why = why or (f"its columns don't tell {wanted}" if task else "its columns don't tell what the task is")
    known = ", ".join(plugins.names("task"))
    train = _train(task or "classification", file)
    hint = f"say which column is what (by name, or from 0 where it has no header): {train}"
    return RecipeError(
        "\n".join([f"{table.source}: {why}", *_examples(table)]),
        hint if task else f"say the task with --task ({known}), or {hint}",
    )


def _train(task: str, file: Path) -> str:
    """The command that trains on a file without a recipe for it."""
    columns = ", ".join(f"{name}: COLUMN" for name in _WANTED.get(task, ("text", "label")))
    return f"ftkit train {shelf_name(task)} --set data.train={file} --set 'data.columns={{{columns}}}'"


def _examples(table: Table, most: int = 20) -> Iterator[str]:
    for profile in _profiles(table)[:most]:
        example = f"for example {brief(profile.values[0])}" if profile.values else "empty"
        yield f"  column {profile.name!r}: {example}"
    if len(table.columns) > most:
        yield f"  and {len(table.columns) - most} more"
