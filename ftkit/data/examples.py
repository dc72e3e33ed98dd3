"""Tables of sources -> canonical rows: those without a label left out, tags spelled, texts cleaned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ftkit.data.clean import GIVEN, changed
from ftkit.data.clean import cleaned as cleaned_rows
from ftkit.data.read import Table, counted
from ftkit.data.typed import Examples
from ftkit.errors import every
from ftkit.metrics.schemes import Scheme, scheme_of

if TYPE_CHECKING:
    from ftkit.data.columns import Found
    from ftkit.settings import DataSpec

Schemes = dict[tuple[str, str], Scheme | None]
"""By source and column, the scheme that its tags keep to."""


def labelled(tables: dict[str, Table], found: dict[str, Found]) -> tuple[dict[str, Table], list[str]]:
    """The tables without the rows that annotators left without a label: an empty list where others have one label."""
    kept, notes = {}, []
    for name, table in tables.items():
        homes = [found[name].homes[column.name] for column in found[name].shape if column.kind == "label"]
        out = {i for i, row in enumerate(table.rows) if any(row.get(home) == [] for home in homes)} if homes else None
        kept[name] = table.take([i for i in range(len(table.rows)) if i not in out]) if out else table
        if out:
            notes.append(f"{table.source}: {counted(len(out), 'row')} left out that have no label")
    return kept, notes


def spelled(
    examples: dict[str, Examples], sources: dict[str, str], schemes: Schemes | None = None
) -> tuple[dict[str, Examples], list[str]]:
    """The examples with bare types as tags, and of what scheme the tags of each source are.

    `schemes` has those that are known, and is given those that are found.
    """
    known: Schemes = {} if schemes is None else schemes
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


def cleaned(
    examples: dict[str, Examples], sources: dict[str, str], spec: DataSpec
) -> tuple[dict[str, Examples], list[str]]:
    """The examples with their texts cleaned, and how many rows that changed."""
    if not spec.clean:
        return examples, []
    calls = []
    for name, part in examples.items():
        inputs = [column.name for column in part.shape if column.is_input]
        calls.append(partial(_clean, part, inputs, spec.clean, sources[name]))
    found = dict(zip(examples, every(calls), strict=True))
    return found, [changed((row for part in found.values() for row in part.rows), spec.clean)]


def _clean(part: Examples, inputs: Sequence[str], steps: Sequence[str], source: str) -> Examples:
    return part.changed(cleaned_rows(part.rows, inputs, steps, source), GIVEN)
