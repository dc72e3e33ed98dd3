"""Answers to files: row by row into a file beside the output, from where a stopped command goes on; then written out.

That file, `OUTPUT.partial`, says in its first line what is answered by what, and then has a line for each row. Rows are
answered `infer.CHUNK` at a time, and going on begins where such a chunk does: the answers are the same to the last bit.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ftkit
from ftkit.data.identity import hashes
from ftkit.data.inputs import Inputs, Unanswered, read_inputs
from ftkit.data.several import expand
from ftkit.data.typed import batches
from ftkit.engine import infer
from ftkit.engine.asking import data_spec
from ftkit.engine.given import texts_as_given
from ftkit.engine.predict import Predictor
from ftkit.engine.tables import answer_of, write_rows
from ftkit.errors import DataError, counted
from ftkit.files import SEAL, is_sealed, locked, printable, replacing, sha256
from ftkit.run import write_jsonl
from ftkit.terminal import Progress, Say

if TYPE_CHECKING:
    from datasets import Dataset

Line = dict[str, Any]
"""`file` (its place among several), `row`, perhaps `texts`, and the row's `answer`, or the `error` why it has none."""
_OURS = b'{"ftkit": '
"""What the first line of a journal begins with."""
_TOLD = 3
"""Rows that can't be read of which the reason is told; the file of errors has all."""


@dataclass(frozen=True)
class _Place:
    """Where a stopped command goes on."""

    byte: int
    file: int = 0
    answered: int = 0
    lines: int = 0


class FileAnswers:
    """The answers to all rows of a file, of several (`parts/*.csv`), of a sample or a Hub data set, in order.

    `settings` say how files are read, as for `evaluate`; with `texts`, each answer has its row's own texts before it.
    Raises DataError for what can't be read at all.
    """

    def __init__(
        self, predictor: Predictor, source: str, settings: Iterable[str], say: Say, texts: bool = False
    ) -> None:
        self.predictor, self.say, self.texts = predictor, say, texts
        self.names, notes = expand([source])
        spec = data_spec(predictor.trained, predictor.recipe, settings)
        self.of = {
            "ftkit": ftkit.__version__,
            "model": _model(predictor.trained.source),
            "precision": predictor.settings.precision,
            "inputs": hashes(self.names) or self.names,
            "data": spec.model_dump(mode="json"),
            "texts": texts,
        }
        self.inputs = [read_inputs(name, spec, predictor.trained.task) for name in self.names]
        for note in dict.fromkeys([*notes, *(note for part in self.inputs for note in part.notes)]):
            say(f"note: {note}")
        self._refuse_none(source)

    def _refuse_none(self, source: str) -> None:
        if any(part.rows is not None for part in self.inputs):
            return
        bad = [f"{part.unit} {row.number}: {row.why}" for part in self.inputs for row in part.unread]
        shown = "\n  - ".join(["", *bad[:_TOLD]])
        raise DataError(f"{source}: none of its {len(bad)} rows can be read{shown}", "is it the right file?")

    def lines(self, progress: Progress | None = None, place: _Place | None = None) -> Iterator[Line]:
        """A line for each row, from a place on."""
        place = place or _Place(0)
        for number, part in list(enumerate(self.inputs))[place.file :]:
            start = place.answered if number == place.file else 0
            for line in self._of_file(part, start, progress):
                yield {"file": number, **line}

    def _of_file(self, part: Inputs, start: int, progress: Progress | None) -> Iterator[Line]:
        errors = deque(part.unread)
        if part.rows is not None:
            if start:
                before = part.rows[start - 1]["row"]
                errors = deque(error for error in errors if error.number > before)
            rows = part.rows.select(range(start, len(part.rows))) if start else part.rows
            answers = self.predictor.answers(rows, self.say, progress) if len(rows) else iter(())
            for line, answer in zip(self._told_of(rows), answers, strict=True):
                while errors and errors[0].number < line["row"]:
                    yield self._error(errors.popleft())
                yield {**line, "answer": answer}
        for error in errors:
            yield self._error(error)

    def _error(self, row: Unanswered) -> Line:
        line: Line = {"row": row.number, "error": row.why}
        return {**line, "texts": row.texts} if self.texts and row.texts else line

    def _told_of(self, rows: Dataset) -> Iterator[Line]:
        """What stands beside each row's answer."""
        task = self.predictor.trained.task
        wanted = rows.column_names if self.texts else ("row", "id")
        for batch in batches(rows, [name for name in wanted if name in rows.column_names]):
            for cells in zip(*batch.values(), strict=True):
                row = dict(zip(batch, cells, strict=True))
                line: Line = {name: row[name] for name in ("row", "id") if name in row}
                yield {**line, "texts": texts_as_given(task, row)} if self.texts else line

    # ------------------------------------------------------------------ into a file

    def write(self, output: Path, progress: Progress | None = None, overwrite: bool = False) -> None:
        """Answer into a file, of the kind that its name ends as, whole or not at all; go on where that was stopped.

        Raises DataError where answers stand there, whoever wrote them, unless `overwrite` allows to replace them.
        """
        journal = journal_of(output)
        if not overwrite:
            refuse_existing(output)
        with locked(journal, DataError(f"another process writes {output}", "wait until it ends, or name another file")):
            self._write(journal, output, progress)

    def _write(self, journal: Path, output: Path, progress: Progress | None) -> None:
        head = json.dumps(self.of) + "\n"
        place = self._place(journal, head)
        with journal.open("r+", encoding="utf-8") as file:
            if place is None:
                file.truncate()
                file.write(head)
                place = _Place(len(head))
            elif place.lines:
                self.say(f"note: {place.lines} rows are answered already, as {journal} says; it goes on from there")
            file.truncate(place.byte)
            file.seek(place.byte)
            number = 0
            for number, line in enumerate(self.lines(progress, place), 1):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                if number % infer.CHUNK == 0:
                    file.flush()
        bad = self._finish(journal, output)
        journal.unlink()
        self.say(written(place.lines + number - bad, output))

    def _place(self, journal: Path, head: str) -> _Place | None:
        """Where to go on; None where nothing is answered. Raises DataError for a file that is somebody's own."""
        with journal.open("rb") as file:
            known = file.readline()
        if not known:
            return None
        if known == head.encode():
            return _place(journal)
        if not known.startswith(_OURS):
            raise DataError(f"{journal} stands where answers are kept until all are there", "move it, or name another")
        self.say(f"note: {journal} is of other rows, or another model; all rows are answered anew")
        return None

    def _finish(self, journal: Path, output: Path) -> int:
        """Write the answers, and apart the rows that have none; how many these are."""

        def shown() -> Iterator[Line]:
            return map(self.named, _read(journal))

        with replacing(output) as beside:
            write_rows(beside, output.name, shown)
        errors = _errors_of(output)
        bad = (line for line in shown() if "error" in line)
        if first := next(bad, None):
            with replacing(errors) as beside:
                count = write_jsonl(beside, map(answer_of, (first, *bad)))
            self.told(count, [first], f"{errors} lists them")
            return count
        errors.unlink(missing_ok=True)  # of an earlier one
        return 0

    def named(self, line: Line) -> Line:
        """A line with its file's name in place of its number, where there are several."""
        name = {"file": printable(self.names[line["file"]])} if len(self.names) > 1 else {}
        return {**name, **{key: line[key] for key in line if key != "file"}}

    def told(self, count: int, first: Sequence[Line], where: str) -> None:
        """Warn of rows that can't be read."""
        units = {part.unit for part in self.inputs}
        unit = units.pop() if len(units) == 1 else "row"
        why = "; ".join(f"{unit} {line['row']}: {line['error']}" for line in first[:_TOLD])
        what = "1 row" if count == 1 else f"{count} rows"
        self.say(f"warning: {what} can't be read and {'has' if count == 1 else 'have'} no answer ({why}); {where}")


def written(count: int, output: Path) -> str:
    """The sentence about answers that are in a file."""
    return f"{counted(count, 'answer')} {'is' if count == 1 else 'are'} in {output}"


def journal_of(output: Path) -> Path:
    """Where the answers to a file are kept until all are there."""
    return output.with_name(f"{output.name}.partial")


def _errors_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.errors.jsonl")


def refuse_existing(output: Path) -> None:
    """Raises DataError where answers, or a list of rows that have none, stand already."""
    if found := [str(path) for path in (output, _errors_of(output)) if path.is_file()]:
        what = f"{' and '.join(found)} {'exist' if len(found) > 1 else 'exists'} already"
        raise DataError(what, "name another file with --output, or say --overwrite to replace it")


def _model(folder: Path) -> str:
    """What tells a trained folder from others."""
    return sha256(folder / SEAL) if is_sealed(folder) else hashlib.sha256(sha256(folder).encode()).hexdigest()


def _read(journal: Path) -> Iterator[Line]:
    with journal.open(encoding="utf-8") as file:
        next(file)
        yield from map(json.loads, file)


def _place(journal: Path) -> _Place:
    """The last place in a journal that a chunk begins at."""
    with journal.open("rb") as file:
        file.readline()
        at = file.tell()
        found, now, answered, lines = _Place(at), 0, 0, 0
        for line in file:
            if not (line.startswith(b"{") and line.endswith(b"\n")):
                break  # it was killed while it wrote
            known = json.loads(line)
            if known["file"] != now:
                now, answered = known["file"], 0
                found = _Place(at, now, 0, lines)
            at, lines = at + len(line), lines + 1
            answered += "answer" in known
            if "answer" in known and answered % infer.CHUNK == 0:
                found = _Place(at, now, answered, lines)
        return found
