"""The command line: one command a file; flags in, one call, printed result out."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from typing import Annotated, NoReturn

# Typer imports pydantic for each command, and pydantic looks through every installed package for plug-ins of its
# own: a quarter of the time that a listing takes. The command line uses none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from ftkit.cli import (
    augment,
    checkpoints,
    compare,
    data,
    doctor,
    evaluate,
    export,
    init,
    launch,
    predict,
    pull,
    push,
    recipes,
    report,
    serve,
    train,
)

app = typer.Typer(
    name="ftkit",
    help="Fine-tune pretrained checkpoints on your own labelled text, score them honestly, export what was scored.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from ftkit import __version__

        print(f"ftkit {__version__}")
        raise typer.Exit()


@app.callback()
def ftkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tune pretrained checkpoints on your own labelled text, score them honestly, export what was scored."""


app.add_typer(recipes.app, name="recipes")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(data.app, name="data")
app.command("init")(init.init)
app.command("augment")(augment.augment)
app.command("train")(train.train)
app.command("launch")(launch.launch)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("push")(push.push)
app.command("pull")(pull.pull)
app.command("serve")(serve.serve)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)


def _terminate(number: int, frame: object) -> NoReturn:
    """SIGTERM, which ends a command as Ctrl-C does: what was half-written is removed."""
    from ftkit.errors import Interrupted

    raise Interrupted("terminated")


def main() -> None:
    """The `ftkit` command.

    Exit codes: 0 done; 1 a bug; 2 a wrong flag; 3 a fault a person can mend; 4 a gate; 130 Ctrl-C or SIGTERM.
    """
    from ftkit.errors import FTKitError
    from ftkit.files import full_disk_told
    from ftkit.startup import spare_imports

    spare_imports()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)  # an ASCII terminal is no reason to stop
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with full_disk_told():
            app()
    except FTKitError as error:
        _fail(str(error), error.exit_code)
    except (SystemExit, KeyboardInterrupt, BrokenPipeError) as stop:
        _stop(stop)


_ESCAPED = "ftkit-json"
"""Letters that a terminal's encoding lacks are written as JSON escapes them: what is printed as JSON stays JSON."""


def _escaped(error: UnicodeError) -> tuple[str, int]:
    import json

    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_ESCAPED, _escaped)


def _stop(stop: BaseException) -> NoReturn:
    """Leave as typer would, which says nothing of an interrupt and calls a reader that stopped reading a fault."""
    from ftkit.errors import chain

    if asked := next((error for error in chain(stop) if isinstance(error, KeyboardInterrupt)), None):
        _fail(str(asked) or "interrupted", 130)
    if any(isinstance(error, BrokenPipeError) for error in chain(stop)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    raise stop


def _fail(message: str, code: int) -> NoReturn:
    from ftkit.terminal import say

    say(f"error: {message}" if code < 128 else message)
    sys.exit(code)
