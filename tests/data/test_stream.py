"""A stream gives the rows that reading everything gives, holds few of them, and says where it can't go on."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data import identity, mapped, stream
from ftkit.data.formats import _base
from ftkit.data.identity import hashes, stamps
from ftkit.data.load import load
from ftkit.data.read import read
from ftkit.data.read import stream as stream_table
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from tests.hub_server import COMMIT, client_environment, hub
from tests.runs import Rows, write_rows

SHAPES = [[Column("text", "text"), Column("label", "label")]]
ENTITIES = [[Column("tokens", "tokens"), Column("tags", "tags")]]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and beginnings of a few rows."""
    monkeypatch.setattr(_base, "_BEGINNING", 200)
    monkeypatch.setattr(_base, "AT_ONCE", 7)
    monkeypatch.setattr(stream, "LOOKED_AT", 10)


def rows(count: int) -> Rows:
    return [{"text": f"line {i}, as it says", "label": "even" if i % 2 == 0 else "odd"} for i in range(count)]


def spec(path: Path | str | list[str], **settings: Any) -> DataSpec:
    return DataSpec(train=path if isinstance(path, list) else str(path), validation=0, **settings)


def streamed(source: DataSpec, shapes: Any = SHAPES) -> Rows:
    """All rows of a stream, without their numbers."""
    found = load(source.model_copy(update={"stream": True}), shapes).stream
    assert found is not None
    parts = [part.examples.rows for part in found.parts() if part.examples]
    return [{name: value for name, value in row.items() if name != "row"} for part in parts for row in part]


def whole(source: DataSpec, shapes: Any = SHAPES) -> Rows:
    train = load(source, shapes).train
    assert train is not None
    return [{name: value for name, value in row.items() if name != "row"} for row in train.to_list()]


def write(path: Path, found: Rows, encoding: str = "utf-8") -> Path:
    """The rows in the format that the name's ending means."""
    if ".parquet" in path.name:
        pq.write_table(pa.Table.from_pylist(found), path)
        return path
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in found)
    else:
        target = io.StringIO()
        out = csv.writer(target, delimiter="\t" if ".tsv" in path.name else ",", lineterminator="\n")
        out.writerows([list(found[0]), *(list(row.values()) for row in found)])
        text = target.getvalue()
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz", "a.jsonl.gz"])
def test_rows_are_those_of_the_whole_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows(40))
    assert streamed(spec(path)) == whole(spec(path)) == rows(40)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["a.json", "a.xlsx"])
def test_a_small_file_of_another_format_is_read_as_a_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps(rows(20)))
    else:
        import openpyxl

        book = openpyxl.Workbook()
        for row in [("text", "label"), *(tuple(row.values()) for row in rows(20))]:
            book.active.append(row)
        book.save(path)
    assert streamed(spec(path)) == rows(20)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60), min_size=3))
def test_quoted_values_come_out_as_they_went_in(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Quotation marks, commas and line breaks in values, across the end of what tells how a file is read."""
    path = tmp_path_factory.mktemp("quoted") / "a.csv"
    found = [{"text": f"x{text}\ny,", "label": "a"} for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_base, "_BEGINNING", 30)
        assert streamed(spec(write(path, found))) == found


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_encodings_are_found_in_the_beginning(tmp_path: Path, encoding: str) -> None:
    found = [
        {**row, "text": f"{row['text']}: Käse, Übermut und größere Mühe für später, wäre schön"} for row in rows(40)
    ]
    path = write(tmp_path / "a.csv", found, encoding)
    assert streamed(spec(path)) == found


@pytest.mark.usefixtures("few")
def test_several_files_and_patterns_are_one_stream(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"part-{number}.csv", rows(15))
    assert streamed(spec(tmp_path / "part-*.csv")) == rows(15) * 3
    reordered = [{"label": row["label"], "more": "x", "text": row["text"]} for row in rows(5)]
    write(tmp_path / "part-3.csv", reordered)
    assert len(streamed(spec(tmp_path / "part-*.csv"))) == 50
    write(tmp_path / "part-4.csv", [{"text": "a", "tag": "b"}])
    with pytest.raises(DataError, match=r"part-4.csv: no column found for 'label'"):
        streamed(spec(tmp_path / "part-*.csv"))


@pytest.mark.usefixtures("few")
def test_each_file_may_have_a_well_known_name_of_its_own_for_a_column(tmp_path: Path) -> None:
    write(tmp_path / "part-0.csv", rows(15))
    write(tmp_path / "part-1.csv", [{"sentence": row["text"], "label": row["label"]} for row in rows(15)])
    assert streamed(spec(tmp_path / "part-*.csv")) == rows(15) * 2


@pytest.mark.usefixtures("few")
def test_columns_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label,text\n" + "".join(f"{row['label']},x {number}\n" for number, row in enumerate(rows(30))))
    assert len(streamed(spec(path, columns={"label": 0, "text": 1}))) == 30


@pytest.mark.usefixtures("few")
def test_bare_types_are_read_as_in_the_first_rows(tmp_path: Path) -> None:
    """The later rows alone would not tell what their tags are."""
    found: Rows = [{"tokens": ["Ada", "ran"], "tags": ["PER", "O"]}] * 20 + [{"tokens": ["Rome"], "tags": ["LOC"]}] * 20
    path = write_rows(tmp_path / "a.jsonl", found)
    assert streamed(spec(path), ENTITIES)[-1]["tags"] == ["I-LOC"]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("a.jsonl", '{"text": "no label"}\n', r"a.jsonl, line 31: column 'label' is missing"),
        ("a.jsonl", '{"text": \n', r"a.jsonl, line 31: not valid JSON"),
        ("a.csv", "only one\n", r"a.csv, line 32: 1 value, where line 1 has 2"),
        ("a.csv", "a,strange\n", r"a.csv, line 32: column 'label' has a label that data.labels lacks: 'strange'"),
    ],
)
def test_a_bad_row_stops_or_is_left_out(tmp_path: Path, name: str, line: str, said: str) -> None:
    path = write(tmp_path / name, rows(30))
    with path.open("a") as file:
        file.write(line)
    more = write(tmp_path / f"more{path.suffix}", rows(8)).read_text().split("\n", path.suffix == ".csv")[-1]
    with path.open("a") as file:
        file.write(more)
    labels = ("even", "odd")
    with pytest.raises(DataError, match=said):
        streamed(spec(path, labels=labels))
    found = load(spec(path, labels=labels, stream=True, bad_rows="skip"), SHAPES).stream
    assert found is not None
    parts = list(found.parts())
    assert sum(len(part.examples.rows) for part in parts if part.examples) == 38
    assert sum(part.left_out for part in parts) == 1


@pytest.mark.usefixtures("few")
def test_bytes_of_another_encoding_further_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows(400))
    with path.open("ab") as file:
        file.write(b"caf\xe9,even\n")
    with pytest.raises(DataError, match=r"a.csv: byte 0xe9 is not utf-8, as which it begins") as caught:
        streamed(spec(path))
    assert "data.encoding" in caught.value.hint


@pytest.mark.usefixtures("few")
def test_a_quotation_mark_further_on_that_is_never_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows(400))
    with path.open("a") as file:
        file.write('"never closed,even\nand so on,odd\n')
    with pytest.raises(DataError, match=r"a.csv, after line 401: a quotation mark opens a value that is not closed"):
        streamed(spec(path))


def test_a_torn_gzip_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.gz", rows(90_000))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="is not a whole gzip file"):
        streamed(spec(path))


# ---------------------------------------------------------------------- what is refused before any row


def test_what_is_no_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no file"):
        streamed(spec(tmp_path / "none.csv"))
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="the stream has no rows that can be read"):
        streamed(spec(tmp_path / "empty.jsonl"))
    path = write_rows(tmp_path / "split.jsonl", [{**row, "split": "train"} for row in rows(5)])
    with pytest.raises(DataError, match="column 'split' tells rows of splits apart"):
        streamed(spec(path))
    monkeypatch.setattr(mapped, "LARGE", 10)
    (tmp_path / "a.json").write_text(json.dumps(rows(5)))
    (tmp_path / "b.json").write_text(json.dumps(rows(5)))
    with pytest.raises(DataError, match=r"(?s)a.json can only be read as a whole.*b.json"):
        streamed(spec([str(tmp_path / "a.json"), str(tmp_path / "b.json")]))


def test_only_the_beginning_is_read_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LOOKED_AT", 10)
    path = write(tmp_path / "a.jsonl", rows(50_000))
    with path.open("a") as file:
        file.write("not JSON\n")
    found = load(spec(path, stream=True), SHAPES)
    assert found.train is not None and len(found.train) == 10
    assert "a.jsonl: a stream, of which the first 10 rows were looked at" in found.notes


@pytest.mark.parametrize("content", ["same size", "shorter", "broken", None])
def test_no_row_is_given_of_a_file_that_was_written_meanwhile(tmp_path: Path, content: str | None) -> None:
    path = write(tmp_path / "a.jsonl", rows(50_000))
    found = load(spec(path, stream=True), SHAPES)
    assert found.stream is not None
    parts = found.stream.parts()
    seen = [row["text"] for part in islice(parts, 2) if part.examples for row in part.examples.rows]
    assert 0 < len(seen) < 50_000 and seen == [row["text"] for row in rows(len(seen))]
    lines = path.read_text().splitlines(keepends=True)
    lines[-10], lines[-20] = lines[-20], lines[-10]
    told = {"same size": "".join(lines), "shorter": "".join(lines[:5]), "broken": "{" * 4_000_000}
    path.unlink() if content is None else path.write_text(told[content])
    with pytest.raises(DataError, match=r"a\.jsonl changed while it was read"):
        for _ in parts:
            pass
    with pytest.raises(DataError, match=r"a\.jsonl"):
        next(found.stream.parts())


def test_stamps_tell_ends_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_PROBE", 4)
    path, found = tmp_path / "a.csv", set()
    for content in (b"0123456789", b"x123456789", b"012345678x", b"0123x456789"):
        path.write_bytes(content)
        found.add(stamps([str(path)])[str(path)])
    assert len(found) == 4
    path.write_bytes(b"01234x6789")  # in the midst: nobody looks there, which the README says
    assert stamps([str(path)])[str(path)] in found


# ---------------------------------------------------------------------- the Hub

CODE = """
import json, sys
from ftkit.data.load import load
from ftkit.errors import FTKitError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
shapes = [[Column("text", "text"), Column("label", "label")]]
try:
    found = load(DataSpec(train=sys.argv[1], validation=sys.argv[1], stream=True), shapes)
    rows = [row for part in found.stream.parts() for row in part.examples.rows]
    print(json.dumps([rows, found.validation.to_list(), found.stream.commit]))
except FTKitError as error:
    print(json.dumps(str(error)))
"""


def elsewhere(address: str, home: Path, source: str) -> Any:
    env = {**os.environ, **client_environment(address, home)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, source], env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_hub_data_set_is_streamed_with_its_label_names(tmp_path: Path) -> None:
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"]))
    for split in ("train", "validation"):
        path = tmp_path / f"hub/datasets/acme/reviews/data/{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = [f"{split} {number}" for number in range(3)]
        datasets.Dataset.from_dict({"text": texts, "label": [0, 1, 0]}, features=features).to_parquet(str(path))
    with hub(tmp_path / "hub") as address:
        train, validation, commit = elsewhere(address, tmp_path / "home", "acme/reviews")
        none = elsewhere(address, tmp_path / "home", "acme/none")
    assert train == [
        {"text": f"train {number}", "label": label, "row": number + 1}
        for number, label in enumerate(("bad", "good", "bad"))
    ]
    assert [row["text"] for row in validation] == ["validation 0", "validation 1", "validation 2"]
    assert commit == COMMIT
    assert "acme/none can't be loaded from the Hub" in none
    assert "the Hub is out of reach" in elsewhere("http://127.0.0.1:1", tmp_path / "home", "acme/reviews")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b'{"text": "one", "label": "a"}\nno JSON\n', True),
        (b'{"text": "one", "label": "a"}\n{"text": null, "label": "a"}\n', True),
        (b'{"text": "one", "label": "a"}\n{"text": "\xff", "label": "a"}\n', False),
        (b"", False),
    ],
)
def test_leaving_rows_out_is_named_where_it_helps(tmp_path: Path, content: bytes, named: bool) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    spec = DataSpec(train=str(tmp_path / "a.jsonl"), validation=None, stream=True)
    with pytest.raises(DataError) as caught:
        load(spec, [[Column("text", "text"), Column("label", "label")]])
    assert ("data.bad_rows=skip" in caught.value.hint) == named


@pytest.mark.parametrize("content", ["one\rtwo,x\nthree,y\n", "one,x\n   \ntwo,y\n", 'one\rtwo,x\n"three",y\n'])
def test_small_streams_are_read_as_files_are(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + content, newline="")
    (file,), parts = [read(path, header=True).rows], [t.rows for t in stream_table(path, header=True)]
    assert [row for part in parts for row in part] == file


def test_stamps_say_that_they_are_of_the_ends(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    names = [str(tmp_path / "a.csv")]
    assert stamps(names)[names[0]].startswith("ends:") and not hashes(names)[names[0]].startswith("ends:")
