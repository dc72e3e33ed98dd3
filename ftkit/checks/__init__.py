"""What is wrong with data: a check a file, each found by the folder; checks of a task's own are the task's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ftkit import plugins
from ftkit.checks._base import Check, Data
from ftkit.findings import SHOWN, Finding, merged

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.tasks._base import Labels, Task


def of_task(task: Task, splits: Mapping[str, Dataset], labels: Labels) -> Iterator[Finding]:
    """What the task finds in its own rows."""
    for name, split in splits.items():
        yield from (finding.within(name, len(split)) for finding in task.check(split, labels))


def of_data(data: Data) -> list[Finding]:
    """What every check finds, the texts of some places filled in."""
    found = []
    for name in plugins.names("check"):
        for finding in plugins.find("check", name, Check)().find(data):
            found.append(illustrated(replace(finding, of=finding.of or data.total), data))
    return merged(found)


def illustrated(finding: Finding, data: Data) -> Finding:
    """The finding with the texts of its first places, where it says nothing of its own about them."""
    bare = [place for place in finding.places if not place.text][:SHOWN]
    if not bare:
        return finding
    index = {
        split: {row: i for i, row in enumerate(data.splits[split]["row"])}
        for split in {place.split for place in bare}
        if split in data.splits
    }
    texts = {place: data.shown(place.split, index[place.split][place.row]) for place in bare if place.split in index}
    return replace(finding, places=tuple(p._replace(text=texts[p]) if p in texts else p for p in finding.places))
