"""`ftkit data check --fix`: a repaired copy of a recipe's rows, with every change in a list."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftkit import checks, mending, yaml12
from ftkit.checks._base import Columns, Data, names_in
from ftkit.checks.variants import slips
from ftkit.data.clean import cleaned
from ftkit.data.columns import is_empty
from ftkit.data.load import load_file
from ftkit.data.split import SPLIT_NAMES
from ftkit.data.typed import Examples, as_dataset
from ftkit.data.values import Refused, Values
from ftkit.errors import DataError, counted
from ftkit.files import expanded, replacing
from ftkit.findings import errors
from ftkit.inspection import UNREADABLE, Inspection
from ftkit.metrics.schemes import scheme_of
from ftkit.recipe import Recipe
from ftkit.run import write_jsonl
from ftkit.settings import DataSpec

_ROUNDS = 10
"""Times that rows are gone over, as what is repaired or left out may show something else; twice is usual."""


@dataclass(eq=False)
class Row:
    """A row on its way to the copy."""

    split: str
    number: int
    raw: dict[str, Any]
    at: str
    """The file and line, where the split's rows are of several files."""
    unit: str
    """What its number counts."""
    read: dict[str, Any] = field(default_factory=dict)
    """Its values as their kinds want them, cleaned; empty where they can't be read."""
    plain: dict[str, Any] = field(default_factory=dict)
    """What is mended: the values in the form of their kinds, or all as they stand where one can't be read."""
    fault: str = ""
    """Why it can't be read."""


def write_repaired(found: Inspection, to: Path) -> str:
    """Write the copy to the folder `to`, whole or not at all, and return what was done as a sentence.

    In it are a file for each split and for texts without labels, `changes.jsonl`, and `recipe.yaml`, which trains on
    it. Raises DataError where `to` exists, can't be written, where lines of the files can't even be told apart, or
    where no training row is left.
    """
    to = expanded(to, DataError)
    if os.path.lexists(to):
        raise DataError(f"{to} exists already", "name a new folder: --fix TO")
    if any(finding.kind == UNREADABLE for finding in found.findings):
        raise DataError("no copy is written: there are lines that can't be read", "mend these lines first")
    repair = Repair(found)
    repair.run()
    if "train" not in repair.by_split():
        raise DataError(f"no copy is written: nothing is left to train on{_reasons(repair)}", "mend these rows first")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with replacing(to) as beside:
            beside.mkdir()
            _write(beside, repair, found.recipe)
    except OSError as error:
        raise DataError(f"{to} can't be written: {error.strerror}", "name another folder: --fix TO") from error
    dropped = sum(change["column"] is None for change in repair.changes)
    changed = len(repair.changes) - dropped
    done = f"{counted(changed, 'value')} repaired, {counted(dropped, 'row')} left out"
    emptied = "".join(f"; {_EMPTIED[split]}" for split in found.rows if split not in repair.by_split())
    return f"{to}: {done}{emptied}; changes.jsonl lists each, recipe.yaml trains on the copy"


_EMPTIED = {
    "validation": "no validation row is left, so training keeps the last epoch's model",
    "test": "no test row is left, so training ends without test scores",
}
"""What a split without rows means for training."""


def _reasons(repair: Repair) -> str:
    """The reasons for which most training rows are left out, as ` (text is empty: 3 rows)`."""
    why = Counter(change["why"] for change in repair.changes if change["column"] is None and change["split"] == "train")
    told = "; ".join(f"{reason}: {counted(rows, 'row')}" for reason, rows in why.most_common(3))
    return f" ({told})" if told else ""


_FILES = ("columns", "encoding", "split")
"""Settings that say how the files were read, which the copy's own files need none of: they are as ftkit writes them."""


def _write(folder: Path, repair: Repair, recipe: Recipe) -> None:
    data = recipe.filled()
    usual = DataSpec().model_dump(mode="json", include=set(_FILES))
    data["data"] |= {**usual, "validation": None, "test": None}
    for split, rows in repair.by_split().items():
        write_jsonl(folder / f"{split}.jsonl", (row.raw for row in rows), default=str)
        data["data"][split] = f"{split}.jsonl"
    if recipe.data.sources("unlabeled"):
        write_jsonl(folder / "unlabeled.jsonl", _unlabeled(recipe.data, repair))
        data["data"]["unlabeled"] = "unlabeled.jsonl"
    if isinstance(recipe.data.labels, tuple):
        gone = repair.merged()
        data["data"]["labels"] = [label for label in recipe.data.labels if label not in gone]
    write_jsonl(folder / "changes.jsonl", repair.changes, default=str)
    text = "# A repaired copy: changes.jsonl says what was changed and why.\n" + yaml12.dump(data)
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def _unlabeled(spec: DataSpec, repair: Repair) -> Iterator[dict[str, Any]]:
    """The texts without labels, as they stand, in the copy's form."""
    rows, _ = load_file(
        spec.sources("unlabeled"), spec.model_copy(update={"clean": ()}), repair.task.shapes(), targets=False
    )
    names = [column.name for column in repair.shape if column.is_input and column.name in rows.column_names]
    return ({name: row[name] for name in names} for row in rows)


class Repair:
    """The rows of an inspection, repaired round by round; `changes` lists what was done."""

    def __init__(self, found: Inspection) -> None:
        self.task, self.spec, self.shape = found.task, found.recipe.data, found.splits.shape
        self.order = sorted(self.shape, key=lambda column: not column.is_input)
        self.changes: list[dict[str, Any]] = []
        self.rows = [
            Row(split, number, raw, numbering.at(number), numbering.unit)
            for split in SPLIT_NAMES
            if (numbering := found.splits.numbering.get(split))
            for number, raw in _raw_rows(found, split)
        ]

    def run(self) -> None:
        """Repair until nothing is left to do."""
        for _ in range(_ROUNDS):
            before = len(self.changes)
            self._read()
            self._repair_values()
            self._read()
            self._leave_out({row: row.fault for row in self.rows if row.fault})
            self._leave_out(dict(self._empty()))
            self._leave_out(dict(self._repeated()))
            self._leave_out(dict(self._unusable()))
            if len(self.changes) == before:
                return

    def by_split(self) -> dict[str, list[Row]]:
        """The rows that are left, of splits that have some."""
        return _by_split(self.rows)

    def _read(self) -> None:
        values, plain = Values(self.spec), Values(self.spec.model_copy(update={"labels": None}))
        for row in self.rows:
            row.read, row.fault, row.plain = {}, "", self._plain(row, plain)
            for column in self.order:
                try:
                    row.read[column.name] = values.read(column, row.raw.get(column.name), row.read)
                except Refused as refused:
                    row.fault = row.fault or " ".join(filter(None, (f"{column.name} {refused.what}", refused.detail)))
            if self.spec.clean and not row.fault:
                self._clean(row)
        self._spell()

    def _spell(self) -> None:
        """Bare types read as tags, where all tags of a split are such: each split will be a file."""
        for rows in self.by_split().values():
            for name in (column.name for column in self.shape if column.kind == "tags"):
                tagged = [row for row in rows if not row.fault]
                if scheme := scheme_of([row.read[name] for row in tagged]):
                    for row in tagged:
                        row.read[name] = scheme.spelled(row.read[name])

    def _plain(self, row: Row, values: Values) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            for column in self.order:
                found[column.name] = values.read(column, row.raw.get(column.name), found)
        except Refused:
            return row.raw
        return found

    def _clean(self, row: Row) -> None:
        """What is read of a row after `data.clean`, by which it is compared with others."""
        names = [column.name for column in self.shape if column.is_input]
        try:
            (row.read,) = cleaned([row.read], names, self.spec.clean, row.split)
        except DataError as error:
            row.fault = error.message

    # ------------------------------------------------------------------ values

    def _repair_values(self) -> None:
        data = self._data([row for row in self.rows if not row.fault])
        counts = sum(map(data.counts, data.splits), Counter[str]())
        meant = mending.Meant(self.spec, slips(counts))
        tags = [value for row in self.rows for c in self.shape if c.kind == "tags" and (value := row.read.get(c.name))]
        scheme = scheme_of(tags)
        for row in self.rows:
            for column in self.shape:
                for change in mending.mend(row.plain, column, self.shape, meant, scheme):
                    self._set(row, *change)

    def merged(self) -> set[str]:
        """Labels that stood in rows and stand in none any more: rows of them have become others'."""
        named = [column for column in self.shape if column.kind in ("label", "labels")]
        left = {
            label
            for row in self.rows
            if row.read
            for column in named
            for label in names_in(row.read[column.name], column)
        }
        before = [change["before"] for change in self.changes if change["column"] in {column.name for column in named}]
        stood = {str(label) for value in before for label in (value if isinstance(value, list) else [value])}
        return stood - left

    def _set(self, row: Row, column: str, value: Any, why: str) -> None:
        before = row.raw.get(column)
        self.changes.append(_change(row, column, copy.deepcopy(before), value, why))
        row.raw, row.plain = {**row.raw, column: value}, {**row.plain, column: value}

    # ------------------------------------------------------------------ rows

    def _leave_out(self, reasons: Mapping[Row, str]) -> None:
        """Take rows out, each for its reason."""
        self.changes += [_change(row, None, row.raw, None, reasons[row]) for row in self.rows if row in reasons]
        self.rows = [row for row in self.rows if row not in reasons]

    def _empty(self) -> Iterator[tuple[Row, str]]:
        for row in self.rows:
            for column in self.shape:
                if column.is_input and is_empty(row.read[column.name]):
                    yield row, f"{column.name} is empty"

    def _repeated(self) -> Iterator[tuple[Row, str]]:
        """Rows that repeat an earlier one of their split, and rows that also stand in a later split."""
        parts, data = self.by_split(), self._data(self.rows)
        later: dict[Any, Row] = {}
        for split in reversed([name for name in SPLIT_NAMES if name in parts]):
            first: dict[Any, Row] = {}
            for row, key, answer in zip(parts[split], data.keys[split], data.answers[split], strict=True):
                other = later.get(key) or first.setdefault((key, answer), row)
                if other is not row:
                    same = "text and answer" if other.split == split else "text"
                    yield row, f"{other.at or f'{other.split} {other.unit} {other.number}'} has the same {same}"
            later = {**later, **dict(zip(data.keys[split], parts[split], strict=True))}

    def _unusable(self) -> Iterator[tuple[Row, str]]:
        """Rows that the task can't read or has no label for."""
        parts = self.by_split()
        loaded = {split: as_dataset(self._examples(rows)) for split, rows in parts.items()}
        found = checks.checked(self.task, loaded, self.spec).findings
        bad = {(place.split, place.row): finding.what for finding in errors(found) for place in finding.places}
        for split, rows in parts.items():
            for number, row in enumerate(rows):
                if (split, number) in bad:
                    yield row, bad[split, number]

    def _examples(self, rows: Sequence[Row]) -> Examples:
        return Examples(self.shape, [{**row.read, "row": number} for number, row in enumerate(rows)])

    def _data(self, rows: Sequence[Row]) -> Data:
        columns = [column.name for column in self.shape]
        splits: dict[str, Columns] = {
            split: {name: [row.read[name] for row in part] for name in columns} | {"row": [r.number for r in part]}
            for split, part in _by_split(rows).items()
        }
        return Data(self.shape, splits)


def _by_split(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.split, []).append(row)
    return found


def _raw_rows(found: Inspection, split: str) -> list[tuple[int, dict[str, Any]]]:
    """Numbers and values of a split's rows, those that can't be read where they stand among the others."""
    own = getattr(found.splits, split)
    rows = list(zip(own["row"][:], found.splits.raw[split], strict=True)) if own is not None else []
    unread = [(row.number, row.raw) for row in found.splits.unread.get(split, ())]
    return sorted([*rows, *unread], key=lambda row: row[0]) if unread else rows


def _change(row: Row, column: str | None, before: Any, after: Any, why: str) -> dict[str, Any]:
    place = {"split": row.split, "row": row.number} | ({"at": row.at} if row.at else {})
    return {**place, "column": column, "before": before, "after": after, "why": why}
