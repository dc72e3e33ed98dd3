"""`ftkit init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    file: Annotated[Path, typer.Argument(help="The labelled rows.")],
    task: Annotated[str | None, typer.Option(help="The task; found out from the columns when not given.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="The recipe to write; <file>.yaml beside the data by default.")
    ] = None,
) -> None:
    """Write a recipe for one's own file: its task, columns and labels are recognised and said.

    Example: ftkit init reviews.csv
    """
    from ftkit.init import write_recipe
    from ftkit.terminal import say

    path = write_recipe(file, task, to, say)
    print(path)
