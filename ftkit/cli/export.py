"""`ftkit export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftkit import exporters
from ftkit.cli._options import AllowCode, Source

if TYPE_CHECKING:
    from ftkit.engine.survey import Line, Survey


def export(
    source: Source,
    to: Annotated[
        Path | None, typer.Option(help="The folder to make; with several formats, each has one below it.")
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(exporters.names())}; repeatable.",
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
    survey: Annotated[
        bool, typer.Option("--survey", help="Print size, speed and score of all formats; nothing is kept without --to.")
    ] = False,
    beside: Annotated[
        list[Path] | None, typer.Option(help="With --survey: another run to measure beside it; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --survey: print one JSON object.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Write a run's model as a folder that others can use, proven to answer as the run does (else exit code 4).

    Example: ftkit export runs/reviews --to reviews-model --format onnx-int8
    """
    from ftkit import api, terminal

    limits = {"tolerance": tolerance, "allow_drop": allow_drop}
    if survey:
        found = api.survey(source, beside or [], format or [], to, data=data, rows=rows, say=terminal.say, **limits)
        print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else _table(found))
        return
    if to is None:
        raise typer.BadParameter("name the folder to make, or say --survey", param_hint="--to")
    if beside or as_json:
        raise typer.BadParameter("it is for --survey", param_hint="--beside" if beside else "--json")
    formats = list(dict.fromkeys(format or ["checkpoint"]))
    made = api.export(source, to, formats, data=data, rows=rows, **limits, say=terminal.say)
    for folder in [made / name for name in formats] if len(formats) > 1 else [made]:
        print(folder)


def _table(found: Survey) -> str:
    """A row for each model in each format, and what the figures are."""
    from ftkit import terminal
    from ftkit.metrics import percent

    sizes = list(found.lines[0].milliseconds)
    header = ["run", "format", "MB", *(f"ms a row ({size})" for size in sizes), found.metric, "difference"]
    return "\n".join(
        [
            terminal.table(header, [_row(line, sizes) for line in found.lines]),
            f"{found.rows} held-out rows; [...]: {percent(found.level)} intervals; MB with an adapter's base; ms a row"
            " with so many rows at once, tokenizing left out, all by turns; difference: from the first line, over the"
            " same rows",
        ]
    )


def _row(line: Line, sizes: list[str]) -> list[str]:
    if line.error:
        return [line.model, line.format, line.error, *[""] * (len(sizes) + 2)]
    times = [f"{line.milliseconds[size]:.2f}" for size in sizes]
    score, apart = line.score, line.difference
    told = f"{score['value']:.4f}" if score else "-"
    if "low" in score:
        told += f" [{score['low']:.4f}, {score['high']:.4f}]"
    differs = f"{apart['value']:+.4f} [{apart['low']:+.4f}, {apart['high']:+.4f}]" if apart else "-"
    return [line.model, line.format, f"{line.bytes / 1e6:.1f}", *times, told, differs]
