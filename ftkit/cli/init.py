"""`ftkit init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="The labelled rows: a file, several, or a folder.")
    ],
    task: Annotated[str | None, typer.Option(help="The task; found out from the columns when not given.")] = None,
    encoding: Annotated[
        str, typer.Option(help="Of text files, as cp1252; auto finds it out where it is plain.")
    ] = "auto",
    to: Annotated[
        Path | None, typer.Option(help="The recipe to write; <file>.yaml beside the data by default.")
    ] = None,
) -> None:
    """Write a recipe for one's own file: its task, columns and labels are recognised and said.

    Example: ftkit init reviews.csv
    """
    import shlex

    from ftkit.init import write_recipe
    from ftkit.terminal import say

    path = write_recipe(files[0], task, to, say, files[1:], encoding)
    print(path)
    say(f"next: ftkit train {shlex.quote(str(path))}")
