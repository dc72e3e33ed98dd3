"""`ftkit predict`: one answer a row, in order, in the form that each task has."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftkit.cli import main
from tests.command import command, environment, ftkit, process, stands
from tests.runs import CASES, Lab, read_jsonl, write_rows

METHOD = dict(reversed(CASES))
"""Kind -> the first of its methods."""
KEYS = {
    "single": {"label", "score"},
    "multi": {"labels", "scores"},
    "regression": {"value"},
    "ner": {"entities"},
    "qa": {"answer", "start", "end", "score"},
    "qa2": {"answer", "start", "end", "score"},
    "seq2seq": {"summary"},
    "causal": {"summary"},
}
INPUTS = {"ner": ("text",), "qa": ("question", "context"), "qa2": ("question", "context")}


def inputs(lab: Lab, kind: str) -> list[dict[str, Any]]:
    """The test rows without what they should be answered with."""
    names = INPUTS.get(kind, ("document",) if kind in ("seq2seq", "causal") else ("text",))
    return [{name: row[name] for name in names} for row in read_jsonl(lab.file(kind, "test"))]


def run_of(lab: Lab, kind: str) -> Path:
    return lab.trained(kind, METHOD[kind]).run


@pytest.mark.parametrize("kind", KEYS)
def test_files_arguments_and_training_give_the_same_answers(lab: Lab, tmp_path: Path, kind: str) -> None:
    """The run's own test rows: as a file, as a file to a file, and as arguments."""
    run, rows = run_of(lab, kind), inputs(lab, kind)
    kept = read_jsonl(run / "predictions" / "test.jsonl")
    path = write_rows(tmp_path / "rows.jsonl", rows)
    printed = ftkit("predict", run, "--input", path)
    assert [json.loads(line) for line in printed.out.splitlines()] == kept
    done = ftkit("predict", run, "--input", path, "--output", tmp_path / "deep" / "out.jsonl")
    assert (done.code, done.out) == (0, ""), done.err
    assert done.err.endswith(f"{len(rows)} answers are in {tmp_path / 'deep' / 'out.jsonl'}\n")
    assert read_jsonl(tmp_path / "deep" / "out.jsonl") == kept
    written = [row["text"] if row.keys() == {"text"} else json.dumps(row) for row in rows]
    assert [json.loads(line) for line in ftkit("predict", run, *written, "--json").out.splitlines()] == kept


@pytest.mark.parametrize("kind", KEYS)
def test_answers_have_exactly_the_keys_of_their_task(lab: Lab, kind: str) -> None:
    row = inputs(lab, kind)[0]
    done = ftkit("predict", run_of(lab, kind), json.dumps(row), "--json")
    (answer,) = map(json.loads, done.out.splitlines())
    assert answer.keys() == KEYS[kind]
    for entity in answer.get("entities", ()):
        assert entity.keys() == {"type", "text", "start", "end", "score"}
        assert entity["text"] == row["text"][entity["start"] : entity["end"]]
    if kind == "qa":
        assert answer["answer"] == row["context"][answer["start"] : answer["end"]] != ""


def test_rows_with_their_labels_are_answered_as_rows_without(lab: Lab, tmp_path: Path) -> None:
    run, rows = run_of(lab, "single"), read_jsonl(lab.file("single", "test"))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["label", "text"])
        writer.writeheader()
        writer.writerows({**row, "label": "never seen"} for row in rows)
    done = ftkit("predict", run, "--input", tmp_path / "rows.csv")
    assert [json.loads(line) for line in done.out.splitlines()] == read_jsonl(run / "predictions" / "test.jsonl")


def test_columns_of_a_file_are_set_as_in_a_recipe(lab: Lab, tmp_path: Path) -> None:
    run = run_of(lab, "single")
    path = write_rows(tmp_path / "rows.jsonl", [{"said": row["text"]} for row in inputs(lab, "single")])
    done = ftkit("predict", run, "--input", path, "--set", "data.columns={text: said}")
    assert [json.loads(line) for line in done.out.splitlines()] == read_jsonl(run / "predictions" / "test.jsonl")


@pytest.mark.parametrize("kind", ["single", "ner", "qa", "regression"])
def test_person_reads_each_answer_with_its_text(lab: Lab, kind: str) -> None:
    row = inputs(lab, kind)[0]
    done = ftkit("predict", run_of(lab, kind), json.dumps(row))
    assert done.code == 0 and not done.out.startswith("{")
    if kind in ("single", "regression"):
        assert done.out.rstrip().endswith(row["text"])
    if kind == "qa":
        assert done.out.startswith(row["question"])


def test_text_that_looks_like_json_and_is_none_is_a_text(lab: Lab) -> None:
    done = ftkit("predict", run_of(lab, "single"), "{sic} a text", "{1: 2", "--json")
    assert done.code == 0 and len(done.out.splitlines()) == 2


def test_whatever_is_written_is_answered(lab: Lab) -> None:
    odd = ["", " ", "é\u00ad\u200b", "\U0001f600" * 300, "a\nb\tc", "\x7f", "[SEP] [MASK]", "-- --json"]
    done = ftkit("predict", run_of(lab, "single"), "--json", "--", *odd)
    assert done.code == 0 and len(done.out.splitlines()) == len(odd)


def test_output_replaces_what_stood_there_whole_or_not_at_all(lab: Lab, tmp_path: Path) -> None:
    run, out = run_of(lab, "qa"), tmp_path / "out.jsonl"
    out.write_text("before")
    assert ftkit("predict", run, "plain text", "--output", out, "--overwrite").code == 3
    assert out.read_text() == "before" and stands(tmp_path) == {"out.jsonl"}
    assert ftkit("predict", run, json.dumps(inputs(lab, "qa")[0]), "--output", out, "--overwrite").code == 0
    assert len(read_jsonl(out)) == 1 and stands(tmp_path) == {"out.jsonl"}


@pytest.mark.parametrize("kind", ["single", "ner", "qa", "seq2seq"])
def test_folder_that_transformers_saved_answers_as_the_run(lab: Lab, tmp_path: Path, kind: str) -> None:
    """Loaded and saved by plain transformers, so that nothing of ftkit is left in the folder."""
    import transformers

    row = json.dumps(inputs(lab, kind)[0])
    run = run_of(lab, kind)
    ftkit("export", run, "--to", tmp_path / "export")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "export")
    model = getattr(transformers, config.architectures[0]).from_pretrained(tmp_path / "export")
    model.save_pretrained(tmp_path / "saved")
    transformers.AutoTokenizer.from_pretrained(tmp_path / "export").save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "ftkit.json").exists()
    theirs, ours = (json.loads(ftkit("predict", f, row, "--json").out) for f in (tmp_path / "saved", run))
    assert theirs.keys() == ours.keys()
    if kind == "single":
        assert theirs["label"] == ours["label"] and theirs["score"] == pytest.approx(ours["score"], abs=1e-5)


def test_process_of_its_own_prints_answers_alone(lab: Lab, tmp_path: Path) -> None:
    done = process(tmp_path, "predict", run_of(lab, "single"), "a text", "another", "--json")
    assert done.code == 0 and done.err == ""
    assert [json.loads(line).keys() for line in done.out.splitlines()] == [KEYS["single"]] * 2


def test_output_is_never_the_input(lab: Lab, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", inputs(lab, "single"))
    (tmp_path / "link.jsonl").symlink_to(path)
    before = path.read_bytes()
    for output in (path, tmp_path / "link.jsonl"):
        done = ftkit("predict", run_of(lab, "single"), "--input", path, "--output", output)
        assert done.code == 3 and "is the file that is read" in done.err
    assert path.read_bytes() == before


def test_output_goes_through_links_and_pipes(lab: Lab, tmp_path: Path) -> None:
    run, target, link, pipe = run_of(lab, "single"), tmp_path / "out", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    assert ftkit("predict", run, "Good.", "--output", link).code == 0
    assert link.is_symlink() and len(read_jsonl(target)) == 1
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert ftkit("predict", run, "Good.", "--output", pipe).code == 0
        assert os.read(reader, 10_000) == target.read_bytes()
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_ascii_terminal_is_no_reason_to_stop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run, shown = run_of(lab, "single"), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "argv", ["ftkit", "predict", str(run), "Caf\u00e9."])
    monkeypatch.setattr(sys, "stdout", shown)
    with pytest.raises(SystemExit) as ended:
        main()
    shown.seek(0)
    assert not ended.value.code and "Caf\\u00e9." in shown.read()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_is_json_in_every_encoding(lab: Lab, tmp_path: Path, encoding: str) -> None:
    given = write_rows(tmp_path / "in.jsonl", [{"text": "caf\u00e9 \U0001f600 \u5317\u4eac"}])
    line = command("predict", run_of(lab, "single"), "--input", given, "--with-texts")
    done = subprocess.run(line, env={**environment(), "PYTHONIOENCODING": encoding}, capture_output=True)
    assert json.loads(done.stdout.decode(encoding))["text"] == "caf\u00e9 \U0001f600 \u5317\u4eac"
