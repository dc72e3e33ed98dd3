"""`ftkit pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli._options import AllowCode, AsJson


def pull(
    repo: Annotated[str, typer.Argument(help="The name on the Hub, org/name.")],
    to: Annotated[Path, typer.Option(help="The folder to make.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.", show_default="main")] = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model that `ftkit push` has put on the Hub, check that it is whole, and print its folder.

    Example: ftkit pull org/reviews-model --to reviews-model
    """
    import json

    from ftkit import api, terminal

    folder = api.pull(repo, to, revision=revision, say=terminal.say)
    print(json.dumps({"repo": repo, "folder": str(folder)}, ensure_ascii=False) if as_json else folder)
