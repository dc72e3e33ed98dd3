"""Bytes as text: what is plain is read, what is not is refused with the setting that reads it."""

# ruff: noqa: RUF001
from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.formats._encoding import coding
from ftkit.data.load import load_file
from ftkit.data.read import read
from ftkit.errors import DataError, RecipeError
from ftkit.recipe import parse_data
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column

TEXTS = {
    "cp1252": "Die Fähre fährt um neun über die Förde, und für die Küche fehlen uns größere Möbel, sagte Jürgen.",
    "cp1251": "Паром отходит в девять часов, а кафе открывается на час раньше, и мы очень довольны поездкой.",
    "koi8_r": "Паром отходит в девять часов, а кафе открывается на час раньше, и мы очень довольны поездкой.",
    "cp932": "フェリーは九時に出発し、港のカフェはその一時間前に開きます。とても楽しい旅行でした。",
    "gb18030": "渡轮九点出发，港口的咖啡馆提前一小时开门。我们非常喜欢这次旅行，希望能再来。",
    "cp1253": "Το πλοίο φεύγει στις εννέα και το καφέ ανοίγει μία ώρα νωρίτερα. Μας άρεσε πολύ το ταξίδι.",
}
TEXT = [[Column("text", "text")]]


@pytest.mark.parametrize("encoding", TEXTS)
def test_an_encoding_that_is_plain_is_found_and_said(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.tsv").write_bytes("".join(f"{TEXTS[encoding]} {n}\n" for n in range(30)).encode(encoding))
    table = read(tmp_path / "a.tsv", header=False)
    assert [row["0"] for row in table.rows] == [f"{TEXTS[encoding]} {n}" for n in range(30)]
    assert table.notes == (f"a.tsv is not UTF-8 and is read as {encoding} (data.encoding changes it)",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_needs_no_guess(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\nCafé ☕,x\n".encode(encoding))
    table = read(tmp_path / "a.csv", header=True)
    assert table.rows == [{"text": "Café ☕", "label": "x"}]
    assert not table.notes


@pytest.mark.parametrize(
    "data",
    [
        "text\nok\ncafé\n".encode("cp1252"),
        ("W łazience było zimno, a śniadanie spóźniło się. Książka leżała obok łóżka.\n" * 9).encode("iso8859-2"),
        ("Die Fähre fährt über die Förde.\n" * 40).encode() + b"broken \xff here\n" * 3,
        bytes(range(128, 256)) * 9,
    ],
    ids=["too little", "as likely another", "broken UTF-8", "no language"],
)
def test_what_is_in_doubt_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(
        DataError, match=r"a\.csv, line \d+: byte 0x.. is not UTF-8\n  data\.encoding names its encoding"
    ):
        read(tmp_path / "a.csv", header=False)


def test_the_setting_decides(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text\ncafé\n".encode("cp1252"))
    rows, _ = load_file(str(tmp_path / "a.csv"), DataSpec(encoding="cp1252"), TEXT)
    assert rows["text"][:] == ["café"]
    with pytest.raises(DataError, match=r"line 2: byte 0xe9 is not ascii\n  data\.encoding names another"):
        load_file(str(tmp_path / "a.csv"), DataSpec(encoding="ascii"), TEXT)
    with pytest.raises(RecipeError, match=r"data\.encoding: must be `auto`, or an encoding that Python knows"):
        parse_data({"encoding": "latin1252"})
    assert parse_data({"encoding": "utf-16-le"}).encoding == "utf-16-le"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")))
def test_utf8_is_never_taken_for_something_else(text: str) -> None:
    notes: list[str] = []
    data = text.encode()
    assert data.decode(coding("a", lambda: io.BytesIO(data), "auto", notes)) == text
    assert not notes


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["A quiet lantern", "静かな夜の灯り" * 6])
def test_utf16_without_a_mark_is_told_by_its_name(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"text,label\n{text},a\n".encode(encoding))
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.csv", header=True)
    assert f"data.encoding={encoding} reads" in caught.value.hint
    assert read(tmp_path / "a.csv", header=True, encoding=encoding).rows[0]["text"] == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"text,label\nA lantern,a\n\0\0\0\0", "is binary, not text: from byte 24 to its end all are NUL"),
        (b"text,label\nA lantern,a\n\0", "is binary, not text: from byte 24 to its end all are NUL"),
        (b"text,label\nA lan\0tern,a\n", "is binary, not text: byte 17 is NUL"),
        (bytes(range(256)) * 9, "is binary, not text: byte 1 is NUL"),
    ],
)
def test_other_nuls_are_not_taken_for_utf16(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.csv", header=True)
    assert said in caught.value.message and "utf-16" not in caught.value.hint
