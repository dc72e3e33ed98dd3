"""A file's columns and values -> the task's: mapped once, here; past this point nobody guesses."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unicodedata import category

from ftkit.data.formats import conll
from ftkit.data.mapped import Row, is_on_disk, taken, without
from ftkit.data.read import SHOWN, Table
from ftkit.data.typed import Examples, kept
from ftkit.data.values import Refused, Values, meant, parsed
from ftkit.errors import DataError, brief, problems, some
from ftkit.findings import Finding, Place

if TYPE_CHECKING:
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Column

    Shapes = Sequence[Sequence[Column]]

ALIASES: dict[str, tuple[str, ...]] = {
    "text": (
        "sentence",
        "review",
        "content",
        "tweet",
        "utterance",
        "sentence1",
        "premise",
        "question1",
        "body",
        "message",
    ),
    "text_pair": ("sentence2", "hypothesis", "question2", "text2", "text_b"),
    "label": (
        "category",
        "class",
        "sentiment",
        "intent",
        "target",
        "topic",
        "polarity",
        "rating",
        "stars",
        "emotion",
        "labels",
    ),
    "labels": ("label", "categories", "topics", "tags"),
    "question": ("query",),
    "context": ("passage", "paragraph"),
    "answers": ("answer",),
    "tokens": ("words",),
    "tags": ("ner_tags", "ner", "labels", "ner_labels"),
    "entities": ("spans", "label", "labels"),
    "document": ("article", "source", "text", "dialogue", "body"),
    "summary": ("highlights", "target", "abstract", "tldr"),
    "source": ("src", "input"),
    "target": ("tgt", "output", "translation"),
}
"""Well-known names of columns, by the name that tasks use; the first that a file has is taken."""
_BY_KIND = {
    ("label", "labels"): ("labels", "categories", "topics"),
    ("label", "number"): ("score", "value", "similarity"),
}


@dataclass(frozen=True)
class Found:
    """The shape that a table has, and which of its columns holds what."""

    shape: tuple[Column, ...]
    homes: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A row with values that can't be read."""

    number: int
    """Where it is in the source."""
    raw: dict[str, Any]
    """What stands in the task's columns."""
    faults: tuple[tuple[Column, str, Refused], ...]
    """Each value's column, what the source calls it, and why it can't be read."""


# ---------------------------------------------------------------------- which column is which


def find(
    table: Table,
    shapes: Shapes,
    columns: Mapping[str, str | int],
    *,
    targets: bool = True,
    lenient: bool = False,
) -> Found:
    """The first shape whose columns the table has: as mapped, of the same name, or by a well-known name.

    targets: whether the columns to answer must be there too. lenient: whether one of the canonical name may
    stand in for a mapped column that is missing, as in new data. Raises DataError for mapped columns that are
    not there, and where no shape fits.
    """
    mapping, notes = _applicable(table, columns, lenient)
    _check_mapping(table, shapes, mapping, targets)
    fitting = [shape for shape in shapes if set(mapping) <= {column.name for column in shape}] or list(shapes)
    lacks: list[list[str]] = []
    for shape in fitting:
        homes, guesses = _homes(table, shape, mapping)
        needed = [column.name for column in shape if column.required and (targets or column.is_input)]
        lacking = [name for name in needed if name not in homes]
        if not lacking:
            kept = tuple(column for column in shape if column.name in homes)
            return Found(kept, homes, (*notes, *guesses))
        lacks.append(lacking)
    raise _not_found(table, lacks)


def _applicable(table: Table, columns: Mapping[str, str | int], lenient: bool) -> tuple[dict[str, str], list[str]]:
    """The mapping that holds for this table: numbers say nothing about a file that names its columns."""
    mapping, notes = {}, []
    for name, column in columns.items():
        stands_in = (lenient or isinstance(column, int)) and name in table.columns and str(column) not in table.columns
        if stands_in:
            notes.append(f"{table.source}: {name!r} is read from the column of that name; it has no column {column!r}")
        else:
            mapping[name] = str(column)
    return mapping, notes


def _check_mapping(table: Table, shapes: Shapes, mapping: dict[str, str], targets: bool) -> None:
    known = {column.name: column for shape in shapes for column in shape}
    found = [
        f"this task has no {name!r} to map in data.columns{meant(name, known)}; it has {', '.join(known)}"
        for name in mapping
        if name not in known
    ]
    found += [
        f"there is no column {column!r} for {name!r}{meant(column, table.columns)}"
        for name, column in mapping.items()
        if name in known and column not in table.columns and (targets or known[name].is_input)
    ]
    homes = list(mapping.values())
    found += [
        f"column {home!r} can't be {' and '.join(repr(name) for name in mapping if mapping[name] == home)} at once"
        for home in dict.fromkeys(homes)
        if homes.count(home) > 1
    ]
    if found:
        raise problems(DataError, table.source, found, f"its columns: {_shown(table.columns)}. {_MAP_HINT}")


def _homes(table: Table, shape: Sequence[Column], mapping: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Where the shape's columns are in the table, as far as they are, and a note for each guess."""
    homes = {column.name: mapping[column.name] for column in shape if mapping.get(column.name) in table.columns}
    folded = {name.casefold(): name for name in reversed(table.columns)}
    for column in shape:
        own = column.name if column.name in table.columns else folded.get(column.name.casefold())
        if column.name not in homes and own is not None and own not in homes.values():
            homes[column.name] = own
    notes = []
    for column in shape:
        if column.name not in homes:
            guess = _guess(table, column, folded, set(homes.values()))
            if guess is not None:
                homes[column.name] = guess
                notes.append(f"{column.name!r} is read from column {guess!r} (data.columns.{column.name} changes it)")
    return homes, notes


def _guess(table: Table, column: Column, folded: dict[str, str], taken: set[str]) -> str | None:
    if table.unit == "sentence":
        return conll.column_of(table, column.kind, taken)
    if column.kind == "entities":
        folded = {name: home for name, home in folded.items() if _holds_spans(table, home)}
    aliases = (*_BY_KIND.get((column.name, column.kind), ()), *ALIASES.get(column.name, ()))
    return next((folded[alias] for alias in aliases if alias in folded and folded[alias] not in taken), None)


def _holds_spans(table: Table, home: str) -> bool:
    """Whether a column's values are lists of spans, as Doccano writes them under `label`."""
    plain = False
    for row in table.rows:
        if value := row.get(home):
            value = parsed(value) if isinstance(value, str) else value
            if not isinstance(value, list):
                return True
            plain = plain or not all(isinstance(item, (list, dict)) for item in value)
    return not plain


_MAP_HINT = "data.columns maps the task's columns to the file's, by name, or by number from 0 where it has no header"


def _not_found(table: Table, lacks: list[list[str]]) -> DataError:
    wanted = " or ".join(" and ".join(map(repr, lacking)) for lacking in lacks)
    lines = [f"{table.source}: no column found for {wanted}", f"  its columns: {_shown(table.columns)}"]
    if table.unit in ("line", "row") and any(_unlikely_name(name) for name in table.columns):
        numbers = ", ".join(f"{name}: {number}" for number, name in enumerate(lacks[0]))
        lines.append("  its first line looks like a row, not like a header")
        return DataError("\n".join(lines), f"map by number where there is no header: data.columns={{{numbers}}}")
    named = ", ".join(f"{name}: COLUMN" for name in lacks[0])
    return DataError("\n".join(lines), f"data.columns={{{named}}} says which column it is. {_MAP_HINT}")


def _unlikely_name(name: str) -> bool:
    return len(name) > 40 or name.count(" ") > 2 or name.lstrip("-").isdecimal()


def _shown(names: Sequence[str], most: int = 12) -> str:
    return some([repr(name if len(name) <= 40 else name[:37] + "...") for name in names], most)


# ---------------------------------------------------------------------- which value is what


def canonical(
    table: Table,
    found: Found,
    spec: DataSpec,
    *,
    group: str | None = None,
    targets: bool = True,
    strict: bool = True,
) -> Examples:
    """The table's rows with each value in the form of its column's kind; see `Column`.

    group: the table's column that is kept as `group`. Without `targets`, a column to answer that can't
    be read in every row is left out. Raises DataError that lists each kind of fault with its rows; when not
    `strict`, such rows are `unread`.
    """
    values = Values(spec)
    shape = sorted(found.shape, key=lambda column: not column.is_input)
    unread: list[Unread] = []

    def read() -> Iterator[Row]:
        for number, raw in zip(table.numbers, table.rows, strict=True):
            row: Row = {}
            faults = []
            for column in shape:
                home = found.homes[column.name]
                try:
                    row[column.name] = values.read(column, raw.get(home), row)
                except Refused as refused:
                    faults.append((column, home, refused))
            if faults:
                unread.append(Unread(number, raw_values(table, found, group, raw), tuple(faults)))
            if strict or not faults:
                yield {**row, "row": number, **dict(_kept(table, raw, group, row))}

    extra = [name for name, home in _carried(table, group) if home in table.columns]
    rows = kept(read(), found.shape, extra, to_disk=is_on_disk(table.rows))
    shown = found.shape
    notes = [*table.notes, *found.notes, *values.notes(table.source)]
    bad = {column for row in unread for column, _, _ in row.faults}
    if not targets and not any(column.is_input for column in bad):
        shown = tuple(column for column in shown if column not in bad)
        rows = without(rows, [column.name for column in bad])
        notes += [f"{table.source}: {c.name!r} is left out; it can't be read in every row" for c in shape if c in bad]
    elif bad and strict:
        raise _refusal(table, unread)
    return Examples(shown, rows, tuple(notes), tuple(unread))


class Raw(Sequence[Row]):
    """What a source has in the task's columns of some rows, which are known by their numbers."""

    def __init__(self, table: Table, found: Found, group: str | None, numbers: Sequence[int]) -> None:
        places = array("q", (bisect_left(table.numbers, number) for number in numbers))
        self.rows, self.read = taken(table.rows, places), partial(raw_values, table, found, group)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return map(self.read, self.rows)

    def __getitem__(self, index: Any) -> Any:
        return [self.read(row) for row in self.rows[index]] if isinstance(index, slice) else self.read(self.rows[index])


def raw_values(table: Table, found: Found, group: str | None, raw: Row) -> dict[str, Any]:
    """What the source has in a row's columns that are used, under the task's names; `id` and group under their own."""
    others = {home: raw.get(home) for home in (_id_column(table), group) if home in table.columns}
    return {**others, **{name: raw.get(home) for name, home in found.homes.items()}}


def _kept(table: Table, raw: Row, group: str | None, row: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What is carried along beside the task's columns."""
    for name, home in _carried(table, group):
        if home in table.columns and name not in row:
            value = raw.get(home)
            yield name, None if value in (None, "") else str(value)


def _carried(table: Table, group: str | None) -> tuple[tuple[str, str | None], ...]:
    return ("id", _id_column(table)), ("group", group)


def _id_column(table: Table) -> str | None:
    return next((name for name in table.columns if name.casefold() == "id"), None)


def empty_inputs(table: Table, rows: Sequence[Mapping[str, Any]], shape: Sequence[Column]) -> Iterator[str]:
    """A note for each column to read that is empty in some rows."""
    for column in shape:
        if column.is_input:
            empty = [row["row"] for row in rows if column.name in row and is_empty(row[column.name])]
            if empty:
                numbers = ", ".join(map(str, empty[:SHOWN]))
                places = "; ".join(map(table.locate, empty[:SHOWN])) if table.locate else f"{table.unit} {numbers}"
                count = f"{len(empty)} row{'s have' if len(empty) > 1 else ' has'}"
                more = ", ..." if len(empty) > SHOWN else ""
                yield f"{table.source}: {count} an empty {column.name!r} ({places}{more})"


def is_empty(value: Any) -> bool:
    """Whether a value that a model reads holds nothing that can be seen."""
    return all(category(char) in _UNSEEN for char in value) if isinstance(value, str) else not value


_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}
"""Unicode's categories of control and format characters, as zero-width spaces, and of white space."""


# ---------------------------------------------------------------------- what can't be read


def unread_findings(unread: Sequence[Unread], split: str) -> Iterator[Finding]:
    """An error for each column and kind of fault, with all rows of the split that have it."""
    for (home, kind, what), cases in _by_fault(unread).items():
        places = tuple(Place(row.number, split, fault.detail or brief(_in(row, home))) for row, fault in cases)
        hint = "; ".join(dict.fromkeys(fault.hint for _, fault in cases if fault.hint))
        yield Finding(kind, "error", f"column {home!r} {what}", places, hint)


def _in(row: Unread, home: str) -> Any:
    return next(row.raw[column.name] for column, own, _ in row.faults if own == home)


def _by_fault(unread: Sequence[Unread]) -> dict[tuple[str, str, str], list[tuple[Unread, Refused]]]:
    found: dict[tuple[str, str, str], list[tuple[Unread, Refused]]] = {}
    for row in unread:
        for _, home, refused in row.faults:
            found.setdefault((home, refused.kind, refused.what), []).append((row, refused))
    return found


def _refusal(table: Table, unread: Sequence[Unread]) -> DataError:
    """One error with the first lines of each kind of fault, and how many more there are."""
    by_fault = _by_fault(unread)
    lines = [line for (home, _, what), cases in by_fault.items() for line in _report(table, home, what, cases)]
    hint = "; ".join(dict.fromkeys(fault.hint for cases in by_fault.values() for _, fault in cases if fault.hint))
    if len(lines) == 1:
        return DataError(lines[0], hint)
    count = sum(map(len, by_fault.values()))
    return DataError("\n  - ".join([f"{table.source}: {count} values can't be used", *lines]), hint)


def _report(table: Table, home: str, what: str, cases: list[tuple[Unread, Refused]]) -> Iterator[str]:
    """A line for each of the first cases, and one for all others with what they are about."""
    for row, fault in cases[:SHOWN]:
        detail = f": {fault.detail}" if fault.detail else ""
        yield f"{table.named(row.number)}: column {home!r} {what}{detail}"
    if len(cases) > SHOWN:
        others = [detail for detail in dict.fromkeys(fault.detail for _, fault in cases[SHOWN:]) if detail]
        about = f": {', '.join(others[:SHOWN])}{', ...' if len(others) > SHOWN else ''}" if others else ""
        yield f"and {len(cases) - SHOWN} more: column {home!r} {what}{about}"
