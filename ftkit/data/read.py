"""One file in, its rows out as they stand: nothing is renamed, converted or dropped here.

Quotation marks in CSV and TSV: CSV is read with CSV's quoting (RFC 4180). TSV is read so only where the whole
file keeps to that quoting; otherwise a quotation mark is a character like any other, which is how most
published TSV files mean it. A CSV file whose quotes don't pair up is read that second way too, where that
gives every line the same number of values.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftkit.errors import DataError, nearest

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".conll", ".txt")
SHOWN = 10
"""Rows named in an error before the rest is only counted."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_QUOTED_TSV = re.compile(r'(?:(?:"[^"]*+(?:""[^"]*+)*+"|[^"\t\r\n]*+)(?:\t|\r?\n|\r|\Z))*+')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_TAG = re.compile(r"O|[BIESLUM]-\S+")

Record = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """Rows of one source under the source's own column names."""

    source: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    numbers: list[int]
    """Where each row is in the source, from 1: its line (CSV, TSV, JSON Lines), record or sentence."""
    unit: str = "line"
    notes: tuple[str, ...] = ()

    def where(self, index: int) -> str:
        """The place of a row, as `train.tsv, line 17`."""
        return f"{self.source}, {self.unit} {self.numbers[index]}"

    def take(self, indices: Sequence[int]) -> Table:
        """The table with these rows alone."""
        return replace(self, rows=[self.rows[i] for i in indices], numbers=[self.numbers[i] for i in indices])


def read(path: str | Path, *, header: bool, tokens: bool = False) -> Table:
    """The rows of a CSV, TSV, JSON (SQuAD's too), JSON Lines, Parquet or CoNLL file; each may end in `.gz`.

    header: whether the first line of CSV and TSV names the columns; otherwise they are called "0", "1", ...
    tokens: whether `.txt` is CoNLL columns. Raises DataError, with every bad line, for what can't be read.
    """
    path = Path(path)
    suffix = _suffix(path, tokens)
    data = _bytes(path)
    if suffix == ".parquet":
        table = _parquet(path.name, data)
    else:
        text = _text(path.name, data)
        readers: dict[str, Callable[[], Table]] = {
            ".json": lambda: _json(path.name, text),
            ".jsonl": lambda: _json_lines(path.name, text),
            ".conll": lambda: _conll(path.name, text),
            ".txt": lambda: _conll(path.name, text),
        }
        table = readers[suffix]() if suffix in readers else _delimited(path.name, text, _DELIMITERS[suffix], header)
    if not table.rows:
        raise DataError(f"{path.name} has no rows", "a file with a row for each example is needed")
    return table


def looks_like_file(name: str) -> bool:
    """Whether a name ends as a data file does."""
    return Path(name.lower().removesuffix(".gz")).suffix in SUFFIXES or name.lower().endswith(".gz")


def is_tag(text: str) -> bool:
    """Whether `text` is `O`, or a prefix of BIO, BIOES or BILOU with a type (`B-PER`)."""
    return _TAG.fullmatch(text) is not None


# ---------------------------------------------------------------------- the file


def _suffix(path: Path, tokens: bool) -> str:
    if not path.exists():
        raise DataError(f"there is no file {path}", _nearest(path))
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file", f"name one of its files{_listed(_data_files(path))}")
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    known = [known for known in SUFFIXES if known != ".txt" or tokens]
    if suffix not in known:
        raise DataError(
            f"{path.name}: {suffix or 'a name with no ending'!r} is not a format that is read here",
            f"the ending tells the format: {', '.join(known)}, each also with .gz",
        )
    return suffix


def _nearest(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent} either"
    near = nearest(path.name, [sibling.name for sibling in path.parent.iterdir()], 0.6)
    if near:
        return f"did you mean {path.parent / near}?"
    return f"{path.parent} has no file of a similar name{_listed(_data_files(path.parent))}"


def _data_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if looks_like_file(path.name))


def _listed(names: list[str]) -> str:
    return f": {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else ""


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.name.lower().endswith(".gz") else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is not a whole gzip file: {error}", "fetch or compress it again") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", "check its permissions") from error


def _text(name: str, data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name} is UTF-16, not UTF-8", "save it again as UTF-8")
    at = data.find(b"\0")
    if at >= 0:
        raise DataError(
            f"{name} is binary, not text: byte {at + 1} is NUL", "is its ending the right one for its format?"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8",
            f"save it again as UTF-8, for instance: iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8-{name}",
        ) from error


def _lines(text: str) -> list[str]:
    """Lines without their ends. Not `splitlines`, which also breaks at characters that stand inside texts."""
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _skipped(count: int, what: str) -> tuple[str, ...]:
    return (f"{count} {what} line{'s' if count > 1 else ''} skipped",) if count else ()


def _refuse(name: str, faults: Sequence[str], hint: str) -> None:
    """Raise for faults of the form `line 5: ...`, if there are any; the error's `faults` are all of them."""
    if not faults:
        return
    more = [f"  - and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    lines = [
        f"{name}: {len(faults)} lines can't be read",
        *(f"  - {fault}" for fault in faults[:SHOWN]),
        *more,
    ]
    error = DataError(f"{name}, {faults[0]}" if len(faults) == 1 else "\n".join(lines), hint)
    error.faults = tuple((name, int(fault.split(":")[0].split()[-1]), fault.partition(": ")[2]) for fault in faults)
    raise error


# ---------------------------------------------------------------------- CSV and TSV


def _delimited(name: str, text: str, delimiter: str, header: bool) -> Table:
    found, quotes = _records(name, text, delimiter)
    width = next((len(fields) for _, fields in found if any(fields)), 0)
    records = [record for record in found if not _is_blank(record[1], width)]
    notes = tuple(f"{name}: {note}" for note in (*quotes, *_skipped(len(found) - len(records), "blank")))
    first = f"line {records[0][0]} has {width}" if records else ""
    ragged = [f"line {n}: {_values(len(fields))}, where {first}" for n, fields in records if len(fields) != width]
    _refuse(
        name,
        ragged,
        "a value that holds the delimiter, a line break or a quotation mark stands in double quotes",
    )
    columns = tuple(map(str, range(width)))
    if header and records:
        columns = _header(name, records.pop(0)[1])
    rows = [dict(zip(columns, fields, strict=True)) for _, fields in records]
    return Table(name, columns, rows, [number for number, _ in records], notes=notes)


def _values(count: int) -> str:
    return f"{count} value{'s' if count != 1 else ''}"


def _is_blank(fields: list[str], width: int) -> bool:
    return not fields or (len(fields) == 1 < width and not fields[0].strip())


def _header(name: str, fields: list[str]) -> tuple[str, ...]:
    columns = tuple(field.strip() for field in fields)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name} has columns of the same name: {', '.join(map(repr, twice))}", "name each differently")
    return columns


def _records(name: str, text: str, delimiter: str) -> tuple[list[Record], tuple[str, ...]]:
    """The records of delimited text, and a note where quotation marks were taken as plain characters."""
    plain = [(n, line.split(delimiter) if line.strip(" ") else []) for n, line in enumerate(_lines(text), 1)]
    if '"' not in text:
        return plain, ()
    quoted, fault = _quoted(text, delimiter)
    if not fault and _is_even(quoted) and (delimiter == "," or _QUOTED_TSV.fullmatch(text)):
        return quoted, ()
    if _is_even(plain) or delimiter == "\t":
        return plain, ("quotation marks are read as plain characters (they don't pair up as quoting does)",)
    if fault:
        raise DataError(f"{name}, {fault}", "double a quotation mark inside a quoted value, and close each one")
    return quoted, ()


def _quoted(text: str, delimiter: str) -> tuple[list[Record], str]:
    """Records by CSV's quoting, each with the line it begins on; and what broke off the reading, or ''."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Record] = []
    start = 1
    try:
        for fields in reader:
            records.append((start, fields))
            start = reader.line_num + 1
    except csv.Error as error:
        return (
            records,
            f"line {start}: a quotation mark opens a value that is not closed as it should be ({error})",
        )
    return records, ""


def _is_even(records: Iterable[Record]) -> bool:
    return len({len(fields) for _, fields in records if len(fields) > 1 or any(fields)}) == 1


# ---------------------------------------------------------------------- JSON


def _json_lines(name: str, text: str) -> Table:
    rows, numbers, faults, blank = [], [], [], 0
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            blank += 1
            continue
        row, fault = _object(line)
        if fault:
            faults.append(f"line {number}: {fault}")
        rows.append(row)
        numbers.append(number)
    _refuse(
        name,
        faults,
        'JSON Lines has one object a line, as {"text": ..., "label": ...}; a list is a .json file',
    )
    notes = tuple(f"{name}: {note}" for note in _skipped(blank, "blank"))
    return Table(name, _keys(rows), rows, numbers, notes=notes)


def _object(line: str) -> tuple[dict[str, Any], str]:
    """The object on a line, and what is wrong with it, or ''."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        return {}, f"not valid JSON ({error.msg}, column {error.colno})"
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON that can be read ({error})"
    return row, _object_fault(row, line)


def _object_fault(row: Any, source: str) -> str:
    """Why a value is no row: not an object, or a text with half a surrogate pair, which nothing can store."""
    if not isinstance(row, dict):
        return f"{type(row).__name__}, not an object"
    try:
        if _SURROGATE.search(source):
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "a text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    return ""


def _json(name: str, text: str) -> Table:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _json_lines(name, text)
        message = f"{name}, line {error.lineno}: not valid JSON ({error.msg}, column {error.colno})"
        raise DataError(message, "one object a line is JSON Lines: call it .jsonl") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON that can be read ({error})") from error
    records = data.get("data") if isinstance(data, dict) else data
    if not isinstance(records, list):
        found = f"an object with {_quoted_names(data)}" if isinstance(data, dict) else type(data).__name__
        raise DataError(f"{name} holds {found}", 'a list of objects is needed, or {"data": [...]} around one')
    if any(isinstance(record, dict) and "paragraphs" in record for record in records):
        return _squad(name, records)
    faults = [f"record {n}: {fault}" for n, row in enumerate(records, 1) if (fault := _object_fault(row, text))]
    _refuse(name, faults, 'each record is an object, as {"text": ..., "label": ...}')
    return Table(name, _keys(records), records, list(range(1, len(records) + 1)), unit="record")


def _quoted_names(data: dict[str, Any]) -> str:
    return ", ".join(map(repr, list(data)[:8])) or "nothing in it"


def _keys(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for row in rows for key in row))


def _squad(name: str, articles: list[Any]) -> Table:
    """Questions of SQuAD 1.1 or 2.0 (Rajpurkar et al. 2016, 2018), one a row; some have no answers."""
    rows: list[dict[str, Any]] = []
    for number, article in enumerate(articles, 1):
        try:
            rows += [_question(article, part, question) for part in article["paragraphs"] for question in part["qas"]]
        except (KeyError, TypeError, AttributeError) as error:
            lack = f"lacks {error}" if isinstance(error, KeyError) else f"is not laid out as SQuAD's are ({error})"
            hint = "an article has paragraphs; each has context and qas; each of these has question and answers"
            raise DataError(f"{name}: article {number} {lack}", hint) from error
    return Table(name, _keys(rows), rows, list(range(1, len(rows) + 1)), unit="question")


def _question(article: dict[str, Any], paragraph: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    row = {
        "id": question.get("id"),
        "title": article.get("title"),
        "context": paragraph["context"],
        "question": question["question"],
    }
    if "answers" not in question and not question.get("is_impossible"):
        return row
    answers = [] if question.get("is_impossible") else question["answers"]
    texts, starts = [a["text"] for a in answers], [a["answer_start"] for a in answers]
    return {**row, "answers": {"text": texts, "answer_start": starts}}


# ---------------------------------------------------------------------- CoNLL and Parquet


_DOCUMENT = "-DOCSTART-"


def _conll(name: str, text: str) -> Table:
    """Sentences of CoNLL columns, each column a list. `-DOCSTART-` lines and `#` comments are skipped.

    Where `-DOCSTART-` lines mark more than one document, `document` is the number of each sentence's.
    """
    lines = [line.split("\t") if "\t" in line else [part for part in line.split(" ") if part] for line in _lines(text)]
    width = next((len(parts) for parts in lines if parts and not parts[0].startswith(("#", _DOCUMENT))), 0)
    sentences: list[list[list[str]]] = [[]]
    documents, faults, skipped = [0], [], 0
    for number, parts in enumerate(lines, 1):
        if not any(part.strip() for part in parts):
            sentences.append([])
            documents.append(documents[-1])
        elif _is_remark(parts, width):
            skipped += 1
            documents[-1] += parts[0].startswith(_DOCUMENT)
        elif width and len(parts) != width:
            faults.append(f"line {number}: {_values(len(parts))}, where the first line has {width}")
        else:
            sentences[-1].append(parts)
    _refuse(name, faults, "each line is a token and its columns, with a blank line between sentences")
    columns = tuple(map(str, range(width)))
    filled = [(rows, number) for rows, number in zip(sentences, documents, strict=True) if rows]
    words: list[dict[str, Any]] = [
        dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)) for rows, _ in filled
    ]
    if documents[-1] > 1:
        columns += ("document",)
        words = [{**row, "document": str(number)} for row, (_, number) in zip(words, filled, strict=True)]
    notes = tuple(f"{name}: {note}" for note in _skipped(skipped, "comment and -DOCSTART-"))
    return Table(name, columns, words, list(range(1, len(words) + 1)), unit="sentence", notes=notes)


def _is_remark(parts: list[str], width: int) -> bool:
    """Whether a line is a marker or comment; `#` before a tag, or alone in its column, is a token."""
    if parts[0].startswith(_DOCUMENT):
        return True
    return parts[0].startswith("#") and not any(map(is_tag, parts[1:])) and not len(parts) == width == 1


def _parquet(name: str, data: bytes) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ftkit.data.hub import named_rows

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name} is not a whole Parquet file: {str(error).splitlines()[0]}", "write it again"
        ) from error
    rows = named_rows(table)
    return Table(name, tuple(table.column_names), rows, list(range(1, len(rows) + 1)), unit="record")
