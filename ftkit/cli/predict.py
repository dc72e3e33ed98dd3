"""`ftkit predict`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ftkit.cli.evaluate import AllowCode, DataSettings, DeviceMap, MaxMemory, Precision, Source


def predict(
    source: Source,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, or JSON objects of columns (qa, pairs).")] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help="A file of rows instead.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write JSON Lines here instead of printing.")] = None,
    settings: DataSettings = None,
    precision: Precision = None,
    device_map: DeviceMap = None,
    max_memory: MaxMemory = None,
    allow_code: AllowCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each text.")] = False,
) -> None:
    """Answer new text: one answer a row, in the order of the input.

    Example: ftkit predict runs/reviews "Would buy it again." "Broke on the first day."
    """
    import json
    import os

    from ftkit import terminal
    from ftkit.engine.predict import Predictor
    from ftkit.errors import DataError

    if bool(texts) == bool(input_file):
        raise DataError("give texts to answer, or a file with --input", "one of the two")
    if settings and not input_file:
        raise DataError(f"--set {settings[0]}: it says how a file is read", "name the file with --input")
    inputs = [_parse(text) for text in texts or ()]
    if output and os.path.isdir(output):
        raise DataError(f"{output} is a folder", "name a file with --output")
    both = [path for path in (input_file, output) if path and os.path.exists(path)]
    if len(both) == 2 and os.path.samefile(*both):
        raise DataError(f"{output} is the file that is read", "name another file with --output")
    predictor = Predictor(source, terminal.say, precision, device_map, max_memory)
    if input_file:
        answers = predictor.file(str(input_file), settings or (), terminal.say, terminal.Progress())
    else:
        answers = predictor(inputs, terminal.say)
    if output:
        try:
            _write(output, answers)
        except OSError as error:
            raise DataError(
                f"{output} can't be written: {error.strerror}", "name another file with --output"
            ) from error
    elif as_json or input_file:
        for answer in answers:
            print(json.dumps(answer, ensure_ascii=False))
    else:
        for line in predictor.render(inputs, answers):
            print(line)


def _write(output: Path, answers: Iterable[dict[str, Any]]) -> None:
    """A file whole or not at all, the one that a link points to; a device or a pipe line by line."""
    from ftkit.files import replacing
    from ftkit.run import write_jsonl

    if output.exists() and not output.is_file():
        write_jsonl(output, answers)
        return
    path = output.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        write_jsonl(beside, answers)


def _parse(text: str) -> Any:
    """A JSON object where the text is one, else the text."""
    import json

    if not text.lstrip().startswith("{"):
        return text
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, dict) else text
