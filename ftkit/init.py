"""`ftkit init`: a recipe from a person's own file; its task, columns and labels are recognised, and said.

Columns are known by their names first, as training knows them, and by what stands in them where nobody knows
their names. What can't be told is refused, not guessed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ftkit.data.columns import ALIASES, find
from ftkit.data.load import _SPLITS, load, load_file
from ftkit.data.read import Table, read
from ftkit.data.values import Refused, Values
from ftkit.errors import DataError, RecipeError, problems
from ftkit.plugins import names as plugin_names
from ftkit.plugins import resolve
from ftkit.recipe import DataSpec, Recipe, parse_recipe
from ftkit.report import Say
from ftkit.shelf import find_recipe
from ftkit.shelf import names as shelf_names
from ftkit.tasks._base import Column, Labels, Task
from ftkit.tasks.sentiment import _RANK

MOST_LABELS = 200
"""A column with more different values than this is taken for labels only if its name says so."""
LEAST_ROWS = 50
"""From this many rows on, validation and test rows are set aside."""
SHARE = 0.1
_LONGEST_LABEL = 60
_SHORTEST_TEXT = 20
_KNOWN = {*ALIASES, *(name for names in ALIASES.values() for name in names), "id", "idx", "split", "title"}
_ID = re.compile(r"(.*[_ -])?(id|idx|index|uuid|guid|split|fold)|unnamed: 0|", re.IGNORECASE)
_CODE = re.compile(r"https?://\S+|[\w.@:/+-]*\d[\w.@:/+-]*", re.ASCII)
_OPINION = re.compile(r"(?<![a-z])(sentiments?|polarity|opinions?|reviews?|ratings?|stars?|sst|imdb|yelp)(?![a-z])")
_TRAIN = re.compile(r"(?<![a-z])train(ing)?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Guess:
    """What a file was taken for."""

    task: str
    columns: dict[str, str]
    """The task's column -> the file's."""
    kind: str = "single"
    delimiter: str = DataSpec().delimiter
    remarks: tuple[str, ...] = ()
    """What decided, where it is not plain from the columns' names, and what else may have been meant."""
    numbered: bool = False
    """Whether the file's columns have numbers and no names."""

    @property
    def mapping(self) -> dict[str, str | int]:
        """`data.columns`; empty where the columns already have the task's names."""
        if all(name == home for name, home in self.columns.items()):
            return {}
        return {name: int(home) if self.numbered else home for name, home in self.columns.items()}


class Proof(NamedTuple):
    """The file read as training reads it: rows of each split, the labels, and what a person should know."""

    rows: dict[str, int]
    labels: Labels
    notes: tuple[str, ...]


def write_recipe(file: Path, task: str | None, to: Path | None, say: Say) -> Path:
    """Write a recipe that trains on `file` (to `to`, or beside the file), and return where.

    task: a shipped task; recognised when None. What was recognised is said, with the setting that changes it.
    Raises RecipeError for an unknown task, columns that can't be told and a recipe that exists; DataError for
    a file that can't be read or trained on.
    """
    if task is not None and task not in plugin_names("task"):
        near = get_close_matches(task, plugin_names("task"), n=1, cutoff=0.5)
        meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(plugin_names('task'))}"
        raise RecipeError(f"--task: there is no task called {task!r}", meant)
    table, numbered = _table(file, task)
    path = to or file.with_name(Path(file.name.removesuffix(".gz")).stem + ".yaml")
    if path.exists():
        raise RecipeError(f"{path} exists already", "name another recipe: --to RECIPE.yaml")
    guess = replace(recognise(table, task, file), numbered=numbered)
    data = {**_data(guess, file), **dict(_held_out(table, guess, file, say))}
    proof = prove(_recipe(guess, data))
    _tell(table, guess, proof, say)
    _write(path, _text(guess, data, proof.labels, file, path))
    return path


def _recipe(guess: Guess, data: Mapping[str, Any]) -> Recipe:
    task = {"name": guess.task} | ({"kind": guess.kind} if guess.kind != "single" else {})
    return parse_recipe({"task": task, "model": {"checkpoint": "minilm"}, "data": dict(data)}, "that init writes")


def prove(recipe: Recipe) -> Proof:
    """Read and check the recipe's data as training does. Raises DataError with everything that training refuses."""
    task: Task = resolve("task", recipe.task, Task)
    loaded = load(recipe.data, task.shapes(), stratify=task.stratify(), groups=task.groups)
    splits: dict[str, Any] = {name: task.unify(split.to_dict()) for name, split in loaded.items()}
    labels = task.labels(splits["train"])
    issues = [(name, issue) for name, split in splits.items() for issue in task.check(split, labels)]
    errors = [f"{name}, {issue}" for name, issue in issues if issue.level == "error"]
    if errors:
        raise problems(DataError, "data", errors)
    warnings = [f"{name}, {issue}" for name, issue in issues]
    return Proof({name: len(split["row"]) for name, split in splits.items()}, labels, (*loaded.notes, *warnings))


# ---------------------------------------------------------------------- the file


def _table(file: Path, task: str | None) -> tuple[Table, bool]:
    """The file's rows, and whether its columns have numbers and no names."""
    tokens = task in (None, "ner")
    table = read(file, header=False, tokens=tokens)
    if table.unit == "sentence":
        return table, True
    if Path(file.name.lower().removesuffix(".gz")).suffix not in (".csv", ".tsv"):
        return table, False
    if not has_header(table):
        return table, True
    return read(file, header=True), False


def has_header(table: Table) -> bool:
    """Whether the first row of a table that was read without a header names its columns.

    Well-known names tell; else columns with few values do, which have the first one among them or not; else
    columns of numbers; else whether all of the first row could be names.
    """
    names = [str(value).strip() for value in table.rows[0].values()]
    known = sum(name.casefold() in _KNOWN for name in names)
    if known > 1 or names == list(table.columns):
        return True
    rest = table.take(range(1, len(table.rows)))
    profiles = [Profile.of(rest, column) for column in table.columns]
    verdicts = [
        name not in profile.counts
        for name, profile in zip(names, profiles, strict=True)
        if profile.is_label and not _is_number(name)
    ]
    if verdicts:
        return all(verdicts)
    if any(profile.is_number for profile in profiles):
        return not any(_is_number(name) for name in names)
    return known > 0 or all(map(_may_be_a_name, names))


def _may_be_a_name(text: str) -> bool:
    return len(text) <= 40 and text.count(" ") <= 2 and not _is_number(text) and not text.endswith((".", "!"))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Profile:
    """What stands in a column, missing and empty values left out."""

    name: str
    values: list[Any] = field(repr=False)

    @classmethod
    def of(cls, table: Table, column: str) -> Profile:
        """The profile of a table's column."""
        return cls(column, [value for row in table.rows if (value := row.get(column)) not in (None, "")])

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, as text; a list counts as its parts side by side."""
        return Counter(_flat(value) for value in self.values)

    @cached_property
    def length(self) -> float:
        """Mean length in characters; of a list of texts, that of one of them."""
        return sum(map(_length, self.values)) / max(1, len(self.values))

    @property
    def is_list(self) -> bool:
        """Whether every value is a list, in JSON where it stands in a cell."""
        return bool(self.values) and all(
            isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))
            for value in self.values
        )

    @cached_property
    def is_number(self) -> bool:
        """Whether every value is a number."""
        return bool(self.values) and all(map(_is_number, self.counts))

    @property
    def is_measure(self) -> bool:
        """Whether the values are numbers, and not all whole."""
        return self.is_number and not all(float(value).is_integer() for value in self.counts)

    @property
    def is_label(self) -> bool:
        """Whether rows share few short values."""
        few = 2 <= len(self.counts) <= min(MOST_LABELS, len(self.values) / 2)
        return few and not self.is_list and not self.is_measure and self.length <= _LONGEST_LABEL

    @property
    def is_polarity(self) -> bool:
        """Whether the values are words for polarities."""
        return len(self.counts) > 1 and all(value.strip().casefold() in _RANK for value in self.counts)

    @property
    def is_text(self) -> bool:
        """Whether people wrote the values for people: neither labels nor numbers, addresses and other codes."""
        codes = sum(count for value, count in self.counts.items() if _CODE.fullmatch(value.strip()))
        scalars = all(isinstance(value, str) for value in self.values)
        return bool(self.values) and scalars and not self.is_list and codes < len(self.values) / 2

    @cached_property
    def delimiter(self) -> str | None:
        """What stands between the labels of a row, if the values are a few labels in many combinations."""
        return next((mark for mark in "|;," if self._is_cut_by(mark)), None)

    @property
    def is_label_list(self) -> bool:
        """Whether the values are lists of a few labels that rows share."""
        return self.is_list and self._parts_recur(",")

    def _is_cut_by(self, mark: str) -> bool:
        return not self.is_list and any(mark in value for value in self.counts) and self._parts_recur(mark)

    def _parts_recur(self, mark: str) -> bool:
        """Whether most parts stand in more than one combination, which parts of names and sentences don't."""
        reader = Values(DataSpec(delimiter=mark))
        try:
            rows = [reader.read(Column("label", "labels"), value, {}) for value in self.values]
        except Refused:
            return False
        combinations = {tuple(sorted(row)) for row in rows}
        parts = Counter(part for row in combinations for part in row)
        short = all(len(part) <= _LONGEST_LABEL for part in parts)
        recurring = sum(count > 1 for count in parts.values())
        return short and 2 <= len(parts) <= min(MOST_LABELS, len(rows) / 2) and recurring * 2 >= len(parts)


def _flat(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _length(value: Any) -> float:
    if isinstance(value, list) and value:
        return sum(len(str(part)) for part in value) / len(value)
    return len(str(value))


def _profiles(table: Table, without: Iterable[str | None] = ()) -> list[Profile]:
    return [Profile.of(table, column) for column in table.columns if column not in set(without)]


def _texts(table: Table, without: Iterable[str | None] = ()) -> list[Profile]:
    """The columns of texts, the one with the longest first."""
    found = [profile for profile in _profiles(table, without) if profile.is_text and not _ID.fullmatch(profile.name)]
    return sorted(found, key=lambda profile: -profile.length)


# ---------------------------------------------------------------------- what the file is


def recognise(table: Table, task: str | None, file: Path) -> Guess:
    """What the columns and values of a table are for. Raises RecipeError, with the columns, where they don't tell."""
    if task is not None:
        guess = _as_task(table, task, file)
    elif table.unit == "sentence":
        guess = _ner(table, asked=False)
    else:
        sure = (_ner(table, False), _qa(table, False), _summarization(table, False))
        guess = next(filter(None, sure), None) or _classification(table, None, file)
    if guess is None:
        raise _undecided(table, task)
    return guess


def _as_task(table: Table, task: str, file: Path) -> Guess | None:
    if task in ("classification", "sentiment"):
        return _classification(table, task, file)
    finders = {"ner": _ner, "qa": _qa, "summarization": _summarization}
    return finders.get(task, partial(_by_names, task))(table, True)


def _home(table: Table, name: str, kind: Any = "text") -> str | None:
    """The table's column that the task's column `name` is read from, by its name."""
    try:
        return find(table, [[Column(name, kind)]], {}).homes[name]
    except DataError:
        return None


def _by_names(task: str, table: Table, asked: bool) -> Guess | None:
    """The first shape of a task that the table has by its columns' names."""
    from ftkit.plugins import find as plugin

    for shape in plugin("task", task, Task)(None).shapes():
        homes = {column.name: _home(table, column.name, column.kind) for column in shape}
        found = {name: home for name, home in homes.items() if home is not None}
        if all(column.name in found or not column.required for column in shape):
            return Guess(task, found)
    return None


def _ner(table: Table, asked: bool) -> Guess | None:
    guess = _by_names("ner", table, asked)
    marks = guess and Profile.of(table, list(guess.columns.values())[-1])
    return guess if asked or (marks and marks.is_list) else None


def _qa(table: Table, asked: bool) -> Guess | None:
    """Question answering; yes and no, or other classes, are no answers to look for in a passage."""
    guess = _by_names("qa", table, asked)
    if guess is None or asked:
        return guess
    return None if Profile.of(table, guess.columns["answers"]).is_label else guess


def _summarization(table: Table, asked: bool) -> Guess | None:
    """Summarization by its columns' names where the one is shorter than the other; asked for, by lengths too."""
    document, summary = _home(table, "document"), _home(table, "summary", "references")
    if not asked:
        return _sure_summaries(table, document, summary)
    texts = [profile.name for profile in _texts(table, [document, summary])]
    document = document or next(iter(texts), None)
    summary = summary or next((name for name in texts if name != document), None)
    return Guess("summarization", {"document": document, "summary": summary}) if document and summary else None


def _sure_summaries(table: Table, document: str | None, summary: str | None) -> Guess | None:
    if document is None or summary is None or document == summary:
        return None
    short, long = Profile.of(table, summary), Profile.of(table, document)
    says_so = document.casefold() in ("document", "article", "dialogue") or _home(table, "label") in (None, summary)
    total = sum(len(_flat(value)) for value in long.values) / max(1, len(long.values))
    shorter = not short.is_label and not short.is_number and short.length * 1.25 < total
    return Guess("summarization", {"document": document, "summary": summary}) if says_so and shorter else None


# ---------------------------------------------------------------------- classification


def _classification(table: Table, task: str | None, file: Path) -> Guess | None:
    text, pair = _home(table, "text"), _home(table, "text_pair") if task != "sentiment" else None
    homes = (_home(table, "label", kind) for kind in ("label", "labels", "number"))
    named = next((home for home in homes if home not in (None, text, pair)), None)
    label = Profile.of(table, named) if named is not None else _label(table, task, [text, pair])
    if label is None:
        return None
    remarks: list[str] = []
    if text is None:
        text, pair = _text_and_pair(table, label, task, remarks)
    if text is None:
        return None
    kind, delimiter = _kind(label)
    if kind == "single":
        _refuse_labels(table, label)
    if task is None:
        why = "" if pair or kind != "single" else _opinion(label, text, file)
        task = "sentiment" if why else "classification"
        remarks += [why] if why else []
    columns = {"text": text, "text_pair": pair, "label": label.name}
    found = {name: home for name, home in columns.items() if home is not None}
    return Guess(task, found, kind, delimiter, tuple(remarks))


def _label(table: Table, task: str | None, inputs: Sequence[str | None]) -> Profile | None:
    """The column of labels by its values. Raises RecipeError where several columns may be it."""
    profiles = [profile for profile in _profiles(table, inputs) if not _ID.fullmatch(profile.name)]
    shared = [profile for profile in profiles if profile.is_label or profile.is_label_list or profile.delimiter]
    polar = [profile for profile in shared if profile.is_polarity]
    words = [profile for profile in shared if not profile.is_number]
    measures = [profile for profile in profiles if profile.is_measure]
    for candidates in (polar, words, shared, measures):
        if len(candidates) == 1:
            return candidates[0]
    several = next(filter(None, (polar, words, shared, measures)), None)
    if several is None:
        return None
    listed = " and ".join(repr(profile.name) for profile in several)
    raise _undecided(table, task or "classification", f"{listed} may each be the label")


def _text_and_pair(table: Table, label: Profile, task: str | None, remarks: list[str]) -> tuple[str | None, str | None]:
    """The longest text, or both of two texts, by what stands in the columns."""
    texts = _texts(table, [label.name])
    long = [p for p in texts if p.length >= _SHORTEST_TEXT and len(p.counts) > len(p.values) / 2]
    if len(long) == 2 and task != "sentiment" and not label.is_polarity:
        first, second = sorted((profile.name for profile in long), key=table.columns.index)
        remarks.append(f"columns {first} and {second} both hold texts and are read as a pair; leave one out if not")
        return first, second
    return (texts[0].name if texts else None), None


def _kind(label: Profile) -> tuple[str, str]:
    """The kind of classification that a column of labels asks for, and what stands between the labels of a row."""
    usual = DataSpec().delimiter
    if label.is_list:
        return "multi", usual
    if label.delimiter:
        return "multi", label.delimiter
    return "regression" if label.is_measure else "single", usual


def _refuse_labels(table: Table, label: Profile) -> None:
    """Raises DataError for a column of labels that nothing can be learned from."""
    count = len(label.values)
    hint = "if another column has the labels, name this one differently, or put the other one under `label`"
    if len(label.counts) == 1:
        value = next(iter(label.counts))
        raise DataError(f"{table.source}: column {label.name!r} is {_brief(value)} in each of {count} rows", hint)
    if len(label.counts) == count > 1:
        what = f"column {label.name!r} has a different value in each of {count} rows"
        raise DataError(f"{table.source}: {what}, so no two rows share a label", hint)


def _opinion(label: Profile, text: str, file: Path) -> str:
    """Why the labels are polarities; '' where nothing says so."""
    if label.is_polarity:
        return "its labels are polarities"
    column = label.name.casefold()
    if column in ("sentiment", "polarity"):
        return f"its labels are in a column called {label.name!r}"
    if not label.is_number or len(label.counts) > 11:
        return ""
    for what, name in (
        ("column", column),
        ("column", text),
        ("file", file.name),
        ("folder", file.resolve().parent.name),
    ):
        found = _OPINION.search(re.sub(r"[_\d]", " ", name.casefold()))
        if found:
            return f"its labels are a few numbers, and the {what} is called {name!r}"
    return ""


# ---------------------------------------------------------------------- what can't be told


_WANTED = {
    "classification": ("text", "label"),
    "sentiment": ("text", "label"),
    "ner": ("tokens", "tags"),
    "qa": ("question", "context", "answers"),
    "summarization": ("document", "summary"),
}


def _undecided(table: Table, task: str | None, why: str = "") -> RecipeError:
    """The columns with an example of each, and how to say what they are."""
    if task is None and _home(table, "question") and _home(table, "context"):
        task, why = "qa", "there are questions and contexts, and no column of answers"
    wanted = _WANTED.get(task or "classification", ())
    reason = why or (f"its columns don't tell {' and '.join(wanted)}" if task else "its columns don't tell the task")
    lines = [f"{table.source}: {reason}", *_examples(table)]
    mapping = ", ".join(f"{name}: COLUMN" for name in wanted)
    setting = f"--set data.train={table.source} --set 'data.columns={{{mapping}}}'"
    which = "" if task else f"say the task with --task ({', '.join(plugin_names('task'))}), or which column is what: "
    return RecipeError(
        "\n".join(lines),
        f"{which or 'say which column is what (by name, or by number from 0 where there is no header): '}"
        f"ftkit train {_shelf_name(task or 'classification')} {setting}",
    )


def _examples(table: Table, most: int = 20) -> Iterator[str]:
    for profile in _profiles(table)[:most]:
        yield f"  {profile.name!r}: {f'for example {_brief(profile.values[0])}' if profile.values else 'empty'}"
    if len(table.columns) > most:
        yield f"  and {len(table.columns) - most} more"


def _brief(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


# ---------------------------------------------------------------------- held-out rows


def _held_out(table: Table, guess: Guess, file: Path, say: Say) -> Iterator[tuple[str, Any]]:
    """`data.validation` and `data.test`: what the file's own column names, files beside it, or shares."""
    marked = {_SPLITS.get(str(row.get("split")).strip().casefold()) for row in table.rows} - {None}
    if marked:
        yield "split", "split"
    for name in ("validation", "test"):
        beside = _sibling(file, name)
        if name in marked:
            continue
        if beside is not None and _fits(beside, guess, say):
            yield name, str(beside.resolve())
        elif len(table.rows) >= LEAST_ROWS:
            yield name, SHARE
        else:
            say(f"{name} rows: none are set aside of {len(table.rows)} (data.{name} names a file or a share)")
            yield name, None


def _sibling(file: Path, name: str) -> Path | None:
    """The file beside this one with what people call the split in place of `train` in its name."""
    found = _TRAIN.search(file.name)
    if found is None:
        return None
    beside = {path.name.casefold(): path for path in file.resolve().parent.iterdir() if path.is_file()}
    start, end = found.span()
    names = [f"{file.name[:start]}{own}{file.name[end:]}".casefold() for own, split in _SPLITS.items() if split == name]
    return next((beside[other] for other in names if other in beside), None)


def _fits(beside: Path, guess: Guess, say: Say) -> bool:
    """Whether the file can be read as the one it lies beside; if not, that is said."""
    recipe = _recipe(guess, _data(guess, beside))
    task: Task = resolve("task", recipe.task, Task)
    try:
        load_file(str(beside), recipe.data, task.shapes())
    except DataError as error:
        say(f"{beside.name} lies beside it and is not used: {error.message.splitlines()[0]}")
        return False
    return True


def _data(guess: Guess, file: Path) -> dict[str, Any]:
    data: dict[str, Any] = {"train": str(file.resolve())}
    if guess.mapping:
        data["columns"] = guess.mapping
    if guess.delimiter != DataSpec().delimiter:
        data["delimiter"] = guess.delimiter
    return data


# ---------------------------------------------------------------------- what is said


_KINDS = {"multi": "any number of labels a row", "regression": "a number a row"}


def _tell(table: Table, guess: Guess, proof: Proof, say: Say) -> None:
    kind = f", {_KINDS[guess.kind]}" if guess.kind in _KINDS else ""
    say(f"{table.source}: {len(table.rows)} rows, taken for {guess.task}{kind} (--task changes it)")
    for remark in guess.remarks:
        say(f"  {remark}")
    for name, home in guess.columns.items():
        say(f"{name}: column {home if guess.numbered else repr(home)} (data.columns.{name})")
    if guess.delimiter != DataSpec().delimiter:
        say(f"labels of one row are parted by {guess.delimiter!r} (data.delimiter)")
    listed = _names(guess, proof.labels)
    if listed:
        more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
        say(f"labels: {', '.join(listed[:12])}{more} (data.labels orders and renames them)")
    say(f"rows: {', '.join(f'{count} {name}' for name, count in proof.rows.items())} (data.validation, data.test)")
    for note in proof.notes:
        say(f"note: {note}")


def _names(guess: Guess, labels: Labels) -> list[str]:
    """The labels as `data.labels` has them."""
    if guess.kind == "regression":
        return []
    if guess.task == "ner":
        return [label[2:] for label in labels if label.startswith("B-")]
    return list(labels)


# ---------------------------------------------------------------------- the recipe's text


def _shelf_name(task: str, kind: str = "single", pair: bool = False) -> str:
    """The closest recipe on the shelf."""
    wanted = {"multi": "multilabel"}.get(kind, "pair" if pair else "full")
    own = [name for name in shelf_names() if name.startswith(f"{task}/")]
    return next((f"{task}/{name}" for name in (wanted, "full") if f"{task}/{name}" in own), own[0])


def _text(guess: Guess, data: Mapping[str, Any], labels: Labels, file: Path, path: Path) -> str:
    """The shelf's recipe with this file's data in it."""
    name = _shelf_name(guess.task, guess.kind, "text_pair" in guess.columns)
    shelf = find_recipe(name).read_text(encoding="utf-8")
    body = re.sub(r"\A(#.*\n)+", "", shelf).strip()
    sections = {block.partition(":")[0]: block for block in re.split(r"\n{2,}", body)}
    if guess.kind != "single" and f"kind: {guess.kind}" not in sections["task"]:
        sections["task"] = f"task:\n  name: {guess.task}\n  kind: {guess.kind}"
    if guess.kind == "regression":
        sections["train"] += "\n  metric: pearson"
    sections["data"] = "\n".join(["data:", *_data_lines(guess, data, labels, path)])
    order = dict.fromkeys(["task", "model", "data", *sections])
    header = (f"{guess.task.capitalize()} from {file.name}; all else is as in {name}.", "", _command(path), "")
    comment = [f"# {' '.join(line.split()) if line.strip() else ''}".rstrip() for line in header]
    comment[2] = comment[2].replace("# ", "#   ", 1)
    return "\n".join(comment) + "\n" + "\n\n".join(sections[section] for section in order) + "\n"


def _command(path: Path) -> str:
    return f"ftkit train {shlex.quote(str(path))}"


_COMMENTS = {
    "columns": "the task's column: the file's",
    "delimiter": "stands between the labels of one row",
    "split": "the column that tells training, validation and test rows apart",
    "validation": "chooses the best epoch",
    "test": "scored once, at the end",
}


def _data_lines(guess: Guess, data: Mapping[str, Any], labels: Labels, path: Path) -> Iterator[str]:
    listed = _names(guess, labels)
    shown = {**data, **({"labels": listed} if 0 < len(listed) <= 12 else {})}
    for name in (name for name in DataSpec.model_fields if name in shown):
        line = f"  {name}: {_yaml(_portable(name, shown[name], path))}"
        comment = _comment(name, shown[name], guess)
        yield f"{line:<26} # {comment}" if comment else line


def _comment(name: str, value: Any, guess: Guess) -> str:
    if name == "labels":
        numbers = all(map(_is_number, value)) and guess.task != "ner"
        renamed = ", ".join(f"{label}: NAME" for label in value)
        return f"{{{renamed}}} gives them names" if numbers else "in the model's order"
    if name in ("validation", "test"):
        kind = "none: too few rows" if value is None else "" if isinstance(value, str) else "a share of the rows; "
        return kind if value is None else kind + _COMMENTS[name]
    return _COMMENTS.get(name, "")


def _portable(name: str, value: Any, path: Path) -> Any:
    """A path from the recipe's folder where the file lies in it, else the absolute one; other values as they are."""
    if name not in ("train", "validation", "test") or not isinstance(value, str):
        return value
    folder = path.resolve().parent
    if not Path(value).is_relative_to(folder):
        return value
    inside = Path(value).relative_to(folder).as_posix()
    return f"./{inside}" if ":" in inside or inside.startswith("~") else inside


_PLAIN = re.compile(r"[^\W\d_/][\w./ -]*[\w./-]|[^\W\d_]")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def _yaml(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_yaml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if value is None:
        return "null"
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and value.casefold() not in _WORDS:
        return value
    return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))).strip()


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as recipe:
            recipe.write(text)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RecipeError(f"{path} can't be written: {reason}", "name another place: --to RECIPE.yaml") from error
