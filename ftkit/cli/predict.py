"""`ftkit predict`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftkit.cli._options import AllowCode, DataSettings, DeviceMap, MaxMemory, Precision, Source

if TYPE_CHECKING:
    from ftkit.engine.answers import FileAnswers


def predict(
    source: Source,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, or JSON objects of columns (qa, pairs).")] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help="A file of rows instead, or a pattern.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write here: .jsonl, .csv, .tsv or .parquet.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT where it exists already.")] = False,
    with_texts: Annotated[bool, typer.Option("--with-texts", help="Write each row's texts beside its answer.")] = False,
    settings: DataSettings = None,
    precision: Precision = None,
    device_map: DeviceMap = None,
    max_memory: MaxMemory = None,
    allow_code: AllowCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each text.")] = False,
) -> None:
    """Answer new text: one answer a row, in the order of the input.

    A row of a file that can't be read costs no other: OUTPUT.errors.jsonl says why. A command that was stopped goes on,
    from OUTPUT.partial, when it is given again.

    Example: ftkit predict runs/reviews "Would buy it again." "Broke on the first day."
    """
    import json
    import os

    from ftkit import terminal
    from ftkit.engine.answers import FileAnswers, refuse_existing
    from ftkit.engine.predict import Predictor
    from ftkit.engine.tables import refuse_ending
    from ftkit.errors import DataError
    from ftkit.files import expanded

    output = output and expanded(output, DataError)
    if bool(texts) == bool(input_file):
        raise DataError("give texts to answer, or a file with --input", "one of the two")
    if with_texts and not input_file:
        raise DataError("--with-texts: the rows of a file are meant", "name the file with --input")
    if settings and not input_file:
        raise DataError(f"--set {settings[0]}: it says how a file is read", "name the file with --input")
    inputs = [_parse(text) for text in texts or ()]
    if output and os.path.isdir(output):
        raise DataError(f"{output} is a folder", "name a file with --output")
    both = [path for path in (input_file, output) if path and os.path.exists(path)]
    if len(both) == 2 and os.path.samefile(*both):
        raise DataError(f"{output} is the file that is read", "name another file with --output")
    if output:
        refuse_ending(output.name)
    if output and not overwrite:
        refuse_existing(output.resolve())
    predictor = Predictor(source, terminal.say, precision, device_map, max_memory)
    with _written(output):
        if input_file:
            found = FileAnswers(predictor, str(input_file), settings or (), terminal.say, with_texts)
            _answer_file(found, output, overwrite)
            return
        answers = predictor(inputs, terminal.say)
        if output:
            _write(output, answers)
        elif as_json:
            for answer in answers:
                print(json.dumps(answer, ensure_ascii=False))
        else:
            for line in predictor.render(inputs, answers):
                print(line)


def _answer_file(found: FileAnswers, output: Path | None, overwrite: bool) -> None:
    """Answers to a file, into another or, as they come, onto standard output, a pipe or a device."""
    import json

    from ftkit import terminal
    from ftkit.engine.tables import answer_of

    if output and (output.is_file() or not output.exists()):
        path = output.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        found.write(path, terminal.Progress(), overwrite)
        return
    bad = []
    with output.open("w", encoding="utf-8") if output else nullcontext() as file:
        for line in map(found.named, found.lines(terminal.Progress())):
            print(json.dumps(answer_of(line), ensure_ascii=False), file=file)
            if "error" in line:
                bad.append(line)
    if bad:
        found.told(len(bad), bad, "the line of each says so")


@contextmanager
def _written(output: Path | None) -> Iterator[None]:
    """Raises DataError where the output can't be written."""
    from ftkit.errors import DataError
    from ftkit.files import is_full_disk

    try:
        yield
    except OSError as error:
        if output is None or is_full_disk(error):
            raise
        raise DataError(f"{output} can't be written: {error.strerror}", "name another file with --output") from error


def _write(output: Path, answers: Iterable[dict[str, Any]]) -> None:
    """A file whole or not at all, the one that a link points to; a device or a pipe line by line."""
    from ftkit.engine.answers import written
    from ftkit.engine.tables import write_rows
    from ftkit.files import replacing
    from ftkit.run import write_jsonl
    from ftkit.terminal import say

    if output.exists() and not output.is_file():
        write_jsonl(output, answers)
        return
    path = output.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"row": number, "answer": answer} for number, answer in enumerate(answers, 1)]
    with replacing(path) as beside:
        write_rows(beside, path.name, lambda: iter(lines))
    say(written(len(lines), path))


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
