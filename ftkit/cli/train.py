"""`ftkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shelf name as sentiment/lora.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting.")] = None,
    run: Annotated[Path | None, typer.Option(help="Run directory to make; runs/<recipe>-<time> by default.")] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes on this machine; one for each GPU by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, train nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Fine-tune a checkpoint as a recipe says, and score it on held-out rows.

    Example: ftkit train sentiment/full --set data.train=reviews.csv --run runs/reviews
    """
    import json

    from ftkit.recipe import load_recipe
    from ftkit.run import default_path, refuse_existing

    checked = load_recipe(recipe, settings or ())
    path = run or default_path(recipe)
    refuse_existing(path)

    from ftkit import report
    from ftkit.engine import train as engine

    if dry_run:
        plan = engine.plan(checked)
        print(json.dumps(plan) if as_json else report.plan_table(plan))
        return
    trained = engine.train(checked, path, processes, report.say, report.Progress())
    if as_json:
        print(json.dumps(trained.as_json(), ensure_ascii=False))
        return
    print(report.scores_table(trained.scores))
    print(f"\n{trained.steps} steps in {trained.train_seconds:.0f} s; the run is {trained.run}")
