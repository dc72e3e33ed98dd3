"""`ftkit compare`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftkit.cli._options import AllowCode, AsJson

if TYPE_CHECKING:
    from ftkit.engine.compare import Compared, Comparison


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Runs, exports or checkpoints, or a run's baseline (RUN:majority; majority for the first run's)."
            " The first is what the others are measured against.",
        ),
    ],
    split: Annotated[str, typer.Option(help="The split that they are compared on.")] = "test",
    metric: Annotated[
        str | None, typer.Option(help="The score that decides; the first run's own when not given.", show_default=False)
    ] = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="End with exit code 4 if any is worse than the first.")
    ] = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Say which models are better, row by row on the same test rows, and whether so many rows can tell.

    Example: ftkit compare runs/full runs/lora majority
    """
    from ftkit import api, terminal
    from ftkit.errors import GateError

    found = api.compare(sources, split, metric, say=terminal.say, progress=terminal.Progress())
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else _text(found))
    if fail_if_worse and found.worse:
        verb = "is" if len(found.worse) == 1 else "are"
        raise GateError(f"{', '.join(found.worse)} {verb} worse than {found.entries[0].name} in {found.metric}")


def _text(found: Comparison) -> str:
    """A column of scores for each entry, then a sentence for each comparison and the settings that differ."""
    from ftkit.cli._scores import TESTS, intervals_note, scores_table

    scores = {entry.name: entry.scores for entry in found.entries}
    first = found.entries[0].name
    lines = [scores_table(scores)]
    if note := intervals_note(scores, found.level):
        lines.append(note)
    lines += [f"{entry.name}: {_each(entry.scores[found.metric])}" for entry in found.entries if len(entry.models) > 1]
    for other in found.comparisons:
        lines += ["", f"{other.sentence(first)} ({TESTS[other.difference.test]})", *_settings(other)]
    return "\n".join(lines)


def _each(score: Any) -> str:
    return "each seed's " + ", ".join(f"{value:.4f}" for value in score["each"])


def _settings(found: Compared) -> list[str]:
    """A line for each setting that differs."""
    return [f"  {name}: {a} -> {b}" for name, (a, b) in ((n, _shortened(*pair)) for n, pair in found.settings.items())]


def _shortened(one: Any, other: Any) -> tuple[str, str]:
    """Two settings' values as text; of two paths what differs."""
    if all(isinstance(value, str) and os.path.isabs(value) for value in (one, other)):
        shared = os.path.commonpath([one, other])
        one, other = os.path.relpath(one, shared), os.path.relpath(other, shared)
    one, other = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (one, other))
    return one, other
