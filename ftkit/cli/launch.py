"""`ftkit launch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli._options import Settings
from ftkit.jobs import Launcher


def launch(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shelf name as sentiment/lora.")],
    launcher: Annotated[Launcher, typer.Option("--print", help="A job file for SLURM, or a command.")],
    settings: Settings = None,
    run: Annotated[Path | None, typer.Option(help="Run directory, in a folder that all machines share.")] = None,
    machines: Annotated[int, typer.Option(help="Machines.")] = 1,
    processes: Annotated[int, typer.Option(help="Processes on each machine, one for each GPU.")] = 1,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where the first machine is reached; asked for by the command if not."),
    ] = None,
    gpus: Annotated[bool, typer.Option("--gpus/--no-gpus", help="Ask SLURM for a GPU for each process.")] = True,
    cpus: Annotated[int | None, typer.Option(help="Cores for each process, which SLURM is asked for.")] = None,
) -> None:
    """Print the command or job file that trains a recipe on several machines or under a scheduler.

    Example: ftkit launch sentiment/full --print slurm --machines 2 --processes 4 --run runs/big > big.sbatch
    """
    from ftkit import api

    print(
        api.launch(
            recipe,
            launcher,
            settings or (),
            run,
            machines=machines,
            processes=processes,
            address=address,
            gpus=gpus,
            cpus=cpus,
        ),
        end="",
    )
