"""`ftkit data curve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftkit.cli._options import AsJson, Settings

if TYPE_CHECKING:
    from ftkit.engine.curve import Found


def curve(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shelf name as sentiment/lora.")],
    settings: Settings = None,
    more: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Rows more whose worth is told, again for others; once and four times as many by default."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings on each number of rows.")] = 3,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the trainings, gone on with where it is there; runs/... by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on growing parts of the training rows, and say what more of them would buy.

    Example: ftkit data curve sentiment/head --set data.train=reviews.csv --more 500
    """
    import json

    from ftkit import api, terminal

    found = api.curve(recipe, settings or (), run, more or (), seeds, say=terminal.say, progress=terminal.Progress())
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else _text(found))


def _text(found: Found) -> str:
    from ftkit import terminal
    from ftkit.metrics import percent

    header = ["rows", found.metric, "each"]
    rows = [[f"{p.rows}", f"{p.value:.4f}", ", ".join(f"{each:.4f}" for each in p.each)] for p in found.points]
    last, check = found.points[-1], found.check
    lines = [terminal.table(header, rows), ""]
    lines += [
        f"another {gain.rows:,} rows: {found.metric} {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        for gain in found.gains
    ]
    held = "as it came out" if check.low <= check.found <= check.high else "not as it came out"
    lines += [
        f"[low, high]: {percent(found.level)} intervals over {found.test_rows} {found.split} rows, parts and seeds",
        f"checked: from the smaller parts, {check.expected:.4f} [{check.low:.4f}, {check.high:.4f}] was to be expected"
        f" of {last.rows:,} rows, and {check.found:.4f} was found: {held}",
        f"the trainings are in {found.study}",
    ]
    return "\n".join(lines)
