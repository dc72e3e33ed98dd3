"""What was found in data, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ftkit.errors import counted, one_line, visible

if TYPE_CHECKING:
    from ftkit.findings import Finding
    from ftkit.inspection import Inspection


def findings_table(found: Inspection) -> str:
    """Counts of rows, labels and lengths, then each finding: what, where, how many, an example, what to do."""
    rows = ", ".join(f"{count:,} {name}" for name, count in found.rows.items()) or "none that can be read"
    lines = [f"task       {found.recipe.task.name}", f"rows       {rows}", *_label_lines(found), *_length_lines(found)]
    lines += [f"note       {note}" for note in found.notes]
    if not found.findings:
        return "\n".join([*lines, "", "nothing was found that is wrong"])
    for finding in found.findings:
        lines += ["", *_finding_lines(finding)]
    stops, others = len(found.errors), len(found.findings) - len(found.errors)
    lines += ["", f"{counted(stops, 'error')}, {counted(others, 'warning')}"]
    return "\n".join(lines)


def _finding_lines(finding: Finding) -> Iterator[str]:
    share = f" of {finding.of:,} rows ({_percent(finding.share)})" if finding.share else ""
    where = ", ".join(f"{count:,} {split}" for split, count in finding.splits.items())
    yield f"{finding.level}: {finding.what}  [{finding.kind}]"
    if finding.places:
        yield f"  {where}{share}"
    for place in finding.examples():
        like = f" = {place.like_where}" if place.like else ""
        yield f"  {place.where}{like}: {visible(one_line(place.text, 90))}"
    if finding.fix:
        yield f"  -> {finding.fix}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "less than 0.1%"


def _label_lines(found: Inspection) -> Iterator[str]:
    """The rows of each label; of many labels only the range."""
    names = list(dict.fromkeys(name for counts in found.labels.values() for name in counts))
    if not names:
        return
    if len(names) > MOST_LABELS:
        train = sorted(found.labels["train"].values())
        yield f"labels     {len(names)}, of {train[0]:,} to {train[-1]:,} training rows" if train else "labels"
        return
    for split, counts in found.labels.items():
        shown = ", ".join(f"{name} {counts.get(name, 0):,}" for name in names)
        yield f"{'labels' if split == 'train' else '':<10} {split}: {shown}"


MOST_LABELS = 12
"""More labels than these are counted, not listed."""


def _length_lines(found: Inspection) -> Iterator[str]:
    for name, size in found.lengths.items():
        limit = f"; {size['limit']:,} are read" if "limit" in size and size["unit"] == "tokens" else ""
        counts = f"median {size['median']:,}, 95 of 100 up to {size['p95']:,}, longest {size['longest']:,}"
        yield f"length     {name}: {counts} {size['unit']}{limit}"
