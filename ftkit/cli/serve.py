"""`ftkit serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftkit.cli._options import AllowCode, DeviceMap, MaxMemory, Precision, Source
from ftkit.serving.limits import Limits

_USUAL = Limits()


def serve(
    source: Source,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is all there are.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    batch: Annotated[int, typer.Option(help="Rows answered together, of however many requests.", min=1)] = _USUAL.batch,
    queue: Annotated[int, typer.Option(help="Rows that may wait; requests beyond get 429.", min=1)] = _USUAL.queue,
    max_rows: Annotated[int, typer.Option(help="Rows of one request.", min=1)] = _USUAL.rows,
    max_characters: Annotated[int, typer.Option(help="Characters of one row.", min=1)] = _USUAL.characters,
    max_bytes: Annotated[int, typer.Option(help="Bytes of one request.", min=1)] = _USUAL.body,
    max_open: Annotated[int, typer.Option(help="Requests at once.", min=1)] = _USUAL.open,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a request may take, its wait included.", min=0.1)
    ] = _USUAL.timeout,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with the key that requests must have.", show_default="$FTKIT_API_KEY")
    ] = None,
    precision: Precision = None,
    device_map: DeviceMap = None,
    max_memory: MaxMemory = None,
    allow_code: AllowCode = False,
) -> None:
    """Answer over HTTP, with a page to try the model at /, and OpenAPI at /openapi.json.

    SIGTERM or Ctrl-C answers what was taken and ends with 0; a second one ends at once.

    Example: ftkit serve runs/reviews --port 8080
    """
    from ftkit import terminal
    from ftkit.errors import MachineError

    try:
        from ftkit.serving.server import serve as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ftkit"):
            raise
        raise MachineError(f"to serve, ftkit needs the package {error.name}", "pip install 'ftkit[serve]'") from error
    from ftkit.engine.predict import Predictor

    limits = Limits(
        batch=batch,
        queue=queue,
        rows=max_rows,
        characters=max_characters,
        body=max_bytes,
        open=max_open,
        timeout=timeout,
    )
    key = _key(api_key_file)
    run(
        lambda: Predictor(source, terminal.say, precision, device_map, max_memory),
        source,
        host,
        port,
        limits,
        key,
        terminal.say,
    )


def _key(file: Path | None) -> str | None:
    """The key of a file, or of the environment. Raises DataError for a file that has none."""
    import os

    from ftkit.errors import DataError

    if file is None:
        return os.environ.get("FTKIT_API_KEY") or None
    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise DataError(f"--api-key-file {file} can't be read: {error}", "a file with one line of ASCII") from error
    if len(key.split()) != 1:
        raise DataError(f"--api-key-file {file} holds no key", "write one word of ASCII into it")
    return key
