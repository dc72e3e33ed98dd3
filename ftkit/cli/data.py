"""`ftkit data`: what is wrong with data, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli._options import AsJson, Settings
from ftkit.cli.curve import curve

app = typer.Typer(help="Look through data before anything is trained on it.", no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look through data before anything is trained on it."""


@app.command()
def check(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, a shelf name as sentiment/lora, or a file of labelled rows.")
    ],
    settings: Settings = None,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="TO", help="Write a repaired copy into this new folder, with a list of its changes."),
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Look for labels that are likely wrong, too; takes the recipe's checkpoint.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a recipe's rows: what, where, how many, an example and what to do.

    --fix repairs slips of labels, misplaced answers and tags, and control characters, and leaves out rows that repeat
    others, are empty or can't be read; near duplicates and contradictions are left to you.

    Ends with exit code 4 where rows can't be read or labelled. Example: ftkit data check reviews.csv --fix repaired
    """
    import json

    from ftkit import api, terminal
    from ftkit.cli._findings import findings_table
    from ftkit.errors import GateError

    progress = terminal.Progress()
    found = api.check_data(recipe, settings or (), fix, noise=noise, say=terminal.say, progress=progress)
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else findings_table(found))
    if found.copy and not as_json:
        print(f"\nthe repaired copy, {fix}:\n\n{findings_table(found.copy)}")
    if found.errors:
        raise GateError(found.stopped_by, found.way_out)


app.command()(curve)
