from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit.data import mapped
from ftkit.data.formats._base import Source, Table
from ftkit.data.load import Splits, load, load_file
from ftkit.data.mapped import Joined, Mapped, in_blocks, is_on_disk, joined, taken
from ftkit.data.read import read
from ftkit.errors import DataError, MachineError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from tests.tiny import save_tiny

LABELLED = [[Column("text", "text"), Column("label", "label")]]
SHAPES: dict[str, list[list[Column]]] = {
    "label": LABELLED,
    "tags": [[Column("tokens", "tokens"), Column("tags", "tags")]],
    "entities": [[Column("text", "text"), Column("entities", "entities")]],
    "answers": [[Column("question", "text"), Column("context", "text"), Column("answers", "answers")]],
    "number": [[Column("text", "text"), Column("label", "number")]],
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mapped, "BLOCK", 3)
    yield


def both(tell: Any) -> tuple[Any, Any]:
    """What `tell` gives, or the error that it raises, with rows in memory and with rows on disk."""
    found = []
    for large in (10**9, -1):
        with mock.patch.object(mapped, "LARGE", large):
            try:
                found.append(tell())
            except DataError as error:
                found.append((str(error), error.faults))
    return found[0], found[1]


def told(table: Table) -> dict[str, Any]:
    if table.unit != "record":
        assert is_on_disk(table.rows) == (mapped.LARGE < 0)
    return {
        "rows": list(table.rows),
        "one by one": [table.rows[i] for i in range(-len(table.rows), len(table.rows))],
        "numbers": list(table.numbers),
        "places": [table.where(i) for i in range(len(table.rows))],
        "others": (table.source, table.columns, table.unit, table.notes, table.sparse),
        "some": list(table.take(range(0, len(table.rows), 2)).rows),
        "last of some": table.take(range(0, len(table.rows), 2)).take([0]).rows[-1],
    }


def read_both(path: Path, **options: Any) -> None:
    plain, on_disk = both(lambda: told(read(path, **{"header": True, **options})))
    assert plain == on_disk
    again = both(lambda: told(read(path, **{"header": True, **options})))[1]  # from the cache
    assert again == plain


# ---------------------------------------------------------------------- tables

CELLS = st.text(st.sampled_from('a "\t,\n\r;é\u2028'), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.sampled_from(["a.csv", "a.tsv", "a.csv.gz"]),
    st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=9),
    st.booleans(),
    st.booleans(),
)
def test_delimited_text_is_read_alike(
    tmp_path: Path, name: str, rows: list[list[str]], quoted: bool, header: bool
) -> None:
    text = io.StringIO(newline="")
    delimiter = "\t" if ".tsv" in name else ","
    if quoted:
        csv.writer(text, delimiter=delimiter).writerows(rows)
    else:
        text.write("\n".join(delimiter.join(row) for row in rows))
    data = text.getvalue().encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    read_both(path, header=header)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
LINES = st.one_of(
    st.dictionaries(st.sampled_from(["text", "label", "x"]), VALUES, max_size=3).map(json.dumps),
    st.sampled_from(["", "  ", "[1]", "{", '{"a": "\\ud800"}', '"x"']),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(LINES, min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_json_lines_are_read_alike(tmp_path: Path, lines: list[str], end: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(end.join(lines).encode("utf-8", "surrogatepass"))
    read_both(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_encoding_is_found_alike(tmp_path: Path, encoding: str) -> None:
    sentence = "Die Fähre fährt um neun über die Förde und für die Küche fehlen uns größere Möbel sagte Jürgen."
    rows = [f"{sentence} {n}" for n in range(40)]
    (tmp_path / "a.csv").write_bytes("\n".join(["text", *rows]).encode(encoding))
    read_both(tmp_path / "a.csv")
    assert [row["text"] for row in read(tmp_path / "a.csv", header=True, on_disk=True).rows] == rows


def test_bytes_that_are_no_text_are_refused_alike(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + b"fine,1\n" * 200_000 + b"caf\xe9,1\n")
    plain, on_disk = both(lambda: read(tmp_path / "a.csv", header=True))
    assert plain == on_disk and "line 200002: byte 0xe9 is not UTF-8" in plain[0]
    (tmp_path / "b.csv").write_bytes(b"text,label\n" + b"fine,1\n" * 200_000 + b"\0")
    plain, on_disk = both(lambda: read(tmp_path / "b.csv", header=True))
    assert plain == on_disk and "is binary" in plain[0]
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"text,label\nfine,1\n" * 20)[:-9])
    plain, on_disk = both(lambda: read(tmp_path / "c.csv.gz", header=True))
    assert plain == on_disk and "is not a whole gzip file" in plain[0]


def test_parquet_and_its_label_names_are_read_alike(tmp_path: Path) -> None:
    features = datasets.Features(
        text=datasets.Value("string"),
        label=datasets.ClassLabel(names=["bad", "good"]),
        n=datasets.List({"a": datasets.Value("int32")}),
    )
    rows = [{"text": f"t{n}", "label": (1, 0, -1)[n % 3], "n": [{"a": n}]} for n in range(20)]
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "a.parquet")
    read_both(tmp_path / "a.parquet")
    with mock.patch.object(mapped, "LARGE", -1):
        table = read(tmp_path / "a.parquet", header=True)
    assert isinstance(table.rows, Mapped) and table.rows[1] == {"text": "t1", "label": "bad", "n": [{"a": 1}]}
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "b.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-5])
    plain, on_disk = both(lambda: read(tmp_path / "b.parquet", header=True))
    assert plain == on_disk and "is not a whole Parquet file" in plain[0]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in ("first", "other!"):
        path.write_text(f"text\n{text}\n")
        assert list(read(path, header=True, on_disk=True).rows) == [{"text": text}]
    assert list(read(path, header=False, on_disk=True).rows) == [{"0": "text"}, {"0": "other!"}]
    assert len(list((tmp_path / "cache" / "data").glob("*.arrow"))) == 3


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """A file with these rows, in the format that its name tells."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        write(path, rows)
    else:
        path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n\n")
    return path


ROWS = [{"text": f"row {number}", "label": "ab"[number % 2]} for number in range(7)]
FORMATS = pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])


@FORMATS
def test_a_table_in_the_cache_that_is_damaged_is_made_anew(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, ROWS)

    def found() -> dict[str, Any]:
        return told(read(path, header=True, on_disk=True))

    with mock.patch.object(mapped, "LARGE", -1):
        fresh = found()
        kept = sorted((tmp_path / "cache" / "data").iterdir())
        whole = {file: file.read_bytes() for file in kept}
        assert [file.suffix for file in kept] == [".arrow", ".json"]
        for file, data in whole.items():
            places = range(0, len(data), max(1, len(data) // 40))
            damaged = [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in places]
            for harm in (*damaged, b"", data[:9], data[: len(data) // 2], data[:-1], b"[1]"):
                file.write_bytes(harm)
                assert found() == fresh
            assert {file: file.read_bytes() for file in kept} == whole
            file.unlink()
            assert found() == fresh


def test_a_file_that_changes_but_not_in_size_and_time_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", [{"text": "one"}])
    before = path.stat()
    read(path, header=True, on_disk=True)
    written(path, [{"text": "two"}])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(read(path, header=True, on_disk=True).rows) == [{"text": "two"}]


@FORMATS
def test_what_the_cache_has_is_not_read_again(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / name, ROWS)
    fresh = read(path, header=True, on_disk=True)
    for reader in ("stream", "bytes", "coding"):
        monkeypatch.setattr(Source, reader, property(lambda _: pytest.fail("the file is decoded")))
    monkeypatch.setattr(pq, "ParquetFile", lambda *_: pytest.fail("the file is decoded"))
    with mock.patch.object(mapped, "LARGE", -1):
        again = read(path, header=True, on_disk=True)
    assert list(again.rows) == list(fresh.rows) == ROWS
    assert (again.columns, again.notes) == (fresh.columns, fresh.notes)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.csv", ROWS)
    write_texts = mapped.write_texts

    def meanwhile(*arguments: Any) -> Any:
        said = write_texts(*arguments)
        written(path, [{"text": "other"}])
        return said

    with monkeypatch.context() as patch, pytest.raises(DataError, match="changed while it was read"):
        patch.setattr(mapped, "write_texts", meanwhile)
        read(path, header=True, on_disk=True)
    assert list((tmp_path / "cache" / "data").iterdir()) == []
    assert list(read(path, header=True, on_disk=True).rows) == [{"text": "other"}]


# ---------------------------------------------------------------------- what can't be written, or read


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """While this lasts, the system lets no file grow beyond some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@FORMATS
def test_a_cache_that_can_not_be_written_is_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / name, [{"text": "some words " * 100}] * 20)
    schema = pa.schema({"text": pa.string()})
    tables = [pa.table({"text": ["some words " * 100]}, schema=schema)] * 20
    for size in (0, 100, 2_000, 9_000):
        with files_of_at_most(size):
            for call in (partial(read, path, header=True, on_disk=True), partial(mapped.on_disk, tables, schema)):
                with pytest.raises(MachineError, match=r"rows can't be kept there .*File too large"):
                    call()
        assert list((tmp_path / "cache" / "data").iterdir()) == []
    (tmp_path / "none").write_text("not a folder")
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "none"))
    for call in (partial(read, path, header=True, on_disk=True), partial(mapped.on_disk, tables, schema)):
        with pytest.raises(MachineError, match="none: rows can't be kept there"):
            call()


@FORMATS
def test_what_is_said_of_a_table_finds_no_room(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, ROWS)
    long = mock.patch.object(mapped, "_checksum", lambda *_: "0" * 20_000)
    with long, files_of_at_most(10_000), pytest.raises(MachineError, match="File too large"):
        read(path, header=True, on_disk=True)
    assert list(read(path, header=True, on_disk=True).rows) == ROWS


def test_a_cache_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.csv", ROWS)
    read(path, header=True, on_disk=True)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(os, "replace", refused)
    assert list(read(path, header=True, on_disk=True).rows) == ROWS


def test_a_damaged_parquet_file_is_not_the_cache_that_is_full(tmp_path: Path) -> None:
    texts = [f"{number} {'of the many lamps' * (number % 7)}" for number in range(500)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts}), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[200:260] = b"\xff" * 60
    path.write_bytes(data)
    plain, on_disk = both(lambda: read(path, header=True))
    assert "is not a whole Parquet file" in plain[0] and plain == on_disk


def test_the_cache_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MOST", 0)
    tables = []
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"text\n{name}\n")
        tables.append(read(tmp_path / name, header=True, on_disk=True))
    assert len(list((tmp_path / "cache" / "data").iterdir())) == 2  # the newest table, and what is said of it
    assert list(tables[0].rows) == [{"text": "a.csv"}]  # what is in use stays readable


# ---------------------------------------------------------------------- rows


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data())
def test_joined_rows_are_those_of_a_list(sizes: list[int], data: st.DataObject) -> None:
    parts = [[{"at": (number, i)} for i in range(size)] for number, size in enumerate(sizes)]
    flat, rows = [row for part in parts for row in part], Joined(parts)
    assert joined(parts) == flat and list(rows) == flat and len(rows) == len(flat) and rows[:] == flat
    places = sorted(data.draw(st.sets(st.sampled_from(range(len(flat)))))) if flat else []
    assert list(taken(rows, places)) == [flat[i] for i in places]


def test_blocks_are_bounded_by_characters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "CHARACTERS", 10)
    sizes = [len(block) for block in in_blocks({"text": "x" * n} for n in (1, 2, 3, 20, 1, 1))]
    assert sizes == [3, 1, 2]


# ---------------------------------------------------------------------- splits


def splits_told(splits: Splits) -> dict[str, Any]:
    rows = {name: (split.to_list(), split.features) for name, split in splits.items()}
    raw = {name: list(rows) for name, rows in splits.raw.items()}
    unread = {
        name: [(row.number, row.raw, [(column, home, why.args) for column, home, why in row.faults]) for row in rows]
        for name, rows in splits.unread.items()
    }
    return {"rows": rows, "notes": splits.notes, "shape": splits.shape, "unread": unread, "raw": raw}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


GOOD = {
    "label": {"text": "It was <b>fine</b>", "label": "a"},
    "tags": {"tokens": ["Anna", "sings"], "tags": ["PER", "O"]},
    "entities": {"text": "<i>Anna</i> sings", "entities": [{"start": 3, "end": 7, "type": "PER"}]},
    "answers": {"question": "Who?", "context": "Anna sings", "answers": {"text": ["Anna"], "answer_start": [0]}},
    "number": {"text": "fine", "label": 1.5},
}
BAD = {
    "label": ({"label": None}, {"text": {}}, {"label": []}, {"label": "zz"}),
    "tags": ({"tags": ["O"]}, {"tokens": None}),
    "entities": ({"entities": [[0, 99, "PER"]]}, {"entities": [{"start": 0, "end": 3, "type": "PER"}]}),
    "answers": ({"answers": "Bob"}, {"answers": "Anna"}),
    "number": ({"label": "many"}, {"label": "7"}),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
@given(st.data())
def test_splits_are_those_of_rows_in_memory(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(GOOD)))
    changes = data.draw(st.lists(st.sampled_from([{}, {}, {}, {}, *BAD[kind]]), min_size=4, max_size=16))
    marks = data.draw(st.sampled_from([None, ("train", "dev"), ("train", "train", "test", "dev")]))
    rows: list[dict[str, Any]] = []
    for number, change in enumerate(changes):
        row = {**GOOD[kind], "id": number, "who": f"p{number // 2}", **change}
        rows.append({**row, "split": marks[number % len(marks)]} if marks else row)
    path = write(tmp_path / "a.jsonl", rows)
    more = write(tmp_path / "b.jsonl", [{**row, "who": "other"} for row in rows])
    spec = DataSpec(
        train=data.draw(st.sampled_from([path, (path, more)])),
        validation=data.draw(st.sampled_from([None, 0.25, more])),
        test=data.draw(st.sampled_from([None, 0.3])),
        group=data.draw(st.sampled_from([None, "who"])),
        limit=data.draw(st.sampled_from([None, 3])),
        clean=data.draw(st.sampled_from([(), ("html", "lowercase")])),
        labels=data.draw(st.sampled_from([None, ("a", "PER")])),
        seed=data.draw(st.integers(0, 3)),
    )
    stratify = "label" if kind == "label" else None
    for strict in (True, False):
        read_all = partial(load, spec, SHAPES[kind], stratify=stratify, strict=strict)
        plain, on_disk = both(lambda read=read_all: splits_told(read()))
        assert plain == on_disk

    def one() -> Any:
        rows, notes = load_file(path, spec, SHAPES[kind], targets=False, groups=("who",))
        return rows.to_list(), rows.features, notes

    plain, on_disk = both(one)
    assert plain == on_disk


LIMITED = """
import resource, sys
from ftkit.engine.prepare import encode_training, prepare
from ftkit.recipe import load_recipe
def held():
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1])
limit = held() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
settings = [f"data.train={sys.argv[1]}", f"model.checkpoint={sys.argv[2]}", "task.max_length=16"]
prepared = prepare(load_recipe("sentiment/full", settings), look=False)
rows, _ = encode_training(prepared, prepared.splits["train"], range(2000))
print(len(rows), len(prepared.splits["train"]), len(prepared.splits["validation"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process holds of its own")
def test_a_file_larger_than_the_memory_that_is_allowed(tmp_path: Path) -> None:
    path, text = tmp_path / "a.csv", "the tale of a lamp that nobody lit " * 32
    with path.open("w") as file:
        file.write("text,label\n")
        file.writelines(f"{number} {text},{'ab'[number % 2]}\n" for number in range(200_000))
    assert path.stat().st_size > 220e6
    save_tiny(tmp_path / "tiny", "bert")
    arguments = [str(path), str(tmp_path / "tiny"), str(200 * 2**20)]
    done = subprocess.run([sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2000", "180000", "20000"], done.stderr
