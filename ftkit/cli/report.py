"""`ftkit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[str], typer.Argument(help="One run, or several to see side by side.")],
    to: Annotated[
        Path | None, typer.Option(help="The file to write; report.html in the run, or here for several.")
    ] = None,
) -> None:
    """Write one HTML file that shows a run: scores, curves, confusions, mistakes, data, recipe. Opens offline.

    Example: ftkit report runs/reviews runs/reviews-lora --to reviews.html
    """
    from ftkit import api

    print(api.report(runs, to))
