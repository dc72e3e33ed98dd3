from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ftkit.data.load import load_file
from ftkit.data.read import read
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column


def write(path: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def values(path: Path, **options: bool) -> list[list[object]]:
    return [list(row.values()) for row in read(path, **{"header": True, **options}).rows]


# ---------------------------------------------------------------------- every format


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text,label\nfine,1\n"),
        ("a.csv", "\ufefftext,label\r\nfine,1"),
        ("a.tsv", "text\tlabel\nfine\t1\n"),
        ("a.json", '[{"text": "fine", "label": "1"}]'),
        ("a.json", '{"version": 1, "data": [{"text": "fine", "label": "1"}]}'),
        ("a.json", '{"text": "fine", "label": "1"}\n{"text": "fine", "label": "1"}'),
        ("a.jsonl", '{"text": "fine", "label": "1"}\n'),
    ],
)
def test_formats(tmp_path: Path, name: str, text: str, ending: str) -> None:
    table = read(write(tmp_path / (name + ending), text), header=True)
    assert table.columns == ("text", "label")
    assert table.rows[0] == {"text": "fine", "label": "1"}


def test_parquet_and_its_label_names(tmp_path: Path) -> None:
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", None], "label": [1, 0]}), tmp_path / "plain.parquet")
    assert values(tmp_path / "plain.parquet") == [["a", 1], [None, 0]]
    named = datasets.Features(
        label=datasets.ClassLabel(names=["bad", "good"]),
        tags=datasets.List(datasets.ClassLabel(names=["O", "B-X"])),
    )
    rows = datasets.Dataset.from_dict({"label": [1, -1], "tags": [[0, 1], []]}, features=named)
    pq.write_table(rows.data.table, tmp_path / "hub.parquet")
    assert values(tmp_path / "hub.parquet") == [["good", ["O", "B-X"]], [None, []]]


def test_squad(tmp_path: Path) -> None:
    def question(name: str, **more: object) -> dict[str, object]:
        return {"id": name, "question": f"{name}?", **more}

    answered = question("q1", answers=[{"text": "Oslo", "answer_start": 3}])
    impossible = question("q2", is_impossible=True, answers=[], plausible_answers=[{"text": "Oslo", "answer_start": 3}])
    article = {"title": "T", "paragraphs": [{"context": "In Oslo.", "qas": [answered, impossible]}]}
    table = read(write(tmp_path / "dev.json", json.dumps({"data": [article]})), header=True)
    assert table.columns == ("id", "title", "context", "question", "answers")
    assert table.rows[0]["answers"] == {"text": ["Oslo"], "answer_start": [3]}
    assert table.rows[1]["answers"] == {"text": [], "answer_start": []}
    broken = {"data": [{"title": "T", "paragraphs": [{"qas": []}, {"qas": [answered]}]}]}
    with pytest.raises(DataError, match="article 1 lacks 'context'"):
        read(write(tmp_path / "bad.json", json.dumps(broken)), header=True)


def test_conll(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\n# sent_id = 1 of 9\nEU NNP B-ORG\nrejects VBZ O\n\n\n#ftkit NN O\n# NN O\n\xa0 NN O\n"
    table = read(write(tmp_path / "a.txt", text), header=False, tokens=True)
    assert [row["0"] for row in table.rows] == [["EU", "rejects"], ["#ftkit", "#", "\xa0"]]
    assert [row["2"] for row in table.rows] == [["B-ORG", "O"], ["O", "O", "O"]]
    assert list(table.numbers) == [1, 2]
    assert table.where(1) == "a.txt, sentence 2"
    assert any("2 comment" in note for note in table.notes)


def test_conll_of_tokens_alone_keeps_hashtags(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.conll", "Hi\n#tag\n# a comment\n"), header=False)
    assert table.rows == [{"0": ["Hi", "#tag"]}]


def test_conll_names_each_ragged_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "a.conll", "EU B-ORG\nrejects\n\nGerman B-MISC 0\n"), header=False)
    assert "line 2: 1 value," in str(caught.value)
    assert "line 4: 3 values," in str(caught.value)


# ---------------------------------------------------------------------- CSV and TSV


def test_no_text_becomes_missing(tmp_path: Path) -> None:
    assert values(write(tmp_path / "a.csv", "t,l\nNA,null\nNone,nan\n,1\n")) == [
        ["NA", "null"],
        ["None", "nan"],
        ["", "1"],
    ]


MISSING = ("NA", "null", "None", "nan", "")
LABELLED = [[Column("text", "text"), Column("label", "label")]]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet"])
def test_texts_that_say_missing_are_texts_and_labels(tmp_path: Path, name: str) -> None:
    rows = [{"text": text, "label": text or "x"} for text in MISSING]
    save(tmp_path / name, rows)
    loaded, _ = load_file(str(tmp_path / name), DataSpec(), LABELLED)
    assert loaded["text"][:] == list(MISSING)
    assert loaded["label"][:] == [*MISSING[:4], "x"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet"])
def test_real_nulls_are_missing(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, [{"text": "x", "label": "y"}, {"text": None, "label": "null"}])
    with pytest.raises(DataError, match="2: column 'text' is missing"):
        load_file(str(tmp_path / name), DataSpec(), LABELLED)


def test_squad_keeps_texts_that_say_missing(tmp_path: Path) -> None:
    question = {"id": "null", "question": "NA", "answers": [{"text": "None", "answer_start": 4}]}
    article = {"title": "nan", "paragraphs": [{"context": "nan None", "qas": [question]}]}
    write(tmp_path / "a.json", json.dumps({"data": [article]}))
    shape = [[Column("question", "text"), Column("context", "text"), Column("answers", "answers")]]
    (row,) = load_file(str(tmp_path / "a.json"), DataSpec(), shape)[0]
    assert (row["question"], row["context"], row["id"]) == ("NA", "nan None", "null")
    assert row["answers"] == {"text": ["None"], "answer_start": [4]}


def save(path: Path, rows: list[dict[str, str | None]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in (".json", ".jsonl"):
        lines = map(json.dumps, rows)
        path.write_text("\n".join(lines) if path.suffix == ".jsonl" else f"[{','.join(lines)}]")
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=csv.QUOTE_MINIMAL)
            writer.writerows([list(rows[0]), *(list(row.values()) for row in rows)])


def test_quoted_line_breaks_keep_line_numbers(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.csv", 'text,label\n"one\ntwo, ""three""",x\n\nfour,y\n'), header=True)
    assert table.rows == [{"text": 'one\ntwo, "three"', "label": "x"}, {"text": "four", "label": "y"}]
    assert table.numbers == [2, 5]
    assert table.notes == ("a.csv: 1 blank line skipped",)


def test_unbalanced_quotes_in_tsv_are_characters(tmp_path: Path) -> None:
    text = 'he said "no\t0\n"open\t1\n5" pipe\t1\nlast"\t0\n'
    table = read(write(tmp_path / "a.tsv", text), header=False)
    assert [row["0"] for row in table.rows] == ['he said "no', '"open', '5" pipe', 'last"']
    assert table.notes


def test_quotes_of_two_texts_in_tsv_do_not_join_what_is_between(tmp_path: Path) -> None:
    text = 'one\t1\n"two\t0\nthree\t1\nfour"\t0\n'
    assert values(write(tmp_path / "a.tsv", text), header=False) == [
        ["one", "1"],
        ['"two', "0"],
        ["three", "1"],
        ['four"', "0"],
    ]


def test_quoted_tsv_is_unquoted(tmp_path: Path) -> None:
    text = 'text\tlabel\n"a ""b"" c"\t1\n"two\nlines"\t0\nplain\t1\n'
    assert values(write(tmp_path / "a.tsv", text)) == [['a "b" c', "1"], ["two\nlines", "0"], ["plain", "1"]]


def test_csv_with_stray_quotes_is_read_plainly(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.csv", 'text,label\n"never closed,1\nfine,0\n'), header=True)
    assert [row["text"] for row in table.rows] == ['"never closed', "fine"]
    assert "plain characters" in table.notes[0]


def test_csv_with_an_unclosed_quote_and_uneven_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv, line 2: a quotation mark opens"):
        read(write(tmp_path / "a.csv", 'text,label\n"never, closed,1\nfine,0\n'), header=True)


def test_no_line_breaks_but_line_feeds(tmp_path: Path) -> None:
    odd = "a\u2028b\x0bc\x85d"
    assert values(write(tmp_path / "a.tsv", f"{odd}\t1\n"), header=False) == [[odd, "1"]]
    assert values(write(tmp_path / "a.jsonl", json.dumps({"t": odd}, ensure_ascii=False))) == [[odd]]


def test_ragged_rows_are_named_and_counted(tmp_path: Path) -> None:
    lines = ["text,label", *["a,b,c"] * 12, "one"]
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "a.csv", "\n".join(lines)), header=True)
    assert "13 lines can't be read" in str(caught.value)
    assert "line 2: 3 values, where line 1 has 2" in str(caught.value)
    assert "and 3 more" in str(caught.value)


def test_columns_of_the_same_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same name: 'text'"):
        read(write(tmp_path / "a.csv", "text,text\na,b\n"), header=True)


def test_a_field_longer_than_the_csv_modules_limit(tmp_path: Path) -> None:
    long = "x" * 200_000 + '"'
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], [long]])
    assert values(path) == [[long]]


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), min_size=1)


@given(st.lists(st.tuples(cell, cell), min_size=1), st.sampled_from([(".csv", ","), (".tsv", "\t")]))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list, form: tuple
) -> None:
    suffix, delimiter = form
    if suffix == ".tsv":  # the marks of a value with both are taken for characters of two lines
        assume(not any("\t" in value and "\n" in value for row in rows for value in row))
    path = tmp_path_factory.mktemp("csv") / f"a{suffix}"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("x", "y"), *rows])
    assert values(path) == [list(row) for row in rows]


# ---------------------------------------------------------------------- what can't be read


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "a.csv has no rows"),
        ("a.csv", b"text,label\n", "a.csv has no rows"),
        ("a.jsonl", b"\n\n", "a.jsonl has no rows"),
        ("a.conll", b"# nothing\n", "a.conll has no rows"),
        ("a.csv", b"text,label\rfine,1\r", "a.csv: its lines end in CR alone"),
        ("a.jsonl", b'{"t": "x"}\r{"t": "y"}\r', "a.jsonl: its lines end in CR alone"),
        ("a.conll", b"a O\rb O\r", "a.conll: its lines end in CR alone"),
        ("a.csv", b"text\nab\0c\n", "byte 8 is NUL"),
        ("a.csv", b"text\nok\ncaf\xe9\n", "a.csv, line 3: byte 0xe9 is not UTF-8"),
        ("a.json", b'{"text": 1', "a.json, line 1: not valid JSON"),
        ("a.json", b'{"text": "x"}', "holds an object with 'text'"),
        ("a.json", b'"text"', "holds str"),
        ("a.json", b'[{"a": 1}, 2]', "record 2: int, not an object"),
        ("a.json", b"[" * 100_000, "not JSON that can be read"),
        ("a.jsonl", b'{"t": "\\ud800"}', "surrogate"),
        ("a.parquet", b"PAR1 but not really", "not a whole Parquet file"),
        ("a.docx", b"PK", "'.docx' is not a format"),
        ("a.txt", b"plain text", "'.txt' is not a format"),
        ("README", b"plain text", "'a name with no ending' is not a format"),
    ],
)
def test_unreadable(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(path, header=True)
    assert said in str(caught.value)


def test_all_bad_lines_of_json_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "a.jsonl", '{"t": 1}\n{"t": }\n[1]\n{"t": 2}\n{t}\n'), header=True)
    for said in ("3 lines", "line 2: not valid JSON", "line 3: list, not an object", "line 5: not valid JSON"):
        assert said in str(caught.value)


def test_half_a_gzip_file(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n" + b"abc\n" * 1000)
    for data in (whole[: len(whole) // 2], b"no gzip at all", whole[:20] + b"\xff" * 9 + whole[29:]):
        (tmp_path / "a.csv.gz").write_bytes(data)
        with pytest.raises(DataError, match="not a whole gzip file"):
            read(tmp_path / "a.csv.gz", header=True)


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "reviews.csv", "a")
    with pytest.raises(DataError, match=r"did you mean .*reviews\.csv"):
        read(tmp_path / "revews.csv", header=True)
    with pytest.raises(DataError, match=r"no file of a similar name: reviews\.csv"):
        read(tmp_path / "xyz.jsonl", header=True)
    with pytest.raises(DataError, match="there is no folder"):
        read(tmp_path / "nowhere" / "a.csv", header=True)


def test_a_folder_lists_its_files(tmp_path: Path) -> None:
    write(tmp_path / "reviews.csv", "a")
    with pytest.raises(DataError, match=r"is a folder.*\n.*reviews\.csv"):
        read(tmp_path, header=True)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/mem is a file that no user may read from its start")
def test_a_file_that_the_system_does_not_let_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match=r"a\.csv can't be read: Input/output error"):
        read(tmp_path / "a.csv", header=True)


def test_tsv_where_only_some_quotes_pair_up_keeps_all_of_them(tmp_path: Path) -> None:
    table = read(write(tmp_path / "a.tsv", '"Great"\t1\n5" disk\t0\n'), header=False)
    assert [list(row.values()) for row in table.rows] == [['"Great"', "1"], ['5" disk', "0"]]
