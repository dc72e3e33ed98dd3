"""The `ftkit` command as a test calls it: in this process, which is quick, or in one of its own, which is real."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from ftkit.cli import main


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def ftkit(*arguments: object) -> Done:
    """Run the command in this process; a bug's exception passes through, as its traceback would."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch("sys.argv", ["ftkit", *map(str, arguments)]):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def process(folder: Path, *arguments: object) -> Done:
    """Run the command in a process of its own, with `folder` as the current one."""
    done = subprocess.run(command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)


def command(*arguments: object) -> list[str]:
    """The words that start the command in a process of its own."""
    return [sys.executable, "-m", "ftkit", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, from which the package can be imported in any folder."""
    clone = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": clone, **changes}


def stands(folder: Path) -> set[str]:
    """Everything under a folder, hidden or not."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
