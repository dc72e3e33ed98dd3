"""`ftkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.evaluate import AllowCode, Source


def export(
    source: Source,
    to: Annotated[Path, typer.Option(help="The folder to make.")],
    format: Annotated[str, typer.Option(help="checkpoint (plain transformers, merged) or adapter.")] = "checkpoint",
    allow_code: AllowCode = False,
) -> None:
    """Write a run's model as a folder that others can use.

    Example: ftkit export runs/reviews --to reviews-model
    """
    from ftkit import api, terminal

    print(api.export(source, to, format, say=terminal.say))
