"""Answers to files: in and out of each format, in order, on from where they stopped, and past rows that are none."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftkit.data.read import read
from ftkit.engine import infer
from ftkit.engine.answers import FileAnswers
from ftkit.engine.predict import Predictor
from ftkit.errors import DataError
from ftkit.terminal import silence
from tests.command import ftkit, stands
from tests.runs import Lab, assert_close, read_jsonl, rows, write_rows

Row = dict[str, Any]


def as_csv(path: Path, given: list[Row], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(given[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(given)


def as_gz(path: Path, given: list[Row]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in given)


IN: dict[str, Callable[[Path, list[Row]], Any]] = {
    "in.csv": as_csv,
    "in.tsv": lambda path, given: as_csv(path, given, "\t"),
    "in.jsonl": write_rows,
    "in.jsonl.gz": as_gz,
    "in.parquet": lambda path, given: pq.write_table(pa.Table.from_pylist(given), path),
}
OUT = ("out.csv", "out.csv.gz", "out.tsv", "out.jsonl", "out.jsonl.gz", "out.parquet")


def texts() -> list[Row]:
    return [{"text": row["text"], "id": f"n{number}"} for number, row in enumerate(rows("single", "test", 12))]


@pytest.fixture(scope="module")
def predictor(lab: Lab) -> Predictor:
    return Predictor(lab.trained("single", "full").run)


def run_of(predictor: Predictor) -> Path:
    return predictor.trained.source.parent


def written(path: Path) -> list[Row]:
    """The rows of an output, read as data is."""
    return list(read(path, header=True).rows)


# ---------------------------------------------------------------------- formats


@pytest.mark.parametrize("name", IN)
def test_each_format_is_read(predictor: Predictor, tmp_path: Path, name: str) -> None:
    IN[name](tmp_path / name, texts())
    said: list[str] = []
    FileAnswers(predictor, str(tmp_path / name), (), said.append).write(tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl") == list(predictor([row["text"] for row in texts()]))
    assert stands(tmp_path) == {name, "out.jsonl"} and not [line for line in said if line.startswith("warning")]


@pytest.mark.parametrize("name", OUT)
def test_each_format_is_written(predictor: Predictor, tmp_path: Path, name: str) -> None:
    expected = list(predictor([row["text"] for row in texts()]))
    source = write_rows(tmp_path / "in.jsonl", texts())
    done = ftkit("predict", run_of(predictor), "--input", source, "--output", tmp_path / name)
    assert done.code == 0 and done.out == ""
    found = written(tmp_path / name)
    if "jsonl" not in name:
        assert [int(row["row"]) for row in found] == list(range(1, 13))
        assert [row["id"] for row in found] == [row["id"] for row in texts()]
    assert [(row["label"], float(row["score"])) for row in found] == [(row["label"], row["score"]) for row in expected]


@pytest.mark.parametrize(("kind", "method"), [("multi", "lora"), ("ner", "full"), ("qa2", "full"), ("seq2seq", "full")])
def test_answers_of_every_shape_are_written(lab: Lab, tmp_path: Path, kind: str, method: str) -> None:
    run = lab.trained(kind, method).run
    kept = read_jsonl(run / "predictions" / "test.jsonl")
    for name in ("out.csv", "out.parquet"):
        assert ftkit("predict", run, "--input", lab.file(kind, "test"), "--output", tmp_path / name).code == 0
    for field in kept[0]:
        plain = [row[field] for row in written(tmp_path / "out.parquet")]
        if field == "scores":  # a column of labels, null where one was not given
            plain = [{name: score for name, score in value.items() if score is not None} for value in plain]
        assert plain == [row[field] for row in kept]
        cells = [row[field] for row in written(tmp_path / "out.csv")]
        if isinstance(kept[0][field], (list, dict)):
            assert [json.loads(cell) for cell in cells] == [row[field] for row in kept]
        else:
            assert cells == ["" if row[field] is None else str(row[field]) for row in kept]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_texts_stand_beside_their_answers_where_asked(predictor: Predictor, tmp_path: Path, name: str) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"text": " <b>Good</b> tea. "}, {"text": None}, {"text": "No tea."}])
    asked = ("predict", run_of(predictor), "--input", source, "--output", tmp_path / name, "--with-texts")
    assert ftkit(*asked, "--set", "data.clean=[html, whitespace]").code == 0
    first, bad, last = written(tmp_path / name)
    assert (first["text"], last["text"]) == (" <b>Good</b> tea. ", "No tea.")
    assert first["label"] == next(iter(predictor(["Good tea."])))["label"]
    assert bad["error"] and bad["row"] in (2, "2") and not bad.get("label") and not bad["text"]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.csv.errors.jsonl"])
def test_rows_without_an_answer_have_their_text_too_where_asked(
    predictor: Predictor, tmp_path: Path, name: str
) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"text": "Good tea."}, {"text": ["No", "tea."]}])
    output = tmp_path / name.removesuffix(".errors.jsonl")
    assert ftkit("predict", run_of(predictor), "--input", source, "--output", output, "--with-texts").code == 0
    bad = written(tmp_path / name)[-1]
    assert (int(bad["row"]), bad["text"]) == (2, '["No", "tea."]') and "is not text" in bad["error"]


def test_texts_of_arguments_are_on_the_screen_already(predictor: Predictor) -> None:
    done = ftkit("predict", run_of(predictor), "A text.", "--with-texts")
    assert done.code == 3 and "--input" in done.err


@pytest.mark.parametrize("name", ["out.json", "out.xlsx", "out.parquet.gz"])
def test_formats_that_are_not_written_are_told(predictor: Predictor, tmp_path: Path, name: str) -> None:
    done = ftkit("predict", run_of(predictor), "A text.", "--output", tmp_path / name)
    assert done.code == 3 and "not written in this format" in done.err and not stands(tmp_path)


def test_answers_to_arguments_are_written_too(predictor: Predictor, tmp_path: Path) -> None:
    assert ftkit("predict", run_of(predictor), "One.", "Two.", "--output", tmp_path / "out.csv").code == 0
    assert [row["row"] for row in written(tmp_path / "out.csv")] == ["1", "2"]


def test_files_of_a_pattern_are_one_input(predictor: Predictor, tmp_path: Path) -> None:
    given = texts()
    write_rows(tmp_path / "in-1.jsonl", given[:5])
    as_csv(tmp_path / "in-2.csv", given[5:])
    done = ftkit("predict", run_of(predictor), "--input", tmp_path / "in-*", "--output", tmp_path / "out.csv")
    assert done.code == 0, done.err
    found = written(tmp_path / "out.csv")
    assert [Path(row["file"]).name for row in found] == ["in-1.jsonl"] * 5 + ["in-2.csv"] * 7
    assert [row["row"] for row in found] == [str(n) for n in (1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7, 8)]
    expected = list(predictor([row["text"] for row in given]))
    assert_close([float(row["score"]) for row in found], [row["score"] for row in expected], 1e-6)


# ---------------------------------------------------------------------- rows that are none


BAD = {
    "in.jsonl": (
        '{"text": "One."}\nno JSON\n{"text": null}\n{"text": "Two."}\n{"text": ["3"]}\n[4]\n{"text": "Five."}\n'
    ),
    "in.csv": "text,label\nOne.,a\nx,y,z\nTwo.,b\nalone\nFive.,c\n",
}
LINES = {"in.jsonl": (2, 3, 5, 6), "in.csv": (3, 5)}
ORDER = {"in.jsonl": [1, 0, 0, 1, 0, 0, 1], "in.csv": [1, 0, 1, 0, 1]}


@pytest.mark.parametrize("large", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("name", BAD)
def test_rows_that_cannot_be_read_cost_no_other(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, large: bool
) -> None:
    if large:
        monkeypatch.setattr("ftkit.data.mapped.LARGE", 0)
    (tmp_path / name).write_text(BAD[name])
    for output in ("out.jsonl", "out.csv", "out.parquet"):
        done = ftkit("predict", run_of(predictor), "--input", tmp_path / name, "--output", tmp_path / output)
        assert done.code == 0, done.err
        assert f"warning: {len(LINES[name])} rows can't be read and have no answer (line {LINES[name][0]}: " in done.err
        errors = read_jsonl(tmp_path / f"{output}.errors.jsonl")
        assert tuple(error["row"] for error in errors) == LINES[name] and all(error["error"] for error in errors)
        found = written(tmp_path / output)
        assert [int(bool(row.get("label"))) for row in found] == ORDER[name]
        assert [bool(row.get("error")) for row in found] == [not answered for answered in ORDER[name]]
        assert_close(
            [float(row["score"]) for row in found if row.get("label")],
            [answer["score"] for answer in predictor(["One.", "Two.", "Five."])],
            1e-6,
        )
    printed = ftkit("predict", run_of(predictor), "--input", tmp_path / name)
    lines = list(map(json.loads, printed.out.splitlines()))
    assert [int("label" in line) for line in lines] == ORDER[name]
    assert [line["row"] for line in lines if "error" in line] == list(LINES[name])


def test_errors_of_an_earlier_command_do_not_stay(predictor: Predictor, tmp_path: Path) -> None:
    asked = ("predict", run_of(predictor), "--input", tmp_path / "in.csv", "--output", tmp_path / "out", "--overwrite")
    for text, left in (("text\nOne.\na,b\n", True), ("text\nOne.\n", False)):
        (tmp_path / "in.csv").write_text(text)
        assert ftkit(*asked).code == 0
        assert (tmp_path / "out.errors.jsonl").exists() == left


@pytest.mark.parametrize("text", ["no JSON\n[1]\n", '{"text": null}\n{"text": null}\n'])
def test_file_of_which_no_row_can_be_read_is_refused(predictor: Predictor, tmp_path: Path, text: str) -> None:
    (tmp_path / "in.jsonl").write_text(text)
    done = ftkit("predict", run_of(predictor), "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.csv")
    assert done.code == 3 and stands(tmp_path) == {"in.jsonl"}


# ---------------------------------------------------------------------- going on


class Stopped(KeyboardInterrupt):
    """As Ctrl-C."""


def stopping(predictor: Predictor, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next command stop when so many answers were given."""
    answers, given = predictor.answers, count()

    def some(*arguments: Any) -> Any:
        for answer in answers(*arguments):
            if next(given) == after:
                raise Stopped
            yield answer

    monkeypatch.setattr(predictor, "answers", some)


@pytest.mark.parametrize("after", [0, 3, 4, 9, 11])
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_it_goes_on_to_the_same_bytes(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, torn: bool
) -> None:
    monkeypatch.setattr(infer, "CHUNK", 4)
    lines = [json.dumps(row) for row in texts()]
    lines[2:2], lines[9:9] = ["no JSON"], ["[1]", "[2]"]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(lines) + "\n")

    def answers(said: list[str]) -> FileAnswers:
        return FileAnswers(predictor, str(source), (), said.append)

    answers([]).write(tmp_path / "whole.csv")
    with monkeypatch.context() as patch:
        stopping(predictor, after, patch)
        with pytest.raises(Stopped):
            answers([]).write(tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
    if torn:
        with (tmp_path / "out.csv.partial").open("a") as file:
            file.write('{"file": 0, "row": 9')
    asked: list[int] = []
    encode = infer.encode
    monkeypatch.setattr(
        infer, "encode", lambda task, chunk, *rest: asked.append(len(chunk)) or encode(task, chunk, *rest)
    )
    said: list[str] = []
    answers(said).write(tmp_path / "out.csv")
    assert sum(asked) == 12 - after // 4 * 4
    assert any("goes on from there" in line for line in said) == (after >= 4)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not (tmp_path / "out.csv.partial").exists()


@pytest.mark.parametrize("after", [5, 6, 7, 10, 11])
def test_it_goes_on_in_either_of_two_files(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(infer, "CHUNK", 4)
    write_rows(tmp_path / "in-1.jsonl", texts()[:6])
    write_rows(tmp_path / "in-2.jsonl", texts()[6:])
    source = str(tmp_path / "in-*.jsonl")
    FileAnswers(predictor, source, (), print).write(tmp_path / "whole.jsonl")
    with monkeypatch.context() as patch:
        stopping(predictor, after, patch)
        with pytest.raises(Stopped):
            FileAnswers(predictor, source, (), print).write(tmp_path / "out.jsonl")
    FileAnswers(predictor, source, (), print).write(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_other_rows_or_another_model_begin_anew(lab: Lab, predictor: Predictor, tmp_path: Path) -> None:
    source, output = write_rows(tmp_path / "in.jsonl", texts()), tmp_path / "out.jsonl"
    head = json.dumps(FileAnswers(predictor, str(source), (), print).of) + "\n"
    wrong = json.dumps({"file": 0, "row": 1, "answer": {"label": "wrong", "score": 1.0}}) + "\n"
    expected = list(predictor([row["text"] for row in texts()]))
    for other in (
        head.replace('"row', '"raw').replace('"model": "', '"model": "0'),
        head.replace('.jsonl": "', '.jsonl": "0'),
    ):
        assert other != head
        output.with_name("out.jsonl.partial").write_text(other + wrong * 1024)
        said: list[str] = []
        FileAnswers(predictor, str(source), (), said.append).write(output, overwrite=True)
        assert any("answered anew" in line for line in said) and read_jsonl(output) == expected


def test_answers_of_other_settings_are_not_gone_on_with(predictor: Predictor, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", texts())

    def of(*settings: str, precision: Any = "fp32", texts: bool = False) -> Any:
        asked = Predictor(run_of(predictor), precision=precision)
        return FileAnswers(asked, str(source), settings, print, texts).of

    known = [of(), of("data.clean=[lowercase]"), of(precision="bf16"), of(texts=True)]
    assert of() == known[0] and all(known.count(one) == 1 for one in known)


def test_file_of_a_persons_own_is_not_written_over(predictor: Predictor, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", texts())
    own = tmp_path / "out.csv.partial"
    own.write_text("my own notes\n")
    done = ftkit("predict", run_of(predictor), "--input", source, "--output", tmp_path / "out.csv")
    assert done.code == 3 and str(own) in done.err and own.read_text() == "my own notes\n"


@pytest.mark.parametrize("name", ["out.csv", "out.csv.errors.jsonl"])
@pytest.mark.parametrize("of", ["a text", "a file", "a file, in part by another model"])
def test_answers_that_stand_already_are_replaced_only_where_asked(
    predictor: Predictor, tmp_path: Path, name: str, of: str
) -> None:
    source, output = write_rows(tmp_path / "in.jsonl", texts()), tmp_path / "out.csv"
    (tmp_path / name).write_text("an earlier command's")
    if "model" in of:
        output.with_name("out.csv.partial").write_text('{"ftkit": "0", "model": "other"}\n')
    what = ["One."] if of == "a text" else ["--input", source]
    done = ftkit("predict", run_of(predictor), *what, "--output", output)
    assert done.code == 3 and f"{tmp_path / name} exists already" in done.err and "--overwrite" in done.err
    assert (tmp_path / name).read_text() == "an earlier command's"
    assert ftkit("predict", run_of(predictor), *what, "--output", output, "--overwrite").code == 0
    assert written(output)[0]["label"]


def test_what_stands_beside_a_partial_file_is_nobodys_to_replace_without_a_word(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = write_rows(tmp_path / "in.jsonl", texts()), tmp_path / "out.csv"

    unlink = Path.unlink

    def killed(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".partial":
            raise Stopped
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        assert ftkit("predict", run_of(predictor), "--input", source, "--output", output).code == 130
    assert output.exists() and output.with_name("out.csv.partial").exists()
    output.write_text("somebody's own")
    command = ("predict", run_of(predictor), "--input", source, "--output", output)
    done = ftkit(*command)
    assert done.code == 3 and "out.csv exists already" in done.err and output.read_text() == "somebody's own"
    assert ftkit(*command, "--overwrite").code == 0 and output.read_text() != "somebody's own"
    assert not output.with_name("out.csv.partial").exists()


def test_two_commands_do_not_write_one_file(predictor: Predictor, tmp_path: Path) -> None:
    given = write_rows(tmp_path / "in.jsonl", texts())
    first, second = (FileAnswers(predictor, str(given), (), silence) for _ in range(2))
    lines = first.lines

    def meanwhile(*arguments: Any) -> Any:
        with pytest.raises(DataError, match="another process writes"):
            second.write(tmp_path / "out.jsonl")
        yield from lines(*arguments)

    first.lines = meanwhile  # type: ignore[method-assign]
    first.write(tmp_path / "out.jsonl")
    assert len(written(tmp_path / "out.jsonl")) == len(texts())


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_names_of_files_may_be_of_any_bytes(predictor: Predictor, tmp_path: Path) -> None:
    for number in (1, 2):
        write_rows(
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9%d.jsonl" % number)), [*texts(), {"text": {"a": 1}}]
        )
    FileAnswers(predictor, f"{tmp_path}/caf*.jsonl", (), silence).write(tmp_path / "all.jsonl")
    assert len(written(tmp_path / "all.jsonl")) == 2 * len(texts()) + 2
    errors = read_jsonl(tmp_path / "all.jsonl.errors.jsonl")
    assert [Path(row["file"]).name for row in errors] == ["caf\\xe91.jsonl", "caf\\xe92.jsonl"]
