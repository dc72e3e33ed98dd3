"""A recipe's data settings -> training, validation and test rows under the task's column names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ftkit.alike import asks
from ftkit.data.clean import GIVEN, with_reading
from ftkit.data.columns import Found, Raw, Unread, empty_inputs, find
from ftkit.data.examples import Schemes, as_examples, has_no_answers, require_labels
from ftkit.data.hub import is_hub_id, read_hub, split_called, stream_hub
from ftkit.data.mapped import Row
from ftkit.data.read import SHOWN, Table
from ftkit.data.several import read_all
from ftkit.data.sources import read_file
from ftkit.data.split import SPLIT_NAMES, cut, draw, split_named
from ftkit.data.stream import Stream, name_skip, naming_skip, open_stream
from ftkit.data.typed import Examples, as_dataset, batches, in_parts
from ftkit.errors import DataError, RecipeError, counted, every, problems
from ftkit.findings import Numbering, merged

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.data.columns import Shapes
    from ftkit.findings import Finding
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Column, Task


@dataclass(frozen=True)
class Splits:
    """The rows by what they are for, and what a person should know about how they were read.

    Each data set has the task's columns, `row` (its number in the source, from 1) and, where the source has
    them, `id` and `group` (the value that kept rows together).
    """

    train: Dataset | None = None
    validation: Dataset | None = None
    test: Dataset | None = None
    notes: tuple[str, ...] = ()
    shape: tuple[Column, ...] = ()
    """The columns that there are."""
    unread: dict[str, tuple[Unread, ...]] = field(default_factory=dict)
    """By split, the rows that can't be read; only where they were not to be refused."""
    raw: dict[str, Sequence[Row]] = field(default_factory=dict)
    """By split, what the sources have in each row's columns; only where rows that can't be read were not refused."""
    numbering: Mapping[str, Numbering] = field(default_factory=dict)
    """By split, what `row` counts, and where rows stand that are of several files."""
    stream: Stream | None = None
    """All training rows, where they are streamed: `train` is the first of them."""
    unreadable: DataError | None = None
    """What is to be said of lines that can't even be told apart, where the others were wanted all the same."""

    def items(self) -> Iterator[tuple[str, Dataset]]:
        """(name, rows) of the splits that there are."""
        for name in SPLIT_NAMES:
            split = getattr(self, name)
            if split is not None:
                yield name, split


def load(
    spec: DataSpec,
    shapes: Shapes,
    *,
    stratify: str | None = None,
    groups: Sequence[str] = (),
    strict: bool = True,
) -> Splits:
    """The rows that `spec` names, split as it says.

    A split that is a file is that file. Else rows of `train` are told apart by its column `spec.split`, or by
    the Hub's own splits. Else a share is cut from the training rows, the test share first: classes (in the
    column `stratify`) keep their shares, and rows of the same `spec.group`, or of the first of the
    task's usual `groups` that the data has, stay together, and rows of no group that ask the same. `spec.limit` is for
    training rows, and last. Raises DataError with all problems; when not `strict`, values and lines that can't be read
    are none.
    """
    _check(spec)
    read = partial(_load, spec, shapes, stratify, groups, strict)
    try:
        return read()
    except DataError as error:
        if not error.faults:
            raise
        name_skip(error, spec)
        return _past(error, partial(read, past=True), strict)


def _past(error: DataError, read: Callable[[], Splits], strict: bool) -> Splits:
    """The rows that `read` gives past lines that can't be read. Raises `error`, with all else that is wrong."""
    try:
        splits = read()
    except DataError as other:
        if other.faults:
            raise error from None  # the format knows of no rows past such lines
        return every([partial(_refuse, error), partial(_refuse, other)])[0]
    return _refuse(error) if strict else replace(splits, unreadable=error)


def _refuse(error: DataError) -> Splits:
    raise error


def _load(
    spec: DataSpec, shapes: Shapes, stratify: str | None, groups: Sequence[str], strict: bool, past: bool = False
) -> Splits:
    """What `load` gives; `past` lines that can't be read, where it is said elsewhere that there are some."""
    stream = open_stream(spec, shapes) if spec.stream else None
    tables, notes = _tables(spec, shapes, stream, past)
    group = _group_column(tables["train"], spec, groups)
    schemes: Schemes = {}
    examples, found, more = _examples(tables, spec, shapes, group, strict, schemes)
    unread = {name: part.unread for name, part in examples.items() if part.unread}
    numbering = {name: tables.get(name, tables["train"]).numbering for name in SPLIT_NAMES}
    shape = examples["train"].shape
    examples = {name: part for name, part in examples.items() if part.rows}
    if stream:
        stream = stream.read_as(found["train"], group, tables["train"].source, schemes)
    home = {name: name if name in examples else "train" for name in SPLIT_NAMES}
    if "train" in examples:
        more += _shared_out(examples, spec, stratify)
    return Splits(
        **{name: as_dataset(part) for name, part in examples.items()},
        notes=tuple(dict.fromkeys([*notes, *more])),
        shape=shape,
        unread=unread,
        raw={} if strict else {name: _raw(home[name], part, tables, found, group) for name, part in examples.items()},
        numbering=numbering,
        stream=stream,
    )


def _raw(home: str, part: Examples, tables: dict[str, Table], found: dict[str, Found], group: str | None) -> Raw:
    """What the table that a split's rows come from has in their columns."""
    return Raw(tables[home], found[home], group, part.column("row"))


def load_file(
    source: str | tuple[str, ...], spec: DataSpec, shapes: Shapes, *, targets: bool = True, groups: Sequence[str] = ()
) -> tuple[Dataset, tuple[str, ...]]:
    """All rows of a file, of several (`parts/*.csv`), of a sample or a Hub data set, and notes.

    Columns may also have the task's own names.

    targets: whether the columns to answer must be there; without it they are read where every row has them.
    groups: columns of which the first that is there is kept as `group`, unless `spec` names one that is.
    """
    table = whole_table((source,) if isinstance(source, str) else source, "test", spec, shapes)
    found = find(table, shapes, spec.columns, targets=targets, lenient=True)
    usual = (name for name in groups if name in table.columns and _is_filled(table, name))
    group = spec.group if spec.group in table.columns else next(usual, None)
    parts, notes = as_examples({"test": table}, {"test": found}, spec, group=group, targets=targets)
    require_labels({"test": table}, parts)
    notes += empty_inputs(table, parts["test"].rows, parts["test"].shape)
    return as_dataset(parts["test"]), tuple(dict.fromkeys(notes))


def unified(task: Task, split: Dataset, refused: list[Finding] | None = None) -> Dataset:
    """The split with the columns that the task's methods read.

    Rows that the task can't read are left out, and told to `refused`; DataError where that is None. Raises
    RecipeError where the task's `unify` loses what errors name rows by, or what keeps rows together.
    """
    found = merged(finding for batch in batches(split) for finding in task.refused(batch))
    if found and refused is None:
        raise problems(DataError, "the data can't be used", [str(finding) for finding in found])
    bad = {place.row for finding in found for place in finding.places}
    if refused is not None:
        refused += found
    if bad:
        split = split.select([i for i, row in enumerate(split["row"]) if row not in bad])
    from ftkit.tasks._base import Task as Base

    if type(task).unify is Base.unify and GIVEN not in split.column_names:
        return split
    return in_parts(_unify(task, batch, split.column_names) for batch in batches(split))


def unified_rows(task: Task, columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """A few rows, given as columns, as `unified` gives those of a data set. Raises DataError where the task can't."""
    if found := merged(task.refused(columns)):
        raise problems(DataError, "the data can't be used", [str(finding) for finding in found])
    together = _unify(task, columns, list(columns))
    return [dict(zip(together, row, strict=True)) for row in zip(*together.values(), strict=True)]


def _unify(task: Task, batch: dict[str, list[Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    given = batch.pop(GIVEN, None)
    columns = task.unify(batch)
    if lost := [name for name in ("row", "group") if name in names and name not in columns]:
        raise RecipeError(
            f"task: `unify` of {type(task).__name__} drops the column {', '.join(map(repr, lost))}",
            "return the columns that it does not change, too: `return {**batch, ...}`",
        )
    return {**columns, **({} if given is None else {GIVEN: [row and with_reading(row, task.unify) for row in given]})}


# ---------------------------------------------------------------------- where rows come from


def _check(spec: DataSpec) -> None:
    if spec.train is None:
        raise DataError("data.train is not set", "give a file, a sample (sample:sentiment), or a data set on the Hub")
    for name in ("validation", "test"):
        share = getattr(spec, name)
        if isinstance(share, float) and not 0 <= share < 1:
            raise DataError(
                f"data.{name}={share:g} is not a share of the rows", "give a file, or a share between 0 and 1"
            )


def _tables(spec: DataSpec, shapes: Shapes, stream: Stream | None, past: bool) -> tuple[dict[str, Table], list[str]]:
    """The splits that are given as such, `train` first."""
    files = {name: sources for name in ("validation", "test") if (sources := spec.sources(name))}
    train = partial(_first_rows, stream, past) if stream else partial(_train_tables, spec, shapes, past)
    calls: list[Callable[[], Any]] = [train]
    calls += [partial(whole_table, sources, name, spec, shapes, past) for name, sources in files.items()]
    (own, notes), *others = every(calls)
    given = dict(zip(files, others, strict=True))
    for name in sorted(set(own) & set(given)):
        notes.append(f"{len(own[name].rows)} {name} rows of {own[name].source} are not used; data.{name} names a file")
    for name in sorted({*own} & {"validation", "test"} - {*given}):
        share = getattr(spec, name)
        if share != type(spec).model_fields[name].default:
            told = "null" if share is None else f"{share:g}"
            notes.append(f"data.{name}={told} is not used: {own[name].source} itself says which rows are {name} rows")
    return {**own, **given}, notes


def _first_rows(stream: Stream, past: bool) -> tuple[dict[str, Table], list[str]]:
    head = stream.head(past)
    told = f"{head.source}: a stream, of which the first {counted(len(head.rows), 'row')} were looked at"
    return {"train": head}, [*stream.notes, told]


def _train_tables(spec: DataSpec, shapes: Shapes, past: bool) -> tuple[dict[str, Table], list[str]]:
    sources = spec.sources("train")
    if len(sources) == 1 and is_hub_id(sources[0]):
        return _hub_splits(sources[0])
    table = read_all(sources, partial(_read_file, spec=spec, shapes=shapes, past=past))
    if spec.split not in table.columns and spec.split != type(spec).model_fields["split"].default:
        raise DataError(
            f"{table.source}: data.split={spec.split} is none of its columns",
            f"its columns: {', '.join(table.columns)}",
        )
    return _told_apart(table, spec.split)


def _hub_splits(source: str) -> tuple[dict[str, Table], list[str]]:
    tables, known, unused = read_hub(source), dict[str, Table](), []
    for own, table in tables.items():
        name = split_named(own)
        if name is None or name in known:
            unused.append(own)
        else:
            known[name] = table
    if "train" not in known:
        raise DataError(f"{source} has no split called train", f"its splits: {', '.join(tables)}")
    return known, [f"{source}: its splits {', '.join(unused)} are not used"] if unused else []


def _told_apart(table: Table, column: str) -> tuple[dict[str, Table], list[str]]:
    """The table's rows by the split that their own column names, where it has such a column."""
    if column not in table.columns:
        return {"train": table}, []
    names = [split_named(row.get(column)) for row in table.rows]
    if not any(names):
        return {"train": table}, [f"{table.source}: column {column!r} names no splits, so it is not used as data.split"]
    strange = [index for index, name in enumerate(names) if name is None]
    if strange:
        lines = [f"{table.where(i)}: column {column!r} is {table.rows[i].get(column)!r}" for i in strange[:SHOWN]]
        heading = f"{table.source}: {len(strange)} rows belong to no split"
        hint = f"name train, validation or test in {column!r}, or set data.split to another column"
        raise DataError("\n  - ".join([heading, *lines]), hint)
    if "train" not in names:
        raise DataError(f"{table.source}: no row is for training by its column {column!r}", "mark some with train")
    parts: dict[str, Table] = {
        name: table.take([index for index, own in enumerate(names) if own == name])
        for name in SPLIT_NAMES
        if name in names
    }
    counts = ", ".join(f"{len(part.rows)} {name}" for name, part in parts.items())
    return parts, [f"{table.source}: column {column!r} tells the rows apart ({counts})"]


def whole_table(sources: Sequence[str], name: str, spec: DataSpec, shapes: Shapes, past: bool = False) -> Table:
    """All rows of files, or one split of a Hub data set: the one called `name`, or its only one.

    `past` lines that can't be read, where it is said elsewhere that there are some.
    """
    source = sources[0]
    if spec.stream and len(sources) == 1 and is_hub_id(source):
        return stream_hub(source, name).whole()
    if len(sources) > 1 or not is_hub_id(source):
        return read_all(sources, partial(_read_file, spec=spec, shapes=shapes, past=past))
    tables = read_hub(source)
    return tables[split_called(name, tables, source)]


def _read_file(source: str, spec: DataSpec, shapes: Shapes, past: bool, on_disk: bool = False) -> Table:
    return read_file(source, spec, shapes, on_disk=on_disk, unread=[] if past else None)


# ---------------------------------------------------------------------- how rows are read


def _is_filled(table: Table, column: str) -> bool:
    """Whether a column that usually keeps rows together says so of each: articles of SQuAD's form need no title."""
    return all(row.get(column) not in (None, "") for row in table.rows)


def _group_column(table: Table, spec: DataSpec, usual: Sequence[str]) -> str | None:
    for wanted in [spec.group] if spec.group else usual:
        column = wanted if wanted in table.columns else str(spec.columns.get(wanted, wanted))
        if column in table.columns and (spec.group or _is_filled(table, column)):
            return column
    if spec.group is None:
        return None
    raise DataError(
        f"{table.source}: data.group={spec.group} is none of its columns",
        f"its columns: {', '.join(table.columns)}",
    )


def _examples(
    tables: dict[str, Table], spec: DataSpec, shapes: Shapes, group: str | None, strict: bool, schemes: Schemes
) -> tuple[dict[str, Examples], dict[str, Found], list[str]]:
    """Canonical rows of each table, all in the shape of the training rows; where its columns are, and notes."""
    shape = [column._replace(required=True) for column in find(tables["train"], shapes, spec.columns).shape]
    where = every([partial(find, table, [shape], spec.columns) for table in tables.values()])
    found = dict(zip(tables, where, strict=True))
    files = [name for name in tables if name == "train" or spec.sources(name)]
    blank = [name for name in tables if name not in files and has_no_answers(tables[name], found[name])]
    notes = [f"{tables[name].source}: {name} rows have no answers to score by; not used" for name in blank]
    used = {name: table for name, table in tables.items() if name not in blank}
    lenient = [name for name in used if not strict or (name == "train" and spec.bad_rows == "skip")]
    with naming_skip(spec):
        examples, more = as_examples(used, found, spec, group=group, lenient=lenient, schemes=schemes)
    require_labels(used, examples)
    return examples, found, notes + more


def _shared_out(examples: dict[str, Examples], spec: DataSpec, stratify: str | None) -> Iterator[str]:
    """Cut the shares off the training examples, and draw those of `data.limit`; what is to be said of it."""
    for name in ("test", "validation"):
        share = getattr(spec, name)
        if name not in examples and share and not spec.sources(name):
            _cut(examples, name, share, spec, stratify)
    train = examples["train"]
    if spec.limit is not None and spec.limit < len(train.rows):
        yield f"{spec.limit} of {len(train.rows)} training rows are used (data.limit)"
        examples["train"] = train.take(draw(len(train.rows), spec.limit, seed=spec.seed))


def _cut(examples: dict[str, Examples], name: str, share: float, spec: DataSpec, stratify: str | None) -> None:
    """Move a share of the training examples to the split `name`."""
    train = examples["train"]
    classes = _classes(train, stratify)
    groups = train.column("group") if "group" in train.rows[0] else None
    inputs = [column.name for column in train.shape if column.is_input]
    alike = [asks(row[name] for name in inputs) for row in train.rows]
    stay, held = cut(len(train.rows), share, name=name, seed=spec.seed, labels=classes, groups=groups, alike=alike)
    examples["train"], examples[name] = train.take(stay), train.take(held)


def _classes(examples: Examples, name: str | None) -> list[str] | None:
    """Each row's label, where `name` is a column of labels."""
    labels = [column.name for column in examples.shape if column.kind == "label" and column.name == name]
    return examples.column(labels[0]) if labels else None
