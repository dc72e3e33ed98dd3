"""`ftkit doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from ftkit.cli._options import AsJson


def doctor(
    train: Annotated[
        bool, typer.Option("--train", help="Train two steps in each precision and on all processes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what this machine has, what is cached, and, with --train, what works on it.

    Example: ftkit doctor --train
    """
    import json
    import sys

    from ftkit import terminal
    from ftkit.engine.doctor import examine

    findings = examine(train, terminal.silence if as_json else terminal.say)
    if as_json:
        print(json.dumps({"findings": [finding._asdict() for finding in findings]}))
    else:
        print(terminal.table(["", "", ""], [[f.name, f.verdict, f.detail] for f in findings]).lstrip())
    if any(finding.verdict == "fails" for finding in findings):
        sys.exit(3)
