"""Several files read as one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ftkit.data.identity import hashes, stamps
from ftkit.data.load import Splits, load, load_file
from ftkit.data.several import expand, is_data
from ftkit.engine.evaluate import evaluate
from ftkit.engine.prepare import prepare
from ftkit.errors import DataError, RecipeError
from ftkit.recipe import load_recipe, override, parse_data
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from tests.runs import Lab, read_jsonl, write_rows

LABELLED = [[Column("text", "text"), Column("label", "label")]]


def parts(folder: Path, *texts: str, name: str = "{}.csv") -> list[str]:
    folder.mkdir(exist_ok=True)
    files = [folder / name.format(letter) for letter, _ in zip("abcdefg", texts, strict=False)]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return [str(file) for file in files]


def loaded(source: Any, **settings: Any) -> Splits:
    return load(DataSpec(train=source, validation=None, **settings), LABELLED)


def test_a_list_and_a_pattern_are_the_same_rows_in_order(tmp_path: Path) -> None:
    files = parts(tmp_path, "text,label\none,x\ntwo,y\n", "label,text\nx,three\n", "text,label\nfour,y\n")
    for source in (tuple(files), f"{tmp_path}/*.csv", f"{tmp_path}/[abc].csv", f"{tmp_path}/**/*.csv"):
        train = loaded(source).train
        assert train["text"][:] == ["one", "two", "three", "four"]
        assert train["row"][:] == [1, 2, 3, 4]
    assert f"{tmp_path}/*.csv: 3 files" in loaded(f"{tmp_path}/*.csv").notes


def test_a_file_that_is_called_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    files = parts(tmp_path, "text,label\none,x\n", "text,label\ntwo,x\n", name="[{}].csv")
    assert loaded(files[0]).train["text"][:] == ["one"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    (file,) = parts(tmp_path, "text,label\none,x\n")
    splits = loaded((file, f"{tmp_path}/*.csv"))
    assert splits.train["text"][:] == ["one"]
    assert any("named twice, and read once" in note for note in splits.notes)


def test_faults_of_all_files_at_once(tmp_path: Path) -> None:
    parts(tmp_path, "text,label\none,x\n", "text,label\ntwo\n", "text,label\nthree,x,y\n")
    with pytest.raises(DataError) as caught:
        loaded((f"{tmp_path}/*.csv", f"{tmp_path}/d.csv"))
    for said in ("b.csv, line 2: 1 value", "c.csv, line 2: 3 values", "there is no file"):
        assert said in str(caught.value)
    with pytest.raises(DataError) as caught:
        loaded((f"{tmp_path}/*.tsv", f"{tmp_path}/x*.csv"))
    assert "no file matches" in str(caught.value) and "x*.csv" in str(caught.value)


def test_columns_must_agree(tmp_path: Path) -> None:
    parts(tmp_path, "text,label\none,x\n", "text,stars\ntwo,x\n", "text,label,note\nthree,x,y\n")
    with pytest.raises(DataError) as caught:
        loaded(f"{tmp_path}/*.csv")
    for said in ("a.csv and others: 2 problems", "b.csv lacks 'label' and has 'stars' more", "c.csv has 'note' more"):
        assert said in str(caught.value)
    (tmp_path / "d.conll").write_text("x O\n", encoding="utf-8")
    tagged = [[Column("tokens", "tokens"), Column("tags", "tags")]]
    with pytest.raises(DataError, match=r"d\.conll holds sentences, and a\.csv lines"):
        load_file(f"{tmp_path}/[ad].*", DataSpec(), tagged)


def test_objects_of_json_name_their_own_columns(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "a.jsonl", [{"text": "one", "label": "x"}])
    other = write_rows(tmp_path / "b.jsonl", [{"text": "two", "label": "y", "note": "fine"}])
    assert len(loaded((str(first), str(other))).train) == 2


def test_values_that_can_not_be_are_named_by_file_and_line(tmp_path: Path) -> None:
    parts(tmp_path, "text,label\none,x\n", "text,label\n\n ,y\nthree,\n")
    with pytest.raises(DataError, match=r"b\.csv, line 4: column 'label' is empty"):
        loaded(f"{tmp_path}/*.csv")
    parts(tmp_path, "text,label\none,x\n", "text,label\n\n ,y\n")
    _, notes = load_file(f"{tmp_path}/*.csv", DataSpec(), LABELLED)
    assert any("1 row has an empty 'text' (b.csv, line 3)" in note for note in notes)


def test_each_file_may_have_a_header_that_numbers_pass_over(tmp_path: Path) -> None:
    parts(tmp_path, "text,label\none,x\n", "two,y\n", "text,label\nthree,z\n")
    train = loaded(f"{tmp_path}/*.csv", columns={"text": 0, "label": 1}).train
    assert train["text"][:] == ["one", "two", "three"]


def test_splits_that_are_several_files_or_a_column_of_them(tmp_path: Path) -> None:
    train = parts(tmp_path / "train", "text,label,split\none,x,train\n", "text,label,split\ntwo,x,test\n")
    held = parts(tmp_path / "held", "text,label\nthree,x\n", "text,label\nfour,x\n")
    splits = load(DataSpec(train=tuple(train), validation=f"{tmp_path}/held/*.csv"), LABELLED)
    assert {name: split["text"][:] for name, split in splits.items()} == {
        "train": ["one"],
        "validation": ["three", "four"],
        "test": ["two"],
    }
    assert splits.numbering["test"].at(splits.test["row"][0]) == "b.csv, line 2"
    assert load(DataSpec(train=tuple(train), validation=tuple(held)), LABELLED).validation["row"][:] == [1, 2]


def test_paths_count_from_the_recipe_in_lists_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    recipe = tmp_path / "deep" / "mine.yaml"
    recipe.write_text(
        "task: classification\nmodel: {checkpoint: minilm}\n"
        "data: {train: [a.csv, ../b.csv, 'sample:topics'], validation: 'parts/*', test: 'parts/*.csv'}\n"
    )
    data = load_recipe(recipe).data
    assert data.train == (f"{tmp_path}/deep/a.csv", f"{tmp_path}/b.csv", "sample:topics")
    assert data.validation == f"{tmp_path}/deep/parts/*"
    assert data.test == f"{tmp_path}/deep/parts/*.csv"


def test_a_pattern_that_begins_with_a_star_is_no_alias_of_yaml() -> None:
    assert override({}, ["data.train=*.csv"]) == {"data": {"train": "*.csv"}}


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.train: must name at least one file"):
        parse_data({"train": []})


def test_patterns_leave_folders_out_and_samples_alone(tmp_path: Path) -> None:
    parts(tmp_path, "text\none\n")
    (tmp_path / "b.csv").mkdir()
    assert expand([f"{tmp_path}/*", "sample:ner"])[0] == [f"{tmp_path}/a.csv", "sample:ner"]
    assert list(hashes([f"{tmp_path}/*", "sample:ner"])) == [f"{tmp_path}/a.csv"]


def test_a_run_of_several_files_records_each_and_says_which_changed(lab: Lab, tmp_path: Path) -> None:
    rows = read_jsonl(lab.file("single", "train"))
    write_rows(tmp_path / "a.jsonl", rows[:9])
    write_rows(tmp_path / "b.jsonl", rows[9:])
    settings = (f"data.train={tmp_path}/?.jsonl", f"data.test=[{tmp_path}/a.jsonl]")
    whole, done = lab.train("single"), lab.train("single", *settings)
    assert done.steps == whole.steps
    recorded = json.loads((Path(done.run) / "data.json").read_text())["sha256"]
    assert {f"train: {tmp_path}/a.jsonl", f"train: {tmp_path}/b.jsonl", "test", "validation"} == set(recorded)
    write_rows(tmp_path / "b.jsonl", rows[8:])
    said: list[str] = []
    evaluate(done.run, "test", say=said.append)
    assert [line for line in said if "has changed" in line] == [
        f"warning: train: {tmp_path}/b.jsonl has changed since the run was trained"
    ]


def test_what_a_task_says_of_a_row_names_its_file(lab: Lab, tmp_path: Path) -> None:
    rows = read_jsonl(lab.file("single", "test"))
    write_rows(tmp_path / "a.jsonl", rows[:3])
    write_rows(tmp_path / "b.jsonl", [*rows[3:], {"text": "x", "label": "unheard of"}])
    recipe = lab.recipe("single", f"data.test=[{tmp_path}/a.jsonl,{tmp_path}/b.jsonl]")
    with pytest.raises(DataError, match=rf"b\.jsonl, line {len(rows) - 2}: .*'unheard of'"):
        prepare(recipe)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.csv")
    for read in (hashes, stamps, lambda names: load(DataSpec(train=names[0]), [])):
        with pytest.raises(DataError, match=r"b\.csv is a pipe or a device"):
            read([str(tmp_path / "b.csv")])
    assert is_data(str(tmp_path / "b.csv"))
