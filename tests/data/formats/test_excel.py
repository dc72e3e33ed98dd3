"""Excel workbooks: a sheet's cells as they are shown."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ftkit.data.load import load, load_file
from ftkit.data.read import read
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column

LABELLED = [[Column("text", "text"), Column("label", "label")]]


def book(path: Path, **sheets: list[list[Any]]) -> Path:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def test_cells_are_read_as_they_are_shown(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 3)
    rows = [["text", "label"], ["NA", 3], ["null", 3.0], ["None", 0.5], [" nan ", True], [None, day], ["#N/A", "x"]]
    table = read(book(tmp_path / "a.xlsx", Rows=rows), header=True)
    assert [row["text"] for row in table.rows] == ["NA", "null", "None", " nan ", "", "#N/A"]
    assert [str(row["label"]) for row in table.rows] == ["3", "3", "0.5", "TRUE", "2024-05-03", "x"]
    assert table.where(1) == "a.xlsx, row 3"


def test_texts_that_say_missing_are_texts_and_labels(tmp_path: Path) -> None:
    rows = [["text", "label"], ["NA", "None"], ["null", "nan"], ["x", 1.0]]
    loaded, _ = load_file(str(book(tmp_path / "a.xlsx", Rows=rows)), DataSpec(), LABELLED)
    assert loaded["text"][:] == ["NA", "null", "x"]
    assert loaded["label"][:] == ["None", "nan", "1"]
    with pytest.raises(DataError, match=r"a\.xlsx, row 2: column 'label' is empty"):
        load_file(str(book(tmp_path / "a.xlsx", Rows=[["text", "label"], ["x", None]])), DataSpec(), LABELLED)


def test_the_first_sheet_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", One=[["text"], ["a"]], Two=[["text"], ["b"]])
    first = read(path, header=True)
    assert [row["text"] for row in first.rows] == ["a"]
    assert "its first sheet, 'One', is read; a.xlsx#Two would be the next" in first.notes[0]
    second = read(f"{path}#Two", header=True)
    assert [row["text"] for row in second.rows] == ["b"]
    assert not second.notes
    assert second.where(0) == "a.xlsx#Two, row 2"
    with pytest.raises(DataError, match=r"no sheet 'Tow'; it has 'One', 'Two'\n.*a\.xlsx#Two"):
        read(f"{path}#Tow", header=True)


def test_rows_around_and_between_that_are_blank(tmp_path: Path) -> None:
    rows = [[None, None, None], ["text", None, None], ["a", 1, None], [], ["b", 2, None], [None, None, None]]
    table = read(book(tmp_path / "a.xlsx", Rows=rows), header=True)
    assert table.columns == ("text", "B")
    assert table.rows == [{"text": "a", "B": 1}, {"text": "b", "B": 2}]
    assert table.numbers == [3, 5]
    assert table.notes == ("a.xlsx: 1 blank row skipped",)


def test_columns_without_names_are_mapped_by_number(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", Rows=[["fine", "x"], ["bad", "y"]])
    spec = DataSpec(train=str(path), validation=0, columns={"text": 0, "label": 1})
    assert load(spec, LABELLED).train["text"][:] == ["fine", "bad"]
    book(tmp_path / "b.xlsx", Rows=[["text", "label"], ["fine", "x"]])
    spec = spec.model_copy(update={"train": str(tmp_path / "b.xlsx")})
    assert load(spec, LABELLED).train["row"][:] == [2]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 but no more", b"\xd0\xcf\x11\xe0 an older Excel's"])
def test_what_is_no_workbook(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(DataError, match="not an Excel workbook"):
        read(tmp_path / "a.xlsx", header=True)


def test_an_empty_sheet_and_two_columns_of_a_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.xlsx has no rows"):
        read(book(tmp_path / "a.xlsx", Rows=[]), header=True)
    with pytest.raises(DataError, match="same name: 'text'"):
        read(book(tmp_path / "a.xlsx", Rows=[["text", "text"], [1, 2]]), header=True)


def test_without_openpyxl_it_says_what_to_install(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", Rows=[["text"], ["a"]])
    code = f"""
import sys
sys.modules["openpyxl"] = None
from ftkit.data.read import read
read({str(path)!r}, header=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert "ftkit needs the package openpyxl\n  pip install 'ftkit[excel]'" in done.stderr


def test_formulas_without_a_stored_result_are_told(tmp_path: Path) -> None:
    table = read(
        book(tmp_path / "a.xlsx", One=[["text", "n"], ["fine", "=1+1"], ['=A2&"!"', 3], ["x", None]]), header=True
    )
    assert [row["text"] for row in table.rows] == ["fine", "", "x"]
    assert table.notes == (
        "a.xlsx: 2 formulas without a stored result, the first in row 2, read as empty: open and save it in Excel",
    )
    assert not read(book(tmp_path / "b.xlsx", One=[["text", "n"], ["x", None]]), header=True).notes


def test_a_result_that_is_an_empty_text_is_one(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", One=[["text", "n"], ['=IF(B2="","","")', 3], ["x", 4]])
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    formula = re.search(rb'<c r="A2"[^>]*>(<f>.*?</f>)<v ?/?>(</v>)?</c>', parts[sheet])
    assert formula
    parts[sheet] = parts[sheet].replace(formula[0], b'<c r="A2" t="str">' + formula[1] + b"<v></v></c>")
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in parts.items():
            changed.writestr(name, content)
    table = read(path, header=True)
    assert [row["text"] for row in table.rows] == ["", "x"] and not table.notes


def with_results(path: Path, target: Path) -> None:
    """The workbook as Excel leaves it: each formula with the result that it had."""
    import re
    import zipfile

    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                content = re.sub(rb"<f>(.*?)</f><v ?/?>(</v>)?", rb"<f>\1</f><v>2</v>", content)
            new.writestr(name, content)


def test_formulas_with_a_stored_result_are_not_told(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["text", "n"], ["fine", "=1+1"], [None, 3]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    with_results(tmp_path / "a.xlsx", tmp_path / "b.xlsx")
    table = read(tmp_path / "b.xlsx", header=True)
    assert [row["n"] for row in table.rows] == [2, 3] and not table.notes, table.rows
