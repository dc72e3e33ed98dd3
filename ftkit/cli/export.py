"""`ftkit export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli.evaluate import AllowCode, Source


def export(
    source: Source,
    to: Annotated[Path, typer.Option(help="The folder to make; with several formats, each has one below it.")],
    format: Annotated[
        list[str] | None,
        typer.Option(
            help="checkpoint (plain transformers, merged), adapter, torch-bf16, onnx, onnx-int8, openvino; repeatable.",
            show_default="checkpoint",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A file of rows to prove it on, not the run's test rows.")] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="Held-out rows it is proven on.", show_default="1000; of texts written 32"),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="How far a logit may lie from the run's.", show_default="the format's")
    ] = None,
    allow_drop: Annotated[
        float | None, typer.Option(min=0, help="How much worse the score may be.", show_default="the format's")
    ] = None,
    allow_code: AllowCode = False,
) -> None:
    """Write a run's model as a folder that others can use, proven to answer as the run does (else exit code 4).

    Example: ftkit export runs/reviews --to reviews-model --format onnx-int8
    """
    from ftkit import api, terminal

    formats = format or ["checkpoint"]
    limits = {"tolerance": tolerance, "allow_drop": allow_drop}
    print(api.export(source, to, formats, data=data, rows=rows, **limits, say=terminal.say))
