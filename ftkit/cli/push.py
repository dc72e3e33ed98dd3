"""`ftkit push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli._options import AllowCode, AsJson


def push(
    source: Annotated[str, typer.Argument(help="A run, or a folder that `ftkit export` wrote.")],
    repo: Annotated[str, typer.Argument(help="Its name on the Hub: org/name, or a name of your own.")],
    public: Annotated[bool, typer.Option("--public", help="Everybody may have it; else a new one is private.")] = False,
    revision: Annotated[str | None, typer.Option(metavar="BRANCH", help="The branch.", show_default="main")] = None,
    message: Annotated[str | None, typer.Option(help="What the commit is called.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what is there and was not pushed by ftkit; its commits stay.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go where, and change nothing.")] = False,
    data: Annotated[Path | None, typer.Option(help="A file of rows to prove a run on, not its test rows.")] = None,
    rows: Annotated[
        int | None, typer.Option(help="Held-out rows it is proven on.", show_default="1000; of texts written 32")
    ] = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Put a trained model on the Hugging Face Hub as one commit, and print its address.

    A run goes as `ftkit export --format checkpoint` writes it, proven to answer as the run does (else exit code 4); an
    export goes as it is. Data, predictions and logs stay here.

    Example: ftkit push runs/reviews reviews-model --dry-run
    """
    import json

    from ftkit import api, terminal

    pushed = api.push(
        source,
        repo,
        public=public,
        revision=revision,
        message=message,
        force=force,
        dry_run=dry_run,
        data=data,
        rows=rows,
        say=terminal.say,
    )
    print(json.dumps(pushed.as_json(), ensure_ascii=False) if as_json else pushed.url)
