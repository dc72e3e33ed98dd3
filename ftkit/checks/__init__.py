"""What is wrong with data: a check a file, each found by the folder; checks of a task's own are the task's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ftkit import plugins
from ftkit.checks._base import FIXES, Check, Data
from ftkit.checks._chosen import chosen
from ftkit.checks.lengths import counting
from ftkit.data.load import unified
from ftkit.data.typed import column
from ftkit.errors import DataError, problems
from ftkit.findings import SHOWN, Finding, Numbering, Place, errors, located, merged

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.data.load import Splits
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Labels, Limit, Task


class Checked(NamedTuple):
    """Rows as a task's methods read them, and what the task finds in them."""

    task: Task
    """Settled by the training rows."""
    splits: dict[str, Dataset]
    """Without the rows that the task can't read, and the splits of which none are left."""
    labels: Labels
    findings: list[Finding]


def checked(task: Task, loaded: Mapping[str, Dataset], spec: DataSpec, config: Any = None) -> Checked:
    """Splits in the form that the task reads, the task settled, its labels, and what it finds in its own rows.

    config: the checkpoint's; None where it is not at hand. Without training rows nothing is settled or labelled.
    """
    splits, found = {}, []
    for name, split in loaded.items():
        refused: list[Finding] = []
        read = unified(task, split, refused)
        found += [finding.within(name, len(split)) for finding in refused]
        if len(read):
            splits[name] = read
    if "train" not in splits:
        return Checked(task, splits, (), found)
    task = task.settle(splits["train"], config)
    try:
        labels = task.labels(splits["train"], spec.label_names)
    except DataError as error:
        return Checked(task, splits, (), [*found, Finding("labels", "error", error.message, fix=error.hint)])
    return Checked(task, splits, labels, [*found, *of_task(task, splits, labels)])


def usable(
    found: Iterable[Finding], numbering: Mapping[str, Numbering] | None = None, sources: Mapping[str, str] | None = None
) -> list[Finding]:
    """The warnings, those that say the same as one. Raises DataError with every error, splits named by `sources`."""
    told = located(merged(found), numbering or {})
    if stops := [str(finding.renamed(sources or {})) for finding in errors(told)]:
        raise problems(DataError, "the data can't be used", stops)
    return told


def of_task(task: Task, splits: Mapping[str, Dataset], labels: Labels) -> Iterator[Finding]:
    """What the task finds in its own rows."""
    for name, split in splits.items():
        yield from (finding.within(name, len(split)) for finding in task.check(split, labels))


def as_data(
    loaded: Splits, labels: Labels, limits: tuple[Limit, ...], tokenizer: Any = None, *, balanced: bool = False
) -> Data:
    """Rows as they were read, for `found_in`; `tokenizer` is transformers', where the checkpoint is at hand."""
    count = counting(tokenizer.backend_tokenizer) if tokenizer else None
    splits, notes = dict(loaded.items()), list[str]()
    inputs = [column.name for column in loaded.shape if column.is_input]
    places, repeats_of = chosen(splits, inputs, notes)
    data = Data(loaded.shape, {}, labels, limits, count, notes, loaded.stream is None, repeats_of, balanced=balanced)
    for name, split in splits.items():
        part = split.select(places[name]) if name in places else split
        data.splits[name] = part.to_dict()
        if part is not split and data.has_names:
            data.counted[name] = Counter(data.names_of({c.name: column(split, c.name) for c in data.targets}))
    return data


def found_in(data: Data) -> list[Finding]:
    """What every check finds, the texts of some places filled in."""
    found = []
    for name in plugins.names("check"):
        for finding in plugins.find("check", name, Check)().find(data):
            fix = finding.fix if data.mendable else finding.fix.removesuffix(FIXES)
            found.append(illustrated(replace(finding, of=finding.of or data.total, fix=fix), data))
    return merged(found)


def illustrated(finding: Finding, data: Data) -> Finding:
    """The finding with the texts of some places, where it says nothing of its own about them."""
    if any(place.text for place in finding.places):
        return finding
    index = {
        split: {row: i for i, row in enumerate(data.splits[split]["row"])}
        for split in finding.splits
        if split in data.splits
    }
    texts: dict[str, Place] = {}
    for place in finding.places[:_LOOKED_AT]:
        if place.split in index and len(texts) < SHOWN:
            texts.setdefault(data.shown(place.split, index[place.split][place.row]), place)
    told = {place: text for text, place in texts.items()}
    return replace(finding, places=tuple(place._replace(text=told.get(place, "")) for place in finding.places))


_LOOKED_AT = 100
"""Places whose texts are looked at for some that differ."""
