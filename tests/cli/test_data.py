"""`ftkit data check`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from tests.checks.planted import clean, recipe, spoiled
from tests.command import ftkit
from tests.runs import Lab, read_jsonl, write_rows


def written(folder: Path, lab: Lab, name: str, rows: object) -> Path:
    """A recipe's file for the rows."""
    path = folder / "recipe.yaml"
    path.write_text(recipe(folder, lab.checkpoint("bert"), name, rows).dump())  # type: ignore[arg-type]
    return path


def test_clean_rows_end_well(lab: Lab, tmp_path: Path) -> None:
    done = ftkit("data", "check", written(tmp_path, lab, "classification", clean("classification")))
    assert done.code == 0
    assert "rows       60 train, 24 validation, 24 test" in done.out and "nothing was found" in done.out


def test_errors_end_with_the_gate_s_code_and_all_rows_as_json(lab: Lab, tmp_path: Path) -> None:
    path = written(tmp_path, lab, "classification", spoiled("classification")[0])
    done = ftkit("data", "check", path, "--json")
    found = json.loads(done.out)
    assert done.code == 4 and "can't be read or labelled" in done.err
    assert found["errors"] > 0 and found["rows"]["train"] < 60
    missing = [each for each in found["findings"] if each["kind"] == "missing"]
    assert sorted(row for each in missing for row in each["rows"]["train"]) == [11, 12]
    leak = next(each for each in found["findings"] if each["kind"] == "leak")
    assert leak["splits"] == {"test": 1, "validation": 1} or leak["splits"] == {"validation": 1, "test": 1}
    assert {"split": "train", "row": 4} in [place["like"] for place in leak["places"]]


def test_personal_values_are_told_masked(lab: Lab, tmp_path: Path) -> None:
    path = written(tmp_path, lab, "classification", spoiled("classification")[0])
    for output in (ftkit("data", "check", path).out, ftkit("data", "check", path, "--json").out):
        assert "a***@e***.org" in output and "**** **** **** **11" in output
        personal = [line for line in output.splitlines() if "4111" in line]
        assert personal == []


def test_every_line_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    lines = ['{"text": "a", "label": "b"}'] + ["{broken"] * 30
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    done = ftkit("data", "check", "sentiment/full", "--set", f"data.train={tmp_path / 'rows.jsonl'}", "--json")
    (finding,) = json.loads(done.out)["findings"]
    assert done.code == 4 and finding["kind"] == "unreadable"
    assert finding["rows"] == {"rows.jsonl": list(range(2, 32))}


def test_a_file_needs_no_recipe(tmp_path: Path) -> None:
    rows = [row for part in clean("classification").values() for row in part]
    path = write_rows(tmp_path / "mine.jsonl", [{"review": row["text"], "stars": row["label"]} for row in rows])
    done = ftkit("data", "check", path)
    assert done.code == 0, done.err
    assert "task       classification" in done.out and "column 'review'" in done.err


def test_a_recipe_that_cannot_be_used_is_no_gate(tmp_path: Path) -> None:
    assert ftkit("data", "check", tmp_path / "none.yaml").code == 3
    missing = ftkit("data", "check", "sentiment/full", "--set", "data.train=none.csv")
    assert missing.code == 3 and "there is no file" in missing.err


def test_fix_writes_a_copy_beside(lab: Lab, tmp_path: Path) -> None:
    rows = spoiled("qa")[0]
    path = written(tmp_path, lab, "qa", rows)
    done = ftkit("data", "check", path, "--fix", tmp_path / "copy")
    assert done.code == 4 and "recipe.yaml trains on the copy" in done.err and "the copy has none" in done.err
    _, _, told = done.out.partition(f"the repaired copy, {tmp_path / 'copy'}:")
    assert "0 errors" in told or "nothing was found" in told
    assert read_jsonl(tmp_path / "train.jsonl") == rows["train"]
    assert ftkit("data", "check", tmp_path / "copy" / "recipe.yaml").code == 0
    assert ftkit("data", "check", path, "--fix", tmp_path / "copy").code == 3


def test_broken_lines_and_unknown_labels_are_told_at_once(tmp_path: Path) -> None:
    rows = [f'{{"text": "A lantern of {n} candles", "label": "{"ab"[n % 2]}"}}' for n in range(30)]
    (tmp_path / "in.jsonl").write_text("\n".join([*rows, "no JSON", '{"text": "An oar", "label": "c"}']))
    asked = ("data", "check", tmp_path / "in.jsonl", "--set", "data.labels=[a, b]")
    done = ftkit(*asked, "--json")
    told = {finding["kind"]: finding for finding in json.loads(done.out)["findings"] if finding["level"] == "error"}
    assert done.code == 4 and told["unreadable"]["rows"] == {"in.jsonl": [31]}
    assert told["unknown-label"]["rows"] == {"train": [32]} and "--fix" not in done.err
    done = ftkit(*asked, "--fix", tmp_path / "copy")
    assert done.code == 3 and "mend these lines first" in done.err and not (tmp_path / "copy").exists()


def test_what_is_skipped_of_a_stream_is_no_error(tmp_path: Path) -> None:
    rows = [f'{{"text": "A lantern of {n} candles", "label": "{"ab"[n % 2]}"}}' for n in range(30)]
    (tmp_path / "in.jsonl").write_text("\n".join([*rows, "no JSON", '{"text": "An oar", "label": "c"}', rows[0]]))
    stream = [f"data.train={tmp_path / 'in.jsonl'}", "data.stream=true", "data.labels=[a, b]", "train.steps=2"]
    settings = [word for each in [*stream, "data.validation=0"] for word in ("--set", each)]
    done = ftkit("data", "check", "classification/full", *settings)
    assert done.code == 4 and "data.bad_rows=skip" in done.err and "--fix" not in done.err + done.out
    done = ftkit("data", "check", "classification/full", *settings, "--set", "data.bad_rows=skip")
    assert done.code == 0 and "0 errors" in done.out
    assert "1 line of the first left out, which can't be read (line 31: " in done.out
    assert "has a label that data.labels lacks" in done.out and "data.bad_rows: skip" in done.out


def test_a_missing_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("text,label\na,b\n")
    done = ftkit("data", "check", tmp_path / "review.csv")
    assert done.code == 3 and "there is no file" in done.err and "did you mean" in done.err


def test_a_folder_that_is_not_read_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\na,b\n")
    done = ftkit("data", "check", tmp_path)
    assert done.code == 3 and "a folder of neither" in done.err and "mine.csv" in done.err


def test_missing_texts_without_labels_are_told(lab: Lab, tmp_path: Path) -> None:
    path = written(tmp_path, lab, "classification", clean("classification"))
    done = ftkit("data", "check", path, "--set", f"data.unlabeled={tmp_path / 'none.csv'}")
    assert done.code == 3 and "there is no file" in done.err and "none.csv" in done.err


def test_an_error_without_a_row_is_counted_as_one(lab: Lab, tmp_path: Path) -> None:
    rows = clean("ner tokens")
    rows["train"] = [{**row, "tags": ["O"] * 12} for row in rows["train"]]
    del rows["validation"], rows["test"]
    done = ftkit("data", "check", written(tmp_path, lab, "ner tokens", rows))
    assert done.code == 4 and "error: 1 error of no single row" in done.err


def test_both_places_of_a_repeat_are_in_their_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        lines = [f"Lantern {name} {number} of gravel,{'arts' if number % 2 else 'sport'}" for number in range(20)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *lines, "An old harbour,arts"]) + "\n")
    done = ftkit("data", "check", tmp_path / "*.csv", "--fix", tmp_path / "copy")
    assert "b.csv, line 22 = a.csv, line 22: An old harbour" in done.out
    (change,) = read_jsonl(tmp_path / "copy" / "changes.jsonl")
    assert change["why"] == "a.csv, line 22 has the same text and answer"


def test_a_few_slips_hide_no_column_of_tags(tmp_path: Path) -> None:
    blocks = [f"Anna{number} B-PER\nmet O\nus{number} O" for number in range(20)]
    (tmp_path / "names.conll").write_text("\n\n".join([*blocks, "Otto b-per\nruns 0\nfar o"]) + "\n")
    done = ftkit("data", "check", tmp_path / "names.conll", "--fix", tmp_path / "copy")
    assert done.code == 4 and "train sentence 21: 'b-per'" in done.out
    assert read_jsonl(tmp_path / "copy" / "train.jsonl")[-1]["tags"] == ["B-PER", "O", "O"]
