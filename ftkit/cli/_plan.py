"""What a training would do, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftkit.cli._findings import MOST_LABELS
from ftkit.errors import some
from ftkit.terminal import duration


def plan_table(plan: Mapping[str, Any]) -> str:
    """What a training would do, a line each."""
    stream = plan.get("stream")
    counts = [f"{count} {name}" for name, count in plan["rows"].items()]
    lines = {
        "rows": ", ".join(["train a stream", *counts] if stream else counts),
        **({"stream": _stream(stream)} if stream else {}),
        "labels": some(plan["labels"], MOST_LABELS) or "none",
        "training": f"{_epochs(plan)}{plan['steps']} steps, in {plan['precision']}",
        "checkpoint": plan["checkpoint"],
    }
    if "seconds" in plan:
        memory = f"{plan['memory'] / 2**30:.1f} GiB"
        lines["time"] = f"about {duration(plan['seconds'])} of training in one process, by a few steps of it"
        lines["memory"] = f"{memory} in a step of the longest rows; about {plan['batch']} of them would fit at once"
    found = [f"note: {note}" for note in plan["notes"]] + [f"warning: {warning}" for warning in plan["warnings"]]
    return "\n".join([*(f"{name:<11} {value}" for name, value in lines.items()), *found])


def _stream(stream: Mapping[str, Any]) -> str:
    """What is known of training rows that are never all at hand."""
    ends = "is left out" if stream["bad_rows"] == "skip" else "stops the training (data.bad_rows)"
    return (
        f"{some(stream['sources'], 3)}: {stream['rows']:,} rows are learned from, each drawn from"
        f" {stream['shuffle_buffer']:,}; a row that can't be read or labelled {ends}"
    )


def _epochs(plan: Mapping[str, Any]) -> str:
    return "" if plan["epochs"] is None else f"{plan['epochs']:g} epochs, "
