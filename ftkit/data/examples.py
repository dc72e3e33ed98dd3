"""Tables of sources -> canonical rows: those without a label left out, tags spelled, texts cleaned."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ftkit.data.clean import GIVEN, changed
from ftkit.data.clean import cleaned as cleaned_rows
from ftkit.data.columns import canonical
from ftkit.data.read import Table
from ftkit.data.typed import Examples
from ftkit.errors import DataError, counted, every, problems
from ftkit.metrics.schemes import Scheme, scheme_of

if TYPE_CHECKING:
    from ftkit.data.columns import Found
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Column

Schemes = dict[tuple[str, str], Scheme | None]
"""By source and column, the scheme that its tags keep to."""


def as_examples(
    tables: dict[str, Table],
    found: dict[str, Found],
    spec: DataSpec,
    *,
    group: str | None = None,
    targets: bool = True,
    lenient: Container[str] = (),
    schemes: Schemes | None = None,
) -> tuple[dict[str, Examples], list[str]]:
    """The canonical rows of each table, and what a person should know of how they were read.

    group: the tables' column that is kept as `group`. targets: whether the columns to answer must be readable; else
    they are read where every row has them. lenient: names of tables whose rows that can't be read are `unread`.
    schemes: those of tags that are known; it is given those that are found. Raises DataError with all problems.
    """
    tables, notes = _labelled(tables, found) if targets else (tables, [])
    read = [
        partial(canonical, table, found[name], spec, group=group, targets=targets, strict=name not in lenient)
        for name, table in tables.items()
    ]
    examples = dict(zip(tables, every(read), strict=True))
    notes += [note for part in examples.values() for note in part.notes]
    sources = {name: table.source for name, table in tables.items()}
    examples, told = _spelled(examples, sources, {} if schemes is None else schemes)
    examples, more = _cleaned(examples, tables, spec)
    return examples, [*notes, *told, *more]


def require_labels(tables: dict[str, Table], examples: dict[str, Examples]) -> None:
    """Raises DataError for tables of which no row has a label."""
    none = [tables[name].source for name, part in examples.items() if not part.rows and not part.unread]
    if none:
        what = "none of its rows has a label"
        raise problems(DataError, "", [f"{source}: {what}" for source in none], "label some, or name another file")


def has_no_answers(table: Table, found: Found) -> bool:
    """Whether no row has what it should be answered with."""
    targets = [column for column in found.shape if not column.is_input]
    return bool(targets) and all(_is_open(row.get(found.homes[c.name]), c) for row in table.rows for c in targets)


def _is_open(value: Any, column: Column) -> bool:
    """Whether a value says that its row is not annotated: where others have one label, so does an empty list."""
    return value in (None, "") or (column.kind == "label" and value == [])


def _labelled(tables: dict[str, Table], found: dict[str, Found]) -> tuple[dict[str, Table], list[str]]:
    """The tables without the rows that annotators left without a label: an empty list where others have one label."""
    kept, notes = {}, []
    for name, table in tables.items():
        homes = [found[name].homes[column.name] for column in found[name].shape if column.kind == "label"]
        out = {i for i, row in enumerate(table.rows) if any(row.get(home) == [] for home in homes)} if homes else None
        kept[name] = table.take([i for i in range(len(table.rows)) if i not in out]) if out else table
        if out:
            notes.append(f"{table.source}: {counted(len(out), 'row')} left out that have no label")
    return kept, notes


def _spelled(
    examples: dict[str, Examples], sources: dict[str, str], known: Schemes
) -> tuple[dict[str, Examples], list[str]]:
    """The examples with bare types as tags, and of what scheme the tags of each source are."""
    found = {column.name for part in examples.values() for column in part.shape if column.kind == "tags"}
    told: dict[str, list[str]] = {}
    for tags in found:
        for source in dict.fromkeys(sources.values()):
            own = [name for name in examples if sources[name] == source]
            if (source, tags) not in known:
                sentences = [row[tags] for name in own for row in examples[name].rows if tags in row]
                known[source, tags] = scheme_of(sentences)
            scheme = known[source, tags]
            if scheme is None:
                continue
            told.setdefault(scheme.told, []).append(source)
            examples |= {name: _with_tags(examples[name], tags, scheme.spelled) for name in own}
    return examples, [f"{', '.join(names)}: tags are read as {what}" for what, names in told.items()]


def _with_tags(part: Examples, name: str, spelled: Callable[[Sequence[str]], Sequence[str]]) -> Examples:
    return part.changed({**row, name: spelled(row[name])} if name in row else row for row in part.rows)


def _cleaned(
    examples: dict[str, Examples], tables: dict[str, Table], spec: DataSpec
) -> tuple[dict[str, Examples], list[str]]:
    """The examples with their texts cleaned, and how many rows that changed."""
    held = {name: part for name, part in examples.items() if part.rows}
    if not (spec.clean and held):
        return examples, []
    calls = []
    for name, part in held.items():
        inputs = [column.name for column in part.shape if column.is_input]
        calls.append(partial(_clean, part, inputs, spec.clean, tables[name]))
    found = dict(zip(held, every(calls), strict=True))
    return {**examples, **found}, [changed((row for part in found.values() for row in part.rows), spec.clean)]


def _clean(part: Examples, inputs: Sequence[str], steps: Sequence[str], table: Table) -> Examples:
    return part.changed(cleaned_rows(part.rows, inputs, steps, table.source, table.named), GIVEN)
