"""A folder of plain texts, by label and perhaps by split."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit.data.identity import hashes
from ftkit.data.load import load, load_file
from ftkit.data.read import read
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column

LABELLED = [[Column("text", "text"), Column("label", "label")]]


def folder(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_the_folder_of_a_text_is_its_label(tmp_path: Path) -> None:
    root = folder(tmp_path / "reviews", {"pos/2.txt": "fine\nday\n", "pos/1.txt": "NA", "neg/a 1.txt": "null\r\n"})
    table = read(root, header=True)
    assert table.rows == [
        {"text": "null", "label": "neg", "id": "neg/a 1.txt"},
        {"text": "NA", "label": "pos", "id": "pos/1.txt"},
        {"text": "fine\nday", "label": "pos", "id": "pos/2.txt"},
    ]
    assert table.where(0) == "reviews/neg/a 1.txt"
    assert not table.notes


def test_texts_that_say_missing_are_texts_and_labels(tmp_path: Path) -> None:
    texts = ("NA", "null", "None", "nan", "")
    root = folder(tmp_path / "all", {f"{text or 'x'}/{n}.txt": text for n, text in enumerate(texts)})
    rows, _ = load_file(str(root), DataSpec(), LABELLED)
    assert sorted(rows["text"][:]) == sorted(texts)
    assert sorted(rows["label"][:]) == ["NA", "None", "nan", "null", "x"]


def test_folders_of_splits_above_those_of_labels(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{split}/{label}/{n}_{n}.txt": f"{split} {label} {n}"
        for split, count in (("train", 4), ("test", 2))
        for label in ("pos", "neg")
        for n in range(count)
    }
    extras: dict[str, str | bytes] = {
        "train/unsup/1.txt": "?",
        "train/unsup/2.txt": "?",
        "train/urls_pos.txt": "x",
        "README": "x",
        "imdb.vocab": "x",
    }
    root = folder(tmp_path / "imdb", files | extras)
    splits = load(DataSpec(train=str(root), validation=None), LABELLED)
    assert {name: len(split) for name, split in splits.items()} == {"train": 8, "test": 4}
    assert set(splits.train["label"]) == {"pos", "neg"}
    assert splits.test["id"][0] == "test/neg/0_0.txt"
    assert splits.numbering["test"].at(splits.test["row"][0]) == "imdb/test/neg/0_0.txt"
    assert "imdb: 2 texts in train/unsup left out, which have no label" in splits.notes
    assert any(note.startswith("imdb: 3 files left out: no texts right in a folder") for note in splits.notes)


def test_files_without_an_ending_are_texts(tmp_path: Path) -> None:
    root = folder(tmp_path / "news", {"alt.cars/101": "a", "alt.cars/102.7": "b", "sci.med/9": "c", "sci.med/.x": "d"})
    assert [(row["label"], row["text"]) for row in read(root, header=True).rows] == [
        ("alt.cars", "a"),
        ("alt.cars", "b"),
        ("sci.med", "c"),
    ]


def test_every_text_that_is_none_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "r", {"pos/1.txt": b"caf\xe9", "neg/2.txt": b"a\0", "neg/3.txt": "x"})
    with pytest.raises(DataError) as caught:
        read(root, header=True)
    assert "1.txt, line 1: byte 0xe9" in str(caught.value)
    assert "2.txt is binary" in str(caught.value)


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    root = folder(tmp_path / "parts", {"a.csv": "text\nx\n", "b.csv": "text\nx\n"})
    with pytest.raises(DataError) as caught:
        read(root, header=True)
    assert "folder of neither texts by their labels" in str(caught.value)
    assert f"a.csv, b.csv; {root}/*.csv means all of them" in str(caught.value)


def test_the_hash_changes_with_a_text_and_with_a_name(tmp_path: Path) -> None:
    root = folder(tmp_path / "r", {"pos/1.txt": "a", "neg/2.txt": "b"})
    before = hashes([str(root)])
    folder(root, {"pos/1.txt": "c"})
    changed = hashes([str(root)])
    (root / "pos" / "1.txt").rename(root / "pos" / "3.txt")
    assert len({*before.values(), *changed.values(), *hashes([str(root)]).values()}) == 3


def test_a_bad_file_is_named_with_its_folder(tmp_path: Path) -> None:
    for name, text in (("pos/1.txt", b"fine"), ("neg/1.txt", b"well"), ("neg/2.txt", b"\x00\x01\x81")):
        (tmp_path / "reviews" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "reviews" / name).write_bytes(text)
    with pytest.raises(DataError, match=r"reviews: neg/2\.txt is binary"):
        read(tmp_path / "reviews", header=True)


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    files = {f"{split}/{label}/1.txt": "fine" for split in ("train", "dev", "valid") for label in ("pos", "neg")}
    with pytest.raises(DataError, match="has two folders for validation, dev and valid"):
        read(folder(tmp_path / "reviews", files), header=True)
