"""What is wrong with data: a check a file, each found by the folder; checks of a task's own are the task's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ftkit import plugins
from ftkit.checks._base import Check, Data
from ftkit.findings import SHOWN, Finding, Place, merged

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
