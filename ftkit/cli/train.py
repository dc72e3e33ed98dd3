"""`ftkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftkit.cli._options import AllowCode, AsJson, Settings

if TYPE_CHECKING:
    from ftkit.engine.finish import Finished


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe file, or a shelf name as sentiment/lora; not needed to resume.")
    ] = None,
    settings: Settings = None,
    run: Annotated[Path | None, typer.Option(help="Run directory to make; runs/<recipe>-<time> by default.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --run where it stopped; begin it if it is not there yet.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(help="Processes on this machine; one for each GPU by default.")
    ] = None,
    machines: Annotated[
        int | None, typer.Option(help="Machines, each of which is given this command; SLURM tells by itself.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Which of the machines this is, from 0.")] = None,
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where machine 0 is reached.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, try a few steps, print the plan; leave nothing.")
    ] = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a checkpoint as a recipe says, and score it on held-out rows.

    Example: ftkit train sentiment/full --set data.train=reviews.csv --run runs/reviews
    """
    import json

    from ftkit import api, terminal
    from ftkit.cli._plan import plan_table

    where: Any = {"processes": processes, "machines": machines, "rank": rank, "address": address}
    tell: Any = {"say": terminal.say, "progress": terminal.Progress()}
    if resume:
        if run is None:
            raise typer.BadParameter("--resume goes on with a run: name its directory with --run DIR")
        if dry_run:
            raise typer.BadParameter("--dry-run leaves nothing, and --resume goes on with a run: say one of them")
        _print(api.resume(run, recipe, settings or (), **where, **tell), as_json)
        return
    if recipe is None:
        raise typer.BadParameter("a recipe is missing: a file, or a shelf name as sentiment/lora")
    if dry_run:
        if plan := api.plan(recipe, settings or (), run, **where):
            print(json.dumps(plan) if as_json else plan_table(plan))
        return
    _print(api.train(recipe, settings or (), run, **where, **tell), as_json)


def _print(trained: Finished | None, as_json: bool) -> None:
    """What a training has found; nothing where another process tells it."""
    import json
    import shlex

    from ftkit import terminal
    from ftkit.cli import _scores

    if trained is None:
        return
    if as_json:
        print(json.dumps(trained.as_json(), ensure_ascii=False))
        return
    if trained.scores:
        print(_scores.scores_table(trained.scores))
    else:
        print("no rows were held out, so nothing is scored: --set data.test=0.25 holds some out")
    if note := _scores.intervals_note(trained.scores, trained.level):
        print(note)
    if trained.calibration:
        print(_scores.calibration_note(trained.calibration))
    if trained.seeds:
        print("\nmean ± standard deviation over seeds\n" + _scores.scores_table(trained.seeds))
    if trained.baselines:
        print("\n" + _scores.baselines_table(trained.scores, trained.baselines, trained.gains, trained.metric))
    print(f"\n{trained.steps} steps in {trained.train_seconds:.0f} s; the run is {trained.run}")
    run = shlex.quote(str(trained.run))
    more = "ftkit eval and ftkit report take" if trained.scores else f"ftkit eval {run} --data FILE; ftkit report takes"
    terminal.say(f"next: ftkit predict {run} --input FILE; {more} the run, too")
