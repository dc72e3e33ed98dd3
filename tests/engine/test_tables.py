"""Answers as tables: what some programs read otherwise, and what formats have no form for."""

from __future__ import annotations

import csv
import gzip
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ftkit.engine.tables import write_rows


def write(path: Path, *lines: dict[str, Any]) -> Path:
    write_rows(path, path.name, lambda: iter(lines))
    return path


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb", 'a "b"', "\r", "a,b"])
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_text_stays_in_its_cell_whatever_line_ends_it_has(tmp_path: Path, text: str, ending: str) -> None:
    path = write(tmp_path / f"a{ending}", {"row": 1, "texts": {"text": text}, "answer": {"label": "x"}})
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="," if ending == ".csv" else "\t"))
    assert rows == [["row", "text", "label"], ["1", text, "x"]]
    assert path.read_bytes().startswith(b"row") and path.read_bytes().endswith(b"x\n")


def test_objects_that_are_all_empty_are_nulls_in_parquet(tmp_path: Path) -> None:
    lines = [{"row": number, "answer": {"labels": [], "scores": {}}} for number in (1, 2)]
    found = pq.read_table(write(tmp_path / "a.parquet", *lines)).to_pylist()
    assert found == [{"row": number, "labels": [], "scores": None} for number in (1, 2)]
    some = [*lines, {"row": 3, "answer": {"labels": ["a"], "scores": {"a": 0.5}}}]
    assert pq.read_table(write(tmp_path / "b.parquet", *some)).to_pylist()[2]["scores"] == {"a": 0.5}


def test_packed_files_of_the_same_answers_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = {"row": 1, "answer": {"label": "x"}}
    first = write(tmp_path / "a.csv.gz", line).read_bytes()
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert write(tmp_path / "b.csv.gz", line).read_bytes() == first
    assert gzip.decompress(first) == b"row,label\n1,x\n"
